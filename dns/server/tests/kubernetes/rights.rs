//! The service account may not read what the server needs.

use anyhow::{Result, ensure};
use serde_json::json;
use subm_test_support::{Cluster, eventually};

use crate::SOON;
use crate::objects::{put, vip_import};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named_and_granted_later() -> Result<()> {
    let cluster = Cluster::shared().await?;
    // Whoever has a token may see which kinds there are; one of the default roles says so.
    cluster.wait_for_roles().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("rights").await?;
    let token = cluster.service_account_token(&namespace, "dns").await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "web", "243.2.0.1"),
    )
    .await?;

    let mut server = Server::start(&cluster.kubeconfig_for(&token)?)?;
    server.is_not_ready().await?;
    for resource in ["serviceimports", "endpointslices"] {
        let refusal = format!("cannot list resource \"{resource}\"");
        server.says(503, &refusal).await?;
        // Quotes within a log line are escaped.
        let line = server
            .process()
            .wait_for_line(&format!("cannot list resource \\\"{resource}\\\""), SOON)
            .await?;
        ensure!(
            line.contains("WARN") && line.contains("grant the verbs get, list and watch"),
            "{line}"
        );
    }

    // Half of it is not enough.
    grant(
        &client,
        &namespace,
        "multicluster.x-k8s.io",
        "serviceimports",
    )
    .await?;
    eventually(SOON, || async {
        let (status, text) = server.page("/ready").await?;
        ensure!(status == 503, "/ready says {status}: {text}");
        ensure!(!text.contains("ServiceImport:"), "{text}");
        ensure!(text.contains("EndpointSlice:"), "{text}");
        anyhow::Ok(())
    })
    .await?;
    server.is_not_ready().await?;

    grant(&client, &namespace, "discovery.k8s.io", "endpointslices").await?;
    server.wait_ready().await?;
    let name = format!("web.{namespace}.svc.clusterset.local");
    server.answers(&name, &["243.2.0.1"]).await?;
    // What it can do without is said all the same.
    server.says(200, "cannot list resource \"gateways\"").await
}

/// To the service account `dns` of the namespace.
async fn grant(client: &kube::Client, namespace: &str, group: &str, resource: &str) -> Result<()> {
    let name = format!("{namespace}-{resource}");
    put(
        client,
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": [{
                "apiGroups": [group],
                "resources": [resource],
                "verbs": ["get", "list", "watch"],
            }],
        }),
    )
    .await?;
    put(
        client,
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": "dns"}],
        }),
    )
    .await
}
