//! Health checks with real echoes, of both families.

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::{SOON, Switch, lan, lan6, pod, pod6};
use subm_tunnel::health::{Icmp, Monitor, PathStatus, Settings};

fn is(monitor: &Monitor, cable: &str, status: PathStatus) -> bool {
    monitor
        .healths()
        .get(cable)
        .is_some_and(|health| health.status == status)
}

async fn until(monitor: &mut Monitor, what: impl Fn(&Monitor) -> bool) -> Result<()> {
    let turns = async {
        while !what(monitor) {
            ensure!(monitor.changed().await);
        }
        Ok(())
    };
    match tokio::time::timeout(SOON, turns).await {
        Ok(done) => done,
        Err(_) => anyhow::bail!("not in time: {:?}", monitor.healths()),
    }
}

/// With Submariner's settings: connected at once, an error within six seconds of a cut, and back.
#[test]
fn a_cut_is_seen_within_six_seconds_and_healed_at_once() -> Result<()> {
    let switch = Switch::new()?;
    let (one, two) = (switch.node(1)?, switch.node(2)?);
    for (node, other) in [(&one, 2), (&two, 1)] {
        node.ip(&format!(
            "route add 10.{other}.0.0/16 via {} dev eth0\nroute add fd0{other}::/32 via {} dev eth0",
            lan(other),
            lan6(other)
        ))?;
    }
    // Behind it is nothing, and it says so: that is no reply.
    two.sysctl(&[
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/icmp_ratelimit", "0"),
        ("ipv6/icmp/ratelimit", "0"),
    ])?;
    two.ip("route add unreachable 10.4.0.0/16\nroute add unreachable fd04::/32")?;
    one.ip(&format!(
        "route add 10.4.0.0/16 via {} dev eth0\nroute add fd04::/32 via {} dev eth0",
        lan(2),
        lan6(2)
    ))?;
    one.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut monitor = Monitor::start(Icmp::new(), Settings::default());
            let targets: [(&str, IpAddr); 5] = [
                ("c2", pod(2)),
                ("c2-v6", pod6(2)),
                ("c3", pod(3)),
                ("c4", pod(4)),
                ("c4-v6", pod6(4)),
            ];
            let targets: BTreeMap<_, _> = targets.map(|(cable, ip)| (cable.to_owned(), ip)).into();
            monitor.set_targets(targets);
            let start = Instant::now();
            until(&mut monitor, |m| {
                ["c2", "c2-v6"]
                    .iter()
                    .all(|c| is(m, c, PathStatus::Connected))
            })
            .await?;
            ensure!(
                start.elapsed() < Duration::from_secs(3),
                "{:?}",
                start.elapsed()
            );
            let rtt = monitor.healths()["c2"].rtt;
            ensure!(
                rtt.is_some_and(|rtt| rtt.last < Duration::from_millis(500)),
                "{rtt:?}"
            );

            until(&mut monitor, |m| {
                ["c4", "c4-v6"].iter().all(|c| is(m, c, PathStatus::Error))
            })
            .await?;
            ensure!(monitor.healths()["c4"].rtt.is_none());

            switch.plug(2, false)?;
            let cut = Instant::now();
            until(&mut monitor, |m| {
                ["c2", "c2-v6"].iter().all(|c| is(m, c, PathStatus::Error))
            })
            .await?;
            ensure!(
                cut.elapsed() < Duration::from_secs(6),
                "{:?}",
                cut.elapsed()
            );
            ensure!(
                cut.elapsed() > Duration::from_secs(3),
                "{:?}",
                cut.elapsed()
            );
            let message = monitor.healths()["c2"].message.clone();
            ensure!(
                message == "Failed to successfully ping the remote endpoint IP \"10.2.0.1\"",
                "{message}"
            );
            // One without a route is lost, too.
            until(&mut monitor, |m| is(m, "c3", PathStatus::Error)).await?;

            switch.plug(2, true)?;
            let healed = Instant::now();
            until(&mut monitor, |m| {
                ["c2", "c2-v6"]
                    .iter()
                    .all(|c| is(m, c, PathStatus::Connected))
            })
            .await?;
            ensure!(
                healed.elapsed() < Duration::from_secs(10),
                "{:?}",
                healed.elapsed()
            );
            Ok(())
        })
    })
}
