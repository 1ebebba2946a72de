use proptest::prelude::*;
use serde_json::json;

use subm_api::names::MEMBER_SINCE;

use super::*;

/// Where nothing is known of Clusters.
fn judge(endpoints: &[Endpoint], ours: &Ours) -> (Vec<Remote>, Vec<Refusal>) {
    super::judge(endpoints, &Seniority::default(), ours)
}

fn endpoint(cluster: &str, host: u8, second: u8, subnets: &[&str]) -> Endpoint {
    serde_json::from_value(json!({
        "metadata": {
            "name": format!("{cluster}-submariner-cable-{cluster}-172-31-0-{host}"),
            "creationTimestamp": format!("2026-11-23T21:39:{second:02}Z"),
        },
        "spec": {
            "cluster_id": cluster, "cable_name": format!("submariner-cable-{cluster}-172-31-0-{host}"),
            "healthCheckIP": "", "hostname": format!("gw{host}"), "subnets": subnets,
            "private_ip": format!("172.31.0.{host}"), "public_ip": "198.51.100.1", "nat_enabled": true,
            "backend": "vxlan", "backend_config": {"udp-port": "4500"},
        },
    }))
    .expect("an Endpoint")
}

fn ours() -> Ours {
    Ours {
        cluster: "c1".into(),
        networks: vec![
            "10.8.0.0/16".parse().unwrap(),
            "10.88.0.0/16".parse().unwrap(),
        ],
        nodes: ["172.20.8.11".parse().unwrap()].into(),
    }
}

fn networks(remotes: &[Remote], cluster: &str) -> Vec<String> {
    let remote = remotes.iter().find(|remote| remote.cluster == cluster);
    remote
        .iter()
        .flat_map(|remote| &remote.networks)
        .map(ToString::to_string)
        .collect()
}

#[test]
fn an_endpoint_is_taken_as_it_is() {
    let (remotes, refusals) = judge(
        &[endpoint("c2", 11, 0, &["10.99.0.0/16", "10.9.0.0/16"])],
        &ours(),
    );
    assert!(refusals.is_empty(), "{refusals:?}");
    assert_eq!(networks(&remotes, "c2"), ["10.9.0.0/16", "10.99.0.0/16"]);
    assert_eq!(
        (remotes[0].port, remotes[0].backend.as_str()),
        (4500, "vxlan")
    );
    assert_eq!(remotes[0].public_ip, "198.51.100.1".parse().ok());
}

#[test]
fn our_own_endpoint_is_no_remote() {
    assert_eq!(
        judge(&[endpoint("c1", 11, 0, &["10.8.0.0/16"])], &ours()),
        (vec![], vec![])
    );
}

/// What a hostile member may claim; its honest network goes on working.
#[test]
fn claims_that_are_not_a_clusters_to_make() {
    for claimed in [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "127.0.0.0/8",
        "169.254.169.254/32",
        "224.0.0.0/4",
        "240.0.0.0/8",
        "241.31.1.11/32",
        "10.8.0.0/16",
        "10.8.3.0/24",
        "10.0.0.0/8",
        "10.88.0.1/32",
        "172.20.8.0/24",
        "172.20.8.11/32",
        "::/0",
        "fe80::/64",
        "ff02::/64",
        "not-a-cidr",
        "10.9.0.0",
    ] {
        let (remotes, refusals) =
            judge(&[endpoint("c2", 11, 0, &[claimed, "10.9.0.0/16"])], &ours());
        assert_eq!(networks(&remotes, "c2"), ["10.9.0.0/16"], "{claimed}");
        assert_eq!(refusals.len(), 1, "{claimed}: {refusals:?}");
        assert!(!refusals[0].to_string().is_empty());
    }
    let (remotes, refusals) = judge(
        &[endpoint("c2", 11, 0, &["242.1.0.0/16", "fd09::/48"])],
        &ours(),
    );
    assert!(
        refusals.is_empty(),
        "Globalnet's networks are clusters': {refusals:?}"
    );
    assert_eq!(remotes[0].networks.len(), 2);
}

