//! Joins two network namespaces with an encrypted cable.
//!
//!     cargo run -p subm-tunnel --example encrypted_cable     (as root)

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Instant;

use subm_routing::{Kernel, Route, Settings as Marks};
use subm_test_support::NetNs;
use subm_tunnel::health::{Icmp, Monitor, Settings as Checks, go_duration};
use subm_tunnel::wireguard::{DEVICE, Settings, WireGuard};
use subm_tunnel::{Cable, CableDriver as _, Local, PresharedKey, PrivateKey};
use tokio::sync::Barrier;

/// Gateway `me` of cluster `me`, which has 10.`me`.0.0/16, and its cable to cluster `far`.
async fn gateway(me: u8, far: u8, keys: [PrivateKey; 2], both: &Barrier) -> anyhow::Result<()> {
    let [own, other] = keys;
    let source = Ipv4Addr::new(10, me, 0, 1);
    let local = Local {
        private_ip: [192, 0, 2, me].into(),
        port: 4500,
        mtu: 1500,
        source: Some(source),
        source6: None,
    };
    let cable = Cable::new(
        format!("cable-c{far}"),
        format!("c{far}"),
        [192, 0, 2, far].into(),
        4500,
    )
    .subnets([format!("10.{far}.0.0/16").parse()?])
    .public_key(other.public());
    let cables = [cable];

    let mut driver = WireGuard::open(Settings::new(
        own,
        PresharedKey::from_text("of the cluster set")?,
    ))
    .await?;
    driver.prepare(&local).await?;
    let (mut network, refusals) = driver.plan(&local, &cables);
    assert!(refusals.is_empty());
    network.extend(
        cables[0]
            .subnets
            .iter()
            .map(|net| Route::dev(*net, DEVICE).source(source.into())),
    );
    Kernel::open(Marks::new())?.apply(&network).await?;
    driver.ensure(&local, &cables).await?;

    let mut monitor = Monitor::start(Icmp::new(), Checks::default());
    monitor.set_targets([(cables[0].name.clone(), IpAddr::from([10, far, 0, 1]))].into());
    let name = &cables[0].name;
    while monitor.changed().await {
        let healths = monitor.healths();
        for connection in driver.observe(Instant::now()).await? {
            let connection = connection.with_health(healths.get(name));
            let Some(rtt) = connection.rtt else { continue };
            let by = driver.capabilities().implementation;
            println!(
                "gateway {me}: {name} {} ({by}), {}",
                connection.status,
                go_duration(rtt.last)
            );
            // It ends when the other one has seen it, too.
            both.wait().await;
            return Ok(());
        }
    }
    Ok(())
}

fn main() -> anyhow::Result<()> {
    let keys = [PrivateKey::generate(), PrivateKey::generate()];
    let ends = [NetNs::new()?, NetNs::new()?];
    let both = &Barrier::new(2);
    ends[0].ip(&format!(
        "link add wire type veth peer name wire netns {}",
        ends[1].path()
    ))?;
    thread::scope(|scope| {
        let gateways = [(1_u8, 2_u8), (2, 1)].map(|(me, far)| {
            let (end, mine, theirs) = (&ends[usize::from(me) - 1], &keys[usize::from(me) - 1], &keys[usize::from(far) - 1]);
            scope.spawn(move || {
                end.ip(&format!("addr add 192.0.2.{me}/24 dev wire\nlink set wire up\naddr add 10.{me}.0.1/32 dev lo"))?;
                end.enter()?;
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                runtime.block_on(gateway(me, far, [mine.clone(), theirs.clone()], both))
            })
        });
        gateways
            .into_iter()
            .try_for_each(|gateway| gateway.join().expect("no panic"))
    })
}
