//! Test nodes leave nothing behind, however their test ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, PostParams};
use serde_json::json;
use subm_test_support::whereami::{Identity, Server};
use subm_test_support::{
    Capture, Cluster, Fabric, Fault, Packets, Process, Site, TestNode, eventually,
};

const DEADLINE: Duration = Duration::from_mins(3);
/// Set for the process that is to be killed.
const VICTIM: &str = "SUBM_TEST_VICTIM";
/// What the victim prints when there is something to leave behind.
const READY: &str = "a pod with children is ready";

/// A process, safe against its number being given to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id {
    pid: u32,
    started: String,
    name: String,
}

/// Living processes and their parents.
fn processes() -> BTreeMap<Id, u32> {
    let read = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, rest) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let id = Id {
            pid,
            started: (*fields.get(19)?).to_owned(),
            name: head.split_once('(')?.1.to_owned(),
        };
        // Whoever waits for it may be slow.
        (fields[0] != "Z").then_some((id, fields[1].parse().ok()?))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| read(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn descendants(of: u32) -> BTreeSet<Id> {
    let all = processes();
    let mut found = BTreeSet::new();
    let mut parents = BTreeSet::from([of]);
    while !parents.is_empty() {
        let children: Vec<&Id> = all
            .iter()
            .filter(|(_, parent)| parents.contains(parent))
            .map(|(id, _)| id)
            .collect();
        parents = children.iter().map(|id| id.pid).collect();
        found.extend(children.into_iter().cloned());
    }
    found
}

async fn all_gone(processes_before: &BTreeSet<Id>) -> Result<()> {
    eventually(DEADLINE, || async {
        let left: Vec<Id> = processes()
            .into_keys()
            .filter(|id| processes_before.contains(id))
            .collect();
        ensure!(left.is_empty(), "left: {left:?}");
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        ensure!(!mounts.contains("subm-test-"), "{mounts}");
        Ok(())
    })
    .await
}

/// Two children that would not end with their parent by themselves.
const CHILDREN: &str = "setsid sleep 7777 & setsid sleep 7777 & wait";

/// A site on a fabric, with a program on a node, a server, a capture and faults.
struct Lab {
    _program: Process,
    _server: Server,
    _capture: Capture,
    _faults: [Fault; 2],
    _site: Site,
}

fn lab() -> Result<Lab> {
    let fabric = Fabric::new()?;
    let site = fabric.site("c1").gateways(1).pods(1).start()?;
    let node = &site.nodes[0];
    let mut command = Command::new("/bin/sh");
    command.args(["-c", CHILDREN]);
    let uplink = site.lan().uplink()?;
    Ok(Lab {
        _program: node.net.spawn(command)?,
        _server: Server::start(node.pods[0].netns(), Identity::default(), 80)?,
        _capture: Capture::start(node.net.netns(), "eth0")?,
        _faults: [uplink.cut()?, uplink.drop_packets(Packets::all())?],
        _site: site,
    })
}

/// A cluster on a fabric, a node with a pod whose program has children that would not end with it by themselves, and a site
/// with the like.
async fn something() -> Result<(Cluster, TestNode, Lab)> {
    let lab = lab()?;
    let cluster = Cluster::builder().controllers().start().await?;
    let node = TestNode::builder("n1")
        .image("shell", "/bin/sh")
        .start(&cluster)
        .await?;
    let deployments: Api<Deployment> = Api::namespaced(cluster.client().await?, "default");
    let container = json!({
        "name": "main",
        "image": "shell",
        "args": ["-c", CHILDREN],
    });
    let deployment = json!({
        "metadata": {"name": "main"},
        "spec": {
            "selector": {"matchLabels": {"app": "main"}},
            "template": {
                "metadata": {"labels": {"app": "main"}},
                "spec": {"containers": [container]},
            },
        },
    });
    deployments
        .create(&PostParams::default(), &serde_json::from_value(deployment)?)
        .await?;
    cluster.wait_available("default", "main", DEADLINE).await?;
    Ok((cluster, node, lab))
}

/// All that [`something`] runs: etcd, API server, controllers, kube-proxy, a shell and its children, twice.
async fn processes_of_something(parent: u32) -> Result<BTreeSet<Id>> {
    eventually(DEADLINE, || async {
        let all = descendants(parent);
        let sleeps = all.iter().filter(|id| id.name == "sleep").count();
        ensure!(sleeps == 4 && all.len() >= 10, "{all:?}");
        Ok(all)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_test_leaves_nothing() -> Result<()> {
    if std::env::var_os(VICTIM).is_some() {
        let _something = something().await?;
        println!("{READY}");
        return std::future::pending().await;
    }
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--exact", "a_killed_test_leaves_nothing", "--nocapture"])
        .env(VICTIM, "1");
    let mut victim = Process::spawn(command)?;
    victim.wait_for_line(READY, DEADLINE).await?;
    let all = processes_of_something(victim.id()).await?;
    // Only the process itself: what it started is in groups of its own.
    victim.kill();
    all_gone(&all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_test_leaves_nothing() -> Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async {
        let something = something().await.unwrap();
        tell.send((
            processes_of_something(std::process::id()).await.unwrap(),
            [something.0.dir().to_owned(), something.1.dir().to_owned()],
        ))
        .unwrap();
        panic!("this panic is part of the test");
    });
    let ended = test.await;
    ensure!(
        ended.as_ref().is_err_and(tokio::task::JoinError::is_panic),
        "{ended:?}"
    );
    let (all, dirs) = told.await?;
    // The other test of this file may have children of its own meanwhile: they end, too.
    all_gone(&all).await?;
    let kept = std::env::temp_dir().join("subm-failed-tests");
    for dir in dirs {
        ensure!(!dir.exists(), "{} is left", dir.display());
        let kept = kept.join(dir.file_name().context("no name")?);
        ensure!(kept.exists(), "no logs in {}", kept.display());
        fs::remove_dir_all(kept)?;
    }
    Ok(())
}
