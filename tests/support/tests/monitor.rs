//! Who listens to a kernel hears what is written there, and nothing where nothing is.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use subm_test_support::{Monitor, NetNs, eventually};

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn each_change_is_heard() -> Result<()> {
    let node = Arc::new(NetNs::new()?);
    node.ip("link add v0 type veth peer name v1\nlink set v0 addrgenmode none up\nlink set v1 addrgenmode none up")?;
    node.nft("table inet t {\nset s { type ipv4_addr; }\n}\n")?;
    let monitor = Monitor::start(&node).await?;
    for (what, expected) in [
        ("route add 192.0.2.0/24 dev v0", "192.0.2.0/24 dev v0"),
        ("rule add pref 77 lookup 77", "77:"),
        (
            "neigh add 192.0.2.7 lladdr 02:00:00:00:00:07 dev v0",
            "192.0.2.7 dev v0",
        ),
        ("link set v0 mtu 1400", "mtu 1400"),
    ] {
        let before = monitor.changes()?.len();
        node.ip(what)?;
        eventually(SOON, || async {
            let changes = monitor.changes()?;
            let heard = changes[before..].iter().any(|line| line.contains(expected));
            ensure!(heard, "{what}: {:?}", &changes[before..]);
            Ok(())
        })
        .await?;
    }
    let before = monitor.changes()?.len();
    node.nft("add element inet t s { 192.0.2.9 }\n")?;
    eventually(SOON, || async {
        let changes = monitor.changes()?;
        let heard = changes[before..]
            .iter()
            .any(|line| line.contains("192.0.2.9"));
        ensure!(heard, "{changes:?}");
        Ok(())
    })
    .await?;
    // What is only looked at is not heard; the next change is the next line.
    let before = monitor.changes()?.len();
    node.output("ip", &["route", "show", "table", "all"])?;
    node.output("nft", &["list", "ruleset"])?;
    node.ip("rule del pref 77")?;
    eventually(SOON, || async {
        let changes = monitor.changes()?;
        ensure!(changes.len() > before, "nothing yet");
        Ok(())
    })
    .await?;
    let changes = monitor.changes()?;
    ensure!(changes[before..].len() == 1, "{:?}", &changes[before..]);
    Ok(())
}
