use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::remotes::{Ours, Seniority, judge};

fn endpoint(cluster: &str, host: u8, second: u8) -> Endpoint {
    let cable = format!("submariner-cable-{cluster}-172-31-2-{host}");
    serde_json::from_value(json!({
        "metadata": {"name": format!("{cluster}-{cable}"), "creationTimestamp": format!("2026-11-23T21:39:{second:02}Z")},
        "spec": {
            "cluster_id": cluster, "cable_name": cable, "hostname": "gw",
            "healthCheckIP": "10.9.1.1", "subnets": ["10.9.0.0/16"], "private_ip": format!("172.31.2.{host}"),
            "public_ip": "", "nat_enabled": false, "backend": "vxlan", "backend_config": {"udp-port": "4500"},
        },
    }))
    .expect("an Endpoint")
}

fn ours() -> Ours {
    Ours {
        cluster: "c1".to_owned(),
        ..Ours::default()
    }
}

/// As a gateway of c1 with VXLAN sees them.
fn wanted(endpoints: &[Endpoint]) -> Cables {
    cables(
        &judge(endpoints, &Seniority::default(), &ours()).0,
        Driver::Vxlan,
    )
}

fn names(cables: &Cables) -> Vec<&str> {
    cables
        .cables
        .iter()
        .map(|cable| cable.name.as_str())
        .collect()
}

fn one(change: impl FnOnce(&mut EndpointSpec)) -> Cables {
    let mut endpoint = endpoint("c2", 11, 0);
    change(&mut endpoint.spec);
    wanted(&[endpoint])
}

/// cableengine: "no endpoint was previously installed for the cluster › should connect to the endpoint"; tunnel: "an Endpoint is created".
#[test]
fn cableengine_129_tunnel_143_an_endpoint_is_a_cable() {
    let wanted = one(|_| {});
    assert_eq!(names(&wanted), ["submariner-cable-c2-172-31-2-11"]);
    let cable = &wanted.cables[0];
    assert_eq!(cable.endpoint().to_string(), "172.31.2.11:4500");
    assert_eq!(cable.subnets, ["10.9.0.0/16".parse().expect("CIDR")].into());
    let target = wanted.targets.get("submariner-cable-c2-172-31-2-11");
    assert_eq!(target, "10.9.1.1".parse().ok().as_ref());
}

/// cableengine: "an endpoint was previously installed for the cluster", of both ages.
#[test]
fn cableengine_159_172_the_youngest_endpoint_of_a_cluster_is_its_cable() {
    for (old, new) in [(11, 12), (12, 11)] {
        let both = [endpoint("c2", old, 1), endpoint("c2", new, 2)];
        let expected = [format!("submariner-cable-c2-172-31-2-{new}")];
        assert_eq!(names(&wanted(&both)), expected);
        let other_order = [both[1].clone(), both[0].clone()];
        assert_eq!(names(&wanted(&other_order)), expected);
    }
}

/// cableengine: "with the same cable name › but different endpoint IP", "but different backend configuration"; tunnel: "an Endpoint is
/// updated". Defect 8: different subnets too.
#[test]
fn cableengine_195_206_tunnel_150_d8_every_change_of_an_endpoint_is_another_cable() {
    let before = one(|_| {});
    let changes: [fn(&mut EndpointSpec); 6] = [
        |spec| spec.private_ip = "172.31.2.13".to_owned(),
        |spec| {
            spec.public_ip = "198.51.100.1".to_owned();
            spec.nat_enabled = true;
        },
        |spec| {
            drop(
                spec.backend_config
                    .insert("udp-port".to_owned(), "4501".to_owned()),
            );
        },
        |spec| {
            drop(
                spec.backend_config
                    .insert("vtep-mac".to_owned(), "0a:53:f1:1f:02:0b".to_owned()),
            );
        },
        |spec| {
            let key = wireguard_key();
            spec.backend_config.insert("publicKey".to_owned(), key);
        },
        |spec| spec.subnets = ["10.9.0.0/17".to_owned()].into_iter().collect(),
    ];
    for change in changes {
        let after = one(change);
        assert_eq!(names(&after), names(&before));
        assert_ne!(after.cables, before.cables);
    }
}

