//! The connectivity component: whose node is the gateway, whose network is whose, what is installed, shown and removed.
//!
//! Nodes are objects that the test made; where pods have to run, the test says that they did.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use subm_subctl::cluster::{Cluster as Api, Kind, kind, label, name, str_at};
use subm_test_support::Cluster;

use crate::common::{Desk, TURN, TokenController, api, names};

const BROKER: &str = "submariner-k8s-broker";
const MEMBER: &str = "submariner-operator";
const GATEWAY: &str = "submariner.io/gateway";

/// A node that a kubelet would keep.
pub(crate) async fn node(
    api: &Api,
    name: &str,
    pods: &str,
    role: Option<&str>,
    ready: bool,
) -> Result<()> {
    let labels: Value = role.map_or_else(
        || json!({}),
        |role| json!({format!("node-role.kubernetes.io/{role}"): ""}),
    );
    let mut node = api
        .create_value(
            &kind::NODES,
            &json!({
                "apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
                "spec": {"podCIDR": pods, "podCIDRs": [pods]},
            }),
        )
        .await?;
    node["status"]["conditions"] = json!([{
        "type": "Ready", "status": if ready { "True" } else { "Unknown" },
        "lastHeartbeatTime": "2026-11-27T00:00:00Z", "lastTransitionTime": "2026-11-27T00:00:00Z",
        "reason": "Test", "message": "",
    }]);
    api.replace(&kind::NODES, "status", &node).await?;
    Ok(())
}

async fn is_gateway(api: &Api, name: &str) -> Result<bool> {
    let node = api.get(&kind::NODES, None, name).await?.context("a node")?;
    Ok(label(&node, GATEWAY) == "true")
}

/// A broker, c1 with two workers, and c2 with a node of its own.
struct Set {
    desk: Desk,
    on_broker: Api,
    in_c1: Api,
    in_c2: Api,
    _tokens: TokenController,
    _clusters: Vec<Cluster>,
}

impl Set {
    async fn start() -> Result<Self> {
        let builders = ["10.77.0.0/16", "10.88.0.0/16", "10.99.0.0/16"].map(|services| {
            services
                .parse()
                .map(|services| Cluster::builder().service_cidr(services))
        });
        let builders = builders.into_iter().collect::<Result<Vec<_>, _>>()?;
        let clusters = Cluster::start_all(builders).await?;
        let [broker, c1, c2] = &clusters[..] else {
            unreachable!()
        };
        let desk = Desk::new(&[("broker", broker), ("c1", c1), ("c2", c2)])?;
        let tokens = TokenController::start(broker, BROKER).await?;
        let (on_broker, in_c1, in_c2) = (api(broker).await?, api(c1).await?, api(c2).await?);
        node(
            &in_c1,
            "c1-control",
            "10.8.0.0/24",
            Some("control-plane"),
            true,
        )
        .await?;
        node(&in_c1, "c1-w1", "10.8.1.0/24", None, true).await?;
        node(&in_c1, "c1-w2", "10.8.2.0/24", None, true).await?;
        node(&in_c2, "c2-w1", "10.9.0.0/24", None, true).await?;
        desk.good("--context kind-broker deploy-broker").await?;
        Ok(Self {
            desk,
            on_broker,
            in_c1,
            in_c2,
            _tokens: tokens,
            _clusters: clusters,
        })
    }

