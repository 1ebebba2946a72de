//! The API server, or the way to it, goes and comes back.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, pin_mut};
use kube::api::{DynamicObject, ListParams, WatchParams};
use kube::core::WatchEvent;
use serde_json::Value;
use subm_test_support::{Cluster, Proxy, eventually};

use crate::SOON;
use crate::asker::Asker;
use crate::objects::{
    delete, lighthouse_import, place, pods_slice, put, service_slice, vip_import,
};
use crate::server::Server;

/// What `/ready` says of a source that is lost.
const LOST: &str = "ServiceImport: no changes reach us: cannot reach the API server";
/// As good as forever.
const SILENCE: Duration = Duration::from_hours(1);

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_api_server_changes_no_answer() -> Result<()> {
    const RIGHT: &[Ipv4Addr] = &[Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 1)];
    let cluster = Cluster::start().await?;
    cluster.apply_crds().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("kill").await?;
    let name = |service| format!("{service}.{namespace}.svc.clusterset.local");
    put(
        &client,
        lighthouse_import(&namespace, "cart", "ClusterSetIP"),
    )
    .await?;
    for (id, ip) in [("west", "10.1.0.1"), ("south", "10.2.0.1")] {
        put(&client, service_slice(&namespace, "cart", id, ip, true)).await?;
    }
    let server = Server::started(&cluster.kubeconfig()).await?;
    let cart = name("cart");
    server.takes_turns(&cart, &["10.1.0.1", "10.2.0.1"]).await?;
    let asker = Asker::start(server.addr(), &cart, RIGHT).await?;

    cluster.kill_api_server();
    server.says(200, LOST).await?;
    let (_, metrics) = server.page("/metrics").await?;
    let lost = metrics
        .lines()
        .any(|line| line.starts_with("subm_dns_source_healthy{") && line.ends_with(" 0"));
    ensure!(lost, "{metrics}");
    // One that starts now waits, and does not give up.
    let mut late = Server::start(&cluster.kubeconfig())?;
    late.is_not_ready().await?;
    late.says(503, LOST).await?;

    cluster.start_api_server().await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "new", "243.6.0.1"),
    )
    .await?;
    server.answers(&name("new"), &["243.6.0.1"]).await?;
    server.is_well().await?;
    late.wait_ready().await?;
    late.answers(&name("new"), &["243.6.0.1"]).await?;
    late.takes_turns(&cart, &["10.1.0.1", "10.2.0.1"]).await?;

    let asked = asker.finish().await.with_context(|| server.log())?;
    ensure!(asked > 300, "only {asked} questions");
    Ok(())
}

/// Deletions that happened while nobody looked, and that the API server can no longer tell of.
#[tokio::test(flavor = "multi_thread")]
async fn a_forgotten_past_is_read_again() -> Result<()> {
    let cluster = Cluster::builder()
        // Slices come from etcd directly: what is compacted there is lost.
        .api_server_flag("--watch-cache-sizes=endpointslices.discovery.k8s.io#0")
        .start()
        .await?;
    cluster.apply_crds().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("gone").await?;
    let name = |service| format!("{service}.{namespace}.svc.clusterset.local");
    let import = |service| vip_import("v1beta1", &namespace, service, "243.7.0.1");
    let slice = |id, ip| pods_slice(&namespace, "rooms", id, &[(ip, true)]);
    put(&client, import("stays")).await?;
    put(&client, import("goes")).await?;
    put(&client, lighthouse_import(&namespace, "rooms", "Headless")).await?;
    put(&client, slice("west", "10.1.0.41")).await?;
    put(&client, slice("south", "10.2.0.41")).await?;
    let mut proxy = Proxy::start(cluster.addr()).await?;
    let server = Server::started(&cluster.kubeconfig_through(proxy.addr())?).await?;
    server.answers(&name("goes"), &["243.7.0.1"]).await?;
    server
        .answers(&name("rooms"), &["10.1.0.41", "10.2.0.41"])
        .await?;

    proxy.cut().await?;
    server.says(200, LOST).await?;
    let seen = [import("stays"), slice("west", "10.1.0.41")];
    let mut versions = Vec::new();
    for object in &seen {
        versions.push(version_of_all(&client, object).await?);
    }
    delete(&client, import("goes")).await?;
    delete(&client, slice("south", "10.2.0.41")).await?;
    put(&client, import("comes")).await?;
    cluster.compact().await?;
    // A new API server does not remember imports of before its time either.
    cluster.kill_api_server();
    cluster.start_api_server().await?;
    for (object, version) in seen.iter().zip(&versions) {
        ensure_forgotten(&client, object, version).await?;
    }
    // Until the server sees them again.
    server.answers(&name("goes"), &["243.7.0.1"]).await?;
    proxy.restore()?;

    server.denies(&name("goes")).await?;
    server.answers(&name("comes"), &["243.7.0.1"]).await?;
    server.answers(&name("stays"), &["243.7.0.1"]).await?;
    server.answers(&name("rooms"), &["10.1.0.41"]).await?;
    server.is_well().await?;
    // And it goes on watching.
    put(&client, slice("south", "10.2.0.42")).await?;
    server
        .answers(&name("rooms"), &["10.1.0.41", "10.2.0.42"])
        .await
}

