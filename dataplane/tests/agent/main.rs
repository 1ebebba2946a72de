//! The route agent as it runs: a real API server, and the kernels of two nodes.

mod lab;
mod object;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Node as KubeNode;
use kube::api::{Api, Patch, PatchParams, PostParams};
use lab::{Lab, SOON};
use serde_json::json;
use subm_test_support::lan::Node;
use subm_test_support::{KernelState, eventually};

/// What `ip` or `nft` print of a node, until it is as wanted.
async fn shows(node: &Node, words: &[&str], want: impl Fn(&str) -> bool) -> Result<String> {
    let (program, arguments) = words.split_first().context("a program")?;
    eventually(SOON, || async {
        let text = node.netns().output(program, arguments)?;
        ensure!(want(&text), "{}: {words:?} prints\n{text}", node.name());
        Ok(text)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn surprise_5_a_node_follows_endpoints_and_nodes() -> Result<()> {
    let lab = Lab::start().await?;
    let (gateway, worker) = (lab.gateway.net(), lab.worker.net());
    let before = [
        KernelState::of(gateway.netns())?,
        KernelState::of(worker.netns())?,
    ];
    let agents = [lab.agent(&lab.gateway)?, lab.agent(&lab.worker)?];

    // Another cluster, but no gateway here: nothing can be done with it yet.
    lab.endpoint(
        "c2",
        "c2-gw1",
        "172.31.2.11",
        &["10.99.0.0/16", "0.0.0.0/0"],
    )
    .await?;
    lab.endpoint("c1", "gw1", &gateway.ip().to_string(), &["10.8.0.0/16"])
        .await?;
    let routes = shows(worker, &["ip", "route"], |text| {
        text.contains("10.99.0.0/16 via 240.")
    })
    .await?;
    let way = routes
        .lines()
        .find(|line| line.starts_with("10.99.0.0/16"))
        .context("the route")?;
    ensure!(
        way.contains("dev vx-submariner") && way.contains("proto 84"),
        "{way}"
    );
    ensure!(
        !routes.contains("default via 240."),
        "everything is nobody's to claim:\n{routes}"
    );
    let to_worker = format!("00:00:00:00:00:00 dst {} ", worker.ip());
    shows(
        gateway,
        &["bridge", "fdb", "show", "dev", "vx-submariner"],
        |text| text.contains(&to_worker),
    )
    .await?;
    shows(gateway, &["ip", "route", "show", "table", "150"], |text| {
        text.contains("10.99.0.0/16 dev lo")
    })
    .await?;
    for node in [gateway, worker] {
        shows(
            node,
            &["nft", "list", "table", "inet", "submariner"],
            |text| text.contains("10.99.0.0/16"),
        )
        .await?;
    }
    let said = agents[1].output()?;
    ensure!(
        said.contains("its subnet 0.0.0.0/0 is no network of a cluster"),
        "{said}"
    );

    // A node that gets its address after it was made, as with a cloud's own controller.
    let nodes: Api<KubeNode> = Api::all(lab.cluster.client().await?);
    let late = serde_json::from_value(json!({"metadata": {"name": "late"}}))?;
    nodes.create(&PostParams::default(), &late).await?;
    let address =
        json!({"status": {"addresses": [{"type": "InternalIP", "address": "172.31.1.99"}]}});
    nodes
        .patch_status("late", &PatchParams::default(), &Patch::Merge(address))
        .await?;
    shows(
        gateway,
        &["bridge", "fdb", "show", "dev", "vx-submariner"],
        |text| text.contains("00:00:00:00:00:00 dst 172.31.1.99 "),
    )
    .await?;

    // What somebody breaks is mended.
    worker.netns().ip("route del 10.99.0.0/16")?;
    shows(worker, &["ip", "route"], |text| {
        text.contains("10.99.0.0/16 via 240.")
    })
    .await?;

    // An agent that was away meanwhile.
    let [on_gateway, on_worker] = agents;
    drop(on_worker);
    lab.forget("c2-submariner-cable-c2-172-31-2-11").await?;
    lab.endpoint("c3", "c3-gw1", "172.31.3.11", &["10.98.0.0/16"])
        .await?;
    let on_worker = lab.agent(&lab.worker)?;
    for node in [gateway, worker] {
        shows(node, &["ip", "route", "show", "table", "all"], |text| {
            !text.contains("10.99.0.0/16") && text.contains("10.98.0.0/16")
        })
        .await?;
    }

    // They are killed, so their objects stay until then.
    drop([on_gateway, on_worker]);
    for (node, before) in [&lab.gateway, &lab.worker].into_iter().zip(&before) {
        let mut command = lab.command(node)?;
        command.env("SUBMARINER_UNINSTALL", "true");
        let mut uninstall = node.net().spawn(command)?;
        let status = uninstall.wait(SOON).await?;
        ensure!(status.success(), "{}", uninstall.output()?);
        before.ensure_same(&KernelState::of(node.net().netns())?)?;
        let memory = lab.state_folder(node).join("route-agent");
        if let Ok(left) = std::fs::read_to_string(&memory) {
            bail!("{}: {left}", memory.display());
        }
        ensure!(
            lab.agent_of(node.name()).await?.is_none(),
            "{}",
            node.name()
        );
    }
    Ok(())
}

#[test]
fn mistakes_are_told() -> Result<()> {
    let run = |arguments: &[&str]| {
        let program = Path::new(env!("CARGO_BIN_EXE_submariner-route-agent"));
        Command::new(program).env_clear().args(arguments).output()
    };
    for (arguments, words) in [
        (&[][..], "--cluster-id"),
        (
            &["--cluster-id", "c1", "--cluster-cidr", "10.8.0.0"][..],
            "--cluster-cidr",
        ),
        (
            &[
                "--cluster-id",
                "c1",
                "--kubeconfig",
                "/nonexistent",
                "--state-folder",
                "/proc/none",
            ][..],
            "/nonexistent",
        ),
    ] {
        let output = run(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains(words),
            "{arguments:?}: {said}"
        );
    }
    Ok(())
}
