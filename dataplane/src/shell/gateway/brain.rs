//! All that the gateway knows, and what follows from it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Node;
use subm_api::Whole;
use subm_api::names::GLOBAL_IP;
use subm_api::submariner::{Cluster, ClusterSpec, Endpoint, EndpointSpec, Gateway};
use subm_routing::Kernel;
use subm_tunnel::{Connection, ConnectionStatus, Local};
use tokio::sync::watch;
use tokio::time::Instant;

use super::cables::{Seen, Wanted, Wish};
use super::driver::Published;
use super::objects;
use super::pages::Shown;
use super::public_ip::Known;
use crate::gateway::cables::{Cables, Part, cables, told};
use crate::gateway::endpoint::{self, Here, NodeSettings};
use crate::gateway::public_ip::PublicIp;
use crate::gateway::status::{self, Freshness};
use crate::gateway::sync::{self, Place, Step};
use crate::gateway::{Settings, gateway_name};
use crate::node::{Cni, Gateway as Leader, Underlay, Uplink};
use crate::remotes::{self, Ours, Refusal, Seniority};
use crate::shell::publish::{Publisher, publish};
use crate::shell::server::Server;
use crate::shell::store::{Moment, Store};
use crate::shell::{epoch, facts, set};

/// Where decisions go.
pub(super) struct Outputs {
    pub(super) home: watch::Sender<Vec<Step>>,
    pub(super) broker: Option<watch::Sender<Vec<Step>>>,
    pub(super) sources: watch::Sender<Option<Vec<PublicIp>>>,
    pub(super) wish: watch::Sender<Wish>,
}

pub(super) struct Brain {
    settings: Settings,
    /// This gateway's name: its host's.
    host: String,
    /// The name of its Node object.
    node: String,
    air_gapped: bool,
    broker_namespace: Option<String>,
    driver: Published,
    /// Answers questions.
    kernel: Kernel,
    server: Arc<Server>,
    outputs: Outputs,
    shown: Arc<Shown>,
    pub(super) public_ip: watch::Receiver<Known>,
    pub(super) seen: watch::Receiver<Seen>,
    pub(super) endpoints: Store<Endpoint>,
    pub(super) clusters: Store<Cluster>,
    pub(super) gateways: Store<Gateway>,
    pub(super) nodes: Store<Whole<Node>>,
    pub(super) their_endpoints: Store<Endpoint>,
    pub(super) their_clusters: Store<Cluster>,
    leads: bool,
    cluster: ClusterSpec,
    /// Our Endpoint, or as much of it as is known.
    local: EndpointSpec,
    /// What does not work, as of the last plan.
    problems: Vec<String>,
    refusals: Vec<Refusal>,
    /// What was decided about cables, but for those that a driver is asked for.
    cables: Cables,
    freshness: Freshness,
    began: Instant,
    publisher: Publisher<Gateway>,
    /// When its write began.
    publishing: Moment,
    /// What people have been told, so that it is told once.
    said: BTreeSet<String>,
}

impl Brain {
    pub(super) fn new(
        gateway: &super::Gateway,
        driver: Published,
        kernel: Kernel,
        server: Server,
        outputs: Outputs,
        public_ip: watch::Receiver<Known>,
        seen: watch::Receiver<Seen>,
    ) -> Self {
        let (settings, host) = (gateway.settings.clone(), gateway.host.clone());
        let node = gateway.arguments.node_name.clone();
        Self {
            node: node.unwrap_or_else(|| host.clone()),
            air_gapped: gateway.arguments.air_gapped,
            broker_namespace: gateway
                .broker
                .as_ref()
                .map(|broker| broker.namespace.clone()),
            driver,
            kernel,
            server: Arc::new(server),
            outputs,
            shown: Arc::clone(&gateway.shown),
            public_ip,
            seen,
            endpoints: Store::new("Endpoints"),
            clusters: Store::new("Clusters"),
            gateways: Store::new("Gateways"),
            nodes: Store::new("Nodes"),
            their_endpoints: Store::new("Endpoints of the broker"),
            their_clusters: Store::new("Clusters of the broker"),
            leads: false,
            cluster: endpoint::cluster(&settings),
            local: endpoint::outline(&settings, &host),
            problems: Vec::new(),
            refusals: Vec::new(),
            cables: Cables::default(),
            freshness: Freshness::default(),
            began: Instant::now(),
            publisher: Publisher::new(),
            publishing: Moment::default(),
            said: BTreeSet::new(),
            settings,
            host,
        }
    }

