use proptest::prelude::*;
use subm_routing::Object;

use super::*;

fn local() -> Local {
    Local {
        private_ip: [172, 31, 1, 11].into(),
        port: 4500,
        mtu: 1500,
        source: Some([10, 8, 1, 1].into()),
        source6: Some("fd08:1::1".parse().unwrap()),
    }
}

fn cable(cluster: u8, private: &str, subnets: &[&str]) -> Cable {
    let address = private.parse().unwrap();
    let name = format!("submariner-cable-c{cluster}");
    Cable::new(name, format!("c{cluster}"), address, 4500)
        .subnets(subnets.iter().map(|net| net.parse().unwrap()))
}

fn lines(network: &Network) -> Vec<String> {
    network
        .objects()
        .values()
        .map(ToString::to_string)
        .collect()
}

/// As a running Submariner left it in the kernel, but for the hardware address, our mark, and IPv6.
#[test]
fn the_device_and_routes_are_submariners() {
    let (network, refusals) = plan(
        &local(),
        &[cable(2, "172.31.2.11", &["10.9.0.0/16", "10.99.0.0/16"])],
    );
    assert!(refusals.is_empty());
    let lines = lines(&network);
    for line in [
        "link vxlan-tunnel vxlan id 1000 dstport 4500 mtu 1450",
        "address 241.31.1.11/8 dev vxlan-tunnel",
        "fdb 00:00:00:00:00:00 dev vxlan-tunnel dst 172.31.2.11",
        "route 10.9.0.0/16 via 241.31.2.11 dev vxlan-tunnel",
        "route 10.99.0.0/16 via 241.31.2.11 dev vxlan-tunnel",
    ] {
        assert!(
            lines.iter().any(|other| other.starts_with(line)),
            "{line} in {lines:#?}"
        );
    }
    for route in network.routes() {
        assert_eq!(
            (route.table, route.metric, route.source),
            (100, 100, "10.8.1.1".parse().ok())
        );
    }
    assert!(
        network
            .rules()
            .all(|rule| (rule.priority, rule.table) == (100, 100))
    );
}

#[test]
fn ipv6_subnets_have_vteps_of_their_own() {
    let (network, _) = plan(&local(), &[cable(2, "172.31.2.11", &["fd09::/48"])]);
    let route = network.routes().next().unwrap();
    assert_eq!(
        route.hops()[0].gateway,
        "fd53:7562:6d03:3e8::f11f:20b".parse().ok()
    );
    assert_eq!(route.source, "fd08:1::1".parse().ok());
}

/// Defect 16
#[test]
fn d16_gateways_with_the_same_last_octets_are_told() {
    let cables = [
        cable(2, "172.31.2.11", &["10.9.0.0/16"]),
        cable(3, "10.31.2.11", &["10.10.0.0/16"]),
        cable(4, "10.31.1.11", &["10.11.0.0/16"]),
    ];
    let (network, refusals) = plan(&local(), &cables);
    assert_eq!(network.routes().count(), 1, "the first works");
    assert_eq!(
        refusals["submariner-cable-c3"].to_string(),
        "its VTEP 241.31.2.11, made of the last three octets of its gateway's private address, is that of submariner-cable-c2: give \
         one of the gateways another address, or use another cable driver"
    );
    assert!(
        refusals["submariner-cable-c4"]
            .to_string()
            .contains("this gateway")
    );
}

#[test]
fn one_network_has_one_way() {
    let cables = [
        cable(2, "172.31.2.11", &["10.9.0.0/16"]),
        cable(3, "172.31.3.11", &["10.9.4.0/24", "10.10.0.0/16"]),
    ];
    let (network, refusals) = plan(&local(), &cables);
    assert_eq!(network.routes().count(), 1);
    assert!(matches!(
        refusals["submariner-cable-c3"],
        Refusal::Taken { .. }
    ));
}

#[test]
fn a_gateway_of_another_family_is_refused() {
    let public =
        cable(3, "172.31.3.11", &["10.10.0.0/16"]).using("2001:db8::1".parse().unwrap(), true);
    let cables = [cable(2, "fd00::11", &["10.9.0.0/16"]), public];
    let (network, refusals) = plan(&local(), &cables);
    assert_eq!(network.routes().count(), 0);
    assert_eq!(network.forwards().count(), 0);
    for name in ["submariner-cable-c2", "submariner-cable-c3"] {
        let other = matches!(refusals[name], Refusal::OtherFamily { .. });
        assert!(other, "{refusals:?}");
    }
}

