//! The broker cut, slow, killed, compacted; agents killed at random. Whatever happens, all is as exported in the end.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::seq::IndexedRandom as _;
use subm_test_support::eventually;

use crate::SOON;
use crate::objects;
use crate::set::ClusterSet;

/// Nothing waits for the broker: what is here stays through its outage, even through a restart of the agent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_is_away() -> Result<()> {
    let mut set = ClusterSet::start(2).await?;
    set.members[0].export("web").await?;
    set.wait_exported("web", &["c1"]).await?;
    set.way_to_broker.cut().await?;
    set.members[1].kill_agents();
    set.members[1].start_agent(&[])?;
    set.members[1].wait_ready().await?;
    // A change of this cluster's own shows here at once.
    let c1 = &set.members[0];
    objects::put(&c1.client, objects::backends("web", &[])).await?;
    eventually(SOON, || async {
        let slices = objects::all(&c1.client, "EndpointSlice").await?;
        let own = slices.iter().find(|slice| {
            slice["metadata"]["labels"]["multicluster.kubernetes.io/service-name"] == "web"
        });
        ensure!(
            own.is_some_and(|slice| slice["endpoints"][0]["conditions"]["ready"] == false),
            "{own:?}"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    c1.export("late").await?;
    set.members[1].check_import("web", &["c1"]).await?;
    set.way_to_broker.restore()?;
    set.wait_exported("late", &["c1"]).await?;
    let c2 = &set.members[1];
    eventually(SOON, || async {
        ensure!(
            c2.check_import("web", &["c1"]).await.is_err(),
            "its backend is still ready"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    Ok(())
}

/// A 410: what the agent knew is too old to be continued.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_broker_forgets_its_past() -> Result<()> {
    let mut set = ClusterSet::start(2).await?;
    set.members[0].export("web").await?;
    set.wait_exported("web", &["c1"]).await?;
    set.way_to_broker.cut().await?;
    set.members[0].unexport("web").await?;
    set.members[1].export("other").await?;
    set.broker.compact().await?;
    set.broker.kill_api_server();
    set.broker.start_api_server().await?;
    set.way_to_broker.restore()?;
    set.wait_exported("other", &["c2"]).await?;
    set.members[1].unexport("other").await?;
    set.wait_nothing_exported().await
}

/// Exports come and go while the broker is slow, resets connections and dies, and agents are killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn anything_may_happen() -> Result<()> {
    let mut set = ClusterSet::start(2).await?;
    let services = ["a", "b", "c", "d"];
    let mut exported = [[false; 4]; 2];
    for round in 0..24 {
        let (cluster, index) = (
            rand::random_range(0..2),
            rand::random_range(0..services.len()),
        );
        let (member, wanted) = (&set.members[cluster], !exported[cluster][index]);
        if wanted {
            member.export(services[index]).await?;
        } else {
            member.unexport(services[index]).await?;
        }
        exported[cluster][index] = wanted;
        match *["kill", "reset", "slow", "fast", "none", "none"]
            .choose(&mut rand::rng())
            .unwrap_or(&"none")
        {
            "kill" => {
                set.members[cluster].kill_agents();
                set.members[cluster].start_agent(&[])?;
            }
            "reset" => set.way_to_broker.reset(),
            "slow" => set.way_to_broker.delay(Duration::from_millis(100)),
            "fast" => set.way_to_broker.delay(Duration::ZERO),
            _ => {}
        }
        if round == 12 {
            set.broker.kill_api_server();
            set.broker.start_api_server().await?;
        }
    }
    set.way_to_broker.delay(Duration::ZERO);
    for (index, service) in services.iter().enumerate() {
        let exporters: Vec<&str> = ["c1", "c2"]
            .into_iter()
            .enumerate()
            .filter(|(cluster, _)| exported[*cluster][index])
            .map(|(_, name)| name)
            .collect();
        set.wait_exported(service, &exporters).await?;
    }
    for (cluster, exported) in exported.iter().enumerate() {
        for (index, _) in exported
            .iter()
            .enumerate()
            .filter(|(_, exported)| **exported)
        {
            set.members[cluster].unexport(services[index]).await?;
        }
    }
    set.wait_nothing_exported().await
}
