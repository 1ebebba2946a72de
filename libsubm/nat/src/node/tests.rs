use super::*;
use crate::{Key, Ports, Value};

fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

fn node() -> Node {
    let mut node = Node {
        local: ["10.8.0.0/16", "fd08::/48"].map(net).into(),
        remote: [
            (net("10.9.0.0/16"), Some(1450)),
            (net("fd09::/48"), Some(1450)),
            (net("10.99.0.0/16"), None),
        ]
        .into(),
        devices: [VX_SUBMARINER, Interface::literal("vxlan-tunnel")].into(),
        ports: [VX_SUBMARINER_PORT, 4500, 4490].into(),
        ..Node::default()
    };
    node.translate_host_network(Ipv4Addr::new(10, 8, 1, 1));
    node
}

fn chain(ruleset: &Ruleset, name: &'static str) -> Chain {
    ruleset.chains[&Name::literal(name)].clone()
}

fn set(ruleset: &Ruleset, name: &'static str) -> Vec<(Key, Option<Value>)> {
    let set = &ruleset.sets[&Name::literal(name)];
    set.elements()
        .map(|(key, value)| (*key, value.cloned()))
        .collect()
}

#[test]
fn it_can_be_loaded_with_and_without_anything() {
    Node::default().ruleset().check().unwrap();
    node().ruleset().check().unwrap();
}

/// Upstream: "Init should add expected IP sets and table rules".
#[test]
fn mtu_39_sets_and_rules_stand_before_any_cluster_is_known() {
    let ruleset = Node::default().ruleset();
    for name in ["local4", "local6", "remote4", "remote6", "mss4", "mss6"] {
        assert_eq!(set(&ruleset, name), [], "{name}");
    }
    assert_eq!(chain(&ruleset, "source").rules.len(), 4);
    let base = chain(&ruleset, "mss").rules;
    let [only_syns] = base.as_slice() else {
        panic!("{base:?}")
    };
    assert_eq!(only_syns.matches, [Match::tcp_syn()]);
    let mss = chain(&ruleset, "mss-syn");
    let clamps = mss
        .rules
        .iter()
        .filter(|rule| rule.statements == [Statement::ClampMss(Mss::PathMtu)]);
    assert_eq!(clamps.count(), 4, "both directions, both families");
}

/// Upstream: "a local Endpoint is added and removed", "a remote Endpoint is added and removed".
#[test]
fn mtu_56_77_clusters_come_and_go_as_elements() {
    let with = node();
    let mut without = with.clone();
    without.remote.remove(&net("10.99.0.0/16"));
    without.local.remove(&net("fd08::/48"));
    let (with, without) = (with.ruleset(), without.ruleset());
    assert_eq!(with.chains, without.chains);
    assert_eq!(set(&with, "remote4").len(), 2);
    assert_eq!(
        set(&without, "remote4"),
        [(net("10.9.0.0/16").into(), None)]
    );
    assert_eq!(set(&without, "local6"), []);
}

/// Upstream: "TCP MSS is forced to a specific value"; and defect 15.
#[test]
fn mtu_98_d15_each_cable_has_its_mss_for_each_family() {
    let ruleset = node().ruleset();
    let jump = |name| Some(Value::Verdict(Verdict::Jump(Name::literal(name))));
    assert_eq!(
        set(&ruleset, "mss4"),
        [(net("10.9.0.0/16").into(), jump("mss-1410"))]
    );
    assert_eq!(
        set(&ruleset, "mss6"),
        [(net("fd09::/48").into(), jump("mss-1390"))]
    );
    let clamp = chain(&ruleset, "mss-1410").rules[0].statements.clone();
    assert_eq!(clamp, [Statement::ClampMss(Mss::Bytes(1410))]);
}

#[test]
fn a_changed_mtu_is_followed() {
    let mut node = node();
    node.remote.insert(net("10.9.0.0/16"), Some(1400));
    let ruleset = node.ruleset();
    assert!(ruleset.chains.contains_key(&Name::literal("mss-1360")));
    assert!(!ruleset.chains.contains_key(&Name::literal("mss-1410")));
}

#[test]
fn sources_are_settled_before_anybody_masquerades_and_after_globalnet() {
    let base = chain(&node().ruleset(), "source").base.unwrap();
    assert!(base.priority < priority::SRCNAT && GLOBALNET_PRIORITY < base.priority);
    assert_eq!((base.kind, base.hook), (Kind::Nat, Hook::Postrouting));
}

#[test]
fn host_processes_speak_as_the_cni_address() {
    let ruleset = node().ruleset();
    let first = &chain(&ruleset, "source").rules[0];
    assert_eq!(
        first.matches,
        [
            Match::out_interface(VX_SUBMARINER),
            Match::source(net("240.0.0.0/8"))
        ]
    );
    let cni = NatTo::Address([10, 8, 1, 1].into());
    assert_eq!(first.statements, [Statement::Counter, Statement::Snat(cni)]);
    // Without a CNI address there is none.
    let mut without = node();
    without.host_network.clear();
    assert_eq!(chain(&without.ruleset(), "source").rules.len(), 4);
}

#[test]
fn devices_and_ports_are_accepted() {
    let ruleset = node().ruleset();
    let forward = chain(&ruleset, "forward");
    let matches: Vec<_> = forward
        .rules
        .iter()
        .flat_map(|rule| rule.matches.clone())
        .collect();
    for device in [VX_SUBMARINER, Interface::literal("vxlan-tunnel")] {
        assert!(matches.contains(&Match::in_interface(device.clone())));
        assert!(matches.contains(&Match::out_interface(device)));
    }
    let ports = Match::destination_port(Transport::Udp, Ports::Among([4490, 4500, 4800].into()));
    assert_eq!(chain(&ruleset, "input").rules[0].matches, [ports]);
}

/// Each packet goes through each chain, and these say nothing that another table's would have to listen to.
#[test]
fn without_devices_and_ports_there_is_no_chain_for_them() {
    let mut node = node();
    (node.devices, node.ports) = (BTreeSet::new(), BTreeSet::new());
    let chains = node.ruleset().chains;
    assert!(!chains.contains_key(&Name::literal("forward")));
    assert!(!chains.contains_key(&Name::literal("input")));
}

#[test]
fn globalnets_bits_are_left_alone() {
    assert_eq!(
        (GLOBALNET_MARK.value, GLOBALNET_MARK.mask),
        (0xC_0000, 0xC_0000)
    );
    for (name, chain) in &node().ruleset().chains {
        for rule in &chain.rules {
            let sets = rule
                .statements
                .iter()
                .any(|one| matches!(one, Statement::SetMark(_)));
            assert!(!sets, "{name} sets a mark");
        }
    }
}
