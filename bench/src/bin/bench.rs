//! Measures the tables that are named, or all, prints them, and exits with 1 if a goal is missed by more than the run's
//! own spread.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::ensure;
use clap::Parser;
use subm_bench::tables::{self, Lab};

#[derive(Parser)]
struct Args {
    /// Tables to measure; all without any.
    tables: Vec<String>,
    /// Folder with the release binaries of this workspace.
    #[arg(long)]
    binaries: PathBuf,
    #[arg(long, default_value_t = 10_000)]
    services: usize,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of one measurement.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let known = |name: &String| tables::ALL.iter().any(|(have, _)| have == name);
    for name in &args.tables {
        let names: Vec<_> = tables::ALL.iter().map(|(name, _)| *name).collect();
        ensure!(
            known(name),
            "no table {name:?}; there are: {}",
            names.join(", ")
        );
    }
    let folder = tempfile::tempdir()?;
    let lab = Lab {
        binaries: args.binaries,
        folder: folder.path().to_owned(),
        services: args.services,
        rounds: args.rounds,
        seconds: args.seconds,
    };
    let mut missed = false;
    for (name, measure) in tables::ALL {
        if !args.tables.is_empty() && !args.tables.iter().any(|wanted| wanted == name) {
            continue;
        }
        for table in measure(&lab)? {
            println!("{table:#?}");
            missed |= table.goals.iter().any(subm_bench::report::Goal::is_missed);
        }
    }
    Ok(if missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}
