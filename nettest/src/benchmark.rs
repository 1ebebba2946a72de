//! Measurements over TCP: a server, and what its clients find out.
//!
//! A client says a token that the server was told too, and with one byte what it wants. `SINK`: the server reads to the end and answers how many bytes there were.
//! `ECHO`: each byte comes back.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Latency, Throughput};

const SINK: u8 = b'T';
const ECHO: u8 = b'L';
/// So much is written at once.
const BLOCK: usize = 128 * 1024;
/// Nothing for so long, and the path is broken.
const STALL: Duration = Duration::from_secs(10);
/// A client says at once who it is.
const GREETING: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(20);

/// Who may be served: those that say the token, and no more at once.
#[derive(Clone, Debug)]
pub struct Guests {
    pub token: String,
    pub at_once: usize,
}

/// Serves clients until `time` is over. Whoever else reaches the port is not answered.
pub fn serve(listener: &TcpListener, guests: &Guests, time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    listener.set_nonblocking(true)?;
    let token: Arc<str> = guests.token.as_str().into();
    // As many as hold it are being served.
    let served = Arc::new(());
    while Instant::now() < end {
        // What fails is one connection, or passes: a client that went, or no descriptor left for the moment.
        let Ok((stream, _)) = listener.accept() else {
            thread::sleep(PAUSE);
            continue;
        };
        if Arc::strong_count(&served) > guests.at_once {
            continue;
        }
        let (token, place) = (token.clone(), served.clone());
        let work = move || {
            // A client that breaks off is its own trouble.
            let _ = answer(stream, &token);
            drop(place);
        };
        // Where there is no thread the connection is closed.
        let _ = thread::Builder::new().spawn(work);
    }
    Ok(())
}

fn answer(mut stream: TcpStream, token: &str) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_write_timeout(Some(STALL))?;
    let mut said = vec![0; token.len()];
    stream.read_exact(&mut said)?;
    if said != token.as_bytes() {
        return Err(ErrorKind::PermissionDenied.into());
    }
    let mut wanted = [0];
    stream.read_exact(&mut wanted)?;
    stream.set_read_timeout(Some(STALL))?;
    if wanted == [ECHO] {
        let mut byte = [0];
        loop {
            stream.read_exact(&mut byte)?;
            stream.write_all(&byte)?;
        }
    }
    let mut block = vec![0; BLOCK];
    let mut total: u64 = 0;
    loop {
        match stream.read(&mut block)? {
            0 => return stream.write_all(&total.to_be_bytes()),
            length => total += length as u64,
        }
    }
}

/// The other side of a measurement.
#[derive(Clone, Debug)]
pub struct Server {
    pub address: SocketAddr,
    pub token: String,
    /// It may take so long until it is there.
    pub patience: Duration,
}

/// Sends as much as goes, over `streams` connections at once, for `time`.
pub fn throughput(to: &Server, streams: u32, time: Duration) -> io::Result<Throughput> {
    let mut connections = Vec::new();
    for _ in 0..streams {
        connections.push(to.connect(SINK)?);
    }
    let together = Barrier::new(connections.len());
    let (start, totals) = thread::scope(|scope| {
        let start = Instant::now();
        let senders: Vec<_> = connections
            .into_iter()
            .map(|stream| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    send(stream, time)
                })
            })
            .collect();
        let totals: io::Result<Vec<u64>> = senders
            .into_iter()
            .map(|sender| {
                sender
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a stream has ended")))
            })
            .collect();
        (start, totals)
    });
    Ok(Throughput {
        streams,
        bytes: totals?.iter().sum(),
        seconds: start.elapsed().as_secs_f64(),
    })
}

fn send(mut stream: TcpStream, time: Duration) -> io::Result<u64> {
    let block = vec![0x5a; BLOCK];
    let end = Instant::now() + time;
    while Instant::now() < end {
        stream.write_all(&block)?;
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut total = [0; 8];
    stream.read_exact(&mut total)?;
    Ok(u64::from_be_bytes(total))
}

/// Sends one byte and waits for it, again and again for `time`.
pub fn latency(to: &Server, time: Duration) -> io::Result<Latency> {
    let mut stream = to.connect(ECHO)?;
    let mut summary = Summary::default();
    let start = Instant::now();
    let mut last = start;
    while last.duration_since(start) < time {
        let mut byte = [1];
        stream.write_all(&byte)?;
        stream.read_exact(&mut byte)?;
        let now = Instant::now();
        summary.add(now.duration_since(last).as_secs_f64() * 1e6);
        last = now;
    }
    Ok(summary.latency(last.duration_since(start)))
}

impl Server {
    fn connect(&self, wanted: u8) -> io::Result<TcpStream> {
        let end = Instant::now() + self.patience;
        let mut stream = loop {
            match TcpStream::connect_timeout(&self.address, Duration::from_secs(2)) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= end => return Err(error),
                Err(_) => thread::sleep(PAUSE),
            }
        };
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(STALL))?;
        stream.set_write_timeout(Some(STALL))?;
        let mut greeting = self.token.clone().into_bytes();
        greeting.push(wanted);
        stream.write_all(&greeting)?;
        Ok(stream)
    }
}

