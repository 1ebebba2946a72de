//! Objects as users and Kubernetes write them.

use anyhow::Result;
use kube::Client;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use subm_test_support::objects;
pub(crate) use subm_test_support::objects::{get, put};

pub(crate) const NS: &str = "shop";

pub(crate) async fn delete(client: &Client, kind: &str, namespace: &str, name: &str) -> Result<()> {
    let api = objects::api(client, kind, Some(namespace));
    api.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// Objects of a kind in all namespaces.
pub(crate) async fn all(client: &Client, kind: &str) -> Result<Vec<Value>> {
    objects::all(client, kind, None).await
}

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": NS, "labels": {"app": name}},
        "spec": {"selector": {"app": name}, "ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]},
    })
}

/// What the endpoint slice controller would make of ready pods.
pub(crate) fn backends(service: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": format!("{service}-k8s"), "namespace": NS, "labels": {
            "kubernetes.io/service-name": service,
            "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
        }},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    })
}

pub(crate) fn export(name: &str) -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport",
        "metadata": {"name": name, "namespace": NS},
    })
}
