//! How nodes get rid of what the data plane made in their kernels: its programs run once more and told to remove it.
//!
//! One pod per node, bound to it by name, so that neither a controller nor the scheduler has to help, and its phase says how it
//! went. Upstream makes DaemonSets for it, which never end.

use serde_json::{Value, json};

use crate::Object;
use crate::names::{OPERATOR_NAMESPACE, ROUTE_AGENT};

/// Label of these pods.
pub const CLEANUP: &str = "submariner.io/cleanup";
/// What no node has: DaemonSets that select it have no pods.
pub const NOWHERE: &str = "submariner.io/uninstalling";

/// The pod for a node, with the containers of the DaemonSets that ran there; `None` where there are none. The first of them
/// brings the account.
pub fn pod(node: &str, daemon_sets: &[&Value]) -> Option<Object> {
    let first = daemon_sets.first()?;
    let spec = |set: &Value| set["spec"]["template"]["spec"].clone();
    let mut containers = Vec::new();
    let mut volumes: Vec<Value> = Vec::new();
    for set in daemon_sets {
        for mut container in items(&spec(set)["containers"]) {
            for probe in [
                "livenessProbe",
                "readinessProbe",
                "startupProbe",
                "ports",
                "lifecycle",
            ] {
                container.as_object_mut()?.remove(probe);
            }
            let mut env = items(&container["env"]);
            // What is on the broker is for the installer to remove, who knows whether the id is this cluster's.
            let dropped = ["SUBMARINER_UNINSTALL", "BROKER_K8S_APISERVER"];
            env.retain(|variable| dropped.iter().all(|name| variable["name"] != *name));
            env.push(json!({"name": "SUBMARINER_UNINSTALL", "value": "true"}));
            container["env"] = json!(env);
            containers.push(container);
        }
        for volume in items(&spec(set)["volumes"]) {
            if !volumes.iter().any(|have| have["name"] == volume["name"]) {
                volumes.push(volume);
            }
        }
    }
    Some(Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            // Names of nodes are names of pods, but for their length.
            "name": format!("{ROUTE_AGENT}-cleanup-{}", shortened(node)),
            "namespace": OPERATOR_NAMESPACE,
            "labels": {CLEANUP: "true"},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "OnFailure",
            "serviceAccountName": spec(first)["serviceAccountName"],
            "hostNetwork": true,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
            "containers": containers,
            "volumes": volumes,
        },
    })))
}

fn items(list: &Value) -> Vec<Value> {
    list.as_array().cloned().unwrap_or_default()
}

/// Room for what stands before it; the end of a name tells nodes apart.
fn shortened(node: &str) -> &str {
    const ROOM: usize = 200;
    let start = node.len().saturating_sub(ROOM);
    node.get(start..)
        .unwrap_or(node)
        .trim_start_matches(['-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, volume: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"template": {"spec": {
            "serviceAccountName": name,
            "containers": [{
                "name": name,
                "image": format!("{name}:1"),
                "env": [{"name": "A", "value": "b"}, {"name": "BROKER_K8S_APISERVER", "value": "192.0.2.1:6443"}],
                "ports": [{"containerPort": 1, "hostPort": 1}],
                "livenessProbe": {},
                "securityContext": {"privileged": true},
            }],
            "volumes": [{"name": "state", "hostPath": {"path": "/run/submariner"}}, {"name": volume}],
        }}}})
    }

    #[test]
    fn a_node_runs_what_ran_there_once_more_to_remove() {
        let (gateway, agent) = (set("gateway", "broker"), set("agent", "state"));
        let pod = pod("w1", &[&gateway, &agent]).unwrap();
        let spec = &pod.value()["spec"];
        assert_eq!(spec["nodeName"], "w1");
        assert_eq!(spec["serviceAccountName"], "gateway");
        let containers = spec["containers"].as_array().unwrap();
        assert_eq!(containers.len(), 2);
        for container in containers {
            assert_eq!(
                container["env"],
                json!([{"name": "A", "value": "b"}, {"name": "SUBMARINER_UNINSTALL", "value": "true"}])
            );
            assert_eq!(container["securityContext"]["privileged"], true);
            // The node's ports may be another's by now, and nothing that ends in a moment is probed.
            assert!(container.get("ports").is_none() && container.get("livenessProbe").is_none());
        }
        let names: Vec<&Value> = spec["volumes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|volume| &volume["name"])
            .collect();
        assert_eq!(names, ["state", "broker"], "each volume once");
    }

    #[test]
    fn long_names_of_nodes_fit() {
        let node = format!("{}.example", "x".repeat(245));
        let pod = pod(&node, &[&set("agent", "state")]).unwrap();
        assert!(pod.name().len() <= 253 && pod.name().ends_with(".example"));
        assert_eq!(super::pod("w1", &[]), None);
    }
}