/// Mean and deviation of what comes one by one (Welford's method).
#[derive(Clone, Copy, Debug, Default)]
struct Summary {
    count: u64,
    min: f64,
    max: f64,
    mean: f64,
    squares: f64,
}

impl Summary {
    fn add(&mut self, value: f64) {
        (self.min, self.max) = match self.count {
            0 => (value, value),
            _ => (self.min.min(value), self.max.max(value)),
        };
        self.count += 1;
        let before = value - self.mean;
        self.mean += before / self.count as f64;
        self.squares += before * (value - self.mean);
    }

    fn latency(&self, time: Duration) -> Latency {
        let variance = match self.count {
            0 | 1 => 0.0,
            count => self.squares / (count - 1) as f64,
        };
        Latency {
            min: self.min,
            mean: self.mean,
            max: self.max,
            stddev: variance.sqrt(),
            transactions: self.count,
            seconds: time.as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    const TOKEN: &str = "k3x9qa7b";

    fn at(address: SocketAddr) -> Server {
        Server {
            address,
            token: TOKEN.to_owned(),
            patience: SOON,
        }
    }

    fn listener() -> (TcpListener, Server) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, at(address))
    }

    /// A server for as long as the test needs it.
    fn server(at_once: usize) -> Server {
        let (listener, server) = listener();
        let token = TOKEN.to_owned();
        let guests = Guests { token, at_once };
        thread::spawn(move || serve(&listener, &guests, Duration::from_secs(60)));
        server
    }

    #[test]
    fn what_was_sent_is_what_the_server_counted() {
        let figures = throughput(&server(3), 3, Duration::from_millis(200)).unwrap();
        assert_eq!(figures.streams, 3);
        assert!(figures.bytes >= 3 * BLOCK as u64, "{figures:?}");
        assert_eq!(figures.bytes % BLOCK as u64, 0, "no block is lost");
        assert!(figures.seconds >= 0.2 && figures.bits_per_second() > 0.0);
    }

    /// By a server that takes its time.
    #[test]
    fn a_latency_is_that_which_the_other_side_makes() {
        const DELAY: Duration = Duration::from_millis(20);
        let (listener, to) = listener();
        thread::spawn(move || -> io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.read_exact(&mut [0; TOKEN.len() + 1])?;
            let mut byte = [0];
            loop {
                stream.read_exact(&mut byte)?;
                thread::sleep(DELAY);
                stream.write_all(&byte)?;
            }
        });
        let figures = latency(&to, Duration::from_millis(400)).unwrap();
        assert!((1..=20).contains(&figures.transactions), "{figures:?}");
        // Microseconds; the upper bound is for machines with much else to do.
        assert!(figures.min >= 20e3 && figures.mean < 400e3, "{figures:?}");
        assert!(
            figures.rate() <= 50.0 && figures.seconds >= 0.4,
            "{figures:?}"
        );
    }

    #[test]
    fn strangers_are_not_answered_and_others_are() {
        let to = server(2);
        let echo = |mut stream: TcpStream| -> io::Result<u8> {
            let mut byte = [7];
            stream.write_all(&byte)?;
            stream.read_exact(&mut byte)?;
            Ok(byte[0])
        };
        let stranger = Server {
            token: "k3x9qa7c".to_owned(),
            ..to.clone()
        };
        assert!(stranger.connect(ECHO).and_then(echo).is_err());
        // Two are there; a third one is not taken in until one goes.
        let have = |count: usize| -> Vec<TcpStream> {
            let end = Instant::now() + SOON;
            let mut streams = Vec::new();
            while streams.len() < count && Instant::now() < end {
                let stream = to.connect(ECHO);
                let held = stream.and_then(|stream| echo(stream.try_clone()?).map(|_| stream));
                streams.extend(held);
            }
            streams
        };
        let mut streams = have(2);
        assert_eq!(streams.len(), 2);
        assert!(to.connect(ECHO).and_then(echo).is_err());
        streams.clear();
        assert_eq!(have(1).len(), 1);
    }

    #[test]
    fn nobody_there_is_an_error() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let nobody = Server {
            patience: Duration::ZERO,
            ..at(address)
        };
        let error = latency(&nobody, SOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
    }

    #[test]
    fn mean_and_deviation_are_those_of_the_formula() {
        let mut summary = Summary::default();
        for value in [2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0] {
            summary.add(value);
        }
        let figures = summary.latency(Duration::from_secs(1));
        let near = |have: f64, want: f64| (have - want).abs() < 1e-9;
        assert!(near(figures.mean, 5.0) && near(figures.min, 2.0) && near(figures.max, 9.0));
        assert!(near(figures.stddev, (32.0_f64 / 7.0).sqrt()));
        let one = Summary::default().latency(Duration::ZERO);
        assert!(near(one.stddev, 0.0));
    }
}
