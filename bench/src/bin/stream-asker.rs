//! Asks over connections for a while and prints how many queries were answered.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use subm_bench::probe::Question;
use subm_bench::streams::asker::{self, Amount, Mode};

#[derive(Parser)]
struct Args {
    mode: Mode,
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
    let text = std::fs::read_to_string(&args.queries)
        .with_context(|| args.queries.display().to_string())?;
    let amount = Amount {
        clients: args.clients,
        outstanding: args.outstanding,
        time: Duration::from_secs(args.seconds),
    };
    let questions = Question::read(&text, false)?;
    let answered = asker::ask(args.mode, args.port, &questions, amount)?;
    println!("completed: {answered}");
    Ok(())
}
