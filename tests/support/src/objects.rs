//! Objects of any kind, as JSON values: what tests write as users do, and read back.

use anyhow::{Context as _, Result};
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::Value;

/// Creates `object`, or makes the one of that name the same.
pub async fn put(client: &Client, object: Value) -> Result<()> {
    let (api, object) = place(client, object)?;
    let params = PatchParams::apply("subm-test").force();
    api.patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await
        .with_context(|| format!("cannot write {}", object.name_any()))?;
    Ok(())
}

/// Deletes the object of that kind and name.
pub async fn delete(client: &Client, object: Value) -> Result<()> {
    let (api, object) = place(client, object)?;
    api.delete(&object.name_any(), &DeleteParams::default())
        .await
        .with_context(|| format!("cannot delete {}", object.name_any()))?;
    Ok(())
}

/// All objects of a kind, in a namespace or everywhere.
pub async fn all(client: &Client, kind: &str, namespace: Option<&str>) -> Result<Vec<Value>> {
    let list = api(client, kind, namespace)
        .list(&ListParams::default())
        .await?;
    list.items
        .into_iter()
        .map(|object| Ok(serde_json::to_value(object)?))
        .collect()
}

/// An object, if it is there.
pub async fn get(
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

/// The interface of a kind, by its name alone.
pub fn api(client: &Client, kind: &str, namespace: Option<&str>) -> Api<DynamicObject> {
    let (group, version) = match kind {
        "ServiceImport" | "ServiceExport" => ("multicluster.x-k8s.io", "v1beta1"),
        "EndpointSlice" => ("discovery.k8s.io", "v1"),
        "Deployment" | "StatefulSet" | "DaemonSet" => ("apps", "v1"),
        "Gateway" | "Endpoint" | "Cluster" | "RouteAgent" => ("submariner.io", "v1"),
        "Lease" => ("coordination.k8s.io", "v1"),
        "Event" => ("events.k8s.io", "v1"),
        _ => ("", "v1"),
    };
    let kind = GroupVersionKind::gvk(group, version, kind);
    of_kind(client, &kind, namespace)
}

/// The interface that serves `object`.
pub fn place(client: &Client, object: Value) -> Result<(Api<DynamicObject>, DynamicObject)> {
    let object: DynamicObject = serde_json::from_value(object)?;
    let types = object.types.as_ref().context("no type")?;
    let kind = GroupVersionKind::try_from(types)?;
    let api = of_kind(client, &kind, object.metadata.namespace.as_deref());
    Ok((api, object))
}

fn of_kind(
    client: &Client,
    kind: &GroupVersionKind,
    namespace: Option<&str>,
) -> Api<DynamicObject> {
    let resource = ApiResource::from_gvk(kind);
    match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
