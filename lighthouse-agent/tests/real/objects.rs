//! Objects as users and Kubernetes write them.

use anyhow::{Context as _, Result};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};

pub(crate) const NS: &str = "shop";

/// Creates `object`, or makes the one of that name the same.
pub(crate) async fn put(client: &Client, object: Value) -> Result<()> {
    let (api, object) = place(client, object)?;
    let params = PatchParams::apply("subm-test").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await
        .with_context(|| format!("cannot write {}", object.name_any()))?;
    Ok(())
}

pub(crate) async fn delete(client: &Client, kind: &str, namespace: &str, name: &str) -> Result<()> {
    let api = api(client, kind, Some(namespace));
    api.delete(name, &DeleteParams::default())
        .await
        .with_context(|| format!("cannot delete {name}"))?;
    Ok(())
}

/// Objects of a kind in all namespaces.
pub(crate) async fn all(client: &Client, kind: &str) -> Result<Vec<Value>> {
    let list = api(client, kind, None).list(&ListParams::default()).await?;
    list.items
        .into_iter()
        .map(|object| Ok(serde_json::to_value(object)?))
        .collect()
}

pub(crate) async fn get(
    client: &Client,
    kind: &str,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>> {
    let object = api(client, kind, Some(namespace)).get_opt(name).await?;
    object
        .map(|object| Ok(serde_json::to_value(object)?))
        .transpose()
}

fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = match kind {
        "ServiceImport" | "ServiceExport" => ("multicluster.x-k8s.io", "v1beta1"),
        "EndpointSlice" => ("discovery.k8s.io", "v1"),
        "Lease" => ("coordination.k8s.io", "v1"),
        "Event" => ("events.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn place(client: &Client, object: Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.as_ref().context("no type")?;
    let resource = ApiResource::from_gvk(&GroupVersionKind::try_from(types)?);
    let api = match &object.metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    Ok((api, object))
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
