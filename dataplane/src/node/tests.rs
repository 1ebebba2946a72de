mod kubeproxy;

use proptest::prelude::*;
use subm_routing::{Key, LinkName, Object};

use super::*;

const WG: LinkName = LinkName::from_static("submariner");
const TUNNEL: LinkName = LinkName::from_static("vxlan-tunnel");

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

/// Nodes as in a recording of a running Submariner: a gateway and a worker of c1.
fn view(node: &str, way: Way) -> View {
    let nodes: BTreeMap<String, IpAddr> = [
        ("c1-gw1", "172.31.1.11"),
        ("c1-w1", "172.31.1.21"),
        ("c1-w2", "172.31.1.22"),
    ]
    .map(|(name, address)| (name.to_owned(), ip(address)))
    .into();
    let cni = if node == "c1-gw1" {
        "10.8.1.1"
    } else {
        "10.8.11.1"
    };
    View {
        node: node.to_owned(),
        addresses: [nodes[node]].into(),
        uplink: Uplink {
            link: LinkName::from_static("eth0"),
            address: nodes[node],
            gateway: Some(ip("172.31.1.254")),
            mtu: 1500,
        },
        cni: Some(Cni {
            link: LinkName::from_static("cni0"),
            address: Some(cni.parse().expect("IPv4")),
            address6: Some("fd08:11::1".parse().expect("IPv6")),
        }),
        pods: vec![net("10.8.0.0/16"), net("fd08::/48")],
        gateway: Some(Gateway {
            node: "c1-gw1".to_owned(),
            private_ip: ip("172.31.1.11"),
            way,
            mtu: Some(1420),
        }),
        nodes,
    }
}

fn remote(cluster: &str, private: &str, networks: &[&str]) -> Remote {
    Remote {
        endpoint: format!("{cluster}-submariner-cable-{cluster}"),
        cluster: cluster.to_owned(),
        cable: format!("submariner-cable-{cluster}"),
        node: format!("{cluster}-gw1"),
        networks: networks.iter().map(|text| net(text)).collect(),
        private_ip: ip(private),
        public_ip: None,
        health_check_ip: None,
        backend: "wireguard".to_owned(),
        port: 4500,
        public_key: None,
        vtep_mac: None,
        nat_enabled: false,
        load_balancer: false,
    }
}

fn c2() -> Vec<Remote> {
    vec![remote(
        "c2",
        "172.31.2.11",
        &["10.9.0.0/16", "10.99.0.0/16", "fd09::/48"],
    )]
}

/// As `ip` prints it, sorted.
fn lines(plan: &Plan) -> Vec<String> {
    plan.network
        .objects()
        .values()
        .map(ToString::to_string)
        .collect()
}

fn has(plan: &Plan, line: &str) -> bool {
    lines(plan).iter().any(|other| other.starts_with(line))
}

/// A host has several addresses, and its gateway process need not have told the one of the default route; nor need the node be called as the host.
#[test]
fn a_gateway_is_where_its_address_is() {
    let mut host = view("c1-w1", Way::Device(WG));
    let gateway = host.gateway.clone().expect("a gateway");
    assert!(!host.is_on(&gateway));
    host.addresses.insert(gateway.private_ip);
    assert!(host.is_on(&gateway));
    // The others find it by the address that it told.
    let way = "240.31.1.11";
    let worker = plan(&view("c1-w2", Way::Device(WG)), &c2());
    let via = |line: &String| line.contains(&format!("via {way}"));
    assert!(lines(&worker).iter().any(via), "{:?}", lines(&worker));
    let gateway = plan(&host, &c2());
    let own = |line: &String| line.contains(&format!("{way}/8"));
    assert!(lines(&gateway).iter().any(own), "{:?}", lines(&gateway));
}

