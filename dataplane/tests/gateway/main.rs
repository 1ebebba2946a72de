//! Two gateways as they run: real API servers, one of them the broker's too, the kernels of two nodes, and our own programs with the
//! environment that Submariner's operator gives.

mod lab;

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DynamicObject, PostParams};
use lab::{ACCOUNT, BROKER, HOME, LOCK, Lab, Running, SOON, Side};
use serde_json::json;
use subm_api::submariner::{Cluster as ClusterObject, Endpoint, Gateway};
use subm_test_support::{TestNode, eventually};

/// What a cut cable may take until the Gateway object says so.
const NOTICED: Duration = Duration::from_secs(6);

/// What is to be seen of a cluster that is connected, in its own API server and on the broker.
async fn objects_are_as_submariners(lab: &Lab, gateway: &Gateway) -> Result<()> {
    let status = gateway.status.as_ref().context("a status")?;
    ensure!(
        status.ha_status == "active" && status.status_failure.is_empty(),
        "{status:?}"
    );
    let local = status.local_endpoint.as_ref().context("a local Endpoint")?;
    ensure!(
        local.hostname == "c1-gw1" && local.backend == lab.driver,
        "{local:?}"
    );
    ensure!(
        local.backend_config.get("udp-port").map(String::as_str) == Some("4500"),
        "{local:?}"
    );
    let (cni, _) = lab.c1.node.net().cni_address();
    ensure!(local.health_check_ip == cni.to_string(), "{local:?}");
    let ip = |side: &Side| side.node.ip().to_string().replace('.', "-");
    let name = |side: &Side| format!("{}-submariner-cable-{}-{}", side.id, side.id, ip(side));
    let mut expected = vec![
        name(&lab.c1),
        name(&lab.c2),
        "c1".to_owned(),
        "c2".to_owned(),
    ];
    expected.sort();
    for (side, namespace) in [(&lab.c1, HOME), (&lab.c2, HOME), (&lab.c1, BROKER)] {
        let mut names = side.names(namespace).await?;
        names.sort();
        ensure!(names == expected, "{} {namespace}: {names:?}", side.id);
    }
    let copies: Vec<Endpoint> = lab.c1.all(HOME, Endpoint::KIND).await?;
    for copy in copies {
        let labels = copy.metadata.labels.unwrap_or_default();
        let owner = labels.get("submariner-io/clusterID").map(String::as_str);
        let foreign = copy.spec.cluster_id == "c2";
        ensure!(owner == foreign.then_some("c2"), "{labels:?}");
    }
    let leases: Api<Lease> = Api::namespaced(lab.c1.cluster.client().await?, HOME);
    let holder = leases
        .get(LOCK)
        .await?
        .spec
        .and_then(|spec| spec.holder_identity);
    ensure!(
        holder.as_deref() == Some("c1-gw1-submariner-gateway"),
        "{holder:?}"
    );
    Ok(())
}

async fn renewal(side: &Side) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(side.cluster.client().await?, HOME);
    let lease = leases.get(LOCK).await?;
    lease.metadata.resource_version.context("a version")
}

/// Versions of all objects of a gateway but its Lease, and when its Gateway was written.
async fn versions(side: &Side) -> Result<(Vec<Option<String>>, u64)> {
    let [gateway] = &side.all::<Gateway>(HOME, Gateway::KIND).await?[..] else {
        anyhow::bail!("not one Gateway");
    };
    let annotations = gateway.metadata.annotations.as_ref();
    let written = annotations.and_then(|all| all.get("update-timestamp"));
    let endpoints: Vec<Endpoint> = side.all(HOME, Endpoint::KIND).await?;
    let clusters: Vec<ClusterObject> = side.all(HOME, ClusterObject::KIND).await?;
    let all = endpoints.into_iter().map(|object| object.metadata);
    let all = all.chain(clusters.into_iter().map(|object| object.metadata));
    let versions = all.map(|metadata| metadata.resource_version).collect();
    Ok((versions, written.context("a time")?.parse()?))
}

/// While the Lease is renewed twice, nothing else is written, but for a Gateway whose minute is over.
async fn nothing_is_written_at_rest(side: &Side) -> Result<()> {
    let (before, at) = versions(side).await?;
    let mut last = renewal(side).await?;
    for _ in 0..2 {
        last = eventually(SOON, || async {
            let now = renewal(side).await?;
            ensure!(now != last, "the Lease is not renewed");
            Ok(now)
        })
        .await?;
    }
    let (after, then) = versions(side).await?;
    ensure!(before == after, "{before:?} became {after:?}");
    ensure!(
        then == at || then - at >= 60,
        "written anew {} s after",
        then - at
    );
    Ok(())
}

