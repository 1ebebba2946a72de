//! Joins two network namespaces with an encrypted cable.
//!
//!     cargo run -p subm-tunnel --example encrypted_cable     (as root)

use std::net::{IpAddr, Ipv4Addr};
use std::thread;
use std::time::Instant;

use anyhow::Result;
use ipnet::IpNet;
use subm_routing::{Kernel, Route, Settings as Marks};
use subm_test_support::NetNs;
use subm_tunnel::health::{Icmp, Monitor, Settings as Checks, go_duration};
use subm_tunnel::wireguard::{DEVICE, Settings, WireGuard};
use subm_tunnel::{Cable, CableDriver as _, Local, PresharedKey, PrivateKey};
use tokio::sync::Barrier;

/// Gateway `me`, whose cluster has 10.`me`.0.0/16, and its cable to gateway `far`.
async fn gateway(me: u8, far: u8, [own, other]: [PrivateKey; 2], both: &Barrier) -> Result<()> {
    let source = Ipv4Addr::new(10, me, 0, 1);
    let local = Local {
        private_ip: [192, 0, 2, me].into(),
        port: 4500,
        mtu: 1500,
        source: Some(source),
        source6: None,
    };
    let subnet: IpNet = format!("10.{far}.0.0/16").parse()?;
    let name = format!("cable-c{far}");
    let cable = Cable::new(&name, format!("c{far}"), [192, 0, 2, far].into(), 4500)
        .subnets([subnet])
        .public_key(other.public());
    let cables = [cable];

    let secret = PresharedKey::from_text("of the cluster set")?;
    let mut driver = WireGuard::open(Settings::new(own, secret)).await?;
    driver.prepare(&local).await?;
    let (network, _) = driver.plan(&local, &cables);
    let route = Route::dev(subnet, DEVICE).source(source.into());
    let mut kernel = Kernel::open(Marks::new())?;
    kernel.apply(&network.with(route)).await?;
    driver.ensure(&local, &cables).await?;

    let mut monitor = Monitor::start(Icmp::new(), Checks::default());
    monitor.set_targets([(name.clone(), IpAddr::from([10, far, 0, 1]))].into());
    while monitor.changed().await {
        let connections = driver.observe(Instant::now()).await?;
        let connection = connections[0]
            .clone()
            .with_health(monitor.healths().get(&name));
        if let Some(rtt) = connection.rtt {
            let by = driver.capabilities().implementation;
            let (status, rtt) = (connection.status, go_duration(rtt.last));
            println!("gateway {me}: {name} {status} ({by}), {rtt}");
            break;
        }
    }
    // Not before the other one has seen it, too.
    both.wait().await;
    Ok(())
}

fn main() -> Result<()> {
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