#[test]
fn a_worker_sends_to_its_gateway() {
    let plan = plan(&view("c1-w1", Way::Device(WG)), &c2());
    assert!(plan.troubles.is_empty());
    let link = plan.network.link(DEVICE).expect("the device");
    assert_eq!(link.mtu, Some(1450));
    assert_eq!(link.mac, Some("0a:53:f0:1f:01:15".parse().unwrap()));
    for line in [
        "link vx-submariner vxlan id 100 remote 172.31.1.11 dstport 4800",
        "address 240.31.1.21/8 dev vx-submariner",
        "address fd53:7562:6d00:64::f01f:115/96 dev vx-submariner",
        "10.9.0.0/16 via 240.31.1.11 dev vx-submariner",
        "10.99.0.0/16 via 240.31.1.11 dev vx-submariner",
        "fd09::/48 via fd53:7562:6d00:64::f01f:10b dev vx-submariner",
    ] {
        let line = if line.contains(" via ") {
            format!("route {line}")
        } else {
            line.to_owned()
        };
        assert!(has(&plan, &line), "{line} in {:#?}", lines(&plan));
    }
    assert_eq!(plan.network.forwards().count(), 0);
    assert_eq!(plan.network.rules().count(), 0);
    assert_eq!(plan.network.routes().count(), 3);
}

#[test]
fn a_gateway_floods_to_the_others_and_has_a_table() {
    let plan = plan(&view("c1-gw1", Way::Device(WG)), &c2());
    let floods: Vec<IpAddr> = plan
        .network
        .forwards()
        .map(|forward| forward.remote)
        .collect();
    assert_eq!(floods, [ip("172.31.1.21"), ip("172.31.1.22")], "not itself");
    let rules: Vec<(u32, u32)> = plan
        .network
        .rules()
        .map(|rule| (rule.priority, rule.table))
        .collect();
    assert_eq!(rules, [(150, 150), (150, 150)]);
    for route in plan.network.routes() {
        assert_eq!((route.table, route.hops()[0].link), (150, WG));
        let source = if route.destination.addr().is_ipv4() {
            "10.8.1.1"
        } else {
            "fd08:11::1"
        };
        assert_eq!(route.source, Some(ip(source)));
    }
    assert_eq!(plan.network.routes().count(), 3);
}

/// Surprise 3 of the recording: Submariner's table 150 beside a VXLAN cable leads nowhere and is never used.
#[test]
fn a_cable_with_routes_of_its_own_needs_no_table() {
    let plan = plan(&view("c1-gw1", Way::Own(TUNNEL)), &c2());
    assert_eq!(
        (plan.network.rules().count(), plan.network.routes().count()),
        (0, 0)
    );
    assert!(plan.network.link(DEVICE).is_some());
}

/// Defect 13: without a CNI device on the node pods still reach the other clusters.
#[test]
fn d13_without_a_cni_device_there_are_routes_all_the_same() {
    let mut view = view("c1-gw1", Way::Device(WG));
    view.cni = None;
    let plan = plan(&view, &c2());
    assert_eq!(plan.troubles, [Trouble::NoCni]);
    assert_eq!(plan.network.routes().count(), 3);
    assert!(plan.network.routes().all(|route| route.source.is_none()));
}

/// Issue 1106 of Submariner: the other gateway's address lies in its cluster's own network.
#[test]
fn the_tunnels_packets_do_not_go_into_the_tunnel() {
    let remotes = [remote("c2", "10.9.200.1", &["10.9.0.0/16"])];
    let plan = plan(&view("c1-gw1", Way::Device(WG)), &remotes);
    assert!(
        has(&plan, "route 10.9.200.1/32 via 172.31.1.254 dev eth0"),
        "{:#?}",
        lines(&plan)
    );
}

/// Defect 16
#[test]
fn d16_nodes_with_the_same_last_octets_are_told() {
    let mut view = view("c1-w1", Way::Device(WG));
    view.nodes.insert("far".to_owned(), ip("10.31.1.21"));
    let plan = plan(&view, &c2());
    let [trouble @ Trouble::SameVtep { .. }] = &plan.troubles[..] else {
        panic!("{:?}", plan.troubles);
    };
    assert!(trouble.to_string().contains("\"far\"") && trouble.to_string().contains("240.31.1.21"));
}