/// A newcomer takes nothing from anybody.
#[test]
fn what_another_cluster_has_is_taken() {
    let all = [
        endpoint("c3", 13, 5, &["10.9.4.0/24", "10.10.0.0/16"]),
        endpoint("c2", 12, 1, &["10.9.0.0/16"]),
    ];
    let (remotes, refusals) = judge(&all, &ours());
    assert_eq!(networks(&remotes, "c2"), ["10.9.0.0/16"]);
    assert_eq!(networks(&remotes, "c3"), ["10.10.0.0/16"]);
    assert_eq!(
        refusals[0].to_string(),
        "Endpoint \"c3-submariner-cable-c3-172-31-0-13\" of cluster \"c3\": its subnet 10.9.4.0/24 overlaps one of cluster \"c2\", \
         which was first; one of both clusters needs other networks"
    );
}

fn member(name: &str, id: &str, second: u8) -> Cluster {
    serde_json::from_value(json!({
        "metadata": {"name": name, "creationTimestamp": format!("2026-11-23T21:39:{second:02}Z")},
        "spec": {"cluster_id": id},
    }))
    .expect("a Cluster")
}

/// Whose gateway fails over has a young Endpoint, and is a member for as long as before.
#[test]
fn after_a_fail_over_nobody_takes_what_was_another_clusters() {
    let victim = endpoint("c3", 12, 30, &["10.9.0.0/16"]);
    let hostile = endpoint("c2", 11, 9, &["10.9.4.0/24", "10.10.0.0/16"]);
    let all = [hostile, victim];
    let mine = member("c3", "c3", 1);
    let theirs = member("c2", "c2", 8);
    // A second object for the victim takes nothing from it, nor does having none help.
    let younger = member("x", "c3", 40);
    for clusters in [
        vec![mine.clone(), theirs.clone()],
        vec![younger.clone(), theirs, mine.clone(), younger],
        vec![mine],
    ] {
        let seniority = Seniority::of(&clusters);
        let (remotes, refusals) = super::judge(&all, &seniority, &ours());
        assert_eq!(networks(&remotes, "c3"), ["10.9.0.0/16"], "{refusals:?}");
        assert_eq!(networks(&remotes, "c2"), ["10.10.0.0/16"]);
        assert_eq!(remotes[0].cluster, "c3", "the most senior first");
    }
}

/// Copies of those who were members before us were all made in one second; the broker knows better, and a member cannot say it itself.
#[test]
fn the_copies_tell_who_was_first_on_the_broker() {
    let since = |name: &str, copied: u8, since: &str| {
        let mut cluster = member(name, name, copied);
        let annotations = cluster.metadata.annotations.get_or_insert_default();
        annotations.insert(MEMBER_SINCE.to_owned(), since.to_owned());
        cluster
    };
    let victim = endpoint("c3", 12, 30, &["10.9.0.0/16"]);
    let hostile = endpoint("c2", 11, 9, &["10.9.4.0/24", "10.10.0.0/16"]);
    for (mine, theirs) in [
        (
            since("c3", 9, "2026-01-01T00:00:00Z"),
            since("c2", 9, "2026-02-01T00:00:00Z"),
        ),
        // What cannot be read is not there.
        (since("c3", 5, "long ago"), since("c2", 9, "")),
    ] {
        let seniority = Seniority::of(&[theirs, mine]);
        let all = [hostile.clone(), victim.clone()];
        let (remotes, refusals) = super::judge(&all, &seniority, &ours());
        assert_eq!(networks(&remotes, "c3"), ["10.9.0.0/16"], "{refusals:?}");
    }
}

/// What another cluster writes costs us no more than we choose.
#[test]
fn an_endpoint_beyond_measure_is_cut_short() {
    let many: Vec<String> = (0..100_000)
        .map(|n| format!("not a network but the {n}th of them {}", "x".repeat(500)))
        .collect();
    let mut subnets: Vec<&str> = vec!["10.9.0.0/16"];
    subnets.extend(many.iter().map(String::as_str));
    let (remotes, refusals) = judge(&[endpoint("c2", 11, 0, &subnets)], &ours());
    assert_eq!(networks(&remotes, "c2"), ["10.9.0.0/16"], "it works on");
    let words: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 9);
    assert!(words.iter().all(|word| word.len() < 300), "{words:?}");
    let has = |text: &str| words.iter().any(|word| word.contains(text));
    assert!(has("it has 100001 subnets, of which 256 are looked at"));
    assert!(has("248 more of its subnets are refused"));
    let told = crate::status::readable(&endpoint("c2", 11, 0, &subnets).spec);
    let told = serde_json::to_string(&told).expect("JSON");
    assert!(told.len() < 100_000, "{}", told.len());
}

