use serde_json::json;

use super::*;
use crate::commands::finding::faults;

fn endpoint(key: &str) -> Value {
    json!({
        "cluster_id": "c2", "cable_name": "submariner-cable-c2-172-20-9-11", "backend": "wireguard",
        "private_ip": "172.20.9.11", "public_ip": "192.0.2.9", "nat_enabled": false,
        "backend_config": {"publicKey": key, "udp-port": "4501"},
    })
}

fn one(copy: Option<Value>) -> Seen {
    Seen {
        settings: json!({"clusterID": "c1"}),
        endpoints: copy.map(|spec| json!({"spec": spec})).into_iter().collect(),
        ..Seen::default()
    }
}

#[test]
fn a_copy_that_differs_is_named_by_what_differs() {
    let told = |copy: Option<Value>| {
        let mut part = Part::new("");
        knows(&mut part, &one(copy), "c2", &endpoint("new"));
        faults(&[part])
    };
    assert!(told(Some(endpoint("new"))).is_empty());
    assert_eq!(
        told(Some(endpoint("old"))),
        [
            "Cluster \"c1\" has another public key of cluster \"c2\" (\"old\") than that has itself (\"new\")"
        ]
    );
    let mut other = endpoint("new");
    other["backend"] = json!("vxlan");
    assert!(told(Some(other))[0].contains("another cable driver"));
    assert_eq!(
        told(None),
        ["Cluster \"c1\" does not know the gateway of cluster \"c2\""]
    );
}

#[test]
fn what_is_sent_to_is_what_the_gateway_uses() {
    let made = endpoint("k");
    let mut sender = one(None);
    let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    assert_eq!(address(&made, &sender), ip("172.20.9.11"));
    let mut translated = made.clone();
    translated["nat_enabled"] = json!(true);
    assert_eq!(address(&translated, &sender), ip("192.0.2.9"));
    // As the gateway does where the public address is not known.
    let mut unknown = translated.clone();
    unknown["public_ip"] = json!("");
    assert_eq!(address(&unknown, &sender), ip("172.20.9.11"));
    unknown["backend_config"]["using-loadbalancer"] = json!("true");
    assert_eq!(address(&unknown, &sender), ip("172.20.9.11"));
    unknown["private_ip"] = json!("");
    assert_eq!(address(&unknown, &sender), None);
    sender.gateways = vec![json!({"status": {"haStatus": "active", "connections": [
        {"usingIP": "192.0.2.7", "endpoint": {"cable_name": "another"}},
        {"usingIP": "192.0.2.8", "endpoint": {"cable_name": "submariner-cable-c2-172-20-9-11"}},
    ]}})];
    assert_eq!(address(&translated, &sender), ip("192.0.2.8"));
    assert_eq!((port(&made, false), port(&made, true)), (4501, 4490));
}

#[test]
fn each_way_of_failing_has_its_words() {
    let way = Between {
        to: "c1",
        from: "c2",
        address: "172.20.8.11:4500".parse().unwrap(),
    };
    let told = |passage, trouble: Option<&str>| {
        let mut part = Part::new("");
        way.judge(&mut part, passage, trouble.map(str::to_owned));
        faults(&[part])
    };
    assert!(told(Passage::Whole, None).is_empty());
    for (passage, trouble, words) in [
        (
            Passage::Nothing,
            None,
            "Tunnels cannot be established on the gateway node of cluster \"c1\": UDP from the gateway node of cluster \"c2\" to 172.20.8.11 port 4500 does not arrive",
        ),
        (
            Passage::Nothing,
            Some("no route"),
            "The gateway node of cluster \"c2\" cannot send to 172.20.8.11 of cluster \"c1\": no route",
        ),
        (Passage::SmallOnly, None, "Large packets"),
        (Passage::Cut(1276), None, "? Large packets"),
    ] {
        let told = told(passage, trouble);
        assert!(
            matches!(&told[..], [one] if one.starts_with(words)),
            "{told:?}"
        );
    }
}

#[test]
fn a_port_that_nobody_uses_is_no_fault() {
    let way = Between {
        to: "c1",
        from: "c2",
        address: "172.20.8.11:4490".parse().unwrap(),
    };
    let told = |passage, used| {
        let mut part = Part::new("");
        way.judge_discovery(&mut part, passage, None, used);
        faults(&[part])
    };
    assert!(told(Passage::SmallOnly, true).is_empty());
    assert!(told(Passage::Nothing, false)[0].starts_with("? nat-discovery port 4490"));
    assert!(
        told(Passage::Nothing, true)[0]
            .starts_with("NAT discovery does not reach the gateway node of cluster \"c1\": UDP")
    );
}
