//! What users and controllers write, where none of them runs.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use subm_subctl::cluster::{Cluster as Api, kind};

const MEMBER: &str = "submariner-operator";

pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// As the Deployment controller says it once pods run.
pub(crate) async fn available(api: &Api, name: &str) -> Result<()> {
    let mut deployment = api
        .get(&kind::DEPLOYMENTS, Some(MEMBER), name)
        .await?
        .context("a Deployment")?;
    let replicas = deployment["spec"]["replicas"].clone();
    deployment["status"] = json!({
        "observedGeneration": deployment["metadata"]["generation"], "replicas": replicas, "readyReplicas": replicas,
        "availableReplicas": replicas,
    });
    api.replace(&kind::DEPLOYMENTS, "status", &deployment)
        .await?;
    Ok(())
}

/// As an agent has it that imports from one cluster.
pub(crate) async fn import(api: &Api, namespace: &str, name: &str, id: &str) -> Result<()> {
    let import = json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport",
        "metadata": {"name": name, "namespace": namespace, "annotations": {format!("timestamp.submariner.io/{id}"): "1"}},
        "spec": {"type": "ClusterSetIP", "ports": []},
    });
    api.create_value(&kind::IMPORTS, &import).await?;
    list(api, namespace, name, id).await
}

/// The clusters that an import lists.
pub(crate) async fn list(api: &Api, namespace: &str, name: &str, id: &str) -> Result<()> {
    let mut import = api
        .get(&kind::IMPORTS, Some(namespace), name)
        .await?
        .context("the import")?;
    import["status"] = json!({"clusters": [{"cluster": id}]});
    api.replace(&kind::IMPORTS, "status", &import).await?;
    Ok(())
}