/// Before, a cluster without IPv4 could have no cable of VXLAN.
#[test]
fn gateways_of_ipv6_have_a_device_of_ipv6() {
    let mut local = local();
    local.private_ip = "fd00:20:8::b".parse().unwrap();
    let far = cable(2, "fd00:20:9::1:c", &["fd09::/48", "10.9.0.0/16"]);
    let here = cable(3, "172.31.3.11", &["10.10.0.0/16"]);
    let (network, refusals) = plan(&local, &[far, here]);
    let lines = lines(&network);
    for line in [
        // Of its own family, and with less room for its longer headers.
        "link vxlan-tunnel vxlan id 1000 local fd00:20:8::b dstport 4500 mtu 1430",
        "address 241.16.127.227/8 dev vxlan-tunnel",
        "address fd53:7562:6d03:3e8::f110:7fe3/96 dev vxlan-tunnel",
        "fdb 00:00:00:00:00:00 dev vxlan-tunnel dst fd00:20:9::1:c",
        "route 10.9.0.0/16 via 241.112.246.246 dev vxlan-tunnel",
        "route fd09::/48 via fd53:7562:6d03:3e8::f170:f6f6 dev vxlan-tunnel",
    ] {
        assert!(
            lines.iter().any(|other| other.starts_with(line)),
            "{line} in {lines:#?}"
        );
    }
    assert_eq!(
        refusals["submariner-cable-c3"].to_string(),
        "its gateway's address 172.31.3.11 and this one's fd00:20:8::b are not of one family, which VXLAN cables need: give both \
         gateways addresses of one, or use another cable driver"
    );
}

/// Who comes later with another's name takes nothing from it, not even its status.
#[test]
fn one_name_is_one_cable() {
    let mut impostor = cable(3, "172.31.2.11", &["10.10.0.0/16"]);
    impostor.name = "submariner-cable-c2".to_owned();
    let first = cable(2, "172.31.2.11", &["10.9.0.0/16"]);
    let alone = plan(&local(), std::slice::from_ref(&first));
    assert_eq!(plan(&local(), &[first, impostor]), alone);
}

#[test]
fn another_port_and_address_are_used() {
    let mut far = cable(2, "172.31.2.11", &["10.9.0.0/16"]);
    far.using = "198.51.100.21".parse().unwrap();
    far.port = 4501;
    let (network, _) = plan(&local(), &[far]);
    let flood = network.forwards().next().unwrap();
    assert_eq!(
        (flood.remote, flood.port),
        ("198.51.100.21".parse().unwrap(), Some(4501))
    );
    // The VTEP stays that of the private address, which the other side has, too.
    assert_eq!(
        network.routes().next().unwrap().hops()[0].gateway,
        "241.31.2.11".parse().ok()
    );
}

proptest! {
    /// Whatever the cables: every one is made or refused, and what is made for one does not depend on those after it.
    #[test]
    fn cables_do_not_disturb_each_other(octets in prop::collection::vec((1..6_u8, 1..6_u8), 0..8)) {
        let cables: Vec<Cable> = octets
            .iter()
            .enumerate()
            .map(|(n, (third, net))| cable(u8::try_from(n).unwrap(), &format!("172.31.{third}.11"), &[&format!("10.{net}.0.0/16")]))
            .collect();
        let (network, refusals) = plan(&local(), &cables);
        prop_assert_eq!(network.routes().count() + refusals.len(), cables.len());
        for length in 0..cables.len() {
            let (fewer, _) = plan(&local(), &cables[..length]);
            for object in fewer.objects().values() {
                prop_assert!(network.objects().values().any(|other| other == object), "{}", object);
            }
        }
        for object in network.objects().values() {
            let ours = match object {
                Object::Route(route) => route.table == TABLE,
                Object::Rule(rule) => rule.table == TABLE,
                object => object.to_string().contains("vxlan-tunnel"),
            };
            prop_assert!(ours, "{}", object);
        }
    }
}
