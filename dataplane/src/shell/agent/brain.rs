//! All that the route agent knows, and what follows from it.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use subm_api::Whole;
use subm_api::submariner::{Cluster, Endpoint, RouteAgent};
use subm_nat::Ruleset;
use subm_reconcile::Status;
use subm_routing::{Kernel, Key, Object};
use subm_tunnel::health::{Healths, Monitor};
use tokio::sync::watch;

use super::Arguments;
use super::pages::Shown;
use crate::node::status::{self, Checks, Known, OfNode, Write};
use crate::node::{self, Gateway, Underlay, View};
use crate::remotes::{self, Ours, Refusal, Remote, Seniority};
use crate::shell::filter::Loaded;
use crate::shell::network::{self, Objects};
use crate::shell::publish::{Publisher, publish};
use crate::shell::server::Server;
use crate::shell::store::{Moment, Store};
use crate::shell::{epoch, facts, set, turn};

/// What is kept as desired, and how far it is.
pub(super) struct Kept {
    pub(super) network: watch::Sender<Option<Arc<Objects>>>,
    pub(super) status: watch::Receiver<Status<Key, Object>>,
    pub(super) ruleset: watch::Sender<Option<Ruleset>>,
    pub(super) loaded: watch::Receiver<Loaded>,
}

pub(super) struct Brain {
    arguments: Arguments,
    /// This node's name.
    node: String,
    /// Answers questions; another one is kept as desired.
    kernel: Kernel,
    server: Arc<Server>,
    pub(super) kept: Kept,
    /// Where paths are checked.
    monitor: Option<Monitor>,
    shown: Arc<Shown>,
    pub(super) endpoints: Store<Endpoint>,
    pub(super) clusters: Store<Cluster>,
    pub(super) nodes: Store<Whole<Node>>,
    /// This node's alone.
    pub(super) agents: Store<RouteAgent>,
    decided: Option<Decided>,
    publisher: Publisher<RouteAgent>,
    /// When its write began.
    publishing: Moment,
    /// What people have been told, so that it is told once.
    said: BTreeSet<String>,
}

/// The last plan.
struct Decided {
    network: Option<Arc<Objects>>,
    ruleset: Option<Ruleset>,
    endpoints: Vec<Endpoint>,
    remotes: Vec<Remote>,
    refusals: Vec<Refusal>,
    checks: Checks,
    /// What a person has to mend on this node.
    problems: Vec<String>,
}

impl Brain {
    pub(super) fn new(
        arguments: Arguments,
        node: String,
        kernel: Kernel,
        server: Server,
        kept: Kept,
        monitor: Option<Monitor>,
        shown: Arc<Shown>,
    ) -> Self {
        Self {
            arguments,
            node,
            kernel,
            server: Arc::new(server),
            kept,
            monitor,
            shown,
            endpoints: Store::new("Endpoints"),
            clusters: Store::new("Clusters"),
            nodes: Store::new("Nodes"),
            agents: Store::new("RouteAgents"),
            decided: None,
            publisher: Publisher::new(),
            publishing: Moment::default(),
            said: BTreeSet::new(),
        }
    }

    pub(super) fn namespace(&self) -> &str {
        &self.arguments.namespace
    }

    pub(super) fn server(&self) -> Arc<Server> {
        Arc::clone(&self.server)
    }

    /// Nothing is desired before all has been read: less than there was would be removed.
    pub(super) async fn plan(&mut self) {
        if !self.endpoints.is_known() || !self.clusters.is_settled() || !self.nodes.is_known() {
            return;
        }
        let underlay = Underlay::of(self.nodes.objects().map(|Whole(node)| node));
        let endpoints: Vec<Endpoint> = self.endpoints.objects().cloned().collect();
        let seniority = Seniority::of(self.clusters.objects());
        let (remotes, refusals) = remotes::judge(&endpoints, &seniority, &self.ours(&underlay));
        let mut decided = Decided {
            network: None,
            ruleset: None,
            endpoints,
            remotes,
            refusals,
            checks: Checks::Off,
            problems: underlay.troubles().collect(),
        };
        let pods = &self.arguments.cluster_cidr;
        match facts::ask(&self.kernel, underlay.family, pods).await {
            Ok(facts) => {
                let cluster = &self.arguments.cluster_id;
                let endpoints = decided.endpoints.iter();
                let view = View {
                    node: self.node.clone(),
                    addresses: facts.addresses,
                    gateway: Gateway::leading(endpoints, cluster, facts.uplink.mtu),
                    pods: pods.clone(),
                    uplink: facts.uplink,
                    cni: facts.cni,
                    nodes: underlay.nodes,
                };
                self.decide(&view, &mut decided);
            }
            Err(error) => {
                let problem = format!("this node is left as it is: {error:#}");
                if self.monitor.is_some() {
                    decided.checks = Checks::NoWay(problem.clone());
                }
                decided.problems.push(problem);
            }
        }
        if self.of_node().is_none() {
            decided.problems.push(format!(
                "there is no Node {:?}, so no RouteAgent is written for it; set NODE_NAME",
                self.node
            ));
        }
        self.tell(&decided);
        self.decided = Some(decided);
    }

