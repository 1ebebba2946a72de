use serde_json::json;

use super::*;
use crate::commands::finding::faults;

fn seen(backend: &str) -> Seen {
    Seen {
        settings: json!({
            "clusterID": "c1", "components": "connectivity", "clusterCIDR": "10.8.0.0/16", "serviceCIDR": "10.88.0.0/16",
        }),
        pods: vec![json!({
            "metadata": {"labels": {"gateway.submariner.io/status": "active"}}, "spec": {"nodeName": "w1"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })],
        endpoints: vec![
            json!({"spec": {
                "cluster_id": "c1", "subnets": ["10.8.0.0/16"], "private_ip": "172.20.8.11", "backend": backend,
            }}),
            json!({"spec": {
                "cluster_id": "c2", "subnets": ["10.9.0.0/16", "10.99.0.0/16", "10.8.128.0/17"], "private_ip": "172.20.9.11",
            }}),
        ],
        ..Seen::default()
    }
}

fn link(name: &str, mtu: u32) -> Link {
    Link {
        name: name.to_owned(),
        mtu,
        up: true,
    }
}

fn way(link: &str, via: Option<[u8; 4]>, nets: &[&str]) -> Way {
    Way {
        link: Some(link.to_owned()),
        via: via.map(IpAddr::from),
        networks: u32::try_from(nets.len()).unwrap(),
        some: nets.iter().map(|net| net.parse().unwrap()).collect(),
    }
}

const VX: &str = "vx-submariner";
const NETS: [&str; 2] = ["10.9.0.0/16", "10.99.0.0/16"];

fn worker() -> Node {
    Node {
        uplink: Some(link("eth0", 1500)),
        links: vec![link(VX, 1450)],
        ways: vec![way(VX, Some([240, 20, 8, 11]), &NETS)],
    }
}

fn told(node: &str, found: &Node) -> Vec<String> {
    let mut part = Part::new(TITLE);
    Wanted::of(&seen("vxlan"))
        .unwrap()
        .judge(&mut part, node, found);
    faults(&[part])
}

#[test]
fn what_overlaps_is_not_looked_for() {
    let wanted = Wanted::of(&seen("vxlan")).unwrap();
    let nets: Vec<String> = wanted
        .networks
        .iter()
        .map(|(net, _)| net.to_string())
        .collect();
    assert_eq!(nets, NETS);
    assert_eq!(wanted.address, IpAddr::from([172, 20, 8, 11]));
    let mut alone = seen("vxlan");
    alone.pods.clear();
    assert_eq!(Wanted::of(&alone), None);
}

#[test]
fn a_worker_sends_by_the_gateways_vtep() {
    assert!(told("w2", &worker()).is_empty());
    let mut missing = worker();
    missing.ways = vec![
        way("eth0", Some([172, 20, 8, 1]), &NETS[..1]),
        way(VX, Some([240, 20, 8, 11]), &NETS[1..]),
    ];
    assert_eq!(
        told("w2", &missing),
        [
            "Node w2 has no route by vx-submariner to 10.9.0.0/16 of cluster \"c2\": packets leave by eth0 to 172.20.8.1"
        ]
    );
    missing.ways = vec![Way {
        link: None,
        networks: 12,
        ..way("", None, &NETS)
    }];
    assert_eq!(
        told("w2", &missing),
        [
            "Node w2 has no route by vx-submariner to 10.9.0.0/16 of cluster \"c2\", 10.99.0.0/16 of cluster \"c2\" and 10 more: nothing leads there"
        ]
    );
    // To a gateway that leads no more.
    missing.ways = vec![way(VX, Some([240, 20, 8, 12]), &NETS)];
    assert_eq!(told("w2", &missing).len(), 1);
    missing.links.clear();
    assert_eq!(
        told("w2", &missing),
        ["Node w2 has no device vx-submariner"]
    );
    let mut down = worker();
    down.links[0].up = false;
    assert_eq!(
        told("w2", &down),
        ["On node w2 the device vx-submariner is down"]
    );
}

#[test]
fn the_gateway_sends_by_its_cables_device() {
    let gateway = |device: &str, mtu| Node {
        links: vec![link(VX, 1450), link(device, mtu)],
        ways: vec![way(device, Some([241, 20, 9, 11]), &NETS)],
        ..worker()
    };
    assert!(told("w1", &gateway("vxlan-tunnel", 1450)).is_empty());
    // As a worker would.
    let mut wrong = gateway("vxlan-tunnel", 1450);
    wrong.ways = worker().ways;
    assert_eq!(told("w1", &wrong).len(), 1);
    let wanted = Wanted::of(&seen("wireguard")).unwrap();
    let mut part = Part::new(TITLE);
    wanted.judge(&mut part, "w1", &gateway("submariner", 1420));
    assert_eq!(faults(&[part]), [""; 0]);
    // Nothing is known of another driver's device.
    let mut part = Part::new(TITLE);
    let wanted = Wanted::of(&seen("libreswan")).unwrap();
    wanted.judge(&mut part, "w1", &worker());
    assert_eq!(faults(&[part]), [""; 0]);
}

#[test]
fn an_mtu_is_too_large_or_too_small() {
    let with = |mtu| {
        let mut node = worker();
        node.links[0].mtu = mtu;
        told("w2", &node)
    };
    assert_eq!(
        with(1600),
        [
            "On node w2 the MTU of vx-submariner is 1600: with 50 bytes around them large packets do not fit into eth0 with 1500"
        ]
    );
    assert_eq!(
        with(1000),
        ["? On node w2 the MTU of vx-submariner is 1000, and 1450 would fit into eth0"]
    );
}

fn with_addresses(mut seen: Seen, addresses: &[&str]) -> Seen {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"type": "InternalIP", "address": address}))
        .collect();
    seen.nodes = vec![json!({"metadata": {"name": "w1"}, "status": {"addresses": addresses}})];
    seen
}

