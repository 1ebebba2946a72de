//! From an export to an import elsewhere, and back to nothing.

use anyhow::{Result, ensure};
use serde_json::json;
use subm_test_support::eventually;

use crate::SOON;
use crate::objects::{self, NS};
use crate::set::{BROKER, ClusterSet, OPERATOR};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_is_exported_imported_and_unexported() -> Result<()> {
    let set = ClusterSet::start(2).await?;
    let [c1, c2] = &set.members[..] else {
        unreachable!()
    };
    c2.export("web").await?;
    set.wait_exported("web", &["c2"]).await?;
    eventually(SOON, || async {
        ensure!(c2.condition("web", "Ready").await? == ("True".into(), "Exported".into()));
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    ensure!(c2.condition("web", "Valid").await?.0 == "True");
    ensure!(c2.condition("web", "Synced").await?.0 == "True");

    // Rows 21 and 29 of the walk-through: both clusters show it in the operator's namespace.
    for member in [c1, c2] {
        let view = eventually(SOON, || async {
            objects::get(&member.client, "ServiceImport", OPERATOR, "web-shop-c2")
                .await?
                .ok_or_else(|| anyhow::anyhow!("no row in {}", member.name))
        })
        .await?;
        ensure!(
            view["spec"]["ips"]
                .as_array()
                .is_some_and(|ips| ips.len() == 1),
            "{view}"
        );
    }

    c1.export("web").await?;
    set.wait_exported("web", &["c1", "c2"]).await?;
    c2.unexport("web").await?;
    set.wait_exported("web", &["c1"]).await?;
    c1.unexport("web").await?;
    set.wait_nothing_exported().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_at_rest_and_drift_is_mended() -> Result<()> {
    let mut set = ClusterSet::start(2).await?;
    set.members[0].export("web").await?;
    set.wait_exported("web", &["c1"]).await?;
    eventually(SOON, || async {
        ensure!(set.members[0].condition("web", "Ready").await?.0 == "True");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let quiet = |client: kube::Client| async move {
        let mut versions = Vec::new();
        for kind in ["ServiceImport", "ServiceExport", "EndpointSlice"] {
            for object in objects::all(&client, kind).await? {
                versions.push((
                    object["metadata"]["name"].to_string(),
                    object["metadata"]["resourceVersion"].to_string(),
                ));
            }
        }
        Ok::<_, anyhow::Error>(versions)
    };
    // An agent that starts anew over what is there changes nothing.
    let (broker, clients) = (
        set.broker_client().await?,
        [set.members[0].client.clone(), set.members[1].client.clone()],
    );
    let settled = eventually(SOON, || async {
        let mut writes = 0;
        for member in &set.members {
            writes += member.agents[0]
                .metric("lighthouse_agent_queue_depth")
                .await?;
        }
        ensure!(writes == 0, "something is due");
        Ok::<_, anyhow::Error>([
            quiet(broker.clone()).await?,
            quiet(clients[0].clone()).await?,
            quiet(clients[1].clone()).await?,
        ])
    })
    .await?;
    for member in &mut set.members {
        member.kill_agents();
        member.start_agent(&[])?;
    }
    for member in &set.members {
        member.wait_ready().await?;
    }
    // Leaders are elected anew after the Lease of those that were killed ran out.
    eventually(SOON, || async {
        for member in &set.members {
            ensure!(
                member.agents[0].metric("lighthouse_agent_leader").await? == 1,
                "{} does not lead yet",
                member.name
            );
            ensure!(
                member.agents[0]
                    .metric("lighthouse_agent_broker_connected")
                    .await?
                    == 1
            );
        }
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    // A new export is dealt with, so all older ones have been.
    set.members[1].export("other").await?;
    set.wait_exported("other", &["c2"]).await?;
    let now = [
        quiet(broker.clone()).await?,
        quiet(clients[0].clone()).await?,
        quiet(clients[1].clone()).await?,
    ];
    for (before, now) in settled.iter().zip(&now) {
        for object in before {
            ensure!(now.contains(object), "{object:?} was written");
        }
    }

    // What users break is mended.
    let c2 = &set.members[1].client;
    objects::delete(c2, "ServiceImport", NS, "web").await?;
    let slice = objects::all(c2, "EndpointSlice")
        .await?
        .into_iter()
        .find(|slice| {
            slice["metadata"]["labels"]["multicluster.kubernetes.io/service-name"] == "web"
        });
    let name = slice
        .and_then(|slice| Some(slice["metadata"]["name"].as_str()?.to_owned()))
        .unwrap_or_default();
    objects::delete(c2, "EndpointSlice", NS, &name).await?;
    set.wait_exported("web", &["c1"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_writes_and_the_other_takes_over() -> Result<()> {
    let mut set = ClusterSet::start(1).await?;
    set.members[0].start_agent(&[])?;
    let member = &set.members[0];
    member.wait_ready().await?;
    member.export("web").await?;
    set.wait_exported("web", &["c1"]).await?;
    let mut before = Vec::new();
    for agent in &member.agents {
        before.push(agent.metric("lighthouse_agent_leader").await?);
    }
    ensure!(
        before.iter().filter(|leads| **leads == 1).count() == 1,
        "leaders: {before:?}"
    );
    // A leader that ends in good order gives its Lease back: the other need not wait for it.
    let leader = before
        .iter()
        .position(|leads| *leads == 1)
        .unwrap_or_default();
    let mut ending = set.members[0].agents.remove(leader);
    let status = ending.process.terminate(SOON).await?;
    ensure!(
        status.success(),
        "it ended with {status}: {}",
        ending.process.output()?
    );
    set.members[0].export("other").await?;
    set.wait_exported("other", &["c1"]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uninstall_leaves_nothing() -> Result<()> {
    let mut set = ClusterSet::start(2).await?;
    set.members[0].export("web").await?;
    set.members[1].export("web").await?;
    set.wait_exported("web", &["c1", "c2"]).await?;
    set.members[0].kill_agents();
    let mut uninstall = set.members[0].agent(&[("SUBMARINER_UNINSTALL", "true")])?;
    let status = uninstall.process.wait(SOON).await?;
    ensure!(status.success(), "{}", uninstall.process.output()?);
    // The other goes on alone.
    let [c1, c2] = &set.members[..] else {
        unreachable!()
    };
    eventually(SOON, || c2.check_import("web", &["c2"])).await?;
    let imports = objects::all(&c1.client, "ServiceImport").await?;
    ensure!(imports.is_empty(), "{imports:?}");
    let export = objects::get(&c1.client, "ServiceExport", NS, "web")
        .await?
        .unwrap_or_default();
    ensure!(
        export["status"]["conditions"]
            .as_array()
            .is_none_or(Vec::is_empty),
        "{export}"
    );
    let broker = set.broker_client().await?;
    for kind in ["ServiceImport", "EndpointSlice", "Lease"] {
        for object in objects::all(&broker, kind).await? {
            let text = json!([
                object["metadata"]["name"],
                object["metadata"]["labels"],
                object["metadata"]["annotations"],
                object["status"]
            ])
            .to_string();
            ensure!(
                object["metadata"]["namespace"] != BROKER
                    || !["\"c1\"", "-c1\"", "/c1\""]
                        .iter()
                        .any(|ours| text.contains(ours)),
                "{text}"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_said_once() -> Result<()> {
    let set = ClusterSet::start(1).await?;
    let broker = set.broker_client().await?;
    objects::put(
        &broker,
        json!({
            "apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceImport",
            "metadata": {"name": "web-kube-system-evil", "namespace": BROKER, "labels": {
                "lighthouse.submariner.io/sourceNamespace": "kube-system",
                "multicluster.kubernetes.io/service-name": "web",
                "multicluster.kubernetes.io/source-cluster": "evil",
            }},
            "spec": {"type": "ClusterSetIP", "ips": ["10.66.0.2"], "ports": []},
        }),
    )
    .await?;
    let member = &set.members[0];
    eventually(SOON, || async {
        let events = objects::all(&member.client, "Event").await?;
        ensure!(
            events
                .iter()
                .any(|event| event["reason"] == "ImportRefused"),
            "no Event among {}",
            events.len()
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    member.export("web").await?;
    set.wait_exported("web", &["c1"]).await?;
    ensure!(
        member.agents[0]
            .metric("lighthouse_agent_refused_total")
            .await?
            == 1
    );
    let log = member.agents[0].process.output()?;
    ensure!(
        log.matches("refused from cluster \"evil\"").count() == 1,
        "{log}"
    );
    Ok(())
}
