//! Verbs and rules that several roles have.

use serde_json::{Value, json};

pub(crate) const ALL: [&str; 8] = [
    "create",
    "get",
    "list",
    "watch",
    "patch",
    "update",
    "delete",
    "deletecollection",
];
pub(crate) const READ: [&str; 3] = ["get", "list", "watch"];
/// Of a status, which comes and goes with its object.
pub(crate) const UPDATE: [&str; 3] = ["get", "patch", "update"];

/// What an agent writes, in its cluster and on the broker.
pub(crate) fn imports_and_slices() -> [Value; 3] {
    [
        json!({"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports"], "verbs": ALL}),
        json!({"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports/status"], "verbs": UPDATE}),
        // OpenShift wants "restricted" of whoever sets addresses.
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices", "endpointslices/restricted"], "verbs": ALL}),
    ]
}
