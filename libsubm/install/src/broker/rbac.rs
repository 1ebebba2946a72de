//! Accounts and roles on the broker.

use serde_json::{Value, json};

use crate::names::{BROKER_ADMIN, BROKER_CLUSTER_ROLE};
use crate::rbac::MANAGE;
use crate::{ClusterId, Object};

/// Submariner's agents and gateways have the same role, and delete collections.
const ALL: [&str; 8] = [
    "create",
    "get",
    "list",
    "watch",
    "patch",
    "update",
    "delete",
    "deletecollection",
];

/// The admin, whose token is in `broker-info.subm`, and the role of members.
pub(super) fn objects(namespace: &str) -> Vec<Object> {
    vec![
        Object::ours(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": BROKER_ADMIN, "namespace": namespace},
        })),
        Object::ours(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": BROKER_ADMIN, "namespace": namespace},
            "rules": with_exchange(vec![
                json!({"apiGroups": ["submariner.io"], "resources": ["brokers"], "verbs": ["get", "list"]}),
                json!({"apiGroups": [""], "resources": ["serviceaccounts", "secrets", "configmaps"], "verbs": MANAGE}),
                json!({"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}),
                json!({"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["rolebindings"], "verbs": MANAGE}),
                // Without this it could hand out only rights that it has itself.
                json!({
                    "apiGroups": ["rbac.authorization.k8s.io"],
                    "resources": ["roles"],
                    "resourceNames": [BROKER_CLUSTER_ROLE],
                    "verbs": ["bind"],
                }),
            ]),
        })),
        binding(namespace, BROKER_ADMIN, BROKER_ADMIN, BROKER_ADMIN),
        // What members exchange, and nothing else: no Secret, no account. Which of these objects are its own is up to the
        // admission policy.
        Object::ours(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": BROKER_CLUSTER_ROLE, "namespace": namespace},
            "rules": with_exchange(Vec::new()),
        })),
    ]
}

/// Rules, and what members exchange.
fn with_exchange(mut rules: Vec<Value>) -> Vec<Value> {
    rules.extend([
        json!({"apiGroups": ["submariner.io"], "resources": ["clusters", "endpoints"], "verbs": ALL}),
        json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": MANAGE}),
        json!({"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports"], "verbs": ALL}),
        json!({"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports/status"], "verbs": ["get", "patch", "update"]}),
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ALL}),
        // OpenShift wants it of whoever sets addresses.
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices/restricted"], "verbs": ["create"]}),
    ]);
    rules
}

/// Gives a member's account the role of members.
pub(super) fn member_binding(namespace: &str, id: &ClusterId) -> Object {
    let account = id.account();
    let name = format!("{account}-{BROKER_CLUSTER_ROLE}");
    binding(namespace, &name, BROKER_CLUSTER_ROLE, &account)
}

fn binding(namespace: &str, name: &str, role: &str, account: &str) -> Object {
    Object::ours(json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": name, "namespace": namespace},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    }))
}
