//! The network half of Submariner's walk-through, row by row, with each cable driver: join two clusters, see them connected, reach a
//! Service and a pod of the other cluster by name, look at what is on the wire, cut and heal, and take all of it down again.

#[path = "common/rights.rs"]
mod rights;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use subm_e2e::connectivity::{
    answered_by, connected, connection, join, kernel, kernels, whereami_in,
};
use subm_e2e::{Lab, Member, article, client_pod, named, namespace, on, service, stateful_set};
use subm_test_support::{Capture, Packet, eventually, objects, whereami};

const NS: &str = "sample";
const OPERATOR: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";
const SOON: Duration = Duration::from_secs(90);
const NAME: &str = "whereami-cs.sample.svc.clusterset.local";
const HEADLESS: &str = "whereami-ss.sample.svc.clusterset.local";
/// What a cut cable may take until it is told.
const NOTICED: Duration = Duration::from_secs(6);

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_connected_by_vxlan() -> Result<()> {
    run("vxlan").await
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_connected_by_wireguard() -> Result<()> {
    run("wireguard").await
}

/// One lab at a time: each has three control planes.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(driver: &str) -> Result<()> {
    let _turn = TURN.lock().await;
    let began = Instant::now();
    let lab = Lab::joined(2).await?;
    let result = walk(&lab, driver).await;
    lab.tell(&format!("{driver}: "), began, &result)?;
    if result.is_err() {
        for member in &lab.members {
            for pod in member.list("Pod", OPERATOR).await.unwrap_or_default() {
                println!("{} {}", pod["metadata"]["name"], pod["status"]);
            }
        }
    }
    result
}

