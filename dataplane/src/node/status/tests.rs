// Ids of the reference: agent_ and a line of routeagent_driver's healthchecker_test.go.

use proptest::prelude::*;
use serde_json::json;
use subm_routing::LinkName;

use super::*;
use crate::node::{Cni, Gateway, Uplink, Way};
use crate::remotes::{Ours, Seniority, judge};

const NAMESPACE: &str = "submariner-operator";
const NOW: Duration = Duration::from_secs(1_795_469_969);
const W1: OfNode<'_> = OfNode {
    name: "c1-w1",
    uid: "uid-w1",
};

fn endpoint(cluster: &str, host: u8, second: u8) -> Endpoint {
    let net = cluster.trim_start_matches('c');
    let cable = format!("submariner-cable-{cluster}-172-31-{net}-{host}");
    serde_json::from_value(json!({
        "metadata": {"name": format!("{cluster}-{cable}"), "creationTimestamp": format!("2026-11-23T21:39:{second:02}Z")},
        "spec": {
            "cluster_id": cluster, "cable_name": cable, "hostname": format!("{cluster}-gw{host}"),
            "healthCheckIP": format!("10.{net}.1.1"), "subnets": [format!("10.{net}.0.0/16")],
            "private_ip": format!("172.31.{net}.{host}"), "public_ip": "", "nat_enabled": false,
            "backend": "vxlan", "backend_config": {"udp-port": "4500"},
        },
    }))
    .expect("an Endpoint")
}

/// c1-w1, or c1-gw1, of a cluster with or without a gateway.
fn view(node: &str, gateway: Option<&str>) -> View {
    let address = if node == "c1-gw1" { 11 } else { 21 };
    View {
        node: node.to_owned(),
        addresses: BTreeSet::new(),
        uplink: Uplink {
            link: LinkName::from_static("eth0"),
            address: [172, 31, 1, address].into(),
            gateway: None,
            mtu: 1500,
        },
        cni: Some(Cni {
            link: LinkName::from_static("cni0"),
            address: Some([10, 1, 11, 1].into()),
            address6: None,
        }),
        pods: Vec::new(),
        gateway: gateway.map(|address| Gateway {
            node: "c1-gw1".to_owned(),
            private_ip: address.parse().expect("an address"),
            way: Way::Own(subm_tunnel::vxlan::DEVICE),
            mtu: Some(1450),
        }),
        nodes: BTreeMap::new(),
    }
}

/// On a worker of a cluster with a gateway.
const WORKER: Checks = Checks::ThroughGateway;

/// A node, and what it knows of the others.
#[derive(Clone, Debug)]
struct Scene {
    checks: Checks,
    endpoints: Vec<Endpoint>,
    healths: BTreeMap<String, Health>,
}

impl Scene {
    fn new(checks: Checks, endpoints: &[Endpoint]) -> Self {
        Self {
            checks,
            endpoints: endpoints.to_vec(),
            healths: BTreeMap::new(),
        }
    }

    fn judged(&self) -> (Vec<Remote>, Vec<Refusal>) {
        let ours = Ours {
            cluster: "c1".to_owned(),
            networks: vec!["10.1.0.0/16".parse().expect("CIDR")],
            ..Ours::default()
        };
        judge(&self.endpoints, &Seniority::default(), &ours)
    }

    fn targets(&self) -> BTreeMap<String, IpAddr> {
        self.checks.targets(&self.judged().0)
    }

    /// All who are asked answer like this.
    fn answers(mut self, status: PathStatus, message: &str, millis: Option<u64>) -> Self {
        let rtt = millis.and_then(|millis| Rtt::of(&[Duration::from_millis(millis)]));
        let health = Health {
            status,
            message: message.to_owned(),
            rtt,
        };
        let paths = self.targets().into_keys();
        self.healths = paths.map(|path| (path, health.clone())).collect();
        self
    }

    fn rows(&self) -> Vec<Row> {
        let (remotes, refusals) = self.judged();
        rows(&Known {
            checks: &self.checks,
            endpoints: &self.endpoints,
            remotes: &remotes,
            refusals: &refusals,
            healths: &self.healths,
        })
    }

    fn status(&self) -> RouteAgentStatus {
        status(&self.rows(), &[], "0.1.0")
    }

    /// Of its one row.
    fn says(&self) -> (String, String) {
        let status = self.status();
        let mut rows = status.remote_endpoints.iter();
        let row = rows.next().expect("a row");
        assert!(rows.next().is_none(), "{status:?}");
        (row.status.clone(), row.status_message.clone())
    }
}

