//! Who asks: dnsperf where it can, `stream-asker` of this crate for connections of one query and for QUIC. Both on core 1.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::server::on_cores;

/// What is asked how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// dnsperf's mode: `tcp`, `dot`, `doh`.
    Pipelined(&'static str),
    /// A mode of `stream-asker`.
    Own(&'static str),
}

/// Connections that are open at once.
const CLIENTS: &str = "8";
/// Queries that wait for an answer, over all connections.
const OUTSTANDING: &str = "200";

impl Load {
    /// Asks `port` of 127.0.0.1 for so long; how many queries were answered.
    pub fn run(
        self,
        binaries: &Path,
        port: u16,
        queries: &Path,
        seconds: u64,
    ) -> anyhow::Result<u64> {
        let seconds = seconds.to_string();
        match self {
            Self::Pipelined(mode) => {
                let mut dnsperf = on_cores("1", Path::new("dnsperf"));
                dnsperf
                    .args(["-m", mode, "-s", "127.0.0.1", "-p", &port.to_string()])
                    .args(["-c", CLIENTS, "-q", OUTSTANDING, "-l", &seconds])
                    .args(["-O", "suppress=timeouts,unexpected"])
                    .arg("-d")
                    .arg(queries);
                let text = output(dnsperf, "tests/tools.sh installs it")?;
                let completed = count(&text, "Queries completed:")?;
                let no_errors = text.lines().any(|line| {
                    line.trim_start().starts_with("Response codes:")
                        && line.contains("NOERROR")
                        && line.contains("(100.00%)")
                });
                ensure!(no_errors, "not all answers are NOERROR:\n{text}");
                Ok(completed)
            }
            Self::Own(mode) => {
                let mut asker = on_cores("1", &binaries.join("stream-asker"));
                asker
                    .args([mode, "--port", &port.to_string(), "--seconds", &seconds])
                    .args(["--clients", CLIENTS, "--outstanding", OUTSTANDING])
                    .arg("--queries")
                    .arg(queries);
                count(
                    &output(asker, "`cargo build --release -p subm-bench` makes it")?,
                    "completed:",
                )
            }
        }
    }
}

fn output(mut command: Command, remedy: &str) -> anyhow::Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {command:?}; {remedy}"))?;
    if !output.status.success() {
        bail!(
            "{command:?}: {}\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The number behind `label`; an error where it is 0.
fn count(text: &str, label: &str) -> anyhow::Result<u64> {
    let after = text
        .lines()
        .find_map(|line| line.trim().strip_prefix(label));
    let number = after.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
    number
        .filter(|&count| count > 0)
        .with_context(|| format!("no count behind {label:?}:\n{text}"))
}