fn page(side: &Side, path: &str) -> Result<String> {
    let url = format!("http://127.0.0.1:32780{path}");
    side.node
        .net()
        .netns()
        .output("curl", &["-sf", "--max-time", "5", &url])
}

async fn story(driver: &'static str) -> Result<()> {
    let lab = Lab::start(driver).await?;
    let (mut one, mut two) = (None, None);
    let result = play(&lab, &mut one, &mut two).await;
    if result.is_err() {
        for running in [one, two].iter().flatten() {
            println!("{}\n{}", running.gateway.output()?, running.agent.output()?);
        }
    }
    result
}

async fn play(lab: &Lab, one: &mut Option<Running>, two: &mut Option<Running>) -> Result<()> {
    let (c1, c2, driver) = (&lab.c1, &lab.c2, lab.driver);
    let began = Instant::now();
    *one = Some(lab.run(c1).await?);
    *two = Some(lab.run(c2).await?);
    let gateway = c1.says(true).await?;
    c2.says(true).await?;
    println!(
        "{driver}: connected {:.1?} after the start",
        began.elapsed()
    );
    objects_are_as_submariners(lab, &gateway).await?;
    nothing_is_written_at_rest(c1).await?;

    let metrics = page(c1, "/metrics")?;
    let wanted =
        format!("submariner_connections_short{{cable_driver=\"{driver}\",status=\"connected\"}} 1");
    ensure!(metrics.contains(&wanted), "{metrics}");
    ensure!(
        metrics.contains("submariner_connection_latency_seconds{"),
        "{metrics}"
    );
    ensure!(page(c1, "/readyz")?.contains("[+]the broker can be read"));

    // The link.
    let cut = lab.link()?;
    let at = Instant::now();
    for side in [c1, c2] {
        side.says(false).await?;
    }
    println!("{driver}: a cut is told after {:.1?}", at.elapsed());
    ensure!(at.elapsed() < NOTICED, "a cut took {:?}", at.elapsed());
    cut.heal()?;
    let at = Instant::now();
    for side in [c1, c2] {
        side.says(true).await?;
    }
    println!("{driver}: connected {:.1?} after the heal", at.elapsed());

    // The broker.
    let partition = c2.cluster.lan()?.partition(&c1.cluster)?;
    let endpoint: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "submariner.io/v1", "kind": "Cluster",
        "metadata": {"name": "c3", "labels": {"submariner-io/clusterID": "c3"}},
        "spec": {"cluster_id": "c3", "cluster_cidr": ["10.3.0.0/16"], "service_cidr": ["10.33.0.0/16"], "global_cidr": []},
    }))?;
    let kind = ClusterObject::KIND.at("v1");
    let api: Api<DynamicObject> = Api::namespaced_with(c1.cluster.client().await?, BROKER, &kind);
    api.create(&PostParams::default(), &endpoint).await?;
    // c1's gateway hears of it, c2's cannot.
    let hears = |side: &'static str, of: &'static str| {
        let side = if side == "c1" { c1 } else { c2 };
        eventually(SOON * 2, move || async move {
            let names = side.names(HOME).await?;
            ensure!(names.iter().any(|name| name == of), "{names:?}");
            Ok(())
        })
    };
    hears("c1", "c3").await?;
    nothing_is_written_at_rest(c2).await?;
    c2.says(true).await?;
    partition.heal()?;
    let at = Instant::now();
    hears("c2", "c3").await?;
    println!(
        "{driver}: news {:.1?} after the broker was back",
        at.elapsed()
    );

    // A restart: its object goes at once and comes back, and the other side need not learn anything.
    let mut former = two.take().context("it runs")?;
    let status = former.gateway.terminate(SOON).await?;
    ensure!(status.success(), "{}", former.gateway.output()?);
    ensure!(
        c2.gateway(|_| true).await.is_err(),
        "the Gateway object stays"
    );
    ensure!(renewal(c2).await.is_err(), "the Lease stays");
    let endpoint = |endpoints: Vec<Endpoint>| {
        let own = endpoints
            .into_iter()
            .find(|endpoint| endpoint.spec.cluster_id == "c2");
        own.map(|endpoint| endpoint.metadata.resource_version)
    };
    let before = endpoint(c2.all(HOME, Endpoint::KIND).await?);
    drop(former);
    *two = Some(lab.run(c2).await?);
    c2.says(true).await?;
    ensure!(
        endpoint(c2.all(HOME, Endpoint::KIND).await?) == before,
        "its Endpoint was written anew"
    );

    // A cluster that leaves.
    lab.uninstall(c2, two.take()).await?;
    ensure!(
        c2.names(HOME).await? == [""; 0],
        "{:?}",
        c2.names(HOME).await?
    );
    eventually(SOON, || async {
        c1.gateway(|gateway| {
            gateway
                .status
                .as_ref()
                .is_some_and(|status| status.connections.is_empty())
        })
        .await?;
        let names = [c1.names(HOME).await?, c1.names(BROKER).await?].concat();
        ensure!(
            !names.iter().any(|name| name.starts_with("c2")),
            "{names:?}"
        );
        let routes = c1
            .node
            .net()
            .netns()
            .output("ip", &["route", "show", "table", "all"])?;
        ensure!(!routes.contains("10.2.0.0/16"), "{routes}");
        Ok(())
    })
    .await?;
    lab.uninstall(c1, one.take()).await?;
    ensure!(
        c1.names(HOME).await? == [""; 0],
        "{:?}",
        c1.names(HOME).await?
    );
    ensure!(
        c1.names(BROKER).await? == ["c3"],
        "{:?}",
        c1.names(BROKER).await?
    );
    ensure!(renewal(c1).await.is_err(), "the Lease stays");
    for side in [c1, c2] {
        let audit = side.cluster.audit()?;
        let denied = audit.denied(HOME, ACCOUNT);
        ensure!(denied.is_empty(), "{denied:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_with_vxlan() -> Result<()> {
    story("vxlan").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_with_wireguard() -> Result<()> {
    story("wireguard").await
}

fn is_active(gateway: &Gateway, active: bool) -> bool {
    let state = gateway
        .status
        .as_ref()
        .map(|status| status.ha_status.as_str());
    state == Some(if active { "active" } else { "passive" })
}

fn has_cable(node: &TestNode) -> Result<bool> {
    let links = node.net().netns().output("ip", &["-o", "link", "show"])?;
    Ok(links.contains("vxlan-tunnel"))
}

/// A broker that is away at the start, one that is not set, and two gateways of which one leads: defects 10, 17 and 23, surprises 15, 19
/// and 22.
#[tokio::test(flavor = "multi_thread")]
async fn d10_d17_d23_gateways_begin_without_a_broker_and_take_over() -> Result<()> {
    // As fast as an election can be in a test.
    const QUICK: [(&str, &str); 3] = [
        ("LEADERSHIP_LEASEDURATION", "4"),
        ("LEADERSHIP_RENEWDEADLINE", "3"),
        ("LEADERSHIP_RETRYPERIOD", "1"),
    ];
    let lab = Lab::start("vxlan").await?;
    let (c1, c2) = (&lab.c1, &lab.c2);
    let other = TestNode::builder("c1-gw2").start(&c1.cluster).await?;

    // Without a broker a gateway leads, and writes what is its own.
    let alone = lab
        .run_on(c1, &c1.node, &[("BROKER_K8S_APISERVER", "")])
        .await?;
    eventually(SOON, || async {
        c1.gateway(|gateway| is_active(gateway, true)).await?;
        ensure!(c1.names(HOME).await?.len() == 2);
        Ok(())
    })
    .await?;
    ensure!(c1.names(BROKER).await? == [""; 0]);
    drop(alone);

    // With one that cannot be reached too; once it can, all is made up for.
    let partition = c2.cluster.lan()?.partition(&c1.cluster)?;
    let far = lab.run(c2).await?;
    let mut first = lab.run_on(c1, &c1.node, &QUICK).await?;
    eventually(SOON, || async {
        c2.gateway(|gateway| is_active(gateway, true)).await?;
        ensure!(c2.names(HOME).await?.len() == 2);
        Ok(())
    })
    .await?;
    partition.heal()?;
    c1.says(true).await?;
    c2.says(true).await?;

    // A second one waits.
    let mut second = lab.run_on(c1, &other, &QUICK).await?;
    eventually(SOON, || {
        c1.gateway_of(&other, |gateway| is_active(gateway, false))
    })
    .await?;
    ensure!(!has_cable(&other)?, "a passive gateway has a cable");

    // The first dies without a word.
    first.gateway.kill();
    c1.says_on(&other, true).await?;
    let via = |node: &TestNode| {
        let using = node.ip().to_string();
        move |gateway: &Gateway| {
            let status = gateway.status.as_ref();
            let connection = status.and_then(|status| status.connections.iter().next());
            connection.is_some_and(|one| one.status == "connected" && one.using_ip == using)
        }
    };
    eventually(SOON, || c2.gateway(via(&other))).await?;
    ensure!(
        has_cable(&c1.node)?,
        "what a dead process left is not there any more"
    );

    // It comes back, and lets go of what it had before.
    drop(first);
    let first = lab.run_on(c1, &c1.node, &QUICK).await?;
    eventually(SOON, || async {
        c1.gateway(|gateway| is_active(gateway, false)).await?;
        ensure!(
            !has_cable(&c1.node)?,
            "the former gateway still has its cable"
        );
        let mut endpoints: Vec<Endpoint> = c1.all(HOME, Endpoint::KIND).await?;
        endpoints.retain(|endpoint| endpoint.spec.cluster_id == "c1");
        ensure!(
            endpoints.len() == 1 && endpoints[0].spec.hostname == "c1-gw2",
            "{endpoints:?}"
        );
        Ok(())
    })
    .await?;

    // And it leads again, with a cable.
    second.gateway.terminate(SOON).await?;
    c1.says(true).await?;
    eventually(SOON, || c2.gateway(via(&c1.node))).await?;
    ensure!(has_cable(&c1.node)?);
    drop((first, second, far));
    Ok(())
}

/// Both clusters change from one driver to the other and back, as `subctl join` with another `--cable-driver` has it: what the former one
/// left has the tunnel's port.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_change_their_driver() -> Result<()> {
    let lab = Lab::start("vxlan").await?;
    for driver in ["vxlan", "wireguard", "vxlan"] {
        let mut running = Vec::new();
        for side in [&lab.c1, &lab.c2] {
            let chosen = [("SUBMARINER_CABLEDRIVER", driver)];
            running.push(lab.run_on(side, &side.node, &chosen).await?);
        }
        for side in [&lab.c1, &lab.c2] {
            eventually(SOON, || {
                side.gateway(|gateway| {
                    let status = gateway.status.iter();
                    let mut connections = status.flat_map(|status| status.connections.iter());
                    connections
                        .any(|one| one.status == "connected" && one.endpoint.backend == driver)
                })
            })
            .await
            .with_context(|| format!("{driver} in {}", side.node.name()))?;
            ensure!(has_cable(&side.node)? == (driver == "vxlan"));
        }
        for gateway in &mut running {
            gateway.gateway.terminate(SOON).await?;
        }
    }
    Ok(())
}

#[test]
fn mistakes_are_told() -> Result<()> {
    let good = [
        ("SUBMARINER_CLUSTERID", "c1"),
        ("SUBMARINER_NAMESPACE", HOME),
        ("SUBMARINER_CLUSTERCIDR", "10.1.0.0/16"),
        ("SUBMARINER_CABLEDRIVER", "vxlan"),
    ];
    let state = tempfile::tempdir()?;
    for (name, value, words) in [
        (
            "SUBMARINER_CLUSTERID",
            "",
            "SUBMARINER_CLUSTERID: it is not set",
        ),
        (
            "SUBMARINER_CLUSTERCIDR",
            "10.1.0.0",
            "SUBMARINER_CLUSTERCIDR: it cannot be",
        ),
        (
            "SUBMARINER_CABLEDRIVER",
            "libreswan",
            "use wireguard, or vxlan",
        ),
        (
            "SUBMARINER_CABLEDRIVER",
            "wireguard",
            "pre-shared key is empty",
        ),
        (
            "BROKER_K8S_APISERVER",
            "192.0.2.1:6443",
            "BROKER_K8S_APISERVERTOKEN is not set",
        ),
        (
            "LEADERSHIP_RENEWDEADLINE",
            "20",
            "LEADERSHIP_LEASEDURATION must be longer",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_submariner-gateway"))
            .env_clear()
            .envs(good)
            .env(name, value)
            .args(["--kubeconfig", "tests/kubeconfig.yaml", "--state-folder"])
            .arg(state.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains(words),
            "{name}={value}: {said}"
        );
    }
    Ok(())
}
