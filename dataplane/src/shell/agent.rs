//! The route agent of a node: Endpoints and Nodes in; links, routes and packet filter of this node out.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use subm_api::Whole;
use subm_api::submariner::Endpoint;
use subm_kube::Watch;
use subm_nat::{Nft, Ruleset};
use subm_routing::{Kernel, Mark, Network, Settings, TakeOver};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::network::{self, Objects};
use super::store::Store;
use super::{facts, filter, set};
use crate::node::{self, Gateway, Trouble, Underlay, View};
use crate::remotes::{self, Ours, Refusal};

/// Gateway and route agent are two owners in one kernel: each has a mark of its own.
const PROTOCOL: u8 = 84;
const ALIAS: &str = "subm/route-agent";
/// How often the node itself is looked at: an address or the CNI's device may have come.
const LOOK: Duration = Duration::from_secs(10);

/// The route agent of a Submariner cluster set: one on each node.
#[derive(Debug, Parser)]
#[command(name = "submariner-route-agent", version, about, max_term_width = 120)]
pub struct Arguments {
    /// Kubeconfig of this cluster; without it the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// This cluster's id
    #[arg(long, value_name = "ID", env = "SUBMARINER_CLUSTERID")]
    pub cluster_id: String,
    /// Where Endpoints are
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "SUBMARINER_NAMESPACE",
        default_value = "submariner-operator"
    )]
    pub namespace: String,
    /// This cluster's pod networks
    #[arg(
        long,
        value_name = "CIDRS",
        env = "SUBMARINER_CLUSTERCIDR",
        value_delimiter = ','
    )]
    pub cluster_cidr: Vec<IpNet>,
    /// This cluster's Service networks
    #[arg(
        long,
        value_name = "CIDRS",
        env = "SUBMARINER_SERVICECIDR",
        value_delimiter = ','
    )]
    pub service_cidr: Vec<IpNet>,
    /// This node's name [default: its host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Where it is remembered what kernel parameters were before: a folder that lasts as long as the kernel runs
    #[arg(long, value_name = "FOLDER", default_value = "/run/submariner")]
    pub state_folder: PathBuf,
    /// Remove all that the agent made in this node's kernel, and exit
    #[arg(long, env = "SUBMARINER_UNINSTALL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub uninstall: bool,
    /// Log level: error, warn, info, debug or trace, or a tracing filter
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

impl Arguments {
    fn kernel(&self) -> Result<Kernel> {
        std::fs::create_dir_all(&self.state_folder)
            .with_context(|| format!("cannot make {}", self.state_folder.display()))?;
        let settings = Settings::new()
            .mark(Mark::new(PROTOCOL, ALIAS))
            .take_over(
                TakeOver::new()
                    .link(node::DEVICE)
                    .table(node::TABLE, node::TABLE),
            )
            .memory(self.state_folder.join("route-agent"));
        Ok(Kernel::open(settings)?)
    }
}

/// Runs until the process is told to end; what is in the kernel stays, and traffic flows on.
pub async fn run(arguments: Arguments) -> Result<()> {
    if arguments.uninstall {
        return uninstall(&arguments).await;
    }
    let client = subm_kube::connect(arguments.kubeconfig.as_deref(), None).await?;
    let node_name = match &arguments.node_name {
        Some(name) => name.clone(),
        None => hostname::get()?.to_string_lossy().into_owned(),
    };
    let questions = arguments.kernel()?;
    let (network, receiver) = watch::channel(None);
    let (kernel, hints) = (arguments.kernel()?, questions.hints().await?);
    let mut tasks = JoinSet::new();
    network::keep(&mut tasks, "network", kernel, Ok(hints), receiver);
    let (ruleset, receiver) = watch::channel(None);
    tasks.spawn(filter::keep(receiver));

    let mut endpoints = Watch::<Endpoint>::all(client.clone()).in_namespace(&arguments.namespace);
    let mut nodes = Watch::<Whole<Node>>::all(client);
    let mut agent = Agent {
        node: node_name,
        arguments,
        kernel: questions,
        endpoints: Store::new("Endpoints"),
        nodes: Store::new("Nodes"),
        network,
        ruleset,
        said: BTreeSet::new(),
    };
    tracing::info!(
        "route agent of node {:?} in cluster {:?}",
        agent.node,
        agent.arguments.cluster_id
    );
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut look = tokio::time::interval(LOOK);
    loop {
        let due = tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            event = endpoints.next() => agent.endpoints.take(event),
            event = nodes.next() => agent.nodes.take(event),
            _ = look.tick() => true,
        };
        if due {
            agent.plan().await;
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
    Ok(())
}

struct Agent {
    node: String,
    arguments: Arguments,
    /// Answers questions; another one is kept as desired.
    kernel: Kernel,
    endpoints: Store<Endpoint>,
    nodes: Store<Whole<Node>>,
    network: watch::Sender<Option<Arc<Objects>>>,
    ruleset: watch::Sender<Option<Ruleset>>,
    /// What people have been told, so that it is told once.
    said: BTreeSet<String>,
}

impl Agent {
    /// Nothing is desired before all has been read: less than there was would be removed.
    async fn plan(&mut self) {
        if !self.endpoints.is_known() || !self.nodes.is_known() {
            return;
        }
        let pods = &self.arguments.cluster_cidr;
        let underlay = Underlay::of(self.nodes.objects().map(|Whole(node)| node));
        let (uplink, cni) = match facts::ask(&self.kernel, underlay.family, pods).await {
            Ok(facts) => facts,
            Err(error) => {
                self.tell(vec![format!("this node is left as it is: {error:#}")]);
                return;
            }
        };
        let endpoints: Vec<Endpoint> = self.endpoints.objects().cloned().collect();
        let ours = Ours {
            cluster: self.arguments.cluster_id.clone(),
            networks: pods
                .iter()
                .chain(&self.arguments.service_cidr)
                .copied()
                .collect(),
            nodes: underlay.all,
        };
        let (remotes, refusals) = remotes::judge(&endpoints, &ours);
        let view = View {
            node: self.node.clone(),
            gateway: Gateway::leading(endpoints.iter(), &self.arguments.cluster_id, uplink.mtu),
            pods: pods.clone(),
            uplink,
            cni,
            nodes: underlay.nodes,
        };
        let plan = node::plan(&view, &remotes);
        self.tell(words(&refusals, &plan.troubles));
        let network = Arc::new(plan.network.into_objects());
        set(&self.network, Some(network));
        let ruleset = if view.gateway.is_some() {
            plan.filter.ruleset()
        } else {
            Ruleset::new()
        };
        set(&self.ruleset, Some(ruleset));
    }

    fn tell(&mut self, words: Vec<String>) {
        let words: BTreeSet<String> = words.into_iter().collect();
        for word in words.difference(&self.said) {
            tracing::warn!("{word}");
        }
        self.said = words;
    }
}

fn words(refusals: &[Refusal], troubles: &[Trouble]) -> Vec<String> {
    let refusals = refusals.iter().map(ToString::to_string);
    refusals
        .chain(troubles.iter().map(ToString::to_string))
        .collect()
}
