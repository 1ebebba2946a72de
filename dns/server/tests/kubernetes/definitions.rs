//! CRDs come late, and their versions come and go.

use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use subm_test_support::{Cluster, crds, eventually};

use crate::SOON;
use crate::asker::Asker;
use crate::objects::{delete, gateway, lighthouse_import, put, service_slice, vip_import};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn definitions_come_after_the_server() -> Result<()> {
    let cluster = Cluster::start().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("late").await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    let name = format!("cart.{namespace}.svc.clusterset.local");
    // The slices are there first, for their kind is.
    for (id, ip) in [("west", "10.1.0.1"), ("south", "10.2.0.1")] {
        put(&client, service_slice(&namespace, "cart", id, ip, true)).await?;
    }
    server.denies(&name).await?;
    server.is_well().await?;

    let mcs = crds::of_group("multicluster.x-k8s.io", crds::ours()?);
    crds::install(&client, &mcs).await?;
    put(
        &client,
        lighthouse_import(&namespace, "cart", "ClusterSetIP"),
    )
    .await?;
    server.takes_turns(&name, &["10.1.0.1", "10.2.0.1"]).await?;

    // Without a gateway nothing is known of tunnels; from now on something is.
    crds::install(&client, &crds::of_group("submariner.io", crds::ours()?)).await?;
    let tunnels = |south| gateway(&namespace, &[("west", "connected"), ("south", south)]);
    put(&client, tunnels("error")).await?;
    server.takes_turns(&name, &["10.1.0.1"]).await?;
    put(&client, tunnels("connected")).await?;
    server.takes_turns(&name, &["10.1.0.1", "10.2.0.1"]).await?;
    put(&client, tunnels("error")).await?;
    server.takes_turns(&name, &["10.1.0.1"]).await?;
    delete(&client, tunnels("error")).await?;
    server.takes_turns(&name, &["10.1.0.1", "10.2.0.1"]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_takes_over_from_another() -> Result<()> {
    const RIGHT: &[Ipv4Addr] = &[Ipv4Addr::new(243, 3, 0, 1)];
    let cluster = Cluster::start().await?;
    let client = cluster.client().await?;
    let old = crds::only_version("v1alpha1", crds::ours()?);
    crds::install(&client, &old).await?;
    let namespace = cluster.fresh_namespace("upgrade").await?;
    let name = |service| format!("{service}.{namespace}.svc.clusterset.local");
    put(
        &client,
        vip_import("v1alpha1", &namespace, "web", "243.3.0.1"),
    )
    .await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    server.answers(&name("web"), &["243.3.0.1"]).await?;
    let asker = Asker::start(server.addr(), &name("web"), RIGHT).await?;

    crds::install(
        &client,
        &crds::of_group("multicluster.x-k8s.io", crds::ours()?),
    )
    .await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "both", "243.3.0.2"),
    )
    .await?;
    server.answers(&name("both"), &["243.3.0.2"]).await?;

    stop_serving(&client, "v1alpha1").await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "beta", "243.3.0.3"),
    )
    .await?;
    server.answers(&name("beta"), &["243.3.0.3"]).await?;
    delete(
        &client,
        vip_import("v1beta1", &namespace, "both", "243.3.0.2"),
    )
    .await?;
    server.denies(&name("both")).await?;

    let asked = asker.finish().await?;
    ensure!(asked > 100, "only {asked} questions");
    Ok(())
}

/// Returns when imports cannot be listed any more in that version.
async fn stop_serving(client: &kube::Client, version: &str) -> Result<()> {
    const NAME: &str = "serviceimports.multicluster.x-k8s.io";
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut crd = api.get(NAME).await?;
    for have in &mut crd.spec.versions {
        have.served = have.name != version;
    }
    let patch = serde_json::json!({"spec": {"versions": crd.spec.versions}});
    api.patch(NAME, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    let path = format!("/apis/multicluster.x-k8s.io/{version}/serviceimports");
    eventually(SOON, || async {
        let request = http::Request::get(&path).body(Vec::new())?;
        let listed = client.request_text(request).await;
        ensure!(listed.is_err(), "{version} is still served");
        anyhow::Ok(())
    })
    .await
}