fn none(message: &str) -> (String, String) {
    ("none".to_owned(), message.to_owned())
}

fn put(write: Option<Write>) -> RouteAgent {
    match write {
        Some(Write::Put(agent)) => *agent,
        other => panic!("not written: {other:?}"),
    }
}

/// What stands there after `status` was written at `at`.
fn written(status: &RouteAgentStatus, at: Duration) -> RouteAgent {
    put(publish(NAMESPACE, Some(W1), status, None, at))
}

fn after(seconds: u64) -> Duration {
    NOW + Duration::from_secs(seconds)
}

/// "RouteAgent syncing › should create a RouteAgent resource", in the form that was recorded.
#[test]
fn agent_56_a_route_agent_is_as_submariner_writes_it() {
    let agent = written(&Scene::new(WORKER, &[]).status(), NOW);
    let agent = serde_json::to_value(&agent).expect("JSON");
    let metadata = &agent["metadata"];
    assert_eq!(
        (&metadata["name"], &metadata["namespace"]),
        (&json!("c1-w1"), &json!(NAMESPACE))
    );
    let status = json!({"remoteEndpoints": [], "statusFailure": "", "version": "0.1.0"});
    assert_eq!(agent["status"], status);
    // So it goes with the Node.
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "c1-w1", "uid": "uid-w1"}]);
    assert_eq!(metadata["ownerReferences"], owner);
}

/// "a remote Endpoint is created/updated/deleted › should add/update/delete its RemoteEndpoint information".
#[test]
fn agent_61_endpoints_come_change_and_go() {
    let clusters = |scene: &Scene| -> Vec<String> {
        let rows = scene.rows().into_iter();
        rows.map(|row| row.spec.cluster_id).collect()
    };
    let ours = endpoint("c1", 11, 0);
    let mut scene = Scene::new(
        WORKER,
        &[endpoint("c3", 11, 0), ours, endpoint("c2", 11, 1)],
    );
    assert_eq!(clusters(&scene), ["c2", "c3"], "ours is no remote one");
    scene.endpoints[2].spec.hostname = "another".to_owned();
    assert_eq!(scene.rows()[0].spec, scene.endpoints[2].spec);
    scene.endpoints.remove(0);
    assert_eq!(clusters(&scene), ["c2"]);
}

/// "a remote Endpoint is created › should start a pinger and correctly update the RemoteEndpoint Status and LatencyInfo". Of both families.
#[test]
fn agent_92_a_gateway_that_answers_is_connected() {
    for (target, net) in [("10.2.1.1", "10.2.0.0/16"), ("fd02::1", "fd02::/48")] {
        let mut remote = endpoint("c2", 11, 0);
        remote.spec.health_check_ip = target.to_owned();
        remote.spec.subnets = [net.to_owned()].into_iter().collect();
        let scene = Scene::new(WORKER, &[remote]);
        let targets: Vec<IpAddr> = scene.targets().into_values().collect();
        assert_eq!(targets, [target.parse::<IpAddr>().expect("an address")]);
        let scene = scene.answers(PathStatus::Connected, "", Some(3));
        assert_eq!(scene.says(), ("connected".to_owned(), String::new()));
        let status = serde_json::to_value(scene.status()).expect("JSON");
        let times = &status["remoteEndpoints"][0]["latencyRTT"];
        for member in ["last", "min", "average", "max"] {
            assert_eq!(times[member], "3ms", "{times}");
        }
        assert_eq!(times["stdDev"], "0s");
    }
}

/// "with no HealthCheckIP › should not start a pinger and should set the RemoteEndpoint Status to None". One that would be reached by another
/// way is as good as none.
#[test]
fn agent_108_without_an_address_nobody_is_asked() {
    let with = |address: &str| {
        let mut remote = endpoint("c2", 11, 0);
        remote.spec.health_check_ip = address.to_owned();
        Scene::new(WORKER, &[remote])
    };
    let scene = with("");
    assert!(scene.targets().is_empty());
    assert_eq!(scene.says(), none("Health checker IP is not configured"));
    let elsewhere = with("192.0.2.1");
    assert!(elsewhere.targets().is_empty());
    let (status, message) = elsewhere.says();
    assert!(
        status == "none" && message.contains("192.0.2.1"),
        "{status}: {message}"
    );
}

/// "on the gateway › should not start a pinger and should set the RemoteEndpoint Status to None".
#[test]
fn agent_122_on_a_gateway_node_nobody_is_asked() {
    let checks = Checks::of(&view("c1-gw1", Some("172.31.1.11")), true);
    let scene = Scene::new(checks, &[endpoint("c2", 11, 0)]);
    assert!(scene.targets().is_empty());
    let message = "Health check is not performed on gateway nodes";
    assert_eq!(scene.says(), none(message));
}