/// The same nodes without any IPv4.
fn view6(node: &str, way: Way) -> View {
    let mut view = view(node, way);
    let of6 = |address: IpAddr| match address {
        IpAddr::V4(address) => {
            let [_, _, _, last] = address.octets();
            ip(&format!("fd00:20:8::{last:x}"))
        }
        IpAddr::V6(_) => address,
    };
    view.uplink.address = of6(view.uplink.address);
    view.uplink.gateway = Some(ip("fd00:20:8::1"));
    for address in view.nodes.values_mut() {
        *address = of6(*address);
    }
    let gateway = view.gateway.as_mut().expect("a gateway");
    gateway.private_ip = of6(gateway.private_ip);
    view.cni.as_mut().expect("a CNI").address = None;
    view.pods = vec![net("fd08::/48")];
    view
}

/// Before, such a node was left as it was.
#[test]
fn nodes_of_ipv6_reach_their_gateway_by_it() {
    let worker = plan(&view6("c1-w1", Way::Device(WG)), &c2());
    assert_eq!(worker.troubles, []);
    for line in [
        "link vx-submariner vxlan id 100 remote fd00:20:8::b dstport 4800 mtu 1430",
        "address 240.16.127.253/8 dev vx-submariner",
        "address fd53:7562:6d00:64::f010:7ffd/96 dev vx-submariner",
        "route 10.9.0.0/16 via 240.16.127.227 dev vx-submariner",
        "route fd09::/48 via fd53:7562:6d00:64::f010:7fe3 dev vx-submariner",
    ] {
        assert!(has(&worker, line), "{line} in {:#?}", lines(&worker));
    }
    assert!(!worker.filter.host_network.contains_key(&net("240.0.0.0/8")));
    worker.filter.ruleset().check().expect("a ruleset");
    let gateway = plan(&view6("c1-gw1", Way::Device(WG)), &c2());
    assert_eq!(gateway.troubles, []);
    for line in [
        "link vx-submariner vxlan id 100 local fd00:20:8::b dstport 4800",
        "fdb 00:00:00:00:00:00 dev vx-submariner dst fd00:20:8::15",
        "route fd09::/48 dev submariner table 150 metric 1024 src fd08:11::1",
    ] {
        assert!(has(&gateway, line), "{line} in {:#?}", lines(&gateway));
    }
}

/// An Endpoint tells one address, of the family that the other clusters use.
#[test]
fn a_gateway_known_by_its_other_family_is_found_by_its_node() {
    let mut view = view("c1-w1", Way::Device(WG));
    let before = plan(&view, &c2());
    view.gateway.as_mut().expect("a gateway").private_ip = ip("fd00:20:8::b");
    assert_eq!(plan(&view, &c2()), before);
    view.nodes.remove("c1-gw1");
    let lost = plan(&view, &c2());
    assert_eq!(
        lost.troubles,
        [Trouble::GatewayElsewhere(ip("fd00:20:8::b"))]
    );
    assert_eq!(lost.network.routes().count(), 0);
}

#[test]
fn without_a_gateway_nothing_is_needed() {
    let mut view = view("c1-w1", Way::Device(WG));
    view.gateway = None;
    assert_eq!(plan(&view, &c2()), Plan::default());
}

/// Defect 8: what an Endpoint changes is applied, since all is made anew from what is known.
#[test]
fn d8_another_network_or_gateway_is_another_plan() {
    let view = view("c1-w1", Way::Device(WG));
    let before = plan(&view, &c2()).network;
    let after = plan(&view, &[remote("c2", "172.31.2.11", &["10.19.0.0/16"])]).network;
    let key = |text: &str| Key::Route {
        table: 254,
        destination: net(text),
        metric: 0,
    };
    assert!(before.get(&key("10.9.0.0/16")).is_some() && after.get(&key("10.9.0.0/16")).is_none());
    assert!(after.get(&key("10.19.0.0/16")).is_some());
    let mut moved = view.clone();
    let gateway = moved.gateway.as_mut().expect("a gateway");
    gateway.private_ip = ip("172.31.1.22");
    gateway.node = "c1-w2".to_owned();
    assert!(has(
        &plan(&moved, &c2()),
        "route 10.9.0.0/16 via 240.31.1.22"
    ));
}

