//! What is interrupted, or done twice in a row, ends well the next time.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;
use subm_subctl::cluster::{Cluster as Api, kind, name, str_at};
use subm_test_support::{Cluster, eventually};

use crate::common::{Desk, Run, SOON, TURN, TokenController, api, deaf, names};
use crate::connectivity::node;

const BROKER: &str = "submariner-k8s-broker";
const MEMBER: &str = "submariner-operator";
const CLEANUP: &str = "submariner.io/cleanup=true";
const JOIN: &str =
    "join broker-info.subm --clusterid c1 --clustercidr 10.8.0.0/16 --components connectivity";

/// A broker with a node of its own.
struct Set {
    desk: Desk,
    api: Api,
    _tokens: TokenController,
    cluster: Cluster,
}

impl Set {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start().await?;
        let desk = Desk::new(&[("c1", &cluster)])?;
        let tokens = TokenController::start(&cluster, BROKER).await?;
        let api = api(&cluster).await?;
        node(&api, "w1", "10.8.0.0/24", None, true).await?;
        desk.good("deploy-broker").await?;
        desk.good(JOIN).await?;
        Ok(Self {
            desk,
            api,
            _tokens: tokens,
            cluster,
        })
    }

    /// While nodes are cleaned up, which nobody does here.
    async fn interrupted_uninstall(&self) -> Result<Run> {
        let line = "uninstall --yes";
        let run = self.desk.interrupted(line, || self.cleanup_pod()).await?;
        ensure!(
            run.code == 130
                && run
                    .err
                    .contains("these stay, the first of them maybe in part: links, routes")
                && run.err.contains("what the broker has of cluster \"c1\"")
                && run.err.contains("Run `subctl uninstall` again"),
            "{run:#?}"
        );
        Ok(run)
    }

    /// As the node's kubelet does with pods that are to go.
    async fn ends_pods(&self) -> Result<()> {
        let pods = kube::Api::<Pod>::namespaced(self.cluster.client().await?, MEMBER);
        eventually(SOON, || async {
            let there = pods.list(&ListParams::default().labels(CLEANUP)).await?;
            for pod in &there {
                let going = pod.metadata.deletion_timestamp.is_some();
                ensure!(going, "{} is not to go", pod.name_any());
                let now = DeleteParams::default().grace_period(0);
                pods.delete(&pod.name_any(), &now).await?;
            }
            Ok(())
        })
        .await
    }

    async fn cleanup_pod(&self) -> Result<()> {
        let pods = self.api.list(&kind::PODS, Some(MEMBER), CLEANUP).await?;
        ensure!(!pods.is_empty(), "no pod cleans up");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_uninstall_is_not_taken_for_one_that_cleaned_up() -> Result<()> {
    let _turn = TURN.lock().await;
    let set = Set::start().await?;
    let (desk, api) = (&set.desk, &set.api);

    // A member again: what was to clean up must not do so any more, and the route agent comes back to all nodes.
    set.interrupted_uninstall().await?;
    desk.fails(
        &format!("{JOIN} --timeout 1s"),
        7,
        "its pods still clean up nodes: submariner-routeagent-cleanup-w1",
    )
    .await?;
    set.ends_pods().await?;
    desk.good(JOIN).await?;
    let pods = names(api, &kind::PODS).await?;
    ensure!(pods.is_empty(), "{pods:?}");
    let set_of_all = api
        .get(&kind::DAEMON_SETS, Some(MEMBER), "submariner-routeagent")
        .await?
        .context("the route agent")?;
    ensure!(
        set_of_all["spec"]["template"]["spec"]["nodeSelector"]
            == json!({"kubernetes.io/os": "linux"}),
        "{set_of_all:#}"
    );

    // This time they come to their end after the interruption. The data plane may have run since: that is no word on today.
    set.interrupted_uninstall().await?;
    for mut pod in api.list(&kind::PODS, Some(MEMBER), CLEANUP).await? {
        pod["status"]["phase"] = json!("Succeeded");
        api.replace(&kind::PODS, "status", &pod).await?;
    }
    let run = desk.subctl("uninstall --yes --timeout 1s").await?;
    ensure!(
        run.code == 7
            && run.err.contains(" ✓ Cleaned up 0 nodes\n")
            && run.err.contains(
                "node w1: pod submariner-operator/submariner-routeagent-cleanup-w1 is Pending"
            ),
        "{run:#?}"
    );
    let left = api.list(&kind::CLUSTERS, Some(BROKER), "").await?;
    ensure!(
        left.is_empty(),
        "{:?}",
        left.iter().map(name).collect::<Vec<_>>()
    );
    let node = api.get(&kind::NODES, None, "w1").await?.context("w1")?;
    ensure!(
        str_at(&node, "/metadata/labels/submariner.io~1gateway").is_empty(),
        "{node}"
    );
    Ok(())
}

/// As with `uninstall --yes 2>&1 | grep -m1 Stopping`.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_goes_on_though_nobody_reads_of_its_progress() -> Result<()> {
    let _turn = TURN.lock().await;
    let set = Set::start().await?;
    for deaf in deaf()? {
        let run = set.desk.run(JOIN, deaf).await?;
        ensure!(run.code == 0, "{run:#?}");
    }
    let [closed, full] = deaf()?;
    let run = set.desk.run("uninstall --yes --timeout 1s", closed).await?;
    // Nobody cleans up the node.
    ensure!(run.code == 7, "{run:#?}");
    for kind in [kind::DAEMON_SETS, kind::BROKERS] {
        let left = names(&set.api, &kind).await?;
        ensure!(left.is_empty(), "{left:?}");
    }
    let run = set.desk.run("uninstall --yes", full).await?;
    ensure!(run.code == 0, "{run:#?}");
    Ok(())
}