/// Defect 11: while a gateway changes both its Endpoints are there; whichever event comes first, the younger counts.
#[test]
fn d11_the_youngest_endpoint_of_a_cluster_counts() {
    let (old, new) = (
        endpoint("c2", 11, 1, &["10.9.0.0/16"]),
        endpoint("c2", 12, 9, &["10.9.0.0/16"]),
    );
    for order in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        let (remotes, refusals) = judge(&order, &ours());
        assert_eq!(remotes.len(), 1);
        assert_eq!(remotes[0].node, "gw12");
        assert!(
            matches!(
                &refusals[..],
                [Refusal {
                    why: Why::Superseded { .. },
                    ..
                }]
            ),
            "{refusals:?}"
        );
    }
}

fn port(endpoint: &mut Endpoint, text: &str) {
    let config = &mut endpoint.spec.backend_config;
    config.insert("udp-port".into(), text.into());
}

#[test]
fn fields_that_cannot_be() {
    let with = |change: fn(&mut Endpoint)| {
        let mut endpoint = endpoint("c2", 11, 0, &["10.9.0.0/16"]);
        change(&mut endpoint);
        judge(&[endpoint], &ours())
    };
    let changes: [fn(&mut Endpoint); 8] = [
        |e| e.spec.cluster_id = String::new(),
        |e| e.spec.cluster_id = "Not A Label".into(),
        |e| e.spec.cable_name = String::new(),
        |e| e.spec.private_ip = "127.0.0.1".into(),
        |e| e.spec.private_ip = String::new(),
        |e| e.spec.public_ip = "nowhere".into(),
        |e| port(e, "0"),
        |e| port(e, "70000"),
    ];
    for change in changes {
        let (remotes, refusals) = with(change);
        assert!(remotes.is_empty() && refusals.len() == 1, "{refusals:?}");
    }
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let subnet = (0..24_u8, 8..=24_u8).prop_map(|(n, length)| format!("10.{n}.0.0/{length}"));
    let subnets = prop::collection::vec(subnet, 0..4);
    (2..5_u8, 11..14_u8, 0..4_u8, subnets).prop_map(|(cluster, host, second, subnets)| {
        let subnets: Vec<&str> = subnets.iter().map(String::as_str).collect();
        endpoint(&format!("c{cluster}"), host, second, &subnets)
    })
}

proptest! {
    /// Whatever is claimed, in whatever order: nobody has ours, no two have the same, and what is said does not change.
    #[test]
    fn nobody_shares_a_network(endpoints in prop::collection::vec(any_endpoint(), 0..8).prop_shuffle()) {
        let (remotes, refusals) = judge(&endpoints, &ours());
        for (at, one) in remotes.iter().enumerate() {
            for net in &one.networks {
                prop_assert!(!ours().networks.iter().any(|own| overlap(own, net)));
                for other in &remotes[at + 1..] {
                    prop_assert!(!other.networks.iter().any(|theirs| overlap(theirs, net)));
                }
            }
        }
        let mut other_order = endpoints.clone();
        other_order.reverse();
        // Two objects of one name cannot be.
        let mut names: Vec<&str> = endpoints.iter().map(name).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() == endpoints.len() {
            prop_assert_eq!(judge(&other_order, &ours()), (remotes, refusals));
        }
    }
}

proptest! {
    /// As if each were compared with each.
    #[test]
    fn what_is_taken_is_found(
        nets in prop::collection::vec((0..4_u8, any::<u8>(), 8..=32_u8, any::<bool>()), 1..60),
    ) {
        let nets: Vec<(String, IpNet)> = nets
            .iter()
            .map(|(cluster, octet, prefix, v6)| {
                let text = if *v6 {
                    format!("fd00:{octet:x}00::/{prefix}")
                } else {
                    format!("10.{octet}.{octet}.0/{prefix}")
                };
                (cluster.to_string(), text.parse::<IpNet>().expect("a network").trunc())
            })
            .collect();
        let mut taken = Claims::default();
        let mut all: Vec<(&str, IpNet)> = Vec::new();
        for (cluster, net) in &nets {
            let expected: BTreeSet<&str> = all
                .iter()
                .filter(|(_, other)| overlap(other, net))
                .map(|(of, _)| *of)
                .collect();
            let found = taken.holder(*net);
            prop_assert_eq!(found.is_some(), !expected.is_empty(), "{} in {:?}", net, all);
            prop_assert!(found.is_none_or(|found| expected.contains(found)));
            if expected.iter().all(|of| of == cluster) {
                taken.take(*net, cluster);
                all.push((cluster, *net));
            }
        }
    }
}
