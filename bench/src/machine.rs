//! Where a run took place: figures of two machines cannot be compared.

use std::fs;
use std::process::Command;

use anyhow::Context;
use subm_test_support::Binaries;

use crate::tables::Lab;

/// Processor, cores, kernel and versions of the programs that take part, a Markdown list.
pub fn describe(lab: &Lab) -> anyhow::Result<String> {
    let cores = std::thread::available_parallelism()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut text = format!(
        "* {}, {cores} cores, Linux {}\n",
        processor().unwrap_or_else(|| std::env::consts::ARCH.into()),
        kernel.trim()
    );
    let ours = version(Command::new(lab.binaries.join("lighthouse-dns")).arg("--version"))
        .context("lighthouse-dns --version")?;
    let mut versions = vec![ours];
    // Not every table needs every program.
    for (program, argument) in [
        ("knotd", "--version"),
        ("nsd", "-v"),
        ("unbound", "-V"),
        ("dnsdist", "--version"),
        ("dnsperf", "-h"),
    ] {
        if let Ok(path) = Binaries::find(program) {
            let line = version(Command::new(path).arg(argument));
            // Some say "Version 1" and not of what.
            versions.extend(line.map(|line| line.replacen("Version", program, 1)));
        }
    }
    text += &format!("* {}\n", versions.join("; "));
    if cfg!(debug_assertions) {
        text += "* **A debug build**: what programs of this workspace take of time, CPU and memory is more than they need\n";
    }
    Ok(text)
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(": ")?.1.trim().to_owned())
}

/// The first line of output that has a version.
fn version(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    let bytes = [output.stdout, output.stderr].concat();
    version_line(&String::from_utf8_lossy(&bytes)).map(str::to_owned)
}

fn version_line(output: &str) -> Option<&str> {
    let has_number = |line: &&str| {
        line.split_whitespace()
            .any(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
    };
    output.lines().map(str::trim).find(has_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_among_other_lines() {
        assert_eq!(
            version_line("NSD version 4.6.1\nWritten by\n"),
            Some("NSD version 4.6.1")
        );
        let dnsperf =
            "Usage: dnsperf [-f family]\n  -s the server (default: 127)\nVersion 2.10.0\n";
        assert_eq!(version_line(dnsperf), Some("Version 2.10.0"));
        assert_eq!(version_line("no number"), None);
    }
}