    pub(super) fn lead(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// Decides anew about objects and cables.
    pub(super) async fn plan(&mut self) {
        let mut problems = Vec::new();
        let node = self.node_settings(&mut problems);
        self.look_for_address(&node);
        // As its route agent does, or the nodes would look for it elsewhere.
        let underlay = Underlay::of(self.nodes.objects().map(|Whole(node)| node));
        let pods = &self.settings.cluster_cidr;
        match facts::ask(&self.kernel, underlay.family, pods).await {
            Ok(facts) => {
                let (uplink, cni) = (facts.uplink, facts.cni);
                let local = Local {
                    private_ip: uplink.address,
                    port: node.tunnel_port(&self.settings),
                    mtu: uplink.mtu,
                    source: cni.as_ref().and_then(|cni| cni.address),
                    source6: cni.as_ref().and_then(|cni| cni.address6),
                };
                let known = self.describe(&node, &local, cni.as_ref(), &mut problems);
                self.sync(known, &mut problems);
                self.decide_cables(local, &uplink);
            }
            // Which family counts is not known before.
            Err(_) if !self.nodes.is_known() => {}
            Err(error) => {
                problems.push(format!("this node's network is left as it is: {error:#}"));
            }
        }
        self.tell(&problems);
        self.problems = problems;
    }

    fn node_settings(&self, problems: &mut Vec<String>) -> NodeSettings {
        let Some(Whole(node)) = self.nodes.get(&self.node) else {
            if self.nodes.is_known() {
                problems.push(format!(
                    "there is no Node {:?}, so its labels and annotations are not known; set NODE_NAME",
                    self.node
                ));
            }
            return NodeSettings::default();
        };
        let none = BTreeMap::new();
        let labels = node.metadata.labels.as_ref().unwrap_or(&none);
        let annotations = node.metadata.annotations.as_ref().unwrap_or(&none);
        let (settings, odd) = NodeSettings::read(labels, annotations);
        problems.extend(odd.iter().map(ToString::to_string));
        settings
    }

    /// Says where our public address is to be looked for, once that is known.
    fn look_for_address(&self, node: &NodeSettings) {
        if !self.nodes.is_known() {
            return;
        }
        let sources = node.lookups(&self.settings, self.air_gapped);
        set(&self.outputs.sources, Some(sources));
    }

    /// Makes our Endpoint, and tells whether it is whole.
    fn describe(
        &mut self,
        node: &NodeSettings,
        local: &Local,
        cni: Option<&Cni>,
        problems: &mut Vec<String>,
    ) -> bool {
        let public = self.public_ip.borrow().clone();
        let here = Here {
            node: self.host.clone(),
            private_ip: local.private_ip,
            public_ip: public.address,
            cni_ip: cni.and_then(Cni::first),
            global_ip: self.global_ip(),
            driver: self.driver.config(local),
            answers_discovery: false,
        };
        let (spec, odd) = endpoint::endpoint(&self.settings, node, &here);
        problems.extend(odd.iter().map(ToString::to_string));
        self.local = spec;
        self.nodes.is_known() && public.tried
    }

    /// What Globalnet gave this gateway.
    fn global_ip(&self) -> Option<IpAddr> {
        let gateway = self.gateways.get(&gateway_name(&self.host)?)?;
        let annotations = gateway.metadata.annotations.as_ref()?;
        annotations.get(GLOBAL_IP)?.parse().ok()
    }

    /// Own objects and copies. What is on neither list yet is not decided about.
    fn sync(&mut self, known: bool, problems: &mut Vec<String>) {
        let plan = if self.leads && self.endpoints.is_known() && self.clusters.is_known() {
            let home = objects(&self.settings.namespace, &self.endpoints, &self.clusters);
            let read = self.their_endpoints.is_known() && self.their_clusters.is_known();
            let broker = self.broker_namespace.as_ref().filter(|_| read);
            let broker =
                broker.map(|name| objects(name, &self.their_endpoints, &self.their_clusters));
            sync::plan(&sync::View {
                us: &self.settings.cluster,
                home: &home,
                broker: broker.as_ref(),
                cluster: &self.cluster,
                endpoint: known.then_some(&self.local),
                uninstalling: false,
            })
        } else {
            sync::Plan::default()
        };
        for refusal in &plan.refusals {
            // The rest is the other clusters' to mend.
            if matches!(refusal.why, sync::Why::NameTaken | sync::Why::NoName) {
                problems.push(refusal.to_string());
            }
        }
        set(&self.outputs.home, plan.at(Place::Home));
        if let Some(broker) = &self.outputs.broker {
            set(broker, plan.at(Place::Broker));
        }
        self.tell(&plan.refusals);
    }

    fn decide_cables(&mut self, local: Local, uplink: &Uplink) {
        let cluster = self.settings.cluster.as_str();
        let leader = Leader::leading(self.endpoints.objects(), cluster, uplink.mtu);
        let leading = leader.as_ref().map(|leader| leader.node.as_str());
        let wish = match Part::of(self.leads, &self.host, leading) {
            // Fewer cables than there were would be taken down.
            Part::Active if !self.is_read() => return,
            Part::Active => {
                let endpoints: Vec<Endpoint> = self.endpoints.objects().cloned().collect();
                let (seniority, ours) = (Seniority::of(self.clusters.objects()), self.ours(&local));
                let (remotes, refusals) = remotes::judge(&endpoints, &seniority, &ours);
                let mut cables = cables(&remotes, self.settings.driver);
                let wanted = Wanted {
                    local,
                    cables: std::mem::take(&mut cables.cables),
                    targets: std::mem::take(&mut cables.targets),
                };
                self.refusals = refusals;
                self.cables = cables;
                Wish::Keep(wanted)
            }
            Part::Replaced => Wish::LetGo,
            Part::Waiting => Wish::LeaveAlone,
        };
        set(&self.outputs.wish, wish);
        let refusals = self.refusals.clone();
        self.tell(&refusals);
    }

    /// Endpoints, Clusters and Nodes of this cluster.
    fn is_read(&self) -> bool {
        self.endpoints.is_known() && self.clusters.is_known() && self.nodes.is_known()
    }

    fn ours(&self, local: &Local) -> Ours {
        let settings = &self.settings;
        let networks = [
            &settings.cluster_cidr,
            &settings.service_cidr,
            &settings.global_cidr,
        ];
        let addresses = self.nodes.objects().filter_map(|Whole(node)| {
            let addresses = node.status.as_ref()?.addresses.as_ref()?;
            Some(
                addresses
                    .iter()
                    .filter_map(|address| address.address.parse().ok()),
            )
        });
        let mut nodes: BTreeSet<IpAddr> = addresses.flatten().collect();
        nodes.insert(local.private_ip);
        Ours {
            cluster: settings.cluster.to_string(),
            networks: networks.into_iter().flatten().copied().collect(),
            nodes,
        }
    }

    /// Writes our Gateway object if there is news, and shows the same to those who ask.
    pub(super) fn publish(&mut self) {
        let endpoints: Vec<Endpoint> = self.endpoints.objects().cloned().collect();
        let seen = self.seen.borrow().clone();
        let connections = [self.cables.impossible.clone(), seen.connections].concat();
        let clusters = &self.cables.clusters;
        let (cables, untold) = told(connections, clusters, &endpoints, &self.refusals);
        let broker = self.their_endpoints.is_heard() && self.their_clusters.is_heard();
        {
            let mut shown = self.shown.state();
            shown.home = self.is_read();
            shown.broker = broker;
            shown.leads = self.leads;
            shown.local.clone_from(&self.local);
            shown.cables(if self.leads {
                cables.clone()
            } else {
                Vec::new()
            });
        }
        if !self.gateways.is_known() || !self.publisher.is_free() {
            return;
        }
        let mut problems = self.problems.clone();
        if self.leads {
            let left_out = self.cables.left_out.clone();
            problems.extend(seen.troubles.into_iter().chain(untold).chain(left_out));
        }
        // It is needed where cables do not come about without it; what is known for certain comes first.
        let broken =
            |(_, cable): &(EndpointSpec, Connection)| cable.status != ConnectionStatus::Connected;
        if self.leads && cables.iter().any(broken) {
            problems.extend(self.public_ip.borrow().trouble.clone());
        }
        let wanted = status::status(&status::Known {
            active: self.leads,
            endpoint: &self.local,
            cables: &cables,
            problems: &problems,
            version: env!("CARGO_PKG_VERSION"),
        });
        let gateways: Vec<Gateway> = self.gateways.objects().cloned().collect();
        let epoch = epoch();
        let write = status::publish(
            &self.settings.namespace,
            &self.host,
            &wanted,
            &gateways,
            epoch,
        );
        let age = self.began.elapsed();
        let stale = self.freshness.look(&self.host, self.leads, &gateways, age);
        if write.is_none() && stale.is_empty() {
            return;
        }
        let server = Arc::clone(&self.server);
        self.publishing = self.gateways.moment();
        self.publisher
            .begin(async move { publish(&server, write, stale).await });
    }

    /// The end of a write, if one is under way.
    pub(super) async fn published(&mut self) -> Option<Option<Gateway>> {
        self.publisher.ended().await
    }

    pub(super) fn publish_ended(&mut self, written: Option<Gateway>) {
        if let Some(gateway) = written {
            self.shown.state().written += 1;
            self.gateways.written(gateway, self.publishing);
        }
    }

    fn tell(&mut self, words: &[impl ToString]) {
        for word in words {
            let word = word.to_string();
            if !self.said.contains(&word) {
                tracing::warn!("{word}");
                self.said.insert(word);
            }
        }
        // A hostile cluster could have us remember without end.
        if self.said.len() > 1000 {
            self.said.clear();
        }
    }
}
