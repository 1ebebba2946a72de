//! Measurements over TCP: a server, and what its clients find out.
//!
//! A client says with its first byte what it wants. `SINK`: the server reads to the end and answers how many bytes there were.
//! `ECHO`: each byte comes back.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use crate::report::{Latency, Throughput};

const SINK: u8 = b'T';
const ECHO: u8 = b'L';
/// So much is written at once.
const BLOCK: usize = 128 * 1024;
/// Nothing for so long, and the path is broken.
const STALL: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// Serves any number of clients until `time` is over.
pub fn serve(listener: &TcpListener, time: Duration) -> io::Result<()> {
    let end = Instant::now() + time;
    listener.set_nonblocking(true)?;
    while Instant::now() < end {
        match listener.accept() {
            // A client that breaks off is its own trouble.
            Ok((stream, _)) => drop(thread::spawn(move || answer(stream))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    stream.set_write_timeout(Some(STALL))?;
    let mut wanted = [0];
    stream.read_exact(&mut wanted)?;
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

/// Sends as much as goes, over `streams` connections at once, for `time`. The server may take `patience` until it is there.
pub fn throughput(
    to: SocketAddr,
    streams: u32,
    time: Duration,
    patience: Duration,
) -> io::Result<Throughput> {
    let mut connections = Vec::new();
    for _ in 0..streams {
        let mut stream = connect(to, patience)?;
        stream.write_all(&[SINK])?;
        connections.push(stream);
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
pub fn latency(to: SocketAddr, time: Duration, patience: Duration) -> io::Result<Latency> {
    let mut stream = connect(to, patience)?;
    stream.write_all(&[ECHO])?;
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

fn connect(to: SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + patience;
    loop {
        match TcpStream::connect_timeout(&to, Duration::from_secs(2)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(STALL))?;
                stream.set_write_timeout(Some(STALL))?;
                return Ok(stream);
            }
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => thread::sleep(PAUSE),
        }
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

    /// A server for as long as the test needs it.
    fn server() -> SocketAddr {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || serve(&listener, Duration::from_secs(60)));
        address
    }

    #[test]
    fn what_was_sent_is_what_the_server_counted() {
        let figures = throughput(server(), 3, Duration::from_millis(200), SOON).unwrap();
        assert_eq!(figures.streams, 3);
        assert!(figures.bytes >= 3 * BLOCK as u64, "{figures:?}");
        assert_eq!(figures.bytes % BLOCK as u64, 0, "no block is lost");
        assert!(figures.seconds >= 0.2 && figures.bits_per_second() > 0.0);
    }

    #[test]
    fn bytes_come_back_and_are_timed() {
        let figures = latency(server(), Duration::from_millis(200), SOON).unwrap();
        assert!(figures.transactions > 10, "{figures:?}");
        assert!(
            figures.min > 0.0 && figures.min <= figures.mean && figures.mean <= figures.max,
            "{figures:?}"
        );
        // As one follows the other, all of them take the whole time.
        let sum = figures.mean * figures.transactions as f64 / 1e6;
        assert!((sum - figures.seconds).abs() < 0.001, "{figures:?}");
    }

    #[test]
    fn nobody_there_is_an_error() {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let error = latency(address, SOON, Duration::ZERO).unwrap_err();
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