/// The version of the list of all objects of this kind.
async fn version_of_all(client: &kube::Client, object: &Value) -> Result<String> {
    let (api, _) = place(client, object.clone())?;
    let list = api.list(&ListParams::default()).await?;
    list.metadata.resource_version.context("no version")
}

/// A watch from there gets 410 Gone.
async fn ensure_forgotten(client: &kube::Client, object: &Value, version: &str) -> Result<()> {
    let (api, object) = place(client, object.clone())?;
    let types = object.types.context("no type")?;
    let watch = match api.watch(&WatchParams::default(), version).await {
        Ok(watch) => watch,
        Err(kube::Error::Api(status)) if status.code == 410 => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    pin_mut!(watch);
    let first: Option<kube::Result<WatchEvent<DynamicObject>>> =
        tokio::time::timeout(SOON, watch.next()).await?;
    match first {
        Some(Ok(WatchEvent::Error(status))) if status.code == 410 => Ok(()),
        other => bail!("{} from {version} can be watched: {other:?}", types.kind),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_and_a_silent_connection_heal() -> Result<()> {
    const RIGHT: &[Ipv4Addr] = &[Ipv4Addr::new(243, 8, 0, 1)];
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("cut").await?;
    let name = |service| format!("{service}.{namespace}.svc.clusterset.local");
    put(
        &client,
        vip_import("v1beta1", &namespace, "web", "243.8.0.1"),
    )
    .await?;
    let mut proxy = Proxy::start(cluster.addr()).await?;
    let server = Server::started(&cluster.kubeconfig_through(proxy.addr())?).await?;
    server.answers(&name("web"), &["243.8.0.1"]).await?;
    let asker = Asker::start(server.addr(), &name("web"), RIGHT).await?;

    proxy.cut().await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "cut", "243.8.0.2"),
    )
    .await?;
    server.says(200, LOST).await?;
    server.denies(&name("cut")).await?;
    proxy.restore()?;
    server.answers(&name("cut"), &["243.8.0.2"]).await?;
    server.is_well().await?;

    // Nothing gets through and nothing breaks, until something does.
    proxy.delay(SILENCE);
    put(
        &client,
        vip_import("v1beta1", &namespace, "mute", "243.8.0.3"),
    )
    .await?;
    server.denies(&name("mute")).await?;
    proxy.reset();
    server.says(200, LOST).await?;
    proxy.restore()?;
    server.answers(&name("mute"), &["243.8.0.3"]).await?;
    server.is_well().await?;

    asker.finish().await.with_context(|| server.log())?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_starts_before_there_is_a_way_to_the_api_server() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("early").await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, "web", "243.9.0.1"),
    )
    .await?;
    let mut proxy = Proxy::start(cluster.addr()).await?;
    let kubeconfig = cluster.kubeconfig_through(proxy.addr())?;

    // Refused at first, then accepted but never answered, then slow.
    proxy.cut().await?;
    let mut server = Server::start(&kubeconfig)?;
    server.is_not_ready().await?;
    server
        .says(503, LOST)
        .await?;
    let before = proxy.accepted();
    proxy.restore()?;
    proxy.delay(SILENCE);
    eventually(SOON, || {
        std::future::ready(if proxy.accepted() > before {
            Ok(())
        } else {
            Err("no attempt")
        })
    })
    .await?;
    server.is_not_ready().await?;
    proxy.delay(Duration::from_millis(50));
    server.wait_ready().await?;
    let name = format!("web.{namespace}.svc.clusterset.local");
    server.answers(&name, &["243.9.0.1"]).await?;
    server.is_well().await
}
