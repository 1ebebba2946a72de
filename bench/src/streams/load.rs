//! Who asks: dnsperf where it can, `stream-asker` of this crate for HTTPS, QUIC and connections of one query. Both on core 1.

use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, ensure};
use clap::ValueEnum;

use super::asker::Mode;
use crate::dnsperf::{self, count};
use crate::server::on_cores;

/// What is asked how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// By dnsperf, in this mode.
    Pipelined(&'static str),
    /// By `stream-asker`.
    Own(Mode),
}

/// Connections that are open at once.
const CLIENTS: u32 = 8;
/// Queries that wait for an answer, over all connections: dnsperf's number too.
const OUTSTANDING: u32 = 200;

impl Load {
    /// Asks `port` of 127.0.0.1 for so long; how many queries were answered.
    pub fn run(
        self,
        binaries: &Path,
        port: u16,
        queries: &Path,
        seconds: u64,
    ) -> anyhow::Result<u64> {
        match self {
            Self::Pipelined(mode) => {
                let load = dnsperf::Load {
                    mode,
                    server: SocketAddr::from(([127, 0, 0, 1], port)),
                    queries,
                    edns: false,
                    seconds,
                    sockets: CLIENTS,
                    cores: &[1],
                };
                let outcome = load.run()?;
                ensure!(outcome.no_errors, "not all answers are NOERROR");
                Ok(outcome.completed)
            }
            Self::Own(mode) => {
                let mode = mode.to_possible_value().context("no mode is hidden")?;
                let mut asker = on_cores("1", &binaries.join("stream-asker"));
                asker
                    .args([mode.get_name(), "--port", &port.to_string()])
                    .args(["--seconds", &seconds.to_string()])
                    .args(["--clients", &CLIENTS.to_string()])
                    .args(["--outstanding", &OUTSTANDING.to_string()])
                    .arg("--queries")
                    .arg(queries);
                let output = asker.output().with_context(|| {
                    format!("cannot run {asker:?}; `cargo build --release -p subm-bench` makes it")
                })?;
                let text = String::from_utf8_lossy(&output.stdout);
                let errors = String::from_utf8_lossy(&output.stderr);
                ensure!(
                    output.status.success(),
                    "{asker:?}: {}\n{text}{errors}",
                    output.status
                );
                count(&text, "completed:")
            }
        }
    }
}
