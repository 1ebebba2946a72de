//! As many queries as a server answers, by `dnsperf`, and what it says of them.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use anyhow::{Context, ensure};
use subm_test_support::Binaries;

use crate::server::on_cores;

/// What to ask, and from where.
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// dnsperf's word for the transport: `udp`, `tcp`, `dot`.
    pub mode: &'a str,
    pub server: SocketAddr,
    /// A file with a query per line.
    pub queries: &'a Path,
    pub edns: bool,
    pub seconds: u64,
    /// Sockets to ask from.
    pub sockets: u32,
    /// Cores that dnsperf runs on, one thread each.
    pub cores: &'a [u8],
}

/// Queries that were answered and that were not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub completed: u64,
    pub lost: u64,
    /// All answers had the code NOERROR.
    pub no_errors: bool,
}

impl Load<'_> {
    /// Asks until the time is over. Loss is an error: what a lost query costs belongs to no figure.
    pub fn run(&self) -> anyhow::Result<Outcome> {
        let cores: Vec<String> = self.cores.iter().map(u8::to_string).collect();
        let mut dnsperf = on_cores(&cores.join(","), &Binaries::find("dnsperf")?);
        dnsperf
            .args(["-m", self.mode, "-s", &self.server.ip().to_string()])
            .args(["-p", &self.server.port().to_string()])
            .args(["-l", &self.seconds.to_string()])
            .args(["-c", &self.sockets.to_string()])
            .args(["-T", &self.cores.len().to_string()])
            .args(["-O", "suppress=timeouts,unexpected"])
            .args(["-q", "200", "-d"])
            .arg(self.queries);
        if self.edns {
            dnsperf.args(["-e", "-b", "2048"]);
        }
        let output = dnsperf
            .stdin(Stdio::null())
            .output()
            .context("cannot run dnsperf; tests/tools.sh installs it")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let outcome = parse(&text).with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr);
            format!(
                "dnsperf at {}: {}\n{text}{errors}",
                self.server, output.status
            )
        })?;
        ensure!(outcome.completed > 0, "{} answered no query", self.server);
        ensure!(
            outcome.lost * 1000 <= outcome.completed,
            "{} did not answer {} of {} queries",
            self.server,
            outcome.lost,
            outcome.completed + outcome.lost
        );
        Ok(outcome)
    }
}

fn parse(text: &str) -> anyhow::Result<Outcome> {
    let codes = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Response codes:"));
    Ok(Outcome {
        completed: count(text, "Queries completed:")?,
        lost: count(text, "Queries lost:")?,
        no_errors: codes
            .is_some_and(|codes| codes.contains("NOERROR") && codes.contains("(100.00%)")),
    })
}

/// The number behind a label.
pub(crate) fn count(text: &str, label: &str) -> anyhow::Result<u64> {
    text.lines()
        .find_map(|line| line.trim().strip_prefix(label))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .with_context(|| format!("no {label:?} in the output"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_found() -> anyhow::Result<()> {
        let text = "Statistics:\n\n  Queries sent:         201\n  Queries completed:    200 (99.50%)\n  \
                    Queries lost:         1 (0.50%)\n\n  Response codes:       NOERROR 200 (100.00%)\n";
        let outcome = parse(text)?;
        assert_eq!((outcome.completed, outcome.lost), (200, 1));
        assert!(outcome.no_errors);
        let text = text.replace(
            "NOERROR 200 (100.00%)",
            "NOERROR 100 (50.00%), SERVFAIL 100 (50.00%)",
        );
        assert!(!parse(&text)?.no_errors);
        Ok(())
    }

    #[test]
    fn output_without_counts_is_an_error() {
        let error = parse("Error: unable to connect").expect_err("no counts");
        assert!(error.to_string().contains("Queries completed:"));
    }
}