/// "with health check not enabled › should not start a pinger and should set the RemoteEndpoint Status to None".
#[test]
fn agent_141_where_it_is_off_nobody_is_asked() {
    for node in ["c1-gw1", "c1-w1"] {
        for gateway in [Some("172.31.1.11"), None] {
            let checks = Checks::of(&view(node, gateway), false);
            let scene = Scene::new(checks, &[endpoint("c2", 11, 0)]);
            assert!(scene.targets().is_empty());
            assert_eq!(scene.says(), none("Health check is not enabled"));
        }
    }
}

/// "a remote Endpoint is updated › and the HealthCheckIP was changed › should stop the pinger and start a new one".
#[test]
fn agent_157_another_address_is_another_path() {
    let mut scene = Scene::new(WORKER, &[endpoint("c2", 11, 0)]);
    scene = scene.answers(PathStatus::Connected, "", Some(3));
    let before = scene.targets();
    scene.endpoints[0].spec.health_check_ip = "10.2.1.2".to_owned();
    let now = scene.targets();
    assert_eq!((before.len(), now.len()), (1, 1));
    assert!(before.keys().all(|path| !now.contains_key(path)));
    assert_eq!(
        scene.says().0,
        "connecting",
        "nothing is told of the old one"
    );
    assert_eq!(scene.rows()[0].rtt, None);
}

/// "and the HealthCheckIP did not change › should not start a new pinger".
#[test]
fn agent_172_the_same_address_is_the_same_path() {
    let mut scene = Scene::new(WORKER, &[endpoint("c2", 11, 0)]);
    let before = scene.targets();
    scene.endpoints[0].spec.public_ip = "198.51.100.1".to_owned();
    assert_eq!(scene.targets(), before);
}

/// "a remote Endpoint is deleted › should stop the pinger". Also where the new one came before the old one went (defect 11).
#[test]
fn agent_189_d11_of_a_fail_over_nothing_stays() {
    let (old, new) = (endpoint("c2", 11, 0), endpoint("c2", 12, 9));
    for both in [[old.clone(), new.clone()], [new.clone(), old.clone()]] {
        let scene = Scene::new(WORKER, &both);
        let rows = scene.rows();
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0].spec, new.spec);
        assert_eq!(rows[0].message.matches("newer").count(), 0, "{rows:?}");
        assert_eq!(scene.targets().len(), 1);
        let alone = Scene::new(WORKER, std::slice::from_ref(&new));
        assert_eq!((alone.rows(), alone.targets()), (rows, scene.targets()));
    }
    let none = Scene::new(WORKER, &[]);
    assert!(none.rows().is_empty() && none.targets().is_empty());
}

/// "a pinger reports a connection error › should set the RemoteEndpoint Status to Error".
#[test]
fn agent_199_a_gateway_that_does_not_answer_is_an_error_with_its_message() {
    let scene = Scene::new(WORKER, &[endpoint("c2", 11, 0)]);
    let scene = scene.answers(PathStatus::Error, "no answer", Some(3));
    assert_eq!(scene.says(), ("error".to_owned(), "no answer".to_owned()));
    assert!(scene.rows()[0].rtt.is_some(), "the last round trips stay");
    // Neither is one that cannot be asked.
    let scene = scene.answers(PathStatus::Unknown, "no socket", None);
    assert_eq!(scene.says(), ("error".to_owned(), "no socket".to_owned()));
}

/// "Gateway transition › to gateway node › should stop the pinger", "to non-gateway node › should start the pinger".
#[test]
fn agent_223_233_who_becomes_a_gateway_asks_no_more_and_the_other_way_round() {
    let mut scene = Scene::new(WORKER, &[endpoint("c2", 11, 0)]);
    let mut of = |address: &str| {
        scene.checks = Checks::of(&view("c1-w1", Some(address)), true);
        scene.clone()
    };
    let worker = of("172.31.1.11");
    assert_eq!((worker.checks.clone(), worker.targets().len()), (WORKER, 1));
    let mut gateway = of("172.31.1.21");
    assert!(gateway.targets().is_empty());
    // What was known is of another time.
    gateway.healths = worker.answers(PathStatus::Connected, "", Some(3)).healths;
    assert_eq!(gateway.says().0, "none");
    assert_eq!(gateway.rows()[0].rtt, None);
    assert_eq!(of("172.31.1.11").targets().len(), 1);
}

