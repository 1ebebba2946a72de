//! Many objects: what a reconcile costs, in messages and time, with and without changes.

mod common;

use std::fmt::Write as _;
use std::time::Instant;

use common::NetNs;
use subm_routing::{
    Address, Family, Forward, Kernel, Link, LinkName, MacAddr, Neighbour, Network, Route, Rule,
    Settings, Traffic, Vxlan,
};

const TUN: LinkName = LinkName::from_static("vxlan-tunnel");

/// A gateway with cables to `endpoints` clusters of `subnets` CIDRs each, half of them IPv6.
fn cluster_set(endpoints: u8, subnets: u8) -> Network {
    let vtep = "241.0.0.1".parse().unwrap();
    let mut network = Network::new()
        .with(
            Link::vxlan(TUN, Vxlan::new(1000, 4500))
                .mtu(1450)
                .mac(MacAddr::for_vtep(vtep)),
        )
        .with(Address::new(TUN, "241.0.0.1/8".parse().unwrap()))
        .with(Address::new(TUN, "fd00:241::1/64".parse().unwrap()))
        .with(Rule::new(Family::V4, 100, 100))
        .with(Rule::new(Family::V6, 100, 100));
    for endpoint in 0..endpoints {
        let far: std::net::IpAddr = [241, 0, 1, endpoint].into();
        let far6: std::net::IpAddr = format!("fd00:241::1:{endpoint:x}").parse().unwrap();
        let mac = MacAddr::for_vtep(far);
        network.insert(Neighbour::new(TUN, far, mac));
        network.insert(Neighbour::new(TUN, far6, mac));
        network.insert(Forward::new(TUN, mac, [172, 31, 1, endpoint].into()));
        for subnet in 0..subnets {
            let route = if subnet % 2 == 0 {
                Route::via(
                    format!("20.{endpoint}.{subnet}.0/24").parse().unwrap(),
                    far,
                    TUN,
                )
            } else {
                Route::via(
                    format!("fd01:{endpoint:x}:{subnet:x}::/48")
                        .parse()
                        .unwrap(),
                    far6,
                    TUN,
                )
            };
            network.insert(route.table(100).metric(100));
        }
    }
    network
}

/// 10,000 routes of others, half of them IPv6.
fn others(node: &NetNs) {
    node.ip("link add eth0 type veth peer name uplink");
    node.ip("link set eth0 up");
    node.ip("link set uplink up");
    let mut batch = [String::new(), String::new()];
    for number in 0..5000 {
        let (a, b) = (number / 250, number % 250);
        writeln!(batch[0], "route add 30.{a}.{b}.0/24 dev eth0 proto bgp").unwrap();
        writeln!(
            batch[1],
            "route add fd02:{a:x}:{b:x}::/48 dev eth0 proto bgp"
        )
        .unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    for (family, batch) in ["-4", "-6"].into_iter().zip(batch) {
        let file = folder.path().join(family);
        std::fs::write(&file, batch).unwrap();
        node.ip(&format!("{family} -batch {}", file.display()));
    }
}

struct Cost {
    steps: usize,
    traffic: Traffic,
}

async fn cost(what: &str, kernel: &mut Kernel, network: &Network) -> Cost {
    let before = kernel.traffic().await.unwrap();
    let began = Instant::now();
    let report = kernel.apply(network).await.unwrap();
    let took = began.elapsed();
    assert!(report.all_done(), "{report}");
    let mut traffic = kernel.traffic().await.unwrap();
    traffic.dumps -= before.dumps;
    traffic.gets -= before.gets;
    traffic.writes -= before.writes;
    traffic.received -= before.received;
    eprintln!(
        "{what}: {} steps, {traffic:?}, {took:?}",
        report.steps.len()
    );
    Cost {
        steps: report.steps.len(),
        traffic,
    }
}

#[tokio::test]
async fn two_hundred_endpoints_of_fifty_cidrs_beside_ten_thousand_routes_of_others() {
    let node = NetNs::new();
    others(&node);
    let mut kernel = node.kernel(Settings::new());
    let network = cluster_set(200, 50);
    assert_eq!(network.routes().count(), 10_000);
    let nothing = cost(
        "nothing desired, nothing there",
        &mut kernel,
        &Network::new(),
    )
    .await;
    assert_eq!(nothing.traffic.writes, 0);
    assert!(
        nothing.traffic.received < 100,
        "the routes of others stay in the kernel"
    );
    let all = cost("all made", &mut kernel, &network).await;
    assert_eq!(all.steps, network.len());
    // One request each; the device takes a second one for its mark.
    assert_eq!(all.traffic.writes as usize, network.len() + 1);
    let none = cost("no change", &mut kernel, &network).await;
    assert_eq!(
        (none.steps, none.traffic.writes),
        (0, 0),
        "no message when nothing changed"
    );
    assert!(
        (none.traffic.received as usize) < network.len() + 200,
        "and only our own are read"
    );
    let more = cluster_set(201, 50);
    let added = cost("an endpoint more", &mut kernel, &more).await;
    assert_eq!((added.steps, added.traffic.writes), (53, 53));
    let removed = cost("an endpoint less", &mut kernel, &network).await;
    assert_eq!((removed.steps, removed.traffic.writes), (53, 53));
    // A new process finds all of it.
    let mut kernel = node.kernel(Settings::new());
    assert_eq!(
        cost("no change, new process", &mut kernel, &network)
            .await
            .traffic
            .writes,
        0
    );
    // What goes with the device is not removed one by one.
    let gone = cost("all removed", &mut kernel, &Network::new()).await;
    assert_eq!(
        (gone.steps, gone.traffic.writes),
        (3, 3),
        "two rules and the device"
    );
    assert_eq!(node.ip("route show proto bgp").lines().count(), 5000);
    assert_eq!(node.ip("-6 route show proto bgp").lines().count(), 5000);
    assert_eq!(node.ip("route show table all proto 83"), "");
}
