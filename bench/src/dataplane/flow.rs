//! What is sent from pod to pod: TCP streams, round trips of small datagrams, and datagrams until the first is answered.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_test_support::NetNs;

use super::Path;

/// Where pods answer.
pub const PORT: u16 = 5001;
/// As iperf3 has it.
const PIECE: usize = 128 * 1024;
/// A flow is measured after this: it has left its slow start.
const WARM_UP: Duration = Duration::from_millis(500);
const LIMIT: Duration = Duration::from_secs(5);
/// How long one datagram has to be answered when the first answer is waited for, and between two.
const EACH: Duration = Duration::from_millis(4);
const PAUSE: Duration = Duration::from_millis(1);

/// Takes TCP streams and gives datagrams back, in a pod. Its threads end with the process.
pub struct Answering {
    octets: Arc<AtomicU64>,
}

impl Answering {
    pub fn start(pod: &NetNs) -> Result<Self> {
        let any = SocketAddr::from(([0, 0, 0, 0], PORT));
        let (tcp, udp) = pod.run(|| Ok((TcpListener::bind(any)?, UdpSocket::bind(any)?)))?;
        let octets = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&octets);
        thread::spawn(move || {
            for stream in tcp.incoming().flatten() {
                let counted = Arc::clone(&counted);
                thread::spawn(move || {
                    let (mut stream, mut piece) = (stream, vec![0; PIECE]);
                    while let Ok(read @ 1..) = stream.read(&mut piece) {
                        counted.fetch_add(read as u64, Ordering::Relaxed);
                    }
                });
            }
        });
        thread::spawn(move || {
            let mut piece = [0; 2048];
            loop {
                if let Ok((read, client)) = udp.recv_from(&mut piece) {
                    // A client that is gone again.
                    let _ = udp.send_to(&piece[..read], client);
                }
            }
        });
        Ok(Self { octets })
    }

    fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }
}

/// What went through.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    pub octets: u64,
    pub took: Duration,
}

impl Flow {
    pub fn megabits(&self) -> f64 {
        self.octets as f64 * 8.0 / 1e6 / self.took.as_secs_f64()
    }

    pub fn gigabytes(&self) -> f64 {
        self.octets as f64 / 1e9
    }
}

/// Sends as much as goes on so many streams. `around` is called when the measurement begins and when it ends.
pub fn streams(
    path: &Path,
    at: &Answering,
    count: usize,
    seconds: u64,
    mut around: impl FnMut() -> Result<()>,
) -> Result<Flow> {
    let stop = Arc::new(AtomicBool::new(false));
    let mut senders = Vec::new();
    for _ in 0..count {
        let mut stream = path.from.connect(path.to, LIMIT)?;
        stream.set_write_timeout(Some(LIMIT))?;
        let stop = Arc::clone(&stop);
        senders.push(thread::spawn(move || {
            let piece = vec![0; PIECE];
            while !stop.load(Ordering::Relaxed) {
                stream.write_all(&piece)?;
            }
            std::io::Result::Ok(())
        }));
    }
    sleep(WARM_UP);
    around()?;
    let (before, began) = (at.octets(), Instant::now());
    sleep(Duration::from_secs(seconds));
    let flow = Flow {
        octets: at.octets() - before,
        took: began.elapsed(),
    };
    around()?;
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        let sent = sender.join().ok().context("a sender panicked")?;
        sent.with_context(|| format!("TCP to {}", path.to))?;
    }
    ensure!(flow.octets > 0, "nothing came through to {}", path.to);
    Ok(flow)
}

/// Round trips of one small datagram at a time; their median in microseconds.
pub fn round_trip(path: &Path, count: usize) -> Result<f64> {
    let socket = datagrams(path, LIMIT)?;
    let mut times = Vec::with_capacity(count);
    let mut piece = [0; 64];
    for _ in 0..count {
        let began = Instant::now();
        socket.send(&piece)?;
        socket
            .recv(&mut piece)
            .with_context(|| format!("no answer from {}", path.to))?;
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[times.len() / 2])
}

/// Asks from a new port each time, so that no translation is remembered, until there is an answer; when that was.
pub fn first_answer(path: &Path, limit: Duration) -> Result<Instant> {
    let began = Instant::now();
    loop {
        if is_answered(path)? {
            return Ok(Instant::now());
        }
        ensure!(
            began.elapsed() < limit,
            "no answer from {} within {limit:?}",
            path.to
        );
        sleep(PAUSE);
    }
}

/// Waits until nothing is answered any more.
pub fn silence(path: &Path, limit: Duration) -> Result<()> {
    let began = Instant::now();
    while is_answered(path)? {
        ensure!(
            began.elapsed() < limit,
            "{} still answers after {limit:?}",
            path.to
        );
        sleep(PAUSE);
    }
    Ok(())
}

fn is_answered(path: &Path) -> Result<bool> {
    let socket = datagrams(path, EACH)?;
    // Where there is no way the kernel says so at once.
    Ok(socket.send(b"?").is_ok() && socket.recv(&mut [0; 64]).is_ok())
}

fn datagrams(path: &Path, limit: Duration) -> Result<UdpSocket> {
    let any = SocketAddr::from(([0, 0, 0, 0], 0));
    let socket = path.from.run(|| Ok(UdpSocket::bind(any)?))?;
    socket.connect(path.to)?;
    socket.set_read_timeout(Some(limit))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_counted_and_answered() -> Result<()> {
        let pod = Arc::new(NetNs::new()?);
        let answering = Answering::start(&pod)?;
        let path = Path {
            from: pod,
            to: ([127, 0, 0, 1], PORT).into(),
        };
        first_answer(&path, LIMIT)?;
        assert!(round_trip(&path, 10)? > 0.0);
        let mut calls = 0;
        let flow = streams(&path, &answering, 2, 1, || {
            calls += 1;
            Ok(())
        })?;
        assert_eq!(calls, 2);
        assert!(flow.gigabytes() > 0.0 && flow.megabits() > 1.0);
        let nobody = Path {
            to: ([127, 0, 0, 1], PORT + 1).into(),
            from: path.from,
        };
        silence(&nobody, LIMIT)?;
        assert!(first_answer(&nobody, Duration::from_millis(20)).is_err());
        Ok(())
    }
}
