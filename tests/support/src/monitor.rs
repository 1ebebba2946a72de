//! What changes in a node's kernel, as it happens: the netlink messages behind `ip monitor` and `nft monitor`.
//!
//! A state that is the same before and after may have been written a hundred times in between; this tells.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::netns::NetNs;
use crate::{Binaries, Process, eventually};

/// Families of netlink in `/proc/net/netlink`.
const ROUTE: &str = "0";
const NETFILTER: &str = "12";
const DEADLINE: Duration = Duration::from_secs(30);

/// Listens until it is dropped.
///
/// ```no_run
/// # async fn f(node: std::sync::Arc<subm_test_support::NetNs>) -> anyhow::Result<()> {
/// let monitor = subm_test_support::Monitor::start(&node).await?;
/// // … nothing is to be done …
/// assert_eq!(monitor.changes()?, [""; 0]);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Monitor {
    network: Process,
    filter: Process,
}

impl Monitor {
    /// Hears of all that happens after it has returned.
    pub async fn start(netns: &Arc<NetNs>) -> Result<Self> {
        let words = ["monitor", "link", "address", "route", "rule", "neigh"];
        Ok(Self {
            network: listen(netns, ROUTE, "ip", &words).await?,
            filter: listen(netns, NETFILTER, "nft", &["monitor"]).await?,
        })
    }

    /// Changes of links, addresses, routes, rules and permanent neighbours, and of the packet filter: a line each.
    pub fn changes(&self) -> Result<Vec<String>> {
        let network = self.network.output()?;
        let network = network.lines().filter(|line| !is_learned(line));
        let filter = self.filter.output()?;
        // Who did it is told after what was done.
        let filter = filter
            .lines()
            .filter(|line| !line.starts_with("# new generation"));
        Ok(network.chain(filter).map(str::to_owned).collect())
    }
}

/// What the kernel learns of neighbours by itself.
fn is_learned(line: &str) -> bool {
    const STATES: [&str; 7] = [
        "REACHABLE",
        "STALE",
        "DELAY",
        "PROBE",
        "INCOMPLETE",
        "FAILED",
        "NOARP",
    ];
    STATES.iter().any(|state| line.trim_end().ends_with(state))
}

/// Starts a program, and waits until it listens.
async fn listen(
    netns: &Arc<NetNs>,
    family: &str,
    program: &str,
    words: &[&str],
) -> Result<Process> {
    let before = listeners(netns, family)?;
    let mut command = Command::new(Binaries::find(program)?);
    command.args(words);
    let mut process = netns.spawn("monitor", command)?;
    eventually(DEADLINE, || {
        let mut listens = || {
            process.ensure_running()?;
            ensure!(
                listeners(netns, family)? > before,
                "{program} does not listen yet"
            );
            Ok(())
        };
        std::future::ready(listens())
    })
    .await?;
    Ok(process)
}

/// How many sockets of a family hear what is told to all.
fn listeners(netns: &NetNs, family: &str) -> Result<usize> {
    netns.run(|| {
        // Of this thread: the process's own is elsewhere.
        let path = Path::new("/proc/thread-self/net/netlink");
        let sockets = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let hears = |line: &&str| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            fields.get(1) == Some(&family)
                && fields.get(3).is_some_and(|groups| *groups != "00000000")
        };
        Ok(sockets.lines().filter(hears).count())
    })
}
