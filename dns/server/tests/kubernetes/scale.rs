//! Many services.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::PostParams;
use subm_test_support::{Cluster, eventually};
use tokio::task::JoinSet;

use crate::asker::Client;
use crate::objects::{delete, place, put, vip_import};
use crate::server::Server;

const SERVICES: u32 = 10_000;
/// Who write or ask at the same time, each a part of them all.
const HANDS: u32 = 16;
/// Generous for what takes a few seconds.
const LOAD: Duration = Duration::from_mins(2);

fn service(number: u32) -> String {
    format!("service-{number}")
}

fn ip(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(243, 4, 0, 0).to_bits() + number)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_services_are_answered() -> Result<()> {
    let cluster = Cluster::start().await?;
    cluster.apply_crds().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("many").await?;
    let import = |number| {
        vip_import(
            "v1beta1",
            &namespace,
            &service(number),
            &ip(number).to_string(),
        )
    };
    // One half is there before the server, the other half comes while it watches.
    create(&client, 0..SERVICES / 2, import).await?;
    let server = Server::started(&cluster.kubeconfig()).await?;
    create(&client, SERVICES / 2..SERVICES, import).await?;

    // Each of those who write was the last at some time: all must have been seen.
    eventually(LOAD, || {
        ask_all(&server, &namespace, SERVICES / 2..SERVICES)
    })
    .await?;
    let start = Instant::now();
    ask_all(&server, &namespace, 0..SERVICES).await?;
    let took = start.elapsed();
    ensure!(took < LOAD / 4, "asking took {took:?}");
    let (_, metrics) = server.page("/metrics").await?;
    let count = metrics
        .lines()
        .find(|line| line.starts_with("subm_dns_services"))
        .with_context(|| metrics.clone())?;
    ensure!(count.ends_with(" 10000"), "{count}");

    // It is as quick to follow as with one.
    let name = |number| format!("{}.{namespace}.svc.clusterset.local", service(number));
    delete(&client, import(77)).await?;
    server.denies(&name(77)).await?;
    put(
        &client,
        vip_import("v1beta1", &namespace, &service(78), "243.5.0.1"),
    )
    .await?;
    server.answers(&name(78), &["243.5.0.1"]).await
}

async fn create(
    client: &kube::Client,
    numbers: std::ops::Range<u32>,
    import: impl Fn(u32) -> serde_json::Value,
) -> Result<()> {
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let mut objects = Vec::new();
        for number in numbers.clone().filter(|number| number % HANDS == hand) {
            objects.push(place(client, import(number))?);
        }
        hands.spawn(async move {
            for (api, object) in objects {
                api.create(&PostParams::default(), &object).await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done??;
    }
    Ok(())
}

/// Asks once for each service; an error at the first wrong answer.
async fn ask_all(server: &Server, namespace: &str, numbers: std::ops::Range<u32>) -> Result<()> {
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let client = Client::new(server.addr()).await?;
        let mine = numbers.clone().filter(move |number| number % HANDS == hand);
        let suffix = format!("{namespace}.svc.clusterset.local");
        hands.spawn(async move {
            for number in mine {
                let name = format!("{}.{suffix}", service(number));
                let answer = client.ask(&name).await.with_context(|| name.clone())?;
                ensure!(answer == [ip(number)], "{name}: {answer:?}");
            }
            Ok(())
        });
    }
    while let Some(done) = hands.join_next().await {
        done??;
    }
    Ok(())
}
