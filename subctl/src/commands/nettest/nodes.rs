//! Where pods of ours are to stand. Pure.

use serde_json::Value;
use subm_api::names::{GATEWAY_LABEL, HA_ACTIVE, POD_STATUS};

use crate::cluster::{condition, label, list_at, name, str_at};

/// The node whose gateway has the cables. The pod of one that died says for minutes that it is active, beside the one that leads now; it
/// is not ready any more, and no pod of ours would run there.
pub(in crate::commands) fn gateway(pods: &[Value]) -> Option<&str> {
    let active = pods
        .iter()
        .filter(|pod| {
            label(pod, POD_STATUS) == HA_ACTIVE && condition(pod, "Ready") == Some("True")
        })
        .find(|pod| pod["metadata"]["deletionTimestamp"].is_null())?;
    Some(str_at(active, "/spec/nodeName")).filter(|node| !node.is_empty())
}

/// Those that run pods, of Linux.
pub(in crate::commands) fn ready(nodes: &[Value]) -> Vec<&Value> {
    let ready = nodes.iter().filter(|node| {
        condition(node, "Ready") == Some("True")
            && ["", "linux"].contains(&label(node, "kubernetes.io/os"))
    });
    ready.collect()
}

/// A node that is no gateway; one of the control plane only where there are no others.
pub(in crate::commands) fn other<'a>(nodes: &'a [Value], gateway: &str) -> Option<&'a str> {
    let mut others: Vec<&Value> = ready(nodes)
        .into_iter()
        .filter(|node| name(node) != gateway && label(node, GATEWAY_LABEL) != "true")
        .collect();
    let closed = |node: &Value| {
        let taints = list_at(node, "/spec/taints").iter();
        node["spec"]["unschedulable"] == true
            || taints
                .map(|taint| str_at(taint, "/effect"))
                .any(|effect| effect != "PreferNoSchedule")
    };
    others.sort_by_key(|node| (closed(node), name(node)));
    others.first().map(|node| name(node))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, ready: &str, labels: &Value, spec: &Value) -> Value {
        json!({
            "metadata": {"name": name, "labels": labels},
            "spec": spec,
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    #[test]
    fn the_gateway_is_the_active_one() {
        let pod = |node: &str, status: &str| {
            json!({
                "metadata": {"labels": {POD_STATUS: status}}, "spec": {"nodeName": node},
                "status": {"conditions": [{"type": "Ready", "status": "True"}]},
            })
        };
        let mut pods = [
            pod("w1", "passive"),
            pod("w2", "active"),
            pod("w3", "active"),
        ];
        assert_eq!(gateway(&pods), Some("w2"));
        assert_eq!(gateway(&pods[..1]), None);
        // Its node is gone, and nobody has changed its label.
        pods[1]["status"]["conditions"][0]["status"] = json!("False");
        assert_eq!(gateway(&pods), Some("w3"));
        pods[2]["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(gateway(&pods), None);
    }

    #[test]
    fn another_node_is_one_where_users_pods_run() {
        let plain = json!({});
        let tainted = json!({"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]});
        let nodes = [
            node("a", "True", &plain, &tainted),
            node("b", "Unknown", &plain, &plain),
            node("c", "True", &json!({GATEWAY_LABEL: "true"}), &plain),
            node("d", "True", &plain, &json!({"unschedulable": true})),
            node("g", "True", &plain, &plain),
            node("r", "True", &json!({"kubernetes.io/os": "windows"}), &plain),
            node("w", "True", &json!({"kubernetes.io/os": "linux"}), &plain),
        ];
        assert_eq!(other(&nodes, "g"), Some("w"));
        assert_eq!(other(&nodes[..5], "g"), Some("a"), "better than none");
        assert_eq!(other(&nodes[1..3], "g"), None);
    }
}