fn wireguard_key() -> String {
    subm_tunnel::PrivateKey::generate().public().to_string()
}

/// cableengine: "with the same cable name › and connection info › should not disconnect": nothing that a driver sees is another one.
#[test]
fn cableengine_213_what_does_not_concern_a_cable_does_not_change_it() {
    let after = one(|spec| {
        spec.hostname = "other".to_owned();
        spec.public_ip = "198.51.100.1".to_owned();
        spec.backend_config
            .insert("LastChecked".to_owned(), "1".to_owned());
    });
    assert_eq!(after, one(|_| {}));
}

/// cableengine: "previously installed for another cluster"; "remove cable for a remote endpoint"; tunnel: "an Endpoint is deleted".
#[test]
fn cableengine_222_269_tunnel_162_clusters_do_not_touch_each_other() {
    let mut c3 = endpoint("c3", 13, 5);
    c3.spec.subnets = ["10.10.0.0/16".to_owned()].into_iter().collect();
    let both = wanted(&[endpoint("c2", 11, 0), c3.clone()]);
    assert_eq!(names(&both).len(), 2);
    let left = wanted(&[c3]);
    assert_eq!(left.cables, both.cables[1..]);
}

/// cableengine: "install cable for a local endpoint", "remove cable for a local endpoint".
#[test]
fn cableengine_257_292_healthchecker_194_our_own_endpoint_is_no_cable() {
    assert_eq!(wanted(&[endpoint("c1", 11, 0)]), Cables::default());
}

/// The older keeps what both want, whatever their names.
#[test]
fn the_most_senior_comes_first() {
    let order = |two: u8, three: u8| {
        let wanted = wanted(&[endpoint("c2", 11, two), endpoint("c3", 12, three)]);
        wanted
            .cables
            .iter()
            .map(|cable| cable.cluster.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(order(1, 2), ["c2", "c3"]);
    assert_eq!(order(2, 1), ["c3", "c2"]);
}

/// cableengine/healthchecker: "a remote Endpoint has no HealthCheckIP". An address elsewhere would answer by another way.
#[test]
fn healthchecker_250_only_addresses_behind_the_cable_are_checked() {
    for elsewhere in ["", "192.0.2.1", "10.8.1.1"] {
        let wanted = one(|spec| spec.health_check_ip = elsewhere.to_owned());
        assert!(wanted.targets.is_empty(), "{elsewhere}");
        assert_eq!(wanted.cables.len(), 1);
    }
}

#[test]
fn another_driver_is_no_cable_and_said() {
    let wanted = one(|spec| spec.backend = "libreswan".to_owned());
    assert!(wanted.cables.is_empty() && wanted.targets.is_empty());
    let [connection] = &wanted.impossible[..] else {
        panic!("{wanted:?}");
    };
    assert_eq!(connection.status, ConnectionStatus::Error);
    assert!(
        connection.message.contains("libreswan"),
        "{}",
        connection.message
    );
}

/// A hostile cluster could have another look as it likes.
#[test]
fn nobody_takes_the_name_of_anothers_cable() {
    let victim = endpoint("c2", 11, 0);
    let mut hostile = endpoint("c0", 12, 1);
    hostile.spec.cable_name.clone_from(&victim.spec.cable_name);
    hostile.spec.subnets = ["10.10.0.0/16".to_owned()].into_iter().collect();
    let all = [hostile, victim];
    let wanted = wanted(&all);
    assert_eq!(wanted.cables.len(), 1);
    assert_eq!(wanted.cables[0].cluster, "c2");
    assert!(wanted.left_out[0].contains("\"c0\""), "{wanted:?}");
    let connection = Connection::new(&wanted.cables[0], ConnectionStatus::Connected, "");
    let (told, _) = told(vec![connection], &wanted.clusters, &all, &[]);
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].0.cluster_id, "c2");
}

