//! Asks over connections for a while and prints how many queries were answered.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use subm_bench::streams::asker::{self, Amount, Mode};

#[derive(Clone, Copy, ValueEnum)]
enum How {
    Tcp,
    Tls,
    Resumed,
    Get,
    Post,
    Quic,
    QuicHandshakes,
}

#[derive(Parser)]
struct Args {
    how: How,
    /// Of 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// File in dnsperf's form.
    #[arg(long)]
    queries: PathBuf,
    #[arg(long)]
    seconds: u64,
    /// Connections at once.
    #[arg(long)]
    clients: usize,
    /// Queries at once over all connections, where they last.
    #[arg(long)]
    outstanding: usize,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mode = match args.how {
        How::Tcp => Mode::Tcp,
        How::Tls => Mode::Tls,
        How::Resumed => Mode::Resumed,
        How::Get => Mode::Get,
        How::Post => Mode::Post,
        How::Quic => Mode::Quic,
        How::QuicHandshakes => Mode::QuicHandshakes,
    };
    let text = std::fs::read_to_string(&args.queries)
        .with_context(|| args.queries.display().to_string())?;
    let amount = Amount {
        clients: args.clients,
        outstanding: args.outstanding,
        time: Duration::from_secs(args.seconds),
    };
    let answered = asker::ask(mode, args.port, &asker::read_queries(&text)?, amount)?;
    println!("completed: {answered}");
    Ok(())
}
