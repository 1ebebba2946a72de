//! What gateways say of their connections.

use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use subm_e2e::Member;
use subm_test_support::eventually;

pub(crate) const OPERATOR: &str = "submariner-operator";
const SOON: Duration = Duration::from_secs(90);

/// Waits until a cluster's active gateway says so, with a round-trip time.
pub(crate) async fn connected(member: &Member, other: &Member, driver: &str) -> Result<()> {
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

pub(crate) async fn connection(member: &Member) -> Result<Value> {
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
