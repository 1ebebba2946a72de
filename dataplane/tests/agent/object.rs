//! The RouteAgent object of a node, and its pages. What answers for the gateways of other clusters is the gateway node itself: it has their
//! addresses, so the way there is all that is between a worker and them.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::api::{Api, DeleteParams};
use subm_test_support::{TestNode, eventually, page, samples};

use crate::lab::{Lab, SOON};

const C2: &str = "10.99.1.1";
const C3: &str = "fd98::1";
const PORT: u16 = 32782;

async fn of_page(node: &TestNode, path: &str) -> Result<(u16, String)> {
    let netns = node.net().netns().clone();
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || {
        netns.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime.block_on(page(([127, 0, 0, 1], PORT).into(), &path))
        })
    })
    .await?
}

/// The value of a metric.
async fn metric(node: &TestNode, name: &str) -> Result<u64> {
    let (_, text) = of_page(node, "/metrics").await?;
    let mut samples = samples(&text, name);
    let (_, value) = samples
        .next()
        .with_context(|| format!("no {name}:\n{text}"))?;
    Ok(value.parse()?)
}

async fn writes(node: &TestNode) -> Result<u64> {
    metric(node, "submariner_routeagent_sync_iterations").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_says_what_it_reaches() -> Result<()> {
    let lab = Lab::start().await?;
    let (gateway, worker) = (&lab.gateway, &lab.worker);
    let mut agents = [lab.agent(gateway)?, lab.agent(worker)?];
    let result = play(&lab).await;
    if result.is_err() {
        println!("{}\n{}", agents[0].output()?, agents[1].output()?);
    }
    result?;

    // Who is told to end leaves no object that nobody keeps.
    let status = agents[0].terminate(SOON).await?;
    ensure!(status.success(), "{}", agents[0].output()?);
    ensure!(lab.agent_of("gw1").await?.is_none());
    // Who is killed has not told anybody; the object goes with its Node.
    agents[1].kill();
    ensure!(lab.agent_of("w1").await?.is_some());
    let nodes: Api<Node> = Api::all(lab.cluster.client().await?);
    nodes.delete("w1", &DeleteParams::default()).await?;
    eventually(SOON, || async {
        ensure!(lab.agent_of("w1").await?.is_none(), "it stays");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

async fn play(lab: &Lab) -> Result<()> {
    let started = Instant::now();
    let (gateway, worker) = (&lab.gateway, &lab.worker);
    let far = gateway.net().netns();
    for address in [format!("{C2}/32"), format!("{C3}/128")] {
        far.ip(&format!("addr add {address} dev lo"))?;
    }
    lab.says(worker, &[]).await?;
    for node in [gateway, worker] {
        eventually(SOON, || async {
            let (status, text) = of_page(node, "/readyz").await?;
            ensure!(status == 200, "{}: {text}", node.name());
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    ensure!(of_page(worker, "/healthz").await?.0 == 200);

    // Other clusters, and nobody who leads there yet.
    lab.checked("c2", "c2-gw1", "172.31.2.11", &["10.99.0.0/16"], C2)
        .await?;
    lab.checked("c3", "c3-gw1", "172.31.3.11", &["fd98::/48"], C3)
        .await?;
    lab.endpoint("c4", "c4-gw1", "172.31.4.11", &["10.97.0.0/16"])
        .await?;
    let of = |c2: &'static str, c3: &'static str, c4: &'static str| {
        [
            ("c2", "c2-gw1", c2),
            ("c3", "c3-gw1", c3),
            ("c4", "c4-gw1", c4),
        ]
    };
    lab.says(worker, &of("error", "error", "error")).await?;
    // As where the gateway's routes and packet filter come a moment later: what it remembers then of a flow would stay while echoes come.
    for rule in [
        "add table ip elsewhere".to_owned(),
        "add chain ip elsewhere to { type nat hook prerouting priority -150; }".to_owned(),
        format!("add rule ip elsewhere to ip daddr {C2} dnat to 192.0.2.200"),
    ] {
        far.output("nft", &[&rule])?;
    }
    let address = gateway.net().ip().to_string();
    lab.endpoint("c1", "gw1", &address, &["10.8.0.0/16"])
        .await?;
    lab.says(worker, &of("error", "connected", "none")).await?;
    far.output("nft", &["delete table ip elsewhere"])?;
    let began = Instant::now();
    let reached = of("connected", "connected", "none");
    let status = lab.says(worker, &reached).await?;
    println!("connected {:?} after there was a way", began.elapsed());
    let rows: Vec<_> = status.remote_endpoints.iter().collect();
    ensure!(
        rows[0].latency_rtt.is_some()
            && rows[1].latency_rtt.is_some()
            && rows[2].latency_rtt.is_none()
    );
    ensure!(rows[2].status_message == "Health checker IP is not configured");
    ensure!(rows[0].spec.subnets.iter().eq(["10.99.0.0/16"]), "{rows:?}");
    let status = lab.says(gateway, &of("none", "none", "none")).await?;
    for row in status.remote_endpoints.iter() {
        let message = "Health check is not performed on gateway nodes";
        ensure!(row.status_message == message, "{row:?}");
    }
    let connections = metric(worker, "submariner_routeagent_connections").await?;
    ensure!(connections == 1, "{connections}");

    // Echo requests are sent all the time, and what is written is the news: one for each.
    let before = writes(worker).await?;
    far.ip(&format!("addr del {C2}/32 dev lo"))?;
    let began = Instant::now();
    let cut = of("error", "connected", "none");
    let status = lab.says(worker, &cut).await?;
    println!("error {:?} after the cut", began.elapsed());
    let message = &status.remote_endpoints.good[0].1.status_message;
    ensure!(
        message.contains(&format!("ping the remote endpoint IP \"{C2}\"")),
        "{message}"
    );
    far.ip(&format!("addr add {C2}/32 dev lo"))?;
    let began = Instant::now();
    lab.says(worker, &reached).await?;
    println!("connected {:?} after it healed", began.elapsed());
    let wrote = eventually(SOON, || async {
        let wrote = writes(worker).await? - before;
        ensure!(wrote >= 2, "{wrote} writes");
        Ok::<_, anyhow::Error>(wrote)
    })
    .await?;
    // Round-trip times are new once a minute.
    let minutes = started.elapsed().as_secs() / 60;
    ensure!(wrote <= 2 + minutes, "{wrote} writes for two news");

    // A fail-over: the new one comes before the old one goes, and nothing of that stays.
    let took_over = [("c2", "c2-gw2", "connected"), reached[1], reached[2]];
    lab.checked("c2", "c2-gw2", "172.31.2.12", &["10.99.0.0/16"], C2)
        .await?;
    lab.says(worker, &took_over).await?;
    lab.forget("c2-submariner-cable-c2-172-31-2-11").await?;
    lab.forget("c3-submariner-cable-c3-172-31-3-11").await?;
    lab.says(worker, &[took_over[0], took_over[2]]).await?;
    Ok(())
}
