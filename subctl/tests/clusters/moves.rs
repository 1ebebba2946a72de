//! One cluster, one broker, one id: what `join` refuses, and what `explain` says where clusters are members of different brokers.

use anyhow::{Result, ensure};
use serde_json::json;
use subm_subctl::cluster::{Cluster as Api, kind};
use subm_test_support::Cluster;

use crate::common::{Desk, TURN, TokenController, api};
use crate::explain::{conditions, slice};
use crate::objects::{available, import, namespace};

const BROKER: &str = "submariner-k8s-broker";
const MEMBER: &str = "submariner-operator";
const JOIN: &str = "join broker-info.subm --components service-discovery";

#[tokio::test(flavor = "multi_thread")]
async fn a_member_is_not_moved_to_another_broker() -> Result<()> {
    let _turn = TURN.lock().await;
    let clusters = Cluster::start_many(2).await?;
    let [first, second] = &clusters[..] else {
        unreachable!()
    };
    let desk = Desk::new(&[("a", first), ("b", second)])?;
    let _tokens = [
        TokenController::start(first, BROKER).await?,
        TokenController::start(second, BROKER).await?,
    ];
    let (in_a, in_b) = (api(first).await?, api(second).await?);
    desk.good("--context kind-a deploy-broker --components service-discovery")
        .await?;
    desk.good(&format!("--context kind-a {JOIN} --clusterid a"))
        .await?;

    desk.good("--context kind-b deploy-broker --components service-discovery")
        .await?;
    let line = format!("--context kind-a {JOIN} --clusterid a");
    let before = desk
        .fails(&line, 6, "this cluster is a member of another broker")
        .await?;
    ensure!(
        before.err.contains("`subctl uninstall` first"),
        "{before:#?}"
    );
    ensure!(
        in_b.get(&kind::CLUSTERS, Some(BROKER), "a")
            .await?
            .is_none(),
        "nothing was written"
    );

    // Members of different brokers: what one exports does not arrive at the other, and that is no fault of either.
    desk.good(&format!("--context kind-b {JOIN} --clusterid b"))
        .await?;
    exported(&in_a).await?;
    desk.good("--context kind-a export service web -n shop")
        .await?;
    conditions(&in_a, "web", "Ready", "True").await?;
    for line in [
        "--context kind-a export service web -n shop --wait",
        "--context kind-a explain export web -n shop",
    ] {
        let run = desk.good(line).await?;
        ensure!(
            (run.err + &run.out).contains("a member of another broker"),
            "{line}"
        );
    }

    // The first broker again.
    desk.good("--context kind-a recover-broker-info").await?;
    desk.good(&format!("--context kind-a {JOIN} --clusterid a"))
        .await?;

    // It was a member as a, lost its Secrets, and is to be another.
    for (kind, name) in [
        (kind::SECRETS, "submariner-broker-secret"),
        (kind::CONFIG_MAPS, "submariner-settings"),
    ] {
        in_a.delete(&kind, Some(MEMBER), name).await?;
    }
    desk.fails(
        &format!("--context kind-a {JOIN} --clusterid a2"),
        6,
        "as \"a\" already: join with --clusterid a",
    )
    .await?;
    ensure!(
        in_a.get(&kind::CLUSTERS, Some(BROKER), "a2")
            .await?
            .is_none(),
        "nothing was written"
    );
    desk.good(&format!("--context kind-a {JOIN} --clusterid a"))
        .await?;
    Ok(())
}

/// A Service, and what its agent would leave on the broker of its cluster.
async fn exported(api: &Api) -> Result<()> {
    api.create_value(&kind::NAMESPACES, &namespace("shop"))
        .await?;
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"port": 80}]},
    });
    api.create_value(&kind::SERVICES, &service).await?;
    available(api, "submariner-lighthouse-agent").await?;
    import(api, BROKER, "web-shop", "a").await?;
    api.create_value(&kind::SLICES, &slice(BROKER)).await?;
    Ok(())
}
