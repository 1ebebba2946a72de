//! Clusters with kube-controller-manager, and the audit of their API servers.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Secret, Service};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use serde_json::json;
use subm_test_support::rbac::{self, Access};
use subm_test_support::{Cluster, eventually};

const DEADLINE: Duration = Duration::from_mins(1);

async fn create<K>(api: &Api<K>, object: serde_json::Value) -> Result<K>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + serde::Serialize,
{
    Ok(api
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_make_pods_accounts_and_tokens_and_end_namespaces() -> Result<()> {
    let cluster = Cluster::builder()
        .controllers()
        .pod_cidr("10.8.0.0/16".parse()?)
        .service_cidr("10.88.0.0/16".parse()?)
        .start()
        .await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("made").await?;
    let services: Api<Service> = Api::all(client.clone());
    let kubernetes = eventually(DEADLINE, || async {
        let all = services.list(&ListParams::default()).await?;
        all.items.into_iter().next().context("no Service yet")
    })
    .await?;
    let address = kubernetes.spec.and_then(|spec| spec.cluster_ip);
    assert_eq!(address.as_deref(), Some("10.88.0.1"));

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let labels = json!({"app": "web"});
    let web = json!({
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": "nginx"}]},
            },
        },
    });
    create(&deployments, web).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    eventually(DEADLINE, || async {
        let pods = pods.list(&ListParams::default()).await?;
        ensure!(pods.items.len() == 2, "{} pods", pods.items.len());
        Ok(())
    })
    .await?;

    let secrets: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let token = json!({
        "metadata": {
            "name": "token",
            "annotations": {"kubernetes.io/service-account.name": "default"},
        },
        "type": "kubernetes.io/service-account-token",
    });
    create(&secrets, token).await?;
    eventually(DEADLINE, || async {
        let data = secrets.get("token").await?.data.unwrap_or_default();
        ensure!(
            data.contains_key("token") && data.contains_key("ca.crt"),
            "no token"
        );
        Ok(())
    })
    .await?;

    let namespaces: Api<Namespace> = Api::all(client);
    let empty = cluster.fresh_namespace("ends").await?;
    namespaces.delete(&empty, &DeleteParams::default()).await?;
    eventually(DEADLINE, || async {
        ensure!(
            namespaces.get_opt(&empty).await?.is_none(),
            "{empty} is there"
        );
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_shows_what_an_account_uses_lacks_and_has_too_much() -> Result<()> {
    let cluster = Cluster::builder().audited().start().await?;
    cluster.wait_for_roles().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("audit").await?;
    let token = cluster.service_account_token(&namespace, "reader").await?;
    bind_reader(&client, &namespace).await?;

    let reader = cluster.client_for(&token).await?;
    let maps: Api<ConfigMap> = Api::namespaced(reader.clone(), &namespace);
    let all = ListParams::default();
    eventually(DEADLINE, || maps.list(&all)).await?;
    let secrets: Api<Secret> = Api::namespaced(reader.clone(), &namespace);
    ensure!(secrets.get("none").await.is_err(), "may read Secrets");
    let pods: Api<Pod> = Api::all(reader);
    ensure!(
        pods.list(&ListParams::default()).await.is_err(),
        "may list pods"
    );

    let list_maps = Access::resource("list", "", "configmaps", None).within(&namespace);
    let watch_maps = Access::resource("watch", "", "configmaps", None).within(&namespace);
    let audit = cluster.audit()?;
    let used = audit.allowed(&namespace, "reader");
    assert_eq!(used, [list_maps.clone()].into());
    // The role may have been bound a moment before the API server knew.
    let mut denied = audit.denied(&namespace, "reader");
    denied.remove(&list_maps);
    let get_secret = Access::resource("get", "", "secrets", None).within(&namespace);
    assert_eq!(
        denied,
        [get_secret, Access::resource("list", "", "pods", None)].into()
    );
    let granted = rbac::granted(&client, &namespace, "reader").await?;
    assert_eq!(granted, [list_maps, watch_maps.clone()].into());
    assert_eq!(rbac::unused(&granted, &used), [watch_maps].into());
    Ok(())
}

/// A role of two verbs, of which one will be used.
async fn bind_reader(client: &Client, namespace: &str) -> Result<()> {
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    let rule = json!({"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]});
    create(
        &roles,
        json!({"metadata": {"name": "reader"}, "rules": [rule]}),
    )
    .await?;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), namespace);
    let binding = json!({
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": namespace}],
    });
    create(&bindings, binding).await?;
    Ok(())
}
