//! Two connected clusters in a storm: links are cut and lose packets, every program is killed, API servers are restarted, the broker cannot
//! be reached, other clusters, services and pods come, change and go. Afterwards all is as it was, and nobody has anything to do.
//!
//! What happens is drawn by a seed, the same each time: a suite is no place to be surprised in. `SUBM_CHAOS_SEED` gives it another (`random`
//! draws one, and prints it), `SUBM_CHAOS_SECONDS` makes it longer or shorter.

mod ghosts;
mod programs;
mod quiet;
mod storm;
mod workloads;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_e2e::connectivity::{answered_by, connected, join, kernel, whereami_in};
use subm_e2e::{Lab, Member, client_pod, namespace, on};
use subm_test_support::{KernelState, TestNode, eventually, objects};

use storm::Storm;

const NS: &str = "sample";
const OPERATOR: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";
const SOON: Duration = Duration::from_secs(90);
const NAME: &str = "whereami-cs.sample.svc.clusterset.local";
/// Where gateways show their metrics.
const METRICS: u16 = 32780;

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_after_a_storm_over_vxlan() -> Result<()> {
    survive("vxlan", 1).await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_well_after_a_storm_over_wireguard() -> Result<()> {
    survive("wireguard", 2).await
}

/// One lab at a time: each has three control planes.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn survive(driver: &str, seed: u64) -> Result<()> {
    let _turn = TURN.lock().await;
    let seed = match std::env::var("SUBM_CHAOS_SEED").as_deref() {
        Ok("random") => rand::random(),
        _ => number("SUBM_CHAOS_SEED")?.unwrap_or(seed),
    };
    let seconds = number("SUBM_CHAOS_SECONDS")?.unwrap_or(60);
    eprintln!("{driver}; SUBM_CHAOS_SEED={seed} repeats this");
    let began = Instant::now();
    let lab = Lab::joined(2).await?;
    let result = weather(&lab, driver, seed, Duration::from_secs(seconds)).await;
    lab.tell(&format!("{driver}, seed {seed}: "), began, &result)?;
    result
}

fn number(variable: &str) -> Result<Option<u64>> {
    match std::env::var(variable) {
        Ok(text) => Ok(Some(text.parse().context(variable.to_owned())?)),
        Err(_) => Ok(None),
    }
}

async fn weather(lab: &Lab, driver: &str, seed: u64, length: Duration) -> Result<()> {
    let desk = &lab.desk;
    connect(lab, driver).await?;
    let fine = kernels(lab)?;
    let slim = programs::all(lab).await?;

    desk.row("storm", "all that can happen, happens");
    let mut storm = Storm::new(lab, driver, seed).await?;
    storm.rage(length).await.with_context(|| storm.story())?;
    desk.note(&storm.story());
    let workloads = storm.end().await?;

    desk.row("connected", "both clusters are, and pods reach each other");
    let calm = Instant::now();
    both_ways(lab, driver).await?;
    desk.note(&format!("{:.1?} after the last fault", calm.elapsed()));
    for name in ["c1", "c2"] {
        let words = format!("--context kind-{name} show connections");
        let shown = desk.subctl(&words).await?.out;
        ensure!(shown.contains("connected"), "{shown}");
    }

    desk.row("names", "what is exported is answered, and nothing else");
    workloads.are_answered(lab).await?;

    desk.row("kernels", "nothing is left of what came and went");
    for (name, before) in &fine {
        let node = lab.node(name)?;
        eventually(SOON, || async {
            before
                .ensure_same(&state(node)?)
                .with_context(|| name.clone())
        })
        .await?;
    }
    no_ghosts(lab).await?;

    desk.row("quiet", "nobody has anything to do");
    quiet::wait(lab).await?;
    programs::ensure_not_grown(&slim, &programs::all(lab).await?)?;
    both_ways(lab, driver).await
}

