//! Measures the tables that are named, or all, prints them, writes them with their plots into a folder, and exits with
//! 1 if a goal is missed by more than the run's own spread.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;
use subm_bench::report::{Table, Verdict};
use subm_bench::tables::{self, Lab};
use subm_bench::{machine, markdown, plot};

#[derive(Parser)]
struct Args {
    /// Tables to measure; all without any.
    tables: Vec<String>,
    /// Folder with the release binaries of this workspace.
    #[arg(long)]
    binaries: PathBuf,
    /// Folder for the report; it is named by the date and never written over.
    #[arg(long, default_value = "bench/results")]
    results: PathBuf,
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
    let mut report = Report::new(&args.results, &machine::describe(&lab)?)?;
    for (name, measure) in tables::ALL {
        if !args.tables.is_empty() && !args.tables.iter().any(|wanted| wanted == name) {
            continue;
        }
        for table in measure(&lab).with_context(|| format!("table {name}"))? {
            println!("{}", report.add(&table)?);
        }
    }
    println!("Written to {}", report.path().display());
    Ok(if report.missed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// A report that is on disk after each table: what was measured stays if a later table fails.
struct Report {
    folder: PathBuf,
    /// The date, and a number from the second report of a day on.
    name: String,
    text: String,
    missed: bool,
}

impl Report {
    fn new(folder: &Path, machine: &str) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("folder for results {}", folder.display()))?;
        let now = jiff::Timestamp::now();
        let date = now.strftime("%Y-%m-%d").to_string();
        let names = (2..).map(|number| format!("{date}-{number}"));
        let name = std::iter::once(date.clone())
            .chain(names)
            .find(|name| !folder.join(format!("{name}.md")).exists())
            .context("all names are taken")?;
        Ok(Self {
            folder: folder.to_owned(),
            name,
            text: format!("# {}\n\n{machine}", now.strftime("%Y-%m-%d %H:%M UTC")),
            missed: false,
        })
    }

    fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.md", self.name))
    }

    /// Writes a table and its plot; gives its text.
    fn add(&mut self, table: &Table) -> anyhow::Result<String> {
        let plot = format!("{}-{}.svg", self.name, table.slug());
        let path = self.folder.join(&plot);
        std::fs::write(&path, plot::svg(table)?).with_context(|| path.display().to_string())?;
        let text = markdown::of(table, &plot);
        self.text += "\n";
        self.text += &text;
        let path = self.path();
        std::fs::write(&path, &self.text).with_context(|| path.display().to_string())?;
        self.missed |= table
            .goals
            .iter()
            .any(|goal| goal.verdict() == Verdict::Missed);
        Ok(text)
    }
}