async fn walk(lab: &Lab, driver: &str) -> Result<()> {
    let (desk, c1, c2) = (&lab.desk, lab.member("c1"), lab.member("c2"));
    for member in [c1, c2] {
        member
            .cluster
            .wait_available("kube-system", "coredns", SOON)
            .await?;
    }
    let before = kernels(lab)?;
    let corefile = article::corefile(c1).await?;

    desk.row("10-13", "a broker, two clusters join; the gateway is named");
    desk.subctl("--context kind-broker deploy-broker").await?;
    for member in [c1, c2] {
        let flags = format!("--clustercidr {}", member.cluster.pod_cidr());
        join(lab, member, driver, &flags).await?;
    }

    desk.row("14-16", "they are connected");
    for (member, other) in [(c1, c2), (c2, c1)] {
        connected(member, other, driver).await?;
    }
    for (member, other) in [(c1, c2), (c2, c1)] {
        workers_reach(member, other).await?;
    }
    desk.subctl("--context kind-c1 show endpoints").await?;
    desk.subctl("--context kind-c1 show connections").await?;
    desk.subctl("--context kind-c2 show connections").await?;
    desk.subctl("--context kind-c1 show gateways").await?;

    desk.row("17-19", "a service in c2 is exported");
    for member in [c1, c2] {
        member.apply(namespace(NS)).await?;
    }
    c1.apply(on("c1-worker2", client_pod())).await?;
    c1.wait_pods("default", "run=client", 1).await?;
    whereami_in(c2, NS, "c2-worker2").await?;
    desk.subctl("--context kind-c2 export service --namespace sample whereami-cs --wait")
        .await?;

    desk.row(
        "20, 21",
        "the export's conditions, and both clusters show it",
    );
    article::is_exported(c2).await?;
    let ip = article::cluster_ip(c2).await?;
    for member in [c1, c2] {
        article::is_shown(member, &ip).await?;
    }

    desk.row("22-24", "a pod in c1 finds it by the cluster's CoreDNS");
    desk.note(&article::forwards(c1, &corefile).await?);
    c1.wait_dig(desk, NAME, &[ip]).await?;

    desk.row(
        "25-27",
        "a pod on a worker of c1 reaches a pod on a worker of c2",
    );
    let own = c1.pod_ip("default", "client").await?;
    let answer = on_the_wire(lab, driver, &own).await?;
    ensure!(
        answer.server.node == "c2-worker2" && answer.client.to_string() == own,
        "{answer:?}, and the client is {own}"
    );
    desk.note(&format!(
        "client in c1$ curl {NAME}\n{} on {}, which sees the client as {}",
        answer.server.pod, answer.server.node, answer.client
    ));

    desk.row(
        "28-31",
        "the same service in c1: local first, the other by its name",
    );
    whereami_in(c1, NS, "c1-worker").await?;
    desk.subctl("--context kind-c1 export service -n sample whereami-cs --wait")
        .await?;
    answered_by(c1, &format!("http://{NAME}"), "c1-worker").await?;
    answered_by(c1, &format!("http://c2.{NAME}"), "c2-worker2").await?;

    desk.row("32-36", "a headless service, and one of its pods");
    c2.apply(service(NS, "whereami-ss", "whereami-ss", true))
        .await?;
    let set = stateful_set(NS, "whereami", "whereami-ss", 3);
    c2.apply(named(set)).await?;
    c2.wait_pods(NS, "app=whereami-ss", 3).await?;
    desk.subctl("--context kind-c2 export service whereami-ss --namespace sample --wait")
        .await?;
    c1.wait_dig(desk, HEADLESS, &c2.pod_ips(NS, "app=whereami-ss").await?)
        .await?;
    let url = format!("http://whereami-0.c2.{HEADLESS}");
    let answer = eventually(SOON, || c1.whereami(&url)).await?;
    ensure!(answer.server.pod == "whereami-0", "{answer:?}");
    desk.note(&format!("client in c1$ curl {url}\n{}", answer.server.pod));

    desk.row("37, 38", "its rows");
    article::rows_of_both(c1).await?;

    desk.row(
        "cut",
        "a link that is cut is told, and its cluster leaves the answers",
    );
    let cut = c2.cluster.lan()?.uplink()?.cut()?;
    let at = Instant::now();
    eventually(NOTICED, || async {
        let status = status_of(c1).await?;
        ensure!(status != "connected", "still connected");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .with_context(|| format!("{:?} after the cut", at.elapsed()))?;
    let told = at.elapsed();
    c1.wait_dig(desk, HEADLESS, &[]).await?;
    desk.note(&format!(
        "told {told:.1?} after the cut, and out of DNS {:.1?}",
        at.elapsed()
    ));
    let local = answered_by(c1, &format!("http://{NAME}"), "c1-worker").await;
    local.context("while the other cluster is away")?;
    desk.subctl("--context kind-c1 show connections").await?;
    cut.heal()?;
    connected(c1, c2, driver).await?;
    workers_reach(c1, c2).await?;
    answered_by(c1, &format!("http://c2.{NAME}"), "c2-worker2").await?;

    desk.row("diagnose", "nothing is wrong");
    desk.subctl("--context kind-c1 diagnose deployment").await?;
    desk.subctl("--context kind-c1 diagnose connections")
        .await?;
    desk.subctl("--context kind-c1 diagnose nodes").await?;

    let accounts = ["submariner-gateway", "submariner-routeagent"];
    let granted = rights::granted(lab, &accounts).await?;

    desk.row("53", "uninstall leaves nothing");
    for member in [c1, c2] {
        desk.subctl(&format!("--context kind-{} uninstall --yes", member.name))
            .await
            .with_context(|| member.logs())?;
    }
    let broker = lab.broker.client().await?;
    for kind in ["Endpoint", "Cluster"] {
        let left = objects::all(&broker, kind, Some(BROKER)).await?;
        ensure!(left.is_empty(), "on the broker: {left:?}");
    }
    for member in [c1, c2] {
        for (kind, name) in [("Deployment", "whereami"), ("StatefulSet", "whereami")] {
            delete(member, kind, NS, name).await?;
        }
        for name in ["whereami-cs", "whereami-ss"] {
            delete(member, "Service", NS, name).await?;
        }
        delete(member, "Pod", "default", "client").await?;
    }
    for (name, before) in before {
        let node = lab.node(&name)?;
        eventually(SOON, || async {
            let now = kernel(node)?;
            before.ensure_same(&now).with_context(|| name.clone())
        })
        .await?;
    }
    rights::check(lab, &granted)
}

/// One answer, and what it looked like on each link: plain nowhere but on pods' links, VXLAN 4800 between worker and gateway, and
/// the cable between the clusters.
async fn on_the_wire(lab: &Lab, driver: &str, client: &str) -> Result<whereami::Answer> {
    let c1 = lab.member("c1");
    let lan = c1.cluster.lan()?;
    let worker = lan.node_link("c1-worker2")?;
    let inside = Capture::start(worker.netns(), worker.device())?;
    let uplink = lan.uplink()?;
    let between = Capture::start(uplink.netns(), uplink.device())?;
    let url = format!("http://{NAME}");
    let answer = eventually(SOON, || c1.whereami(&url)).await;
    let answer = answer.with_context(|| c1.logs())?;
    let (inside, between) = (inside.stop()?, between.stop()?);
    let client: std::net::IpAddr = client.parse()?;
    let of_client = |packet: &Packet| {
        packet
            .addresses
            .is_some_and(|(from, to)| from == client || to == client)
    };
    let in_vxlan = |packet: &Packet, port| packet.vxlan(port).filter(|(_, inner)| of_client(inner));
    let intra: Vec<u32> = inside
        .iter()
        .filter_map(|packet| Some(in_vxlan(packet, 4800)?.0))
        .collect();
    ensure!(
        !intra.is_empty() && intra.iter().all(|id| *id == 100),
        "VXLAN 100 to the gateway: {intra:?}"
    );
    let plain =
        |packets: &[Packet], text: &[u8]| packets.iter().any(|packet| packet.contains(text));
    ensure!(
        !between.iter().any(of_client),
        "the client's packets are between the clusters as they are"
    );
    let cable: Vec<&Packet> = between
        .iter()
        .filter(|packet| packet.is_port(4500))
        .collect();
    ensure!(!cable.is_empty(), "nothing at port 4500: {between:?}");
    match driver {
        "vxlan" => {
            let ids: Vec<u32> = cable
                .iter()
                .filter_map(|packet| Some(in_vxlan(packet, 4500)?.0))
                .collect();
            ensure!(
                !ids.is_empty() && ids.iter().all(|id| *id == 1000),
                "{ids:?}"
            );
        }
        "wireguard" => {
            ensure!(
                plain(&inside, b"GET / HTTP") && !plain(&between, b"GET / HTTP"),
                "what the pod asks can be read between the clusters"
            );
            // Types 1 to 4, and three zeros: WireGuard's messages.
            let messages = cable
                .iter()
                .all(|packet| matches!(packet.payload(), [1..=4, 0, 0, 0, ..]));
            ensure!(messages, "not all at port 4500 is WireGuard's");
        }
        other => bail!("no such driver: {other}"),
    }
    Ok(answer)
}

/// Waits until the route agent of each node that is no gateway says so, with a round-trip time.
async fn workers_reach(member: &Member, other: &Member) -> Result<()> {
    let gateway = format!("{}-worker", member.name);
    for node in member.nodes.iter().filter(|node| node.name() != gateway) {
        eventually(SOON, || async {
            let agent = member.get("RouteAgent", OPERATOR, node.name()).await?;
            let remotes = &agent["status"]["remoteEndpoints"];
            let remote = &remotes[0];
            ensure!(
                remotes.as_array().is_some_and(|all| all.len() == 1)
                    && remote["status"] == "connected"
                    && remote["spec"]["cluster_id"] == other.name.as_str()
                    && remote["latencyRTT"]["average"].is_string(),
                "{agent}"
            );
            Ok::<_, anyhow::Error>(())
        })
        .await
        .with_context(|| member.logs())?;
    }
    Ok(())
}

async fn status_of(member: &Member) -> Result<String> {
    let connection = connection(member).await?;
    Ok(connection["status"].as_str().unwrap_or_default().to_owned())
}

async fn delete(member: &Member, kind: &str, namespace: &str, name: &str) -> Result<()> {
    let api = member.api(kind, namespace);
    match api.delete(name, &kube::api::DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => Ok(result.map(drop)?),
    }
}