/// As the data plane makes it there: VTEPs of the whole address, and headers of IPv6 around packets.
#[test]
fn a_cluster_of_ipv6_alone_is_judged_by_its_own_measure() {
    let mut new = with_addresses(seen("vxlan"), &["fd00:20:8::b"]);
    new.endpoints[0]["spec"]["private_ip"] = json!("fd00:20:8::b");
    let wanted = Wanted::of(&new).unwrap();
    let told = |node: &str, found: &Node| {
        let mut part = Part::new(TITLE);
        wanted.judge(&mut part, node, found);
        faults(&[part])
    };
    let way6 = |via: &str| Way {
        via: via.parse().ok(),
        ..way(VX, None, &["fd09::/48"])
    };
    let mut node = Node {
        links: vec![link(VX, 1430)],
        ways: vec![
            way(VX, Some([240, 16, 127, 227]), &NETS),
            way6("fd53:7562:6d00:64::f010:7fe3"),
        ],
        ..worker()
    };
    assert_eq!(told("w2", &node), [""; 0]);
    node.links[0].mtu = 1450;
    assert!(told("w2", &node)[0].contains("with 70 bytes around them"));
    node.links[0].mtu = 1430;
    node.ways[1] = way6("fd53:7562:6d00:64::1");
    assert!(
        told("w2", &node)[0].contains("packets leave by vx-submariner to fd53:7562:6d00:64::1")
    );
    node.ways.clear();
    node.links.push(link("vxlan-tunnel", 1430));
    assert_eq!(told("w1", &node), [""; 0]);
}

#[test]
fn nodes_reach_the_gateway_by_the_family_that_all_have() {
    let of = |published: &str, addresses: &[&str]| {
        let mut seen = with_addresses(seen("vxlan"), addresses);
        seen.endpoints[0]["spec"]["private_ip"] = json!(published);
        gateway_address(&seen, "w1").map(|address| address.to_string())
    };
    let both = ["fd00:20:8::b", "172.20.8.11"];
    // Cables may be of IPv6 where nodes have both.
    assert_eq!(of("fd00:20:8::b", &both).as_deref(), Some("172.20.8.11"));
    assert_eq!(of("172.20.8.11", &both).as_deref(), Some("172.20.8.11"));
    assert_eq!(
        of("fd00:20:8::b", &both[..1]).as_deref(),
        Some("fd00:20:8::b")
    );
    assert_eq!(of("172.20.8.11", &[]).as_deref(), Some("172.20.8.11"));
}