    /// As a user who names what has to be named.
    async fn join(&self) -> Result<()> {
        self.desk
            .good("--context kind-c1 join broker-info.subm --clusterid c1 --gateway c1-w1 --clustercidr 10.8.0.0/16")
            .await?;
        self.desk
            .good("--context kind-c2 join broker-info.subm --clusterid c2 --cable-driver vxlan --natt-port 4501 --components connectivity")
            .await?;
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_are_chosen_and_networks_are_checked_before_anything_is_written() -> Result<()> {
    let _turn = TURN.lock().await;
    let set = Set::start().await?;
    let (desk, in_c1, in_c2) = (&set.desk, &set.in_c1, &set.in_c2);
    let c1 = "--context kind-c1 join broker-info.subm --clusterid c1";
    let c2 = "--context kind-c2 join broker-info.subm --clusterid c2";

    // Two workers and nobody to ask.
    desk.fails(
        c1,
        9,
        "gateway c1-w1, c1-w2? There is no terminal to answer on; use --gateway NODE",
    )
    .await?;
    desk.fails(
        &format!("{c1} --gateway c1-w3"),
        5,
        "no node \"c1-w3\"; the cluster has c1-control, c1-w1, c1-w2",
    )
    .await?;
    // A node that comes later would have pods that nobody reaches.
    desk.fails(
        &format!("{c1} --gateway c1-w1"),
        9,
        "10.8.0.0/23, 10.8.2.0/24 of it. There is no terminal to answer on; use --clustercidr",
    )
    .await?;
    let dry = desk
        .good(&format!(
            "{c1} --gateway c1-w1 --clustercidr 10.8.0.0/16 --dry-run"
        ))
        .await?
        .out;
    for part in [
        "kind: DaemonSet\n",
        "name: submariner-gateway\n",
        "name: submariner-routeagent\n",
        "name: submariner-lighthouse-agent\n",
        "kind: Node\n",
        "submariner.io/gateway: \"true\"",
        "psk: null",
    ] {
        ensure!(dry.contains(part), "{part:?} {dry}");
    }
    ensure!(in_c1.get(&kind::NAMESPACES, None, MEMBER).await?.is_none());
    ensure!(!is_gateway(in_c1, "c1-w1").await?);

    let run = desk
        .good(&format!("{c1} --gateway c1-w1 --clustercidr 10.8.0.0/16"))
        .await?;
    for line in [
        " ✓ Labeling node \"c1-w1\" as a gateway\n",
        " ✓ Deploying connectivity and service discovery\n",
    ] {
        ensure!(run.err.contains(line), "{line:?} {run:#?}");
    }
    ensure!(is_gateway(in_c1, "c1-w1").await? && !is_gateway(in_c1, "c1-w2").await?);
    for name in ["submariner-gateway", "submariner-routeagent"] {
        let there = in_c1.get(&kind::DAEMON_SETS, Some(MEMBER), name).await?;
        ensure!(there.is_some(), "{name}");
    }
    let key = in_c1
        .get(&kind::SECRETS, Some(MEMBER), "submariner-ipsec-psk")
        .await?
        .context("the key")?;
    let of_all = set
        .on_broker
        .get(&kind::SECRETS, Some(BROKER), "submariner-ipsec-psk")
        .await?
        .context("the broker's")?;
    ensure!(key["data"]["psk"] == of_all["data"]["psk"]);

    // The label is there: nobody has to choose. And what was chosen is kept.
    let run = desk.good(c1).await?;
    ensure!(
        run.err.contains(
            " ✓ As this cluster joined before, where no flag names another: --clustercidr=10.8.0.0/16\n"
        ),
        "{run:#?}"
    );
    ensure!(
        run.err
            .contains("   There are 1 node(s) labeled as gateways:\n    - c1-w1\n"),
        "{run:#?}"
    );

    // Networks of its own that cannot be.
    for (more, words) in [
        (
            "--clustercidr 10.8.0.0/16 --servicecidr 10.8.0.0/16",
            "the cluster's own pod CIDR 10.8.0.0/16 and service CIDR 10.8.0.0/16 overlap",
        ),
        (
            "--clustercidr 10.8.0.0/16 --servicecidr 10.66.0.0/16",
            "Services have addresses of 10.88.0.0/16 (ServiceCIDR \"kubernetes\"), which is outside of the service CIDR 10.66.0.0/16",
        ),
    ] {
        desk.fails(&format!("{c1} {more}"), 2, words).await?;
    }

    // Somebody else's networks are no second member's.
    for (more, words) in [
        (
            "--clustercidr 10.8.9.0/24",
            "10.8.9.0/24 overlaps with 10.8.0.0/16 of cluster \"c1\"",
        ),
        (
            "--servicecidr 10.64.0.0/10",
            "overlaps with 10.88.0.0/16 of cluster \"c1\"",
        ),
    ] {
        desk.fails(&format!("{c2} {more}"), 6, words).await?;
    }
    ensure!(in_c2.get(&kind::NAMESPACES, None, MEMBER).await?.is_none());
    ensure!(!is_gateway(in_c2, "c2-w1").await?);
    let accounts = names(&set.on_broker, &kind::ACCOUNTS).await?;
    ensure!(
        !accounts.contains(&format!("{BROKER}/cluster-c2")),
        "{accounts:?}"
    );
    // Where no packets are to cross they may be.
    desk.good(&format!(
        "{c2} --components service-discovery --clustercidr 10.8.9.0/24 --dry-run"
    ))
    .await?;
    let run = desk
        .good(&format!(
            "{c2} --clustercidr 10.8.9.0/24 --ignore-requirements --dry-run"
        ))
        .await?;
    ensure!(
        run.err
            .contains(" ⚠ this cluster's networks are another's too"),
        "{run:#?}"
    );

    // One node is all there is: it is the gateway, and its pods are all pods.
    let made = json!({
        "apiVersion": "submariner.io/v1", "kind": "Endpoint",
        "metadata": {"name": "c1-cable", "namespace": BROKER},
        "spec": endpoint("c1", "172.18.0.4", &["10.88.0.0/16", "10.8.0.0/16"]),
    });
    set.on_broker.create_value(&kind::ENDPOINTS, &made).await?;
    let run = desk
        .good(&format!(
            "{c2} --components connectivity --cable-driver vxlan --natt-port 4501"
        ))
        .await?;
    let other = "cables of vxlan, others have those of wireguard (c1), and between different drivers no cable is made: run `subctl join` \
        here with --cable-driver wireguard";
    ensure!(run.err.contains(other), "{run:#?}");
    ensure!(
        run.err
            .contains(" ✓ Labeling node \"c2-w1\" as a gateway\n"),
        "{run:#?}"
    );
    ensure!(is_gateway(in_c2, "c2-w1").await?);
    ensure!(
        names(in_c2, &kind::DEPLOYMENTS).await?.is_empty(),
        "connectivity alone"
    );
    // Joined once more for another reason, it stays what it was.
    let run = desk.good(&format!("{c2} --pod-debug")).await?;
    ensure!(run.err.contains(other), "{run:#?}");
    let gateway = in_c2
        .get(&kind::DAEMON_SETS, Some(MEMBER), "submariner-gateway")
        .await?
        .context("the gateway")?;
    let container = &gateway["spec"]["template"]["spec"]["containers"][0];
    for (name, value) in [
        ("SUBMARINER_CABLEDRIVER", "vxlan"),
        ("CE_IPSEC_NATTPORT", "4501"),
        ("SUBMARINER_DEBUG", "true"),
    ] {
        let env = container["env"].as_array().into_iter().flatten();
        let has = env
            .clone()
            .any(|has| has["name"] == name && has["value"] == value);
        ensure!(has, "{name} {value}: {container:#}");
    }
    ensure!(
        names(in_c2, &kind::DEPLOYMENTS).await?.is_empty(),
        "connectivity alone"
    );
    let run = desk.good(&format!("{c2} --cable-driver wireguard")).await?;
    ensure!(!run.err.contains("different drivers"), "{run:#?}");

    // One that somebody else installed is not made ours by halves.
    let theirs = json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "somebody"}}});
    in_c1
        .merge(
            &kind::DAEMON_SETS,
            Some(MEMBER),
            "submariner-gateway",
            &theirs,
        )
        .await?;
    let c1 = format!("{c1} --clustercidr 10.8.0.0/16");
    desk.fails(
        &c1,
        6,
        "DaemonSet submariner-operator/submariner-gateway is Submariner's own",
    )
    .await?;
    desk.good(&format!("{c1} --components service-discovery"))
        .await?;
    Ok(())
}

