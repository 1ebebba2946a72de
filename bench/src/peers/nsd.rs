//! NSD.

use std::path::Path;

use subm_test_support::Binaries;

use super::{NSD, write};
use crate::data::ZONE;
use crate::server::{Server, free_addr, on_cores};

/// Serves a zone file; `folder` is for its configuration.
pub fn start(zone: &Path, folder: &Path, cores: &str, workers: usize) -> anyhow::Result<Server> {
    start_with(zone, folder, cores, workers, "")
}

/// The same with further lines in the section `server` of its configuration.
pub fn start_with(
    zone: &Path,
    folder: &Path,
    cores: &str,
    workers: usize,
    options: &str,
) -> anyhow::Result<Server> {
    let addr = free_addr()?;
    let folder = folder.join(format!("nsd-{}", addr.port()));
    let listen = format!("{}@{}", addr.ip(), addr.port());
    let config = write(
        &folder,
        "nsd.conf",
        &config(zone, &folder, &listen, workers, options),
    )?;
    let mut command = on_cores(cores, &Binaries::find("nsd")?);
    command.arg("-d").arg("-c").arg(config);
    Server::start(NSD, addr, command)
}

/// Debian's build limits the rate of replies unless told otherwise. Minimal responses leave out what the others do
/// not send either (NS in Authority).
fn config(zone: &Path, folder: &Path, listen: &str, workers: usize, options: &str) -> String {
    format!(
        "\
server:
    server-count: {workers}
    ip-address: {listen}
    username: \"\"
    zonesdir: \"{folder}\"
    database: \"\"
    pidfile: \"{folder}/nsd.pid\"
    xfrdfile: \"{folder}/xfrd.state\"
    zonelistfile: \"{folder}/zone.list\"
    xfrdir: \"{folder}\"
    logfile: \"{folder}/log\"
    verbosity: 0
    rrl-ratelimit: 0
    minimal-responses: yes
{options}\
remote-control:
    control-enable: no
zone:
    name: {ZONE}
    zonefile: \"{zone}\"
",
        folder = folder.display(),
        zone = zone.display(),
    )
}
