//! The route agent of a node: Endpoints, Clusters and Nodes in; links, routes and packet filter of this node, and its RouteAgent object, out.

mod arguments;
mod brain;
mod pages;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use subm_api::Whole;
use subm_api::submariner::{Cluster, Endpoint, RouteAgent};
use subm_kube::Watch;
use subm_nat::Nft;
use subm_routing::Network;
use subm_tunnel::health::{Icmp, Monitor};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

pub use arguments::Arguments;
use brain::{Brain, Kept};
use pages::Shown;

use super::pages::serve;
use super::server::Server;
use super::store::watch_of;
use super::{GATHER, at, filter, network};

/// How often the node itself is looked at: an address or the CNI's device may have come.
const LOOK: Duration = Duration::from_secs(10);
/// As which the API server knows an agent's writes.
const MANAGER: &str = "submariner-route-agent";
/// The pod of an operator is killed a second after it was told to end.
const FAREWELL: Duration = Duration::from_millis(800);

/// Runs until the process is told to end; what is in the kernel stays, and traffic flows on.
pub async fn run(arguments: Arguments) -> Result<()> {
    if arguments.uninstall {
        return uninstall(&arguments).await;
    }
    let client = subm_kube::connect(arguments.kubeconfig.as_deref(), None).await?;
    let node = arguments.node()?;
    let checks = Arguments::checks()?;
    let questions = arguments.kernel()?;
    let mut tasks = JoinSet::new();
    let shown = Arc::new(Shown::default());
    serve(&mut tasks, Arguments::metrics_port()?, Arc::clone(&shown)).await?;
    let (network, receiver) = watch::channel(None);
    let (kernel, hints) = (arguments.kernel()?, questions.hints().await?);
    let status = network::keep(&mut tasks, "network", kernel, Ok(hints), receiver);
    let (ruleset, receiver) = watch::channel(None);
    let (loaded_to, loaded) = watch::channel(filter::Loaded::default());
    tasks.spawn(filter::keep(receiver, loaded_to));
    tracing::info!(
        "route agent of node {node:?} in cluster {:?}",
        arguments.cluster_id
    );
    let server = server(&arguments, client.clone());
    let kept = Kept {
        network,
        status,
        ruleset,
        loaded,
    };
    let monitor = checks.map(|settings| Monitor::start(Icmp::new(), settings));
    let brain = Brain::new(
        arguments,
        node.clone(),
        questions,
        server,
        kept,
        monitor,
        shown,
    );
    let server = Box::pin(live(brain, client, &node)).await?;
    // Nobody keeps it any more.
    if let Ok(Err(error)) = timeout(FAREWELL, forget(&server, &node)).await {
        tracing::debug!("the RouteAgent object stays: {error}");
    }
    Ok(())
}

/// Until a signal comes. What wrote the object has ended then.
async fn live(mut brain: Brain, client: Client, node: &str) -> Result<Arc<Server>> {
    let namespace = brain.namespace().to_owned();
    let mut endpoints = watch_of::<Endpoint>(&client, &namespace);
    let mut clusters = watch_of::<Cluster>(&client, &namespace);
    // Not those of all nodes: each write would be told to each node.
    let mut agents = watch_of::<RouteAgent>(&client, &namespace).named(node);
    let mut nodes = Watch::<Whole<Node>>::all(client);
    let mut status = brain.kept.status.clone();
    let mut loaded = brain.kept.loaded.clone();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut look = tokio::time::interval(LOOK);
    let mut plan_at = None;
    loop {
        let due = tokio::select! {
            () = at(plan_at) => {
                plan_at = None;
                brain.plan().await;
                false
            }
            _ = terminate.recv() => return Ok(brain.server()),
            _ = interrupt.recv() => return Ok(brain.server()),
            event = endpoints.next() => brain.endpoints.take(event),
            event = clusters.next() => brain.clusters.take(event),
            event = nodes.next() => brain.nodes.take(event),
            _ = look.tick() => true,
            event = agents.next() => {
                brain.agents.take(event);
                false
            }
            Ok(()) = status.changed() => false,
            Ok(()) = loaded.changed() => false,
            () = brain.news() => false,
        };
        if due {
            plan_at.get_or_insert_with(|| Instant::now() + GATHER);
        } else {
            brain.publish();
        }
    }
}

async fn uninstall(arguments: &Arguments) -> Result<()> {
    let report = arguments.kernel()?.apply(&Network::new()).await?;
    anyhow::ensure!(report.all_done(), "not all is removed: {report}");
    let table = Nft::new().remove().await?;
    tracing::info!(
        "removed {} objects of the kernel{}",
        report.done(),
        if table { " and the packet filter" } else { "" }
    );
    // An agent that was told to end has deleted it; one that was killed has not.
    let client = subm_kube::connect(arguments.kubeconfig.as_deref(), None).await?;
    forget(&server(arguments, client), &arguments.node()?)
        .await
        .context("the RouteAgent object stays")
}

fn server(arguments: &Arguments, client: Client) -> Server {
    Server {
        client,
        namespace: arguments.namespace.clone(),
        manager: MANAGER,
    }
}

/// This node's RouteAgent object.
async fn forget(server: &Server, node: &str) -> kube::Result<()> {
    // Deleting one without a name means deleting all.
    if node.is_empty() {
        return Ok(());
    }
    server
        .delete(&RouteAgent::KIND, node, None, None)
        .await
        .map(drop)
}