/// Section 4.8: what Submariner says of a path that was not asked yet is an empty text.
#[test]
fn a_path_that_has_not_answered_yet_is_connecting() {
    let scene = Scene::new(WORKER, &[endpoint("c2", 11, 0)]);
    let asked = scene.clone().answers(PathStatus::Unknown, "", None);
    for scene in [scene, asked] {
        let (status, message) = scene.says();
        assert_eq!(status, "connecting");
        assert!(message.contains("\"10.2.1.1\""), "{message}");
    }
}

#[test]
fn where_there_is_no_way_nobody_is_asked_and_it_is_an_error() {
    for (gateway, word) in [(None, "no active gateway"), (Some("fd31::11"), "family")] {
        let checks = Checks::of(&view("c1-w1", gateway), true);
        let scene = Scene::new(checks, &[endpoint("c2", 11, 0)]);
        assert!(scene.targets().is_empty());
        let (status, message) = scene.says();
        assert!(
            status == "error" && message.contains(word),
            "{status}: {message}"
        );
    }
}

#[test]
fn what_is_not_believed_is_told_where_it_belongs() {
    let mut remote = endpoint("c2", 11, 0);
    let subnets = ["10.2.0.0/16", "0.0.0.0/0"].map(str::to_owned);
    remote.spec.subnets = subnets.into_iter().collect();
    let scene = Scene::new(WORKER, &[remote]).answers(PathStatus::Connected, "", None);
    let (status, message) = scene.says();
    assert!(
        status == "connected" && message.contains("0.0.0.0/0"),
        "{message}"
    );
    // Of a cluster with no other Endpoint, one that is not believed at all.
    let mut broken = endpoint("c2", 11, 0);
    broken.spec.private_ip = "here".to_owned();
    let (status, message) = Scene::new(WORKER, std::slice::from_ref(&broken)).says();
    assert!(
        status == "error" && message.contains("private_ip"),
        "{message}"
    );
    let both = Scene::new(WORKER, &[broken, endpoint("c2", 12, 1)]);
    assert_eq!(
        both.answers(PathStatus::Connected, "", None).says().0,
        "connected"
    );
}

#[test]
fn round_trips_alone_are_written_once_a_minute_and_news_at_once() {
    let scene = Scene::new(WORKER, &[endpoint("c2", 11, 0)]);
    let told = |millis| {
        let scene = scene
            .clone()
            .answers(PathStatus::Connected, "", Some(millis));
        scene.status()
    };
    let there = written(&told(3), NOW);
    let ahead = written(&told(3), after(1));
    let write =
        |status: &RouteAgentStatus, at| publish(NAMESPACE, Some(W1), status, Some(&there), at);
    for seconds in 0..60 {
        assert_eq!(write(&told(4), after(seconds)), None, "after {seconds} s");
    }
    let renewed = put(write(&told(4), after(60)));
    assert_eq!(renewed.status, Some(told(4)));
    let back = publish(NAMESPACE, Some(W1), &told(4), Some(&ahead), NOW);
    assert!(back.is_some(), "of a clock that was ahead");
    // Without any change there is nothing to renew.
    assert_eq!(write(&told(3), after(100_000)), None);
    let broken = scene
        .clone()
        .answers(PathStatus::Error, "no answer", Some(3));
    assert!(write(&broken.status(), NOW).is_some());
    assert!(
        write(&scene.status(), NOW).is_some(),
        "that there are none is news"
    );
}

#[test]
fn what_others_wrote_on_it_stays_and_a_node_of_another_time_is_no_owner() {
    let status = Scene::new(WORKER, &[]).status();
    let there: RouteAgent = serde_json::from_value(json!({
        "metadata": {
            "name": "c1-w1", "resourceVersion": "7", "annotations": {"mine": "kept"},
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Node", "name": "c1-w1", "uid": "uid-before"},
                {"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "uid-x"},
            ],
        },
        "status": status,
    }))
    .expect("a RouteAgent");
    let agent = put(publish(NAMESPACE, Some(W1), &status, Some(&there), NOW));
    let annotations = agent.metadata.annotations.clone().unwrap_or_default();
    assert_eq!(annotations.get("mine").map(String::as_str), Some("kept"));
    assert_eq!(agent.metadata.resource_version.as_deref(), Some("7"));
    let owners = agent.metadata.owner_references.clone().unwrap_or_default();
    let uids: Vec<&str> = owners.iter().map(|owner| owner.uid.as_str()).collect();
    assert_eq!(uids, ["uid-x", "uid-w1"]);
    assert_eq!(
        publish(NAMESPACE, Some(W1), &status, Some(&agent), after(1)),
        None
    );
}

