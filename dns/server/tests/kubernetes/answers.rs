//! Objects change, and so do answers.

use anyhow::{Result, ensure};
use subm_test_support::Cluster;

use crate::objects::{
    cluster_property, delete, lighthouse_import, pods_slice, put, service_slice, vip_import,
};
use crate::server::Server;

/// Of a cluster of its own: changes of other tests would raise the serial, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_comes_changes_and_goes() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.apply_crds().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("shop").await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    let name = format!("cart.{namespace}.svc.clusterset.local");
    let west = |ready| service_slice(&namespace, "cart", "west", "10.1.0.1", ready);
    let south = |ready| service_slice(&namespace, "cart", "south", "10.2.0.1", ready);
    server.denies(&name).await?;
    let mut serials = vec![server.serial().await?];

    put(
        &client,
        lighthouse_import(&namespace, "cart", "ClusterSetIP"),
    )
    .await?;
    put(&client, west(true)).await?;
    server.answers(&name, &["10.1.0.1"]).await?;
    serials.push(server.serial().await?);

    put(&client, south(true)).await?;
    server.takes_turns(&name, &["10.1.0.1", "10.2.0.1"]).await?;
    serials.push(server.serial().await?);

    put(&client, west(false)).await?;
    server.takes_turns(&name, &["10.2.0.1"]).await?;
    serials.push(server.serial().await?);

    delete(&client, south(true)).await?;
    server.answers(&name, &[]).await?;
    serials.push(server.serial().await?);

    put(&client, west(true)).await?;
    server.answers(&name, &["10.1.0.1"]).await?;
    serials.push(server.serial().await?);

    // The slice is left: it alone is no service.
    delete(
        &client,
        lighthouse_import(&namespace, "cart", "ClusterSetIP"),
    )
    .await?;
    server.denies(&name).await?;
    serials.push(server.serial().await?);

    ensure!(
        serials.is_sorted_by(|before, after| before < after),
        "the serial does not grow with each change: {serials:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_headless_service_come_and_go() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("chat").await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    let name = format!("rooms.{namespace}.svc.clusterset.local");

    put(&client, lighthouse_import(&namespace, "rooms", "Headless")).await?;
    let pods = |pods| pods_slice(&namespace, "rooms", "west", pods);
    put(&client, pods(&[("10.1.0.41", true)])).await?;
    server.answers(&name, &["10.1.0.41"]).await?;

    put(
        &client,
        pods(&[
            ("10.1.0.41", true),
            ("10.1.0.42", true),
            ("10.1.0.43", false),
        ]),
    )
    .await?;
    server.answers(&name, &["10.1.0.41", "10.1.0.42"]).await?;
    let pod = format!("10-1-0-42.west.{name}");
    server.answers(&pod, &["10.1.0.42"]).await?;

    put(&client, pods(&[("10.1.0.43", true)])).await?;
    server.answers(&name, &["10.1.0.43"]).await?;
    server.denies(&pod).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_set_ip_is_served_in_either_version() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("versions").await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    let name = |service| format!("{service}.{namespace}.svc.clusterset.local");

    put(
        &client,
        vip_import("v1alpha1", &namespace, "old", "243.1.0.1"),
    )
    .await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "new", "243.1.0.2"),
    )
    .await?;
    server.answers(&name("old"), &["243.1.0.1"]).await?;
    server.answers(&name("new"), &["243.1.0.2"]).await
}

/// Clusters of other tests have other names, so that the property means nothing to them.
#[tokio::test(flavor = "multi_thread")]
async fn a_property_says_which_cluster_goes_first() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("local").await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    let name = format!("cart.{namespace}.svc.clusterset.local");
    let here = |ready| service_slice(&namespace, "cart", "here", "10.1.0.1", ready);
    put(
        &client,
        lighthouse_import(&namespace, "cart", "ClusterSetIP"),
    )
    .await?;
    put(&client, here(true)).await?;
    put(
        &client,
        service_slice(&namespace, "cart", "there", "10.2.0.1", true),
    )
    .await?;
    server.takes_turns(&name, &["10.1.0.1", "10.2.0.1"]).await?;

    put(&client, cluster_property("here")).await?;
    server.takes_turns(&name, &["10.1.0.1"]).await?;

    // Local first means: while it is healthy.
    put(&client, here(false)).await?;
    server.takes_turns(&name, &["10.2.0.1"]).await?;
    put(&client, here(true)).await?;
    server.takes_turns(&name, &["10.1.0.1"]).await?;

    delete(&client, cluster_property("here")).await?;
    server.takes_turns(&name, &["10.1.0.1", "10.2.0.1"]).await
}
