use serde_json::json;

use super::super::seen::OnBroker;
use super::*;
use crate::commands::finding::faults;

const NOW: i64 = 1_800_000_000;

fn endpoint(id: &str, ip: &str) -> Value {
    json!({
        "cluster_id": id, "private_ip": ip, "backend": "wireguard",
        "backend_config": {"udp-port": "4501", "publicKey": "x"},
    })
}

/// c1, connected to c2.
fn healthy() -> Seen {
    let endpoints: Vec<Value> = [("c1", "172.18.0.4"), ("c2", "172.18.0.6")]
        .map(|(id, ip)| json!({"spec": endpoint(id, ip)}))
        .into();
    Seen {
        settings: json!({"clusterID": "c1"}),
        gateways: vec![json!({
            "metadata": {"name": "w1", "annotations": {"update-timestamp": (NOW - 4).to_string()}},
            "status": {
                "haStatus": "active",
                "localEndpoint": endpoint("c1", "172.18.0.4"),
                "connections": [{"status": "connected", "endpoint": endpoint("c2", "172.18.0.6"), "usingIP": "172.18.0.6"}],
            },
        })],
        route_agents: vec![json!({
            "metadata": {"name": "w1"},
            "status": {"remoteEndpoints": [{"status": "connected", "spec": {"cluster_id": "c2"}}]},
        })],
        broker: OnBroker {
            endpoints: endpoints.clone(),
            ..OnBroker::default()
        },
        endpoints,
        now: NOW,
        ..Seen::default()
    }
}

fn broken(change: impl FnOnce(&mut Seen)) -> Vec<String> {
    let mut seen = healthy();
    change(&mut seen);
    faults(&check(&seen))
}

fn connection(seen: &mut Seen) -> &mut Value {
    &mut seen.gateways[0]["status"]["connections"][0]
}

#[test]
fn a_healthy_system_has_no_fault() {
    assert!(broken(|_| ()).is_empty());
    // A passive one beside it, an agent that measures nothing, and a gateway that does not say when it wrote.
    let faults = broken(|seen| {
        let passive = json!({"metadata": {"name": "w2"}, "status": {"haStatus": "passive", "connections": []}});
        seen.gateways.insert(0, passive);
        seen.gateways[1]["metadata"]["annotations"] = Value::Null;
        seen.route_agents[0]["status"]["remoteEndpoints"][0]["status"] = json!("none");
    });
    assert!(faults.is_empty(), "{faults:?}");
    // One without news, which says for how long that is well.
    let quiet = |seconds| {
        broken(|seen| {
            seen.gateways[0]["metadata"]["annotations"][VALID_FOR] = json!("180");
            seen.now += seconds;
        })
    };
    assert!(quiet(60).is_empty());
    assert_eq!(
        quiet(177),
        ["Gateway w1 has said nothing for 181 s, so what it says is old"]
    );
}

#[test]
fn each_broken_hop_is_named() {
    type Break = fn(&mut Seen);
    let cases: [(Break, &str); 16] = [
        (|seen| seen.gateways.clear(), "no gateways were detected"),
        (
            |seen| seen.gateways[0]["status"]["haStatus"] = json!("passive"),
            "No active gateway was found",
        ),
        (
            |seen| seen.gateways[0]["status"]["statusFailure"] = json!("no WireGuard"),
            "Gateway w1 does not work: no WireGuard",
        ),
        (
            |seen| seen.now += 60,
            "Gateway w1 has said nothing for 64 s, so what it says is old",
        ),
        (
            |seen| {
                seen.endpoints.pop();
                seen.gateways[0]["status"]["connections"] = json!([]);
            },
            "The Endpoint of cluster \"c2\" is on the broker and not in this cluster",
        ),
        (
            |seen| seen.gateways[0]["status"]["connections"] = json!([]),
            "Gateway w1 has not taken up the Endpoint of cluster \"c2\"",
        ),
        (
            |seen| connection(seen)["status"] = json!("connecting"),
            "? Connection to cluster \"c2\" is in progress",
        ),
        (
            |seen| {
                connection(seen)["status"] = json!("error");
                connection(seen)["statusMessage"] = json!("no handshake");
            },
            "Connection to cluster \"c2\" is not established (error): no handshake",
        ),
        (
            |seen| {
                connection(seen)["status"] = json!("error");
                connection(seen)["endpoint"]["backend"] = json!("vxlan");
            },
            "Cluster \"c2\" has cables of vxlan, this one of wireguard",
        ),
        (
            |seen| {
                connection(seen)["status"] = json!("connecting");
                connection(seen)["endpoint"]["backend_config"] = json!({});
            },
            "The Endpoint of cluster \"c2\" has no public key",
        ),
        (
            // It has left, and its connection is still there.
            |seen| {
                seen.endpoints.pop();
                seen.broker.endpoints.pop();
                connection(seen)["status"] = json!("error");
            },
            "Connection to cluster \"c2\" is not established (error)",
        ),
        (
            |seen| {
                seen.endpoints.pop();
                seen.broker.endpoints.pop();
                seen.gateways[0]["status"]["connections"] = json!([]);
            },
            "? There are no active connections on gateway \"w1\"",
        ),
        (
            |seen| {
                let remote = &mut seen.route_agents[0]["status"]["remoteEndpoints"][0];
                remote["status"] = json!("error");
                remote["statusMessage"] = json!("no echo reply");
            },
            "Node w1 does not reach cluster \"c2\" (error): no echo reply",
        ),
        (
            |seen| {
                seen.route_agents[0]["status"]["remoteEndpoints"][0]["status"] =
                    json!("connecting");
            },
            "? Node w1 has no answer from cluster \"c2\" yet",
        ),
        (
            |seen| seen.route_agents[0]["status"]["remoteEndpoints"][0]["status"] = json!(""),
            "? Node w1 has no answer from cluster \"c2\" yet",
        ),
        (
            |seen| seen.route_agents[0]["status"]["statusFailure"] = json!("nft is missing"),
            "The route agent of node w1 does not work: nft is missing",
        ),
    ];
    for (change, want) in cases {
        assert_eq!(broken(change), [want]);
    }
}

#[test]
fn a_remedy_names_addresses_and_ports() {
    let mut seen = healthy();
    connection(&mut seen)["status"] = json!("error");
    let remedy = check(&seen)[0].findings[0].remedy.clone();
    assert!(
        remedy.starts_with(
            "Let UDP pass from 172.18.0.4 to 172.18.0.6 port 4501, and from there to port 4501 here"
        ),
        "{remedy}"
    );
}

#[test]
fn a_key_that_the_other_side_has_no_more_is_named() {
    let key = |seen: &mut Seen, key: Value| {
        seen.broker.endpoints[1]["spec"]["backend_config"]["publicKey"] = key;
    };
    let told = broken(|seen| key(seen, json!("y")));
    assert!(
        matches!(&told[..], [one] if one.starts_with("The public key of cluster \"c2\" in this cluster (x) is not the one")),
        "{told:?}"
    );
    // Another gateway of it leads by now, and the broker has both.
    let told = broken(|seen| {
        key(seen, json!("y"));
        seen.broker.endpoints[1]["metadata"]["name"] = json!("another");
    });
    assert!(told.is_empty(), "{told:?}");
    // Cables without keys.
    let told = broken(|seen| key(seen, Value::Null));
    assert!(told.is_empty(), "{told:?}");
}
