//! Knot DNS.

use std::path::Path;

use subm_test_support::Binaries;

use super::{KNOT, write};
use crate::data::ZONE;
use crate::server::{Server, free_addr, on_cores};

/// Serves a zone file; `folder` is for its configuration.
pub fn start(zone: &Path, folder: &Path, cores: &str, workers: usize) -> anyhow::Result<Server> {
    let addr = free_addr()?;
    let folder = folder.join(format!("knot-{}", addr.port()));
    let config = write(
        &folder,
        "knot.conf",
        &config(
            zone,
            &folder,
            &format!("{}@{}", addr.ip(), addr.port()),
            workers,
        ),
    )?;
    let mut command = on_cores(cores, &Binaries::find("knotd")?);
    command.arg("-c").arg(config);
    Server::start(KNOT, addr, command)
}

/// Without a journal, or checks that only cost time at the start.
fn config(zone: &Path, folder: &Path, listen: &str, workers: usize) -> String {
    format!(
        "\
server:
    rundir: \"{folder}\"
    listen: {listen}
    udp-workers: {workers}
    tcp-workers: 1
    background-workers: 1
log:
  - target: stderr
    any: error
database:
    storage: \"{folder}\"
zone:
  - domain: {ZONE}
    file: \"{zone}\"
    zonefile-load: whole
    journal-content: none
    semantic-checks: soft
",
        folder = folder.display(),
        zone = zone.display(),
    )
}