async fn connect(lab: &Lab, driver: &str) -> Result<()> {
    let desk = &lab.desk;
    for member in &lab.members {
        member
            .cluster
            .wait_available("kube-system", "coredns", SOON)
            .await?;
    }
    desk.row("fine weather", "two clusters join and are connected");
    desk.subctl("--context kind-broker deploy-broker").await?;
    for member in &lab.members {
        let (name, pods) = (&member.name, member.cluster.pod_cidr());
        join(lab, member, driver, &format!("--clustercidr {pods}")).await?;
        member.apply(namespace(NS)).await?;
        let client = on(&format!("{name}-worker2"), client_pod());
        member.apply(client).await?;
        member.wait_pods("default", "run=client", 1).await?;
        whereami_in(member, NS, &format!("{name}-worker2")).await?;
        desk.subctl(&format!(
            "--context kind-{name} export service --namespace {NS} whereami-cs --wait"
        ))
        .await?;
    }
    both_ways(lab, driver).await
}

/// Each gateway says so, and a pod on a worker reaches one on a worker of the other cluster by name, as itself.
async fn both_ways(lab: &Lab, driver: &str) -> Result<()> {
    let (c1, c2) = (lab.member("c1"), lab.member("c2"));
    for (member, other) in [(c1, c2), (c2, c1)] {
        connected(member, other, driver).await?;
        let (url, node) = (
            format!("http://{}.{NAME}", other.name),
            format!("{}-worker2", other.name),
        );
        answered_by(member, &url, &node).await?;
        seen_as_itself(member, &url).await?;
    }
    Ok(())
}

async fn seen_as_itself(member: &Member, url: &str) -> Result<()> {
    let own = member.pod_ip("default", "client").await?;
    let answer = member.whereami(url).await?;
    ensure!(
        answer.client.to_string() == own,
        "{answer:?}, and the client is {own}"
    );
    Ok(())
}

/// Neither on API servers nor in what gateways say, of clusters that were made up.
async fn no_ghosts(lab: &Lab) -> Result<()> {
    let mut clients = vec![(lab.broker.client().await?, BROKER)];
    for member in &lab.members {
        clients.push((member.client.clone(), OPERATOR));
    }
    for (client, namespace) in clients {
        for kind in ["Endpoint", "Cluster"] {
            let all = objects::all(&client, kind, Some(namespace)).await?;
            let names: Vec<&str> = all
                .iter()
                .filter_map(|object| object["metadata"]["name"].as_str())
                .collect();
            ensure!(
                names.len() == 2 && !names.iter().any(|name| ghosts::is_one(name)),
                "{kind}s in {namespace}: {names:?}"
            );
        }
    }
    for member in &lab.members {
        let gateway = &member.nodes[0];
        let url = format!("http://127.0.0.1:{METRICS}/metrics");
        let metrics = gateway.exec_on_node(&["curl", "-sS", &url]).await?;
        let metrics = String::from_utf8_lossy(&metrics.stdout).into_owned();
        let of: Vec<&str> = subm_test_support::samples(&metrics, "submariner_connections")
            .map(|(labels, _)| labels)
            .collect();
        ensure!(
            !of.is_empty() && !of.iter().any(|labels| ghosts::is_told(labels)),
            "{of:?}"
        );
    }
    Ok(())
}

fn kernels(lab: &Lab) -> Result<Vec<(String, KernelState)>> {
    let nodes = lab.members.iter().flat_map(|member| &member.nodes);
    nodes
        .map(|node| Ok((node.name().to_owned(), state(node)?)))
        .collect()
}

/// But for links of pods, which have other names each time, and an address that the kernel draws for a device of a process.
fn state(node: &TestNode) -> Result<KernelState> {
    let of_pod = |line: &str| {
        let names = line.split([' ', '/', '=']);
        names
            .filter_map(|name| name.strip_prefix("pod"))
            .any(|number| number.parse::<u32>().is_ok())
    };
    let drawn =
        |line: &str| line.starts_with("address submariner ") && line.contains("stable-privacy");
    Ok(kernel(node)?.only(|line| !of_pod(line) && !drawn(line)))
}
