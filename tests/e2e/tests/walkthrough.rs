//! The service-discovery half of Submariner's walk-through, row by row: deploy a broker, join two clusters, export services,
//! resolve them in the other cluster, and take all of it down again. Prints its transcript.

#[path = "common/rights.rs"]
mod rights;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_e2e::{Lab, Member, article, client_pod, deployment, namespace, service, stateful_set};
use subm_test_support::eventually;

const NS: &str = "sample";
const ACCOUNTS: [&str; 2] = [
    "submariner-lighthouse-agent",
    "submariner-lighthouse-coredns",
];
const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn the_walk_through() -> Result<()> {
    let began = Instant::now();
    let lab = Lab::start(2).await?;
    let result = walk(&lab).await;
    lab.tell("", began, &result)?;
    result
}

async fn walk(lab: &Lab) -> Result<()> {
    let (desk, c1, c2) = (&lab.desk, lab.member("c1"), lab.member("c2"));
    for member in [c1, c2] {
        member
            .cluster
            .wait_available("kube-system", "coredns", SOON)
            .await?;
    }
    let corefile_before = article::corefile(c1).await?;

    desk.row("8-11", "a broker");
    let ran = desk
        .subctl("--context kind-broker deploy-broker --components service-discovery")
        .await?;
    ensure!(
        ran.err
            .contains("✓ Saving broker info to file \"broker-info.subm\""),
        "{}",
        ran.err
    );
    ensure!(desk.folder().join("broker-info.subm").exists());

    desk.row("12-14", "two clusters join");
    desk.subctl("--context kind-c1 join broker-info.subm --clusterid c1")
        .await?;
    desk.subctl("--context kind-c2 join broker-info.subm -clusterid c2")
        .await?;
    // Ids are unique.
    let twice = desk
        .try_subctl("--context kind-c2 join broker-info.subm --clusterid c1")
        .await?;
    ensure!(twice.code != 0, "a second c1 was let in");
    for member in [c1, c2] {
        member
            .wait_pods("submariner-operator", "app=submariner-lighthouse-agent", 1)
            .await
            .with_context(|| member.logs())?;
        member
            .wait_pods(
                "submariner-operator",
                "app=submariner-lighthouse-coredns",
                2,
            )
            .await
            .with_context(|| member.logs())?;
    }

    desk.row("17, 18", "a service in c2");
    for member in [c1, c2] {
        member.apply(namespace(NS)).await?;
        member.apply(client_pod()).await?;
        member.wait_pods("default", "run=client", 1).await?;
    }
    whereami(c2).await?;

    desk.row("19, 20", "it is exported");
    let ran = desk
        .subctl("--context kind-c2 export service --namespace sample whereami-cs")
        .await?;
    ensure!(
        ran.err.contains("Service exported successfully"),
        "{}",
        ran.err
    );
    article::is_exported(c2).await?;
    desk.subctl("--context kind-c2 show exports").await?;

    desk.row("21", "both clusters show it in the operator's namespace");
    let ip_c2 = article::cluster_ip(c2).await?;
    for member in [c1, c2] {
        article::is_shown(member, &ip_c2).await?;
    }
    desk.subctl("--context kind-c1 show imports").await?;

    desk.row("22, 23", "a pod in c1 finds it");
    let name = "whereami-cs.sample.svc.clusterset.local";
    c1.wait_dig(desk, name, std::slice::from_ref(&ip_c2))
        .await?;
    c1.wait_dig(desk, &format!("AAAA {name}"), &[]).await?;
    c1.wait_dig(desk, &format!("SRV {name}"), &[format!("0 50 80 {name}.")])
        .await?;

    desk.row("24", "the cluster's CoreDNS forwards");
    let wired = article::forwards(c1, &corefile_before).await?;
    desk.note(&wired);

    desk.row(
        "25, 28-31",
        "the same service in c1: local first, the other by its name",
    );
    whereami(c1).await?;
    desk.subctl("--context kind-c1 export service -n sample whereami-cs")
        .await?;
    let ip_c1 = article::cluster_ip(c1).await?;
    c1.wait_dig(desk, name, std::slice::from_ref(&ip_c1))
        .await?;
    c1.wait_dig(desk, &format!("c2.{name}"), std::slice::from_ref(&ip_c2))
        .await?;
    for member in [c1, c2] {
        eventually(SOON, || async {
            let rows = member.list("ServiceImport", "submariner-operator").await?;
            let names: Vec<&str> = rows
                .iter()
                .filter_map(|row| row["metadata"]["name"].as_str())
                .collect();
            ensure!(
                names == ["whereami-cs-sample-c1", "whereami-cs-sample-c2"],
                "{names:?}"
            );
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    // Not ready here: the other cluster's answers.
    c1.scale("Deployment", NS, "whereami", 0).await?;
    c1.wait_dig(desk, name, std::slice::from_ref(&ip_c2))
        .await?;
    c1.scale("Deployment", NS, "whereami", 2).await?;
    c1.wait_dig(desk, name, std::slice::from_ref(&ip_c1))
        .await?;

    desk.row("32-35", "a headless service and its pods by name");
    c2.apply(service(NS, "whereami-ss", "whereami-ss", true))
        .await?;
    c2.apply(stateful_set(NS, "whereami", "whereami-ss", 3))
        .await?;
    c2.wait_pods(NS, "app=whereami-ss", 3).await?;
    desk.subctl("--context kind-c2 export service whereami-ss --namespace sample")
        .await?;
    let headless = "whereami-ss.sample.svc.clusterset.local";
    c1.wait_dig(desk, headless, &c2.pod_ips(NS, "app=whereami-ss").await?)
        .await?;
    let first = c2.pod_ip(NS, "whereami-0").await?;
    c1.wait_dig(desk, &format!("whereami-0.c2.{headless}"), &[first])
        .await?;
    c2.scale("StatefulSet", NS, "whereami", 1).await?;
    c2.wait_pods(NS, "app=whereami-ss", 1).await?;
    c1.wait_dig(desk, headless, &c2.pod_ips(NS, "app=whereami-ss").await?)
        .await?;
    c2.scale("StatefulSet", NS, "whereami", 3).await?;
    c2.wait_pods(NS, "app=whereami-ss", 3).await?;
    c1.wait_dig(desk, headless, &c2.pod_ips(NS, "app=whereami-ss").await?)
        .await?;

    desk.row("37, 38", "its rows");
    article::rows_of_both(c1).await?;

    desk.row("show", "what there is");
    desk.subctl("--context kind-broker show brokers").await?;
    desk.subctl("--context kind-c1 show versions").await?;
    desk.subctl("--context kind-c1 show networks").await?;
    desk.subctl("--context kind-c2 show exports").await?;
    desk.subctl("--context kind-c1 show imports").await?;
    desk.subctl("--context kind-c2 explain export whereami-cs -n sample")
        .await?;

    desk.row("unexport", "and names are gone");
    desk.subctl("--context kind-c2 unexport service whereami-ss -n sample")
        .await?;
    c1.wait_dig(desk, headless, &[]).await?;

    let granted = rights::granted(lab, &ACCOUNTS).await?;

    desk.row("53", "uninstall leaves nothing");
    desk.subctl("--context kind-c1 uninstall --yes").await?;
    ensure!(
        article::corefile(c1).await? == corefile_before,
        "{}",
        article::corefile(c1).await?
    );
    let export = c1.get("ServiceExport", NS, "whereami-cs").await;
    if let Ok(export) = export {
        ensure!(
            export["status"]["conditions"]
                .as_array()
                .is_none_or(Vec::is_empty),
            "{export}"
        );
    }
    eventually(SOON, || async {
        let import = c2.get("ServiceImport", NS, "whereami-cs").await?;
        let clusters = import["status"]["clusters"].to_string();
        ensure!(
            clusters == r#"[{"cluster":"c2"}]"#,
            "c2 still hears of {clusters}"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let namespaces = c1.api("Namespace", "").get_opt("submariner-operator").await;
    ensure!(
        !matches!(namespaces, Ok(Some(namespace)) if namespace.metadata.deletion_timestamp.is_none()),
        "the operator's namespace is still there"
    );
    rights::check(lab, &granted)
}

/// The article's Deployment and Service, two pods.
async fn whereami(member: &Member) -> Result<()> {
    member.apply(deployment(NS, "whereami", 2)).await?;
    member
        .apply(service(NS, "whereami-cs", "whereami", false))
        .await?;
    member.wait_pods(NS, "app=whereami", 2).await?;
    Ok(())
}
