//! Pods that subctl runs for a moment: they measure or probe the network from a node, say what they found, and end.
//!
//! Bound to their node by name: what is to be found out is that node's, whatever a scheduler would think of it. They have no account
//! and end by themselves should nobody remove them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::Object;
use crate::images::{Images, NETTEST};
use crate::names::OPERATOR_NAMESPACE;

/// Label of these pods.
pub const LABEL: &str = "submariner.io/nettest";
/// Label with what the run of subctl is called that they are of.
pub const RUN: &str = "submariner.io/nettest-run";
/// Their one container.
pub const CONTAINER: &str = "nettest";

/// Where a pod stands, and what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// In the pod network, as users' pods.
    Pod,
    /// In the node's own network.
    Node,
    /// There, and it may capture packets.
    Capture,
}

/// `name` has to be new in the namespace. After `limit` it is ended.
pub fn pod(
    images: &Images,
    (name, run): (&str, &str),
    node: &str,
    stand: Stand,
    args: &[String],
    limit: Duration,
) -> Object {
    Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": OPERATOR_NAMESPACE,
            "labels": {LABEL: "true", RUN: run},
        },
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "hostNetwork": stand != Stand::Pod,
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
            "activeDeadlineSeconds": limit.as_secs().max(1),
            "containers": [{
                "name": CONTAINER,
                "image": images.of(NETTEST),
                "imagePullPolicy": images.pull_policy(),
                "args": args,
                // Whoever reaches a server must not be able to take the node's memory. Processors are not limited: that would be measured.
                "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
                "securityContext": security(stand),
            }],
        },
    }))
}

fn security(stand: Stand) -> Value {
    let mut context = json!({
        "allowPrivilegeEscalation": false,
        "readOnlyRootFilesystem": true,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "runAsNonRoot": true,
    });
    if stand == Stand::Capture {
        context["capabilities"]["add"] = json!(["NET_RAW"]);
        // Capabilities that are added are root's alone.
        for field in ["runAsUser", "runAsGroup"] {
            context[field] = json!(0);
        }
        context["runAsNonRoot"] = json!(false);
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stand: Stand) -> Object {
        let images = Images::like("quay.io/submariner/submariner-route-agent:0.1.0");
        let args = ["look".to_owned()];
        pod(
            &images,
            ("n-1", "run1"),
            "w1",
            stand,
            &args,
            Duration::from_secs(90),
        )
    }

    #[test]
    fn a_pod_stands_where_it_is_to_look_and_may_no_more_than_that() {
        for (stand, host, user, capabilities) in [
            (Stand::Pod, false, 65532, json!({"drop": ["ALL"]})),
            (Stand::Node, true, 65532, json!({"drop": ["ALL"]})),
            (
                Stand::Capture,
                true,
                0,
                json!({"drop": ["ALL"], "add": ["NET_RAW"]}),
            ),
        ] {
            let pod = of(stand);
            let spec = &pod.value()["spec"];
            assert_eq!(spec["hostNetwork"], host, "{stand:?}");
            assert_eq!(pod.value()["metadata"]["labels"][RUN], "run1");
            assert_eq!(spec["automountServiceAccountToken"], false);
            assert_eq!(spec["activeDeadlineSeconds"], 90);
            let container = &spec["containers"][0];
            assert_eq!(container["image"], "quay.io/submariner/nettest:0.1.0");
            assert_eq!(container["resources"]["limits"]["memory"], "128Mi");
            assert!(container["resources"]["limits"].get("cpu").is_none());
            let security = &container["securityContext"];
            assert_eq!(security["capabilities"], capabilities);
            assert_eq!(security["runAsUser"], user);
            assert!(security.get("privileged").is_none());
        }
    }
}
