//! A client that asks by schedule, whatever the server does: a reply is late by the time since its query *should*
//! have gone out, so a server that stalls is charged for every query that had to wait.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use hdrhistogram::Histogram;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::probe::Question;
use crate::server::pin_thread;

/// How long replies may take after the last query, and what a query without reply counts as.
const DRAIN: Duration = Duration::from_secs(1);

/// What to ask, and when.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    pub server: SocketAddr,
    pub questions: &'a [Question],
    /// Queries per second on average. Their distances are random (a Poisson process), the same in every run.
    pub rate: f64,
    pub seconds: u64,
    /// The client's; it spins there.
    pub core: usize,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    pub answered: u64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    /// By how much the client itself was late with its queries, 99th percentile: a machine that is busy otherwise shows
    /// here, and in the percentiles above it is not the server's.
    pub client_p99: f64,
}

/// What was seen, in nanoseconds.
struct Record {
    replies: Histogram<u64>,
    /// How late queries were sent.
    sends: Histogram<u64>,
    lost: u64,
}

impl Load<'_> {
    /// Asks until the time is over. A query without reply counts as a second.
    pub fn run(&self) -> anyhow::Result<Latency> {
        // A thread of its own, because the core is the thread's.
        let outcome = std::thread::scope(|scope| scope.spawn(|| self.ask()).join());
        match outcome {
            Ok(record) => record?.latency(),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    fn ask(&self) -> anyhow::Result<Record> {
        pin_thread(self.core).with_context(|| format!("cannot run on core {}", self.core))?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.connect(self.server)?;
        socket.set_nonblocking(true)?;
        socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;

        let schedule = schedule(self.rate, Duration::from_secs(self.seconds));
        let mut questions: Vec<Question> = self.questions.to_vec();
        ensure!(!questions.is_empty(), "no queries to send");
        // By message id, the time that its query was due.
        let mut waiting = vec![None; usize::from(u16::MAX) + 1];
        let mut replies = Histogram::new(3)?;
        let mut sends = Histogram::new(3)?;
        let mut buffer = [0; 4096];
        let mut sent = 0;
        let start = Instant::now();
        let mut end = start + Duration::from_secs(self.seconds) + DRAIN;
        while Instant::now() < end && (replies.len() as usize) < schedule.len() {
            if let Some(&due) = schedule.get(sent)
                && let Some(late) = start.elapsed().checked_sub(due)
            {
                let question = sent % questions.len();
                match socket.send(questions[question].with_id(sent as u16)) {
                    Ok(_) => {
                        waiting[usize::from(sent as u16)] = Some(due);
                        sent += 1;
                        sends.record(nanos(late)?)?;
                        end = end.max(Instant::now() + DRAIN);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error).context("sending a query"),
                }
            }
            match socket.recv(&mut buffer) {
                Ok(size) if size >= 12 => {
                    let id = usize::from(u16::from_be_bytes([buffer[0], buffer[1]]));
                    if let Some(due) = waiting[id].take() {
                        let late = start.elapsed().saturating_sub(due);
                        replies.record(nanos(late)?)?;
                    }
                }
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("receiving a reply"),
            }
        }
        let lost = schedule.len() - replies.len() as usize;
        ensure!(!replies.is_empty(), "{} answered no query", self.server);
        Ok(Record {
            replies,
            sends,
            lost: lost as u64,
        })
    }
}

/// When each query is due, counted from the start.
fn schedule(rate: f64, length: Duration) -> Vec<Duration> {
    let mut random = StdRng::seed_from_u64(1);
    let mut due = 0.0;
    let mut schedule = Vec::new();
    loop {
        // In (0, 1], of which there is a logarithm.
        let uniform = 1.0 - random.random::<f64>();
        due -= uniform.ln() / rate;
        if due >= length.as_secs_f64() {
            return schedule;
        }
        schedule.push(Duration::from_secs_f64(due));
    }
}

impl Record {
    fn latency(mut self) -> anyhow::Result<Latency> {
        let answered = self.replies.len();
        self.replies.record_n(nanos(DRAIN)?, self.lost)?;
        let micros = |histogram: &Histogram<u64>, quantile| {
            histogram.value_at_quantile(quantile) as f64 / 1000.0
        };
        Ok(Latency {
            answered,
            p50: micros(&self.replies, 0.5),
            p99: micros(&self.replies, 0.99),
            p999: micros(&self.replies, 0.999),
            client_p99: micros(&self.sends, 0.99),
        })
    }
}

/// What a histogram takes.
fn nanos(time: Duration) -> anyhow::Result<u64> {
    Ok(u64::try_from(time.as_nanos())?.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> anyhow::Result<Record> {
        Ok(Record {
            replies: Histogram::new(3)?,
            sends: Histogram::new(3)?,
            lost: 0,
        })
    }

    #[test]
    fn the_schedule_has_the_rate_and_is_always_the_same() {
        let length = Duration::from_secs(10);
        let times = schedule(2000.0, length);
        assert!((19_000..21_000).contains(&times.len()), "{}", times.len());
        assert!(times.is_sorted() && times.iter().all(|due| *due < length));
        assert_eq!(times, schedule(2000.0, length));
    }

    #[test]
    fn percentiles_are_those_of_the_values() -> anyhow::Result<()> {
        let mut record = record()?;
        for micros in 1..=1000_u64 {
            record.replies.record(micros * 1000)?;
            record.sends.record(micros)?;
        }
        let latency = record.latency()?;
        for (have, want) in [
            (latency.p50, 500.0),
            (latency.p99, 990.0),
            (latency.p999, 999.0),
            (latency.client_p99, 0.99),
        ] {
            assert!((have - want).abs() / want < 0.002, "{have} is not {want}");
        }
        Ok(())
    }

    #[test]
    fn a_lost_query_is_the_latest_of_all() -> anyhow::Result<()> {
        let mut record = record()?;
        record.replies.record_n(1000, 98)?;
        record.lost = 2;
        let latency = record.latency()?;
        assert_eq!(latency.answered, 98);
        assert!(latency.p50 < 1.1 && latency.p99 > 999_000.0, "{latency:?}");
        Ok(())
    }

    /// A server that is silent for a while: every query that was due then is late, not only the one that met it.
    #[test]
    fn a_stall_counts_for_all_queries_that_were_due() -> anyhow::Result<()> {
        const STALL: Duration = Duration::from_millis(500);
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let addr = server.local_addr()?;
        std::thread::spawn(move || {
            let mut buffer = [0; 512];
            let mut stalled = false;
            while let Ok((size, client)) = server.recv_from(&mut buffer) {
                if !std::mem::replace(&mut stalled, true) {
                    // The stall is the thing under test, not a wait for something.
                    std::thread::sleep(STALL);
                }
                if server.send_to(&buffer[..size], client).is_err() {
                    break;
                }
            }
        });
        let load = Load {
            server: addr,
            questions: &Question::read("a.b A", false)?,
            rate: 200.0,
            seconds: 1,
            core: 0,
        };
        let latency = load.run()?;
        // Half of the queries fall into the stall and wait 250 ms on average.
        assert!(latency.p99 > 300_000.0, "{latency:?}");
        Ok(())
    }
}