/// Else Kubernetes removes it with the Node, and an agent that runs on for a moment makes one that nobody removes.
#[test]
fn where_there_is_no_node_there_is_no_route_agent() {
    let status = Scene::new(WORKER, &[]).status();
    let mut there = written(&status, NOW);
    there.metadata.uid = Some("uid-1".to_owned());
    assert_eq!(publish(NAMESPACE, None, &status, None, NOW), None);
    let Some(Write::Delete(stale)) = publish(NAMESPACE, None, &status, Some(&there), NOW) else {
        panic!("it stays");
    };
    assert_eq!(
        (stale.name.as_str(), stale.uid.as_deref()),
        ("c1-w1", Some("uid-1"))
    );
}

fn any_endpoint() -> impl Strategy<Value = Endpoint> {
    let subnet = prop::sample::select(vec![
        "10.2.0.0/16",
        "10.3.0.0/16",
        "10.1.5.0/24",
        "0.0.0.0/0",
        "x",
    ]);
    let subnets = prop::collection::vec(subnet, 0..3);
    let check = prop::sample::select(vec!["", "10.2.1.1", "10.3.1.1", "fd02::1", "y"]);
    (2_u8..5, 11_u8..14, 0_u8..4, subnets, check).prop_map(
        |(cluster, host, second, subnets, check)| {
            let mut endpoint = endpoint(&format!("c{cluster}"), host, second);
            endpoint.spec.subnets = subnets.into_iter().map(ToOwned::to_owned).collect();
            endpoint.spec.health_check_ip = check.to_owned();
            endpoint
        },
    )
}

fn any_checks() -> impl Strategy<Value = Checks> {
    prop::sample::select(vec![
        Checks::Off,
        Checks::OnGateway,
        Checks::NoWay("why".to_owned()),
        Checks::ThroughGateway,
    ])
}

fn any_scene() -> impl Strategy<Value = Scene> {
    let endpoints = prop::collection::vec(any_endpoint(), 0..6);
    let path = prop::sample::select(vec![
        PathStatus::Unknown,
        PathStatus::Connected,
        PathStatus::Error,
    ]);
    (any_checks(), endpoints, path, any::<bool>()).prop_map(|(checks, endpoints, path, asked)| {
        // Names are unique.
        let endpoints: BTreeMap<_, _> = endpoints
            .into_iter()
            .map(|endpoint| (endpoint.metadata.name.clone(), endpoint))
            .collect();
        let endpoints: Vec<Endpoint> = endpoints.into_values().collect();
        let scene = Scene::new(checks, &endpoints);
        if asked {
            scene.answers(path, "", Some(3))
        } else {
            scene
        }
    })
}

proptest! {
    /// One row for each other cluster, with a word for its status; only those that are asked are connected; the order of events leaves no trace.
    #[test]
    fn every_cluster_is_told_once(scene in any_scene()) {
        let rows = scene.rows();
        let told: Vec<&str> = rows.iter().map(|row| row.spec.cluster_id.as_str()).collect();
        let clusters: BTreeSet<&str> = scene
            .endpoints
            .iter()
            .map(|endpoint| endpoint.spec.cluster_id.as_str())
            .collect();
        prop_assert_eq!(told, clusters.into_iter().collect::<Vec<_>>());
        let connected = rows.iter().filter(|row| row.status == ConnectionStatus::Connected);
        prop_assert!(connected.count() <= scene.targets().len());
        prop_assert!(scene.targets().is_empty() || scene.checks == WORKER);
        for row in scene.status().remote_endpoints.iter() {
            prop_assert!(!row.status.is_empty());
            prop_assert!(row.status != "none" || row.latency_rtt.is_none());
        }
        let mut turned = scene.clone();
        turned.endpoints.reverse();
        prop_assert_eq!(turned.rows(), rows);
    }

    /// What was written is good enough, as it comes back from the API server; and whatever stood there before, one write makes it so.
    #[test]
    fn one_write_is_enough(before in any_scene(), now in any_scene()) {
        let back = |agent: &RouteAgent| -> RouteAgent {
            let value = serde_json::to_value(agent).expect("JSON");
            serde_json::from_value(value).expect("a RouteAgent")
        };
        let there = back(&written(&before.status(), NOW));
        let wanted = now.status();
        let write = publish(NAMESPACE, Some(W1), &wanted, Some(&there), after(61));
        let there = match write {
            Some(Write::Put(agent)) => back(&agent),
            _ => there,
        };
        prop_assert_eq!(there.status.as_ref(), Some(&wanted));
        prop_assert_eq!(publish(NAMESPACE, Some(W1), &wanted, Some(&there), after(100_000)), None);
    }
}