    fn decide(&self, view: &View, decided: &mut Decided) {
        let plan = node::plan(view, &decided.remotes);
        let troubles = plan.troubles.iter().map(ToString::to_string);
        decided.problems.extend(troubles);
        decided.network = Some(network::desire(&self.kept.network, plan.network));
        let ruleset = if view.gateway.is_some() {
            plan.filter.ruleset()
        } else {
            Ruleset::new()
        };
        set(&self.kept.ruleset, Some(ruleset.clone()));
        decided.ruleset = Some(ruleset);
        decided.checks = Checks::of(view, self.monitor.is_some());
    }

    fn ours(&self, underlay: &Underlay) -> Ours {
        let Arguments {
            cluster_cidr,
            service_cidr,
            ..
        } = &self.arguments;
        Ours {
            cluster: self.arguments.cluster_id.clone(),
            networks: cluster_cidr.iter().chain(service_cidr).copied().collect(),
            nodes: underlay.all.clone(),
        }
    }

    fn of_node(&self) -> Option<OfNode<'_>> {
        let uid = self.nodes.get(&self.node)?.0.metadata.uid.as_deref()?;
        let name = &self.node;
        Some(OfNode { name, uid })
    }

    /// Writes our RouteAgent object if there is news, and shows the same to those who ask.
    pub(super) fn publish(&mut self) {
        let Some(decided) = &self.decided else {
            return;
        };
        let (status, loaded) = (self.kept.status.borrow(), self.kept.loaded.borrow());
        let network = decided.network.as_ref();
        let network = network.is_some_and(|wanted| network::is_tried(&status, wanted));
        let filter = decided.ruleset.is_some() && decided.ruleset == loaded.ruleset;
        let mut problems = decided.problems.clone();
        let broken = network::trouble(&status);
        problems.extend(broken.iter().map(|trouble| format!("network: {trouble}")));
        problems.extend(loaded.trouble.clone());
        let in_order = (
            network && broken.is_none(),
            filter && loaded.trouble.is_none(),
        );
        drop((status, loaded));
        let targets = decided.checks.targets(&decided.remotes);
        if let Some(monitor) = &self.monitor
            // An echo that went another way would be remembered by the kernel, and those that follow would go that way, too.
            && (targets.is_empty() || network && filter)
        {
            monitor.set_targets(targets);
        }
        let healths = match &self.monitor {
            Some(monitor) => monitor.healths(),
            None => Healths::default(),
        };
        let rows = status::rows(&Known {
            checks: &decided.checks,
            endpoints: &decided.endpoints,
            remotes: &decided.remotes,
            refusals: &decided.refusals,
            healths: &healths,
        });
        let wanted = status::status(&rows, &problems, env!("CARGO_PKG_VERSION"));
        {
            let mut shown = self.shown.state();
            shown.home = true;
            (shown.network, shown.filter) = in_order;
            shown.rows = rows;
        }
        if !self.agents.is_known() || !self.publisher.is_free() {
            return;
        }
        let observed = self.agents.get(&self.node);
        let namespace = &self.arguments.namespace;
        let write = status::publish(namespace, self.of_node(), &wanted, observed, epoch());
        let (agent, stale) = match write {
            None => return,
            Some(Write::Put(agent)) => (Some(*agent), Vec::new()),
            Some(Write::Delete(stale)) => (None, vec![stale]),
        };
        let server = Arc::clone(&self.server);
        self.publishing = self.agents.moment();
        self.publisher
            .begin(async move { publish(&server, agent, stale).await });
    }

    /// Waits until something may have to be published: a path became another, or a write ended.
    pub(super) async fn news(&mut self) {
        let (monitor, publisher) = (&mut self.monitor, &mut self.publisher);
        tokio::select! {
            () = turn(monitor) => {}
            Some(written) = publisher.ended() => if let Some(agent) = written {
                self.shown.state().written += 1;
                self.agents.written(agent, self.publishing);
            },
        }
    }

    fn tell(&mut self, decided: &Decided) {
        let refusals = decided.refusals.iter().map(ToString::to_string);
        let words: BTreeSet<String> = refusals.chain(decided.problems.iter().cloned()).collect();
        for word in words.difference(&self.said) {
            tracing::warn!("{word}");
        }
        self.said = words;
    }
}
