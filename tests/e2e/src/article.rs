//! What the walk-through's article shows of service discovery, by its rows.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use subm_test_support::eventually;

use crate::Member;

const NS: &str = "sample";
const OPERATOR: &str = "submariner-operator";
const SOON: Duration = Duration::from_secs(90);

/// Row 20: the export's conditions.
pub async fn is_exported(member: &Member) -> Result<()> {
    for r#type in ["Valid", "Synced", "Ready"] {
        condition(member, "whereami-cs", r#type).await?;
    }
    Ok(())
}

/// Row 21: c2's import in the operator's namespace.
pub async fn is_shown(member: &Member, ip: &str) -> Result<()> {
    let name = "whereami-cs-sample-c2";
    let view = eventually(SOON, || member.get("ServiceImport", OPERATOR, name)).await?;
    ensure!(
        view["spec"]["type"] == "ClusterSetIP" && view["spec"]["ips"][0] == ip,
        "{view}"
    );
    Ok(())
}

/// Row 24: the cluster's CoreDNS has a section that leads to the DNS server of the same cluster, before what it had.
pub async fn forwards(member: &Member, before: &str) -> Result<String> {
    let wired = corefile(member).await?;
    let dns = service_ip(member, OPERATOR, "submariner-lighthouse-coredns").await?;
    let section = format!(
        "#lighthouse-start AUTO-GENERATED SECTION. DO NOT EDIT\nclusterset.local:53 {{\n    forward . {dns}\n}}\n#lighthouse-end\n"
    );
    ensure!(wired == format!("{section}{before}"), "{wired}");
    Ok(wired)
}

/// Rows 37 and 38: the headless import has no address, and slices of both Services are there.
pub async fn rows_of_both(member: &Member) -> Result<()> {
    let name = "whereami-ss-sample-c2";
    let row = member.get("ServiceImport", OPERATOR, name).await?;
    ensure!(
        row["spec"]["type"] == "Headless" && row["spec"].get("ips").is_none(),
        "{row}"
    );
    let slices = member.list("EndpointSlice", NS).await?;
    let of = |service: &str, cluster: &str| {
        let labels = move |slice: &&Value| {
            let labels = &slice["metadata"]["labels"];
            labels["multicluster.kubernetes.io/service-name"] == service
                && labels["multicluster.kubernetes.io/source-cluster"] == cluster
        };
        slices.iter().filter(labels).count()
    };
    let found = [
        of("whereami-ss", "c2"),
        of("whereami-cs", "c1"),
        of("whereami-cs", "c2"),
    ];
    ensure!(found == [1, 1, 1], "{slices:?}");
    Ok(())
}

/// Of the article's Service.
pub async fn cluster_ip(member: &Member) -> Result<String> {
    service_ip(member, NS, "whereami-cs").await
}

async fn service_ip(member: &Member, namespace: &str, service: &str) -> Result<String> {
    let service = member.get("Service", namespace, service).await?;
    service["spec"]["clusterIP"]
        .as_str()
        .map(str::to_owned)
        .context("no ClusterIP")
}

pub async fn corefile(member: &Member) -> Result<String> {
    let map = member.get("ConfigMap", "kube-system", "coredns").await?;
    map["data"]["Corefile"]
        .as_str()
        .map(str::to_owned)
        .context("no Corefile")
}

/// Waits until a condition of an export is True.
async fn condition(member: &Member, export: &str, r#type: &str) -> Result<()> {
    eventually(SOON, || async {
        let export = member.get("ServiceExport", NS, export).await?;
        let conditions = export["status"]["conditions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let holds = conditions
            .iter()
            .any(|condition| condition["type"] == r#type && condition["status"] == "True");
        ensure!(holds, "{type} is not True: {conditions:?}");
        Ok::<_, anyhow::Error>(())
    })
    .await
}
