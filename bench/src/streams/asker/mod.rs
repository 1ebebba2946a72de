//! A client for what dnsperf does not do well: connections of one query each, with and without TLS resumption, HTTP/2 and
//! QUIC.

mod connections;
mod https;
mod message;
mod quic;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::ensure;
use clap::ValueEnum;

use crate::probe::Question;

/// What one connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// TCP, one query per connection.
    Tcp,
    /// TLS with a full handshake, one query per connection.
    Tls,
    /// TLS with a resumed session, one query per connection.
    Resumed,
    /// HTTP/2 with GET, many queries at once on lasting connections.
    Get,
    /// The same with POST.
    Post,
    /// QUIC, many queries at once on lasting connections.
    Quic,
    /// QUIC with a full handshake, one query per connection.
    QuicHandshakes,
}

/// How much is asked.
#[derive(Clone, Copy, Debug)]
pub struct Amount {
    /// Connections at once.
    pub clients: usize,
    /// Queries at once over all connections; where connections last.
    pub outstanding: usize,
    pub time: Duration,
}

/// Asks `port` of 127.0.0.1 the questions in turns; how many were answered with NOERROR. Anything else is an error.
pub fn ask(mode: Mode, port: u16, questions: &[Question], amount: Amount) -> anyhow::Result<usize> {
    ensure!(!questions.is_empty(), "no queries");
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let round = Round {
        addr,
        questions,
        next: AtomicUsize::new(0),
        until: Instant::now() + amount.time,
    };
    match mode {
        Mode::Tcp | Mode::Tls | Mode::Resumed => round.connections(mode, amount.clients),
        Mode::Get | Mode::Post => runtime()?.block_on(round.https(mode, amount)),
        Mode::Quic | Mode::QuicHandshakes => runtime()?.block_on(round.quic(mode, amount)),
    }
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

struct Round<'a> {
    addr: SocketAddr,
    questions: &'a [Question],
    next: AtomicUsize,
    until: Instant,
}

impl Round<'_> {
    /// With the id 0, as QUIC wants it.
    fn next_query(&self) -> &[u8] {
        self.questions[self.next.fetch_add(1, Relaxed) % self.questions.len()].octets()
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}
