//! lighthouse-dns from this workspace.

use std::path::Path;

use super::LIGHTHOUSE;
use crate::server::{Server, free_addr, on_cores};
use crate::tables::Lab;

/// Serves a folder of manifests; whoever asks from this machine may take the zone.
pub fn start(lab: &Lab, manifests: &Path, cores: &str, workers: usize) -> anyhow::Result<Server> {
    start_with(lab, manifests, cores, workers, &[])
}

/// The same with further arguments.
pub fn start_with(
    lab: &Lab,
    manifests: &Path,
    cores: &str,
    workers: usize,
    arguments: &[String],
) -> anyhow::Result<Server> {
    let addr = free_addr()?;
    let mut command = on_cores(cores, &lab.binaries.join("lighthouse-dns"));
    command
        .arg("--manifests")
        .arg(manifests)
        .args(["--listen", &addr.to_string()])
        .args(["--workers", &workers.to_string()])
        .args(["--transfer-to", "127.0.0.1", "--name-server", "127.0.0.1"])
        .args(["--health", "off", "--ready", "off", "--metrics", "off"])
        .args(["--log-level", "warn"])
        .args(arguments);
    Server::start(LIGHTHOUSE, addr, command)
}
