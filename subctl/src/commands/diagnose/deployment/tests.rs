use serde_json::json;
use subm_install::network::Services;

use super::super::seen::OnBroker;
use super::*;
use crate::commands::finding::faults;

fn daemons(name: &str, wanted: u64) -> Value {
    json!({
        "metadata": {"name": name, "generation": 1},
        "spec": {"updateStrategy": {}},
        "status": {"observedGeneration": 1, "desiredNumberScheduled": wanted, "numberAvailable": wanted},
    })
}

fn replicas(name: &str, wanted: u64) -> Value {
    json!({
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 1, "availableReplicas": wanted},
    })
}

fn pod(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {"gateway.submariner.io/status": "active"}},
        "spec": {"nodeName": "w1"},
        "status": {"phase": "Running", "containerStatuses": [{"restartCount": 1}]},
    })
}

/// Members with both components.
fn healthy() -> Seen {
    let cluster =
        |id: &str, pods: &str| json!({"spec": {"cluster_id": id, "cluster_cidr": [pods]}});
    let endpoint = |id: &str| json!({"metadata": {"name": format!("{id}-cable")}, "spec": {"cluster_id": id, "subnets": []}});
    Seen {
        settings: json!({
            "clusterID": "c1", "components": "connectivity,service-discovery", "clusterCIDR": "10.8.0.0/16",
            "serviceCIDR": "10.88.0.0/16",
        }),
        services: Services {
            objects: vec![("kubernetes".to_owned(), "10.88.0.0/16".parse().unwrap())],
            ..Services::default()
        },
        nodes: vec![json!({
            "metadata": {"name": "w1", "labels": {"submariner.io/gateway": "true"}},
            "spec": {"podCIDRs": ["10.8.1.0/24", "fd08::/64"]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        })],
        daemon_sets: vec![daemons(GATEWAY, 1), daemons(ROUTE_AGENT, 1)],
        deployments: vec![replicas(AGENT, 1), replicas(DNS, 2)],
        pods: vec![pod("gateway-x")],
        broker: OnBroker {
            clusters: vec![cluster("c1", "10.8.0.0/16"), cluster("c2", "10.9.0.0/16")],
            endpoints: vec![endpoint("c1"), endpoint("c2")],
            trouble: None,
        },
        ..Seen::default()
    }
}

#[test]
fn a_healthy_member_has_no_fault() {
    assert!(faults(&check(&healthy())).is_empty());
}

#[test]
fn a_component_that_was_not_asked_for_is_not_missed() {
    let mut discovery = healthy();
    discovery.settings["components"] = json!("service-discovery");
    discovery.daemon_sets.clear();
    discovery.nodes.clear();
    assert!(faults(&check(&discovery)).is_empty());
    let mut connectivity = healthy();
    connectivity.settings["components"] = json!("connectivity");
    connectivity.deployments.clear();
    assert!(faults(&check(&connectivity)).is_empty());
}

#[test]
fn each_fault_is_named() {
    type Break = fn(&mut Seen);
    let cases: [(Break, &str); 15] = [
        (
            |seen| seen.broker.trouble = Some("connection refused".to_owned()),
            "The broker cannot be asked with this cluster's account: connection refused",
        ),
        (
            |seen| seen.broker.clusters[1]["spec"]["cluster_cidr"] = json!(["10.8.9.0/24"]),
            "CIDR \"10.8.0.0/16\" in cluster \"c1\" overlaps with cluster \"c2\" (CIDR \"10.8.9.0/24\")",
        ),
        (
            |seen| {
                let mut second = seen.broker.endpoints[1].clone();
                second["metadata"]["name"] = json!("c2-other");
                seen.broker.endpoints.push(second);
            },
            "? Found multiple Submariner endpoints (\"c2-cable\" and \"c2-other\") in cluster \"c2\"",
        ),
        (
            |seen| seen.nodes[0]["spec"]["podCIDRs"] = json!(["10.7.1.0/24"]),
            "Pods of node w1 have addresses of 10.7.1.0/24, which is outside of the pod CIDR that the cluster joined with (10.8.0.0/16)",
        ),
        (
            |seen| seen.settings["globalCIDR"] = json!("242.0.0.0/16"),
            "The cluster joined with Globalnet (global CIDR 242.0.0.0/16), and this version gives no global IPs: exports fail, and no other \
             cluster reaches anything in it",
        ),
        (
            |seen| seen.settings["serviceCIDR"] = json!("10.77.0.0/16"),
            "Services have addresses of 10.88.0.0/16 (ServiceCIDR \"kubernetes\"), which is outside of the service CIDR that the cluster \
             joined with (10.77.0.0/16)",
        ),
        (
            |seen| {
                seen.settings["serviceCIDR"] = json!("10.8.0.0/16");
                seen.services = Services::default();
            },
            "What it joined with cannot be: the cluster's own pod CIDR 10.8.0.0/16 and service CIDR 10.8.0.0/16 overlap",
        ),
        (
            |seen| seen.nodes[0]["metadata"]["labels"] = json!({}),
            "No node has the label submariner.io/gateway=true, so no gateway runs",
        ),
        (
            |seen| seen.nodes[0]["status"] = json!({}),
            "No gateway node is ready: w1",
        ),
        (
            |seen| seen.pods.push(pod("gateway-y")),
            "? Expected one Gateway pod to be labeled as active. Found 2 on nodes w1, w1",
        ),
        (
            |seen| seen.daemon_sets.retain(|set| name(set) != ROUTE_AGENT),
            "DaemonSet \"submariner-routeagent\" does not exist",
        ),
        (
            |seen| seen.daemon_sets[1]["status"]["numberAvailable"] = json!(0),
            "The desired number of running pods for DaemonSet \"submariner-routeagent\" (1) does not match the actual number (0)",
        ),
        (
            |seen| seen.deployments[1]["status"]["availableReplicas"] = json!(1),
            "The desired number of running pods for Deployment \"submariner-lighthouse-coredns\" (2) does not match the actual number (1)",
        ),
        (
            |seen| {
                seen.pods[0]["status"] = json!({
                    "phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
                });
            },
            "Pod \"gateway-x\" is not running. (current state is Pending: ImagePullBackOff)",
        ),
        (
            |seen| seen.pods[0]["status"]["containerStatuses"][0]["restartCount"] = json!(5),
            "? Pod \"gateway-x\" has restarted 5 times",
        ),
    ];
    for (change, want) in cases {
        let mut seen = healthy();
        change(&mut seen);
        assert_eq!(faults(&check(&seen)), [want]);
    }
}
