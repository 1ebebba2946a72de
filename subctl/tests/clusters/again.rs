//! What is interrupted, or done twice in a row, ends well the next time.

use std::path::Path;

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

/// What the namespace controller does last, as soon as the command says in its log that it waits for it.
async fn ends_namespace(api: &Api, namespace: &str, log: &Path) -> Result<()> {
    eventually(SOON, || async {
        let said = std::fs::read_to_string(log)?;
        ensure!(said.contains("which is being terminated"), "{said}");
        Ok(())
    })
    .await?;
    let there = api.get(&kind::NAMESPACES, None, namespace).await?;
    let mut there = there.context("the namespace")?;
    there["spec"]["finalizers"] = json!([]);
    api.replace(&kind::NAMESPACES, "finalize", &there).await?;
    Ok(())
}

/// Runs a command while a namespace is being terminated.
async fn waits(desk: &Desk, line: &str, api: &Api, namespace: &str) -> Result<()> {
    let log = desk.path("log");
    let stderr = std::fs::File::create(&log)?;
    let (run, ended) = tokio::join!(
        desk.run(line, stderr.into()),
        ends_namespace(api, namespace, &log)
    );
    let said = std::fs::read_to_string(&log)?;
    ended.with_context(|| said.clone())?;
    let code = run?.code;
    ensure!(code == 0, "`subctl {line}`: {code} {said}");
    Ok(())
}

/// One that joined, and then lost what tells it of its broker.
async fn forgets(api: &Api) -> Result<()> {
    for (kind, name) in [
        (kind::SECRETS, "submariner-broker-secret"),
        (kind::CONFIG_MAPS, "submariner-settings"),
    ] {
        let there = api.delete(&kind, Some(MEMBER), name).await?;
        ensure!(there, "there is no {name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_leaves_and_joins_at_once_under_another_name() -> Result<()> {
    const JOIN: &str =
        "--context kind-c1 join broker-info.subm --components service-discovery --clusterid";
    const UNINSTALL: &str = "--context kind-c1 uninstall";
    const DEPLOY: &str = "--context kind-broker deploy-broker --components service-discovery";
    let _turn = TURN.lock().await;
    let clusters = Cluster::start_many(2).await?;
    let [broker, c1] = &clusters[..] else {
        unreachable!()
    };
    let desk = Desk::new(&[("broker", broker), ("c1", c1)])?;
    let _tokens = TokenController::start(broker, BROKER).await?;
    let (on_broker, in_c1) = (api(broker).await?, api(c1).await?);
    let knows = async || {
        let mut known = names(&on_broker, &kind::CLUSTERS).await?;
        known.extend(names(&on_broker, &kind::ACCOUNTS).await?);
        known.retain(|name| name.contains("/c") && !name.contains("kube-system"));
        anyhow::Ok(known)
    };
    desk.good(DEPLOY).await?;
    desk.good(&format!("{JOIN} c1")).await?;

    // It does not know its id any more; the broker of the other context knows its uid.
    forgets(&in_c1).await?;
    let plan = desk.good(&format!("{UNINSTALL} --dry-run")).await?.out;
    for line in [
        "broker: clusters.submariner.io submariner-k8s-broker/c1\n",
        "broker: serviceaccounts submariner-k8s-broker/cluster-c1\n",
    ] {
        ensure!(plan.contains(line), "{line:?} {plan}");
    }
    let run = desk.good(&format!("{UNINSTALL} --yes")).await?;
    ensure!(
        run.err
            .contains(" ✓ Removing cluster \"c1\" from the broker of context \"kind-broker\"\n"),
        "{run:#?}"
    );
    let known = knows().await?;
    ensure!(known.is_empty(), "{known:?}");

    // Its namespace is still being terminated: nothing is written anywhere before it is gone.
    desk.fails(
        &format!("{JOIN} c9 --timeout 1s"),
        7,
        "namespace submariner-operator is still being terminated after 1 s",
    )
    .await?;
    let known = knows().await?;
    ensure!(known.is_empty(), "{known:?}");
    waits(&desk, &format!("{JOIN} c9"), &in_c1, MEMBER).await?;
    let known = knows().await?;
    ensure!(
        known
            == [
                "submariner-k8s-broker/c9",
                "submariner-k8s-broker/cluster-c9"
            ],
        "{known:?}"
    );

    // Without a way to the broker it is said what to do; with one it is done, though nothing is left here.
    forgets(&in_c1).await?;
    std::fs::write(
        desk.path("alone"),
        Cluster::merged_kubeconfig(&[("c1", c1)])?,
    )?;
    let run = desk.good("--kubeconfig alone uninstall --yes").await?;
    let uid = subm_subctl::cluster::cluster_uid(&in_c1).await?;
    let words = format!("a Cluster with the annotation submariner.io/cluster-uid: {uid}; run");
    ensure!(run.err.contains(&words), "{words:?} {run:#?}");
    let again = desk.good("--kubeconfig alone uninstall --yes").await?;
    ensure!(
        again.err.contains("is not installed") && again.err.contains(&words),
        "{again:#?}"
    );
    ensure!(knows().await?.len() == 2);
    desk.good(&format!("{UNINSTALL} --yes")).await?;
    let known = knows().await?;
    ensure!(known.is_empty(), "{known:?}");

    // A broker's namespace takes its time as well.
    desk.good("--context kind-broker uninstall --yes").await?;
    waits(&desk, DEPLOY, &on_broker, BROKER).await
}

/// A member that is its own broker's, and forgot that, is no other member for whom the broker has to stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_broker_does_not_stay_for_its_own_cluster() -> Result<()> {
    let _turn = TURN.lock().await;
    let set = Set::start().await?;
    forgets(&set.api).await?;
    set.desk.subctl("uninstall --yes --timeout 1s").await?;
    let left = names(&set.api, &kind::BROKERS).await?;
    ensure!(left.is_empty(), "{left:?}");
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
