//! How tests see that clusters are connected, and what is in their nodes' kernels.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use subm_test_support::{KernelState, TestNode, eventually};

use crate::{Lab, Member, deployment, named, on, service};

const OPERATOR: &str = "submariner-operator";
const SOON: Duration = Duration::from_secs(90);

/// A member joins with connectivity: its gateway is its first worker. `flags` come besides, its networks among them.
pub async fn join(lab: &Lab, member: &Member, driver: &str, flags: &str) -> Result<()> {
    let name = &member.name;
    let command = format!(
        "--context kind-{name} join broker-info.subm --clusterid {name} --cable-driver {driver} --gateway {name}-worker {flags} --wait"
    );
    let joined = lab.desk.subctl(&command).await;
    joined.map(drop).with_context(|| member.logs())
}

/// Waits until a cluster's active gateway says so, with a round-trip time.
pub async fn connected(member: &Member, other: &Member, driver: &str) -> Result<()> {
    eventually(SOON, || async {
        let connection = connection(member).await?;
        ensure!(
            connection["status"] == "connected"
                && connection["endpoint"]["cluster_id"] == other.name.as_str()
                && connection["endpoint"]["backend"] == driver
                && connection["latencyRTT"]["average"].is_string(),
            "{connection}"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await
    .with_context(|| member.logs())
}

/// The only connection that a cluster's gateway tells of.
pub async fn connection(member: &Member) -> Result<Value> {
    let gateway = format!("{}-worker", member.name);
    let gateway = member.get("Gateway", OPERATOR, &gateway).await?;
    match gateway["status"]["connections"]
        .as_array()
        .map(Vec::as_slice)
    {
        Some([one]) => Ok(one.clone()),
        _ => bail!("not one connection: {gateway}"),
    }
}

/// Waits until a URL leads from the client pod to a pod on this node.
pub async fn answered_by(member: &Member, url: &str, node: &str) -> Result<()> {
    eventually(SOON, || async {
        let answer = member.whereami(url).await?;
        ensure!(answer.server.node == node, "{url}: {answer:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .with_context(|| member.logs())
}

/// The article's Deployment and Service, two pods on one node.
pub async fn whereami_in(member: &Member, namespace: &str, node: &str) -> Result<()> {
    let pods = deployment(namespace, "whereami", 2);
    member.apply(on(node, named(pods))).await?;
    member
        .apply(service(namespace, "whereami-cs", "whereami", false))
        .await?;
    member.wait_pods(namespace, "app=whereami", 2).await?;
    Ok(())
}

/// What is in the kernels of all nodes.
pub fn kernels(lab: &Lab) -> Result<Vec<(String, KernelState)>> {
    let nodes = lab.members.iter().flat_map(|member| &member.nodes);
    nodes
        .map(|node| Ok((node.name().to_owned(), kernel(node)?)))
        .collect()
}

/// But for what kube-proxy makes of the Services that are there, in its own time, and what a bridge has of its ports.
pub fn kernel(node: &TestNode) -> Result<KernelState> {
    let all = KernelState::of(node.net().netns())?;
    Ok(
        all.only(|line| {
            !line.contains("kube-proxy") && !line.starts_with("link cni0 tso_max_size")
        }),
    )
}