/// natdiscovery's legacy rule.
#[test]
fn the_public_address_is_used_where_the_other_side_says_so() {
    let using = |public: &str, nat: bool, balancer: &str| {
        let wanted = one(|spec| {
            spec.public_ip = public.to_owned();
            spec.nat_enabled = nat;
            spec.backend_config
                .insert("using-loadbalancer".to_owned(), balancer.to_owned());
        });
        let cable = &wanted.cables[0];
        (cable.using.to_string(), cable.nat)
    };
    let (private, public) = ("172.31.2.11".to_owned(), "198.51.100.1".to_owned());
    assert_eq!(using("", true, "true"), (private.clone(), false));
    assert_eq!(using(&public, false, "false"), (private, false));
    assert_eq!(using(&public, true, "false"), (public.clone(), true));
    assert_eq!(using(&public, false, "true"), (public, true));
}

#[test]
fn who_was_replaced_lets_go_and_who_waits_does_not() {
    for (active, leading, part) in [
        (true, None, Part::Active),
        (true, Some("gw1"), Part::Active),
        // Our Endpoint is not written yet.
        (true, Some("gw2"), Part::Active),
        (false, Some("gw2"), Part::Replaced),
        (false, Some("gw1"), Part::Waiting),
        (false, None, Part::Waiting),
    ] {
        assert_eq!(
            Part::of(active, "gw1", leading),
            part,
            "{active} {leading:?}"
        );
    }
}

#[test]
fn what_is_refused_is_told_where_people_look() {
    let mut greedy = endpoint("c2", 11, 0);
    greedy.spec.subnets = ["10.9.0.0/16", "0.0.0.0/0"]
        .map(str::to_owned)
        .into_iter()
        .collect();
    let mut broken = endpoint("c3", 12, 0);
    broken.spec.private_ip = "nowhere".to_owned();
    let all = [greedy, broken, endpoint("c4", 13, 0), endpoint("c4", 14, 1)];
    let (remotes, refusals) = judge(&all, &Seniority::default(), &ours());
    let wanted = cables(&remotes, Driver::Vxlan);
    let seen = |cable: &Cable| Connection::new(cable, ConnectionStatus::Connected, "");
    let connections = wanted.cables.iter().map(seen).collect();
    let (told, problems) = told(connections, &wanted.clusters, &all, &refusals);
    let of = |cluster: &str| {
        let (_, connection) = told.iter().find(|(spec, _)| spec.cluster_id == cluster)?;
        Some(connection.message.as_str())
    };
    assert_eq!(
        of("c2"),
        Some("its subnet 0.0.0.0/0 is no network of a cluster")
    );
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].contains("private_ip"), "{problems:?}");
    assert!(of("c4").is_some_and(|message| message.contains("\"c2\"")));
}

proptest! {
    /// The order in which Endpoints come makes no difference, so nothing is touched when one is heard of again.
    #[test]
    fn order_makes_no_difference(order in Just([0_u8, 1, 2, 3]).prop_shuffle()) {
        let endpoints = |order: [u8; 4]| order.map(|n| {
            let mut endpoint = endpoint(&format!("c{}", n + 2), 11 + n, n % 2);
            endpoint.spec.subnets = [format!("10.{}.0.0/16", 20 + n)].into_iter().collect();
            endpoint
        });
        prop_assert_eq!(wanted(&endpoints(order)), wanted(&endpoints([0, 1, 2, 3])));
    }

    /// Whatever stands where a key or a hardware address should be, there is a cable, or a word about it.
    #[test]
    fn odd_values_harm_nobody(key in ".{0,50}", mac in ".{0,20}", backend in "(vxlan|wireguard|.{0,5})") {
        let wanted = one(|spec| {
            spec.backend.clone_from(&backend);
            spec.backend_config.insert("publicKey".to_owned(), key);
            spec.backend_config.insert("vtep-mac".to_owned(), mac);
        });
        prop_assert_eq!(wanted.cables.len() + wanted.impossible.len(), 1);
        prop_assert_eq!(wanted.cables.len() == 1, backend == "vxlan");
    }
}