/// What a gateway writes.
fn endpoint(id: &str, ip: &str, subnets: &[&str]) -> Value {
    json!({
        "cluster_id": id,
        "cable_name": format!("submariner-cable-{id}-{}", ip.replace('.', "-")),
        "hostname": format!("{id}-w1"),
        "backend": "wireguard",
        "private_ip": ip,
        "public_ip": "203.0.113.2",
        "subnets": subnets,
    })
}

fn gateway_of_c1() -> Value {
    json!({
        "apiVersion": "submariner.io/v1", "kind": "Gateway",
        "metadata": {"name": "c1-w1", "namespace": MEMBER},
        "status": {
            "version": "0.1.0", "haStatus": "active", "statusFailure": "",
            "localEndpoint": endpoint("c1", "172.18.0.4", &["10.88.0.0/16", "10.8.0.0/16"]),
            "connections": [{
                "endpoint": endpoint("c2", "172.18.0.6", &["10.99.0.0/16", "10.9.0.0/16"]),
                "status": "connected", "statusMessage": "", "usingIP": "172.18.0.6",
                "latencyRTT": {"average": "388.079\u{b5}s"},
            }],
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gateways_say_is_shown_and_all_is_removed() -> Result<()> {
    let _turn = TURN.lock().await;
    let set = Set::start().await?;
    set.join().await?;
    let (desk, in_c1) = (&set.desk, &set.in_c1);

    // No gateway runs yet.
    for what in ["connections", "endpoints", "gateways"] {
        desk.fails(
            &format!("--context kind-c1 show {what}"),
            5,
            "no gateways detected",
        )
        .await?;
    }
    in_c1
        .create_value(&kind::GATEWAYS, &gateway_of_c1())
        .await?;
    // As upstream prints it, µ counted by its two bytes and padded as one character.
    for (what, table) in [
        (
            "connections",
            "GATEWAY   CLUSTER   REMOTE IP    NAT   CABLE DRIVER   SUBNETS                     STATUS      RTT avg.     \n\
             c2-w1     c2        172.18.0.6   no    wireguard      10.99.0.0/16, 10.9.0.0/16   connected   388.079µs    \n",
        ),
        (
            "endpoints",
            "CLUSTER   ENDPOINT IP   PUBLIC IP     CABLE DRIVER   TYPE     \n\
             c1        172.18.0.4    203.0.113.2   wireguard      local    \n\
             c2        172.18.0.6    203.0.113.2   wireguard      remote   \n",
        ),
        (
            "gateways",
            "NODE    HA STATUS   SUMMARY                               \n\
             c1-w1   active      All connections (1) are established   \n",
        ),
    ] {
        let run = desk.good(&format!("--context kind-c1 show {what}")).await?;
        ensure!(run.out == table, "{}", run.out);
    }
    let shown = desk.json("--context kind-c1 show all -o json").await?;
    ensure!(
        shown[0]["connections"][0]["rttAverage"] == "388.079\u{b5}s"
            && shown[0]["gateways"][0]["haStatus"] == "active"
            && shown[0]["networks"]["clusterCIDRs"] == json!(["10.8.0.0/16"]),
        "{shown}"
    );
    let yaml = desk
        .good("--context kind-c1 show endpoints -o yaml")
        .await?
        .out;
    ensure!(yaml.contains("type: remote"), "{yaml}");

    diagnose(&set).await?;
    remove(&set).await
}

/// What is broken is named, with its remedy and a code of its own.
async fn diagnose(set: &Set) -> Result<()> {
    let (desk, in_c1) = (&set.desk, &set.in_c1);
    let c1 = "--context kind-c1 diagnose";
    let run = desk.good(&format!("{c1} connections")).await?;
    ensure!(
        run.out
            .contains(" ✓ Checking gateway connections\n ✓ All 1 connections are established\n"),
        "{run:#?}"
    );
    let mut gateway = in_c1
        .get(&kind::GATEWAYS, Some(MEMBER), "c1-w1")
        .await?
        .context("it")?;
    gateway["status"]["connections"][0]["status"] = json!("error");
    gateway["status"]["connections"][0]["endpoint"]["backend"] = json!("vxlan");
    in_c1.replace(&kind::GATEWAYS, "", &gateway).await?;
    let run = desk
        .answers(
            &format!("{c1} connections"),
            10,
            " ✗ Cluster \"c2\" has cables of vxlan, this one of wireguard\n   Let both join with the same --cable-driver\n",
        )
        .await?;
    ensure!(
        run.out.contains(" ✗ Checking gateway connections\n"),
        "{run:#?}"
    );
    // Nothing tells which CNI it is; that is a doubt.
    let run = desk.good(&format!("{c1} cni")).await?;
    ensure!(
        run.out
            .contains(" ⚠ The detected CNI network plugin (\"generic\")"),
        "{run:#?}"
    );
    desk.answers(
        &format!("{c1} kube-proxy-mode"),
        0,
        " ⚠ There is no ConfigMap kube-system/kube-proxy: the mode was not checked",
    )
    .await?;
    let proxy = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kube-proxy", "namespace": "kube-system"},
        "data": {"config.conf": "kind: KubeProxyConfiguration\nmode: ipvs\n"},
    });
    in_c1.create_value(&kind::CONFIG_MAPS, &proxy).await?;
    desk.answers(
        &format!("{c1} kube-proxy-mode"),
        10,
        " ✗ The cluster is deployed with kube-proxy ipvs mode",
    )
    .await?;
    // No controller has made pods.
    let run = desk
        .answers(
            &format!("{c1} deployment"),
            10,
            " ✗ The desired number of running pods for DaemonSet \"submariner-gateway\" (1) does not match the actual number (0)\n",
        )
        .await?;
    ensure!(run.out.contains(" ✓ The broker answers\n"), "{run:#?}");
    // Nobody runs pods here, ours neither: that is told as a doubt.
    let run = desk
        .subctl(&format!("{c1} all -o json --validation-timeout 1s"))
        .await?;
    let all: Value = serde_json::from_str(&run.out)?;
    let broken = all[0]["checks"].as_array().into_iter().flatten();
    let broken = broken
        .flat_map(|check| check["findings"].as_array().cloned().unwrap_or_default())
        .filter(|finding| finding["verdict"] == "broken");
    ensure!(run.code == 10 && broken.count() == 6, "{all:#}");
    // And nothing of it is told beside.
    let beside = [" ✓", " ⚠", " ✗", " •"];
    ensure!(
        !beside.iter().any(|sign| run.err.contains(sign)),
        "{run:#?}"
    );
    // Of several clusters each has its heading, in the same place.
    let run = desk.subctl("diagnose connections").await?;
    let (c1, c2) = (
        run.out.find("Cluster \"kind-c1\"\n"),
        run.out.find("Cluster \"kind-c2\"\n"),
    );
    let fault = run.out.find(" ✗ Cluster \"c2\" has cables of vxlan");
    ensure!(c1.is_some() && c1 < fault && fault < c2, "{run:#?}");
    let run = desk.good("--context kind-broker diagnose all").await?;
    ensure!(
        run.out.contains(" ⚠ Submariner is not installed\n"),
        "{run:#?}"
    );
    Ok(())
}

/// Nodes are cleaned, but for one that is away; labels of ours go.
async fn remove(set: &Set) -> Result<()> {
    let (desk, in_c1, in_c2) = (&set.desk, &set.in_c1, &set.in_c2);
    node(in_c1, "c1-away", "10.8.3.0/24", None, false).await?;
    // Somebody else made this one a gateway.
    in_c1
        .apply_value(
            &kind::NODES,
            "",
            &json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "c1-w2", "labels": {GATEWAY: "true"}}}),
            "terraform",
        )
        .await?;
    let plan = desk
        .good("--context kind-c1 uninstall --dry-run")
        .await?
        .out;
    for line in [
        "packet filter of Submariner on node c1-w2\n",
        "label submariner.io/gateway of node c1-w1\n",
        "daemonsets.apps submariner-operator/submariner-gateway\n",
    ] {
        ensure!(plan.contains(line), "{line:?} {plan}");
    }
    ensure!(!plan.contains("gateway of node c1-w2"), "{plan}");

    let kubelets = Kubelets::start(in_c1);
    let run = desk.subctl("--context kind-c1 uninstall --yes").await?;
    let ran = kubelets.stop().await?;
    let want = [
        ("c1-control", "submariner-routeagent"),
        ("c1-w1", "submariner-gateway,submariner-routeagent"),
        ("c1-w2", "submariner-gateway,submariner-routeagent"),
    ];
    let want: BTreeSet<(String, String)> = want
        .map(|(node, containers)| (node.to_owned(), containers.to_owned()))
        .into();
    ensure!(ran == want, "{ran:#?}");
    ensure!(
        run.code == 7
            && run.err.contains(" ✓ Cleaned up 3 nodes\n")
            && run.err.contains("node c1-away is not ready")
            && run.err.contains(" ✓ Unlabeled 1 gateway nodes\n"),
        "{run:#?}"
    );
    ensure!(!is_gateway(in_c1, "c1-w1").await? && is_gateway(in_c1, "c1-w2").await?);
    for kind in [kind::DAEMON_SETS, kind::PODS, kind::SECRETS] {
        let left = names(in_c1, &kind).await?;
        ensure!(
            left.iter().all(|name| !name.starts_with(MEMBER)),
            "{left:?}"
        );
    }
    let left = names(&set.on_broker, &kind::CLUSTERS).await?;
    ensure!(left == ["submariner-k8s-broker/c2"], "{left:?}");

    // Where nothing cleans, uninstall tells what stays, and removes the rest.
    let run = desk
        .subctl("--context kind-c2 uninstall --yes --timeout 1s")
        .await?;
    ensure!(
        run.code == 7
            && run.err.contains(
                "node c2-w1: pod submariner-operator/submariner-routeagent-cleanup-c2-w1 is Pending"
            ),
        "{run:#?}"
    );
    ensure!(names(in_c2, &kind::DAEMON_SETS).await?.is_empty());
    ensure!(!is_gateway(in_c2, "c2-w1").await?);
    Ok(())
}