#[test]
fn a_gateway_whose_host_has_another_name_is_known_by_its_address() {
    let by_name = view("c1-gw1", Way::Device(WG));
    let mut by_address = by_name.clone();
    by_address.node = "ip-172-31-1-11.cloud.internal".to_owned();
    let nodes = std::mem::take(&mut by_address.nodes);
    let renamed = |name: String| match name.as_str() {
        "c1-gw1" => by_address.node.clone(),
        _ => name,
    };
    by_address.nodes = nodes
        .into_iter()
        .map(|(name, ip)| (renamed(name), ip))
        .collect();
    assert_eq!(plan(&by_address, &c2()), plan(&by_name, &c2()));
}

#[test]
fn the_packet_filter_knows_both_sides() {
    let filter = plan(&view("c1-w1", Way::Device(WG)), &c2()).filter;
    assert!(filter.local.contains(&net("10.8.0.0/16")) && filter.local.contains(&net("fd08::/48")));
    assert_eq!(filter.remote.get(&net("10.9.0.0/16")), Some(&Some(1420)));
    assert_eq!(
        filter.host_network.get(&net("240.0.0.0/8")),
        Some(&ip("10.8.11.1"))
    );
    assert_eq!(
        filter.host_network.get(&net("fd53:7562:6d00:64::/96")),
        Some(&ip("fd08:11::1"))
    );
    filter.ruleset().check().expect("a ruleset that nft takes");
    let filter = plan(&view("c1-gw1", Way::Device(WG)), &c2()).filter;
    filter.ruleset().check().expect("a ruleset that nft takes");
}

/// Each packet would go through them, to be accepted by nobody else (docs/adr/0015).
#[test]
fn there_are_no_chains_that_only_accept() {
    for node in ["c1-w1", "c1-gw1"] {
        let filter = plan(&view(node, Way::Device(WG)), &c2()).filter;
        assert!(filter.devices.is_empty() && filter.ports.is_empty());
    }
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![
        Just(Way::Device(WG)),
        Just(Way::Uplink),
        Just(Way::Own(TUNNEL))
    ]
}

proptest! {
    /// Whatever clusters there are: each network has one way, nothing but our device and tables is touched, and the order
    /// in which clusters are heard of does not matter.
    #[test]
    fn plans_keep_to_their_own(
        way in any_way(),
        gateway in any::<bool>(),
        clusters in prop::collection::btree_set(2..40_u8, 0..6),
    ) {
        let view = view(if gateway { "c1-gw1" } else { "c1-w1" }, way);
        let mut remotes: Vec<Remote> = clusters
            .iter()
            .map(|n| remote(&format!("c{n}"), &format!("172.31.{n}.11"), &[&format!("10.{}.0.0/16", 100 + n), &format!("fd{n:02}::/48")]))
            .collect();
        let one = plan(&view, &remotes);
        remotes.reverse();
        prop_assert_eq!(&one, &plan(&view, &remotes));
        for object in one.network.objects().values() {
            let ours = match object {
                Object::Link(link) => link.name == DEVICE,
                Object::Address(address) => address.link == DEVICE,
                Object::Forward(forward) => forward.link == DEVICE,
                Object::Route(route) => route.table == TABLE || route.hops().iter().all(|hop| hop.link == DEVICE),
                Object::Rule(rule) => rule.table == TABLE,
                Object::Sysctl(sysctl) => sysctl.key.path().contains("vx-submariner") || sysctl.key.path().contains("cni0"),
                _ => false,
            };
            prop_assert!(ours, "{}", object);
        }
        let expected = if gateway && matches!(way, Way::Own(_)) { 0 } else { remotes.len() * 2 };
        prop_assert_eq!(one.network.routes().count(), expected);
        prop_assert!(one.filter.ruleset().check().is_ok());
    }
}