/// Says of each pod that is bound to a node that it has done its work.
struct Kubelets {
    task: tokio::task::JoinHandle<()>,
    /// Nodes, and what ran there, sorted and joined.
    ran: std::sync::Arc<std::sync::Mutex<BTreeSet<(String, String)>>>,
}

impl Kubelets {
    fn start(api: &Api) -> Self {
        let ran: std::sync::Arc<std::sync::Mutex<BTreeSet<_>>> = std::sync::Arc::default();
        let (api, seen) = (api.clone(), std::sync::Arc::clone(&ran));
        let task = tokio::spawn(async move {
            loop {
                // What fails now is tried again.
                let done = finish(&api).await.unwrap_or_default();
                seen.lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .extend(done);
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        });
        Self { task, ran }
    }

    async fn stop(self) -> Result<BTreeSet<(String, String)>> {
        self.task.abort();
        let _ = self.task.await;
        let ran = self
            .ran
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        Ok(ran.clone())
    }
}

async fn finish(api: &Api) -> Result<Vec<(String, String)>> {
    let mut done = Vec::new();
    for mut pod in api.list(&PODS, Some(MEMBER), "").await? {
        let containers = pod["spec"]["containers"].as_array().cloned();
        let mut containers: Vec<String> = containers
            .unwrap_or_default()
            .iter()
            .map(|container| str_at(container, "/name").to_owned())
            .collect();
        containers.sort();
        done.push((
            str_at(&pod, "/spec/nodeName").to_owned(),
            containers.join(","),
        ));
        if !pod["metadata"]["deletionTimestamp"].is_null() {
            // The last that a kubelet does.
            gone(api, name(&pod)).await?;
        } else if str_at(&pod, "/status/phase") != "Succeeded" {
            pod["status"]["phase"] = json!("Succeeded");
            api.replace(&PODS, "status", &pod).await?;
        }
    }
    Ok(done)
}

const PODS: Kind = kind::PODS;

async fn gone(api: &Api, pod: &str) -> Result<()> {
    api.delete(&PODS, Some(MEMBER), pod).await?;
    Ok(())
}
