//! A cluster set in memory: API servers that hold objects, and agents that see them and write through plans. What a real
//! agent's shell does with sockets, in any order that a test likes.

#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod build;
pub(crate) mod server;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;
use subm_lighthouse_agent::core::diff::Write;
use subm_lighthouse_agent::core::world::Source;
use subm_lighthouse_agent::core::{
    ObjectKind, Place, Plan, Pool, ServiceKey, Settings, World, diff, plan,
};

pub(crate) use server::{Fault, Server};

pub(crate) const OPERATOR: &str = "submariner-operator";
pub(crate) const BROKER: &str = "submariner-k8s-broker";

/// Settings of a cluster, as they are if nobody chooses.
pub(crate) fn settings(cluster: &str) -> Settings {
    Settings::new(cluster, OPERATOR, BROKER)
}

/// One cluster and its agent.
pub(crate) struct Cluster {
    pub(crate) server: Server,
    pub(crate) agent: Agent,
}

pub(crate) struct Agent {
    pub(crate) world: World,
    pub(crate) pool: Pool,
    /// How far each server's history was read, by source.
    read: BTreeMap<Source, usize>,
    /// What the last attempt for a service failed with.
    trouble: BTreeMap<ServiceKey, String>,
    pub(crate) writes: usize,
    /// Members whose Lease it has seen.
    heard: BTreeSet<String>,
}

impl Agent {
    pub(crate) fn new(settings: Settings) -> Self {
        let range = match &settings.cluster_set_ips.from {
            subm_lighthouse_agent::core::settings::IpSource::Pool(range) => *range,
            subm_lighthouse_agent::core::settings::IpSource::DerivedService => None,
        };
        Self {
            world: World::new(settings),
            pool: Pool::new(range),
            read: BTreeMap::new(),
            trouble: BTreeMap::new(),
            writes: 0,
            heard: BTreeSet::new(),
        }
    }
}

/// Several clusters and a broker.
pub(crate) struct ClusterSet {
    pub(crate) broker: Server,
    pub(crate) clusters: BTreeMap<String, Cluster>,
    pub(crate) now: Timestamp,
}

const SOURCES: [(Place, Source, &str); 10] = [
    (Place::Home, Source::Exports, "ServiceExport"),
    (Place::Home, Source::Services, "Service"),
    (Place::Home, Source::Slices, "EndpointSlice"),
    (Place::Home, Source::Imports, "ServiceImport"),
    (Place::Home, Source::Namespaces, "Namespace"),
    (Place::Home, Source::GlobalIps, "GlobalIngressIP"),
    (Place::Home, Source::Nodes, "Node"),
    (Place::Broker, Source::BrokerImports, "ServiceImport"),
    (Place::Broker, Source::BrokerSlices, "EndpointSlice"),
    (Place::Broker, Source::BrokerClusters, "Cluster"),
];

impl ClusterSet {
    pub(crate) fn new(clusters: impl IntoIterator<Item = Settings>) -> Self {
        let mut set = Self {
            broker: Server::default(),
            clusters: BTreeMap::new(),
            now: Timestamp::from_second(1_795_466_900).expect("in range"),
        };
        set.broker.put(build::namespace(BROKER));
        for settings in clusters {
            let mut server = Server::default();
            server.put(build::namespace(OPERATOR));
            server.put(build::namespace(build::NS));
            let name = settings.cluster.clone();
            let agent = Agent::new(settings);
            set.clusters.insert(name, Cluster { server, agent });
        }
        set
    }

    /// `n` clusters `c1`, `c2` … with default settings.
    pub(crate) fn of(n: usize) -> Self {
        Self::new((1..=n).map(|i| settings(&format!("c{i}"))))
    }

    pub(crate) fn server(&mut self, cluster: &str) -> &mut Server {
        &mut self
            .clusters
            .get_mut(cluster)
            .expect("a cluster of this name")
            .server
    }

    pub(crate) fn agent(&mut self, cluster: &str) -> &mut Agent {
        &mut self
            .clusters
            .get_mut(cluster)
            .expect("a cluster of this name")
            .agent
    }

    /// The agent forgets everything.
    pub(crate) fn restart(&mut self, cluster: &str) {
        let settings = self.agent(cluster).world.settings.clone();
        *self.agent(cluster) = Agent::new(settings);
    }

    /// Lets a cluster's agent read what is new at one source; a first reading is a list.
    pub(crate) fn read(&mut self, cluster: &str, source: Source) {
        let (place, _, kind) = *SOURCES
            .iter()
            .find(|(_, other, _)| *other == source)
            .expect("a source");
        let cluster = self.clusters.get_mut(cluster).expect("a cluster");
        let server = match place {
            Place::Home => &cluster.server,
            Place::Broker => &self.broker,
        };
        if server.fault == Some(Fault::Down) {
            return;
        }
        let agent = &mut cluster.agent;
        let from = agent.read.insert(source, server.history.len());
        match from {
            None => {
                agent.world.started(source);
                for object in server.all(kind) {
                    apply(&mut agent.world, source, object);
                }
                agent.world.listed(source);
            }
            Some(from) => {
                for event in server.history[from..]
                    .iter()
                    .filter(|event| event.kind == kind)
                {
                    match &event.object {
                        Some(object) => apply(&mut agent.world, source, object),
                        None => agent.world.gone(source, &event.namespace, &event.name),
                    }
                }
            }
        }
    }

    /// A cluster is switched off: what it wrote on the broker stays.
    pub(crate) fn end(&mut self, cluster: &str) {
        self.clusters.remove(cluster);
    }

    /// Each member has a Lease.
    fn hear(&mut self, cluster: &str) {
        let (members, now) = (self.clusters.keys().cloned().collect::<Vec<_>>(), self.now);
        let agent = self.agent(cluster);
        for member in members {
            if agent.heard.insert(member.clone())
                && agent.world.clusters.heard(&member, "once", now)
            {
                agent.world.mark_cluster(&member);
            }
        }
    }

    pub(crate) fn read_all(&mut self, cluster: &str) {
        self.hear(cluster);
        for (_, source, _) in SOURCES {
            self.read(cluster, source);
        }
    }

    pub(crate) fn plan(&mut self, cluster: &str, key: &ServiceKey) -> Plan {
        let now = self.now;
        let agent = self.agent(cluster);
        plan(
            &agent.world,
            &mut agent.pool,
            key,
            now,
            agent.trouble.get(key).map(String::as_str),
        )
    }

    /// Plans one service in one cluster and writes what is due. Tells whether anything was.
    pub(crate) fn act(&mut self, cluster: &str, key: &ServiceKey) -> bool {
        let writes = diff(&self.plan(cluster, key));
        let any = !writes.is_empty();
        let mut failed = None;
        for write in &writes {
            if let Err(error) = self.write(cluster, write) {
                failed = Some(error);
            }
        }
        let agent = self.agent(cluster);
        match failed {
            Some(error) => {
                agent.trouble.insert(key.clone(), error);
                agent.world.mark_all();
            }
            None => drop(agent.trouble.remove(key)),
        }
        any
    }

    pub(crate) fn write(&mut self, cluster: &str, write: &Write) -> Result<(), String> {
        let cluster = self.clusters.get_mut(cluster).expect("a cluster");
        cluster.agent.writes += 1;
        let server = match write.id.place {
            Place::Home => &mut cluster.server,
            Place::Broker => &mut self.broker,
        };
        server.write(write)
    }

    /// Runs all agents until nobody has anything to write. Fails where they never come to rest.
    pub(crate) fn settle(&mut self) {
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        for _ in 0..60 {
            let mut busy = false;
            for name in &names {
                self.read_all(name);
                for key in self.agent(name).world.take_dirty() {
                    busy |= self.act(name, &key);
                }
            }
            if !busy {
                return;
            }
        }
        panic!("the agents go on writing");
    }

    /// All that should be written if every service was looked at again: nothing, in a settled set.
    pub(crate) fn left_to_do(&mut self) -> Vec<Write> {
        let names: Vec<String> = self.clusters.keys().cloned().collect();
        let mut writes = Vec::new();
        for name in names {
            self.read_all(&name);
            let agent = self.agent(&name);
            agent.world.mark_all();
            for key in agent.world.take_dirty() {
                writes.extend(diff(&self.plan(&name, &key)));
            }
        }
        writes
    }

    /// A condition of an export: status, reason, message.
    pub(crate) fn condition(
        &mut self,
        cluster: &str,
        export: &str,
        r#type: &str,
    ) -> Option<(String, String, String)> {
        let export = self
            .server(cluster)
            .get("ServiceExport", build::NS, export)?;
        let conditions = export["status"]["conditions"].as_array()?;
        let condition = conditions
            .iter()
            .find(|condition| condition["type"] == r#type)?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Some((text("status"), text("reason"), text("message")))
    }
}

fn apply(world: &mut World, source: Source, object: &Value) {
    fn read<T: serde::de::DeserializeOwned>(object: &Value) -> T {
        serde_json::from_value(object.clone()).expect("an object of its kind")
    }
    match source {
        Source::Exports => world.export(&read(object)),
        Source::Services => world.service_of_kubernetes(&read(object)),
        Source::Slices => world.slice(&read(object)),
        Source::Imports => world.import(&read(object)),
        Source::Namespaces => world.namespace(&read(object)),
        Source::GlobalIps => world.global_ip(&read(object)),
        Source::BrokerImports => world.broker_import(&read(object)),
        Source::BrokerSlices => world.broker_slice(&read(object)),
        Source::Nodes => world.node(&read(object)),
        Source::BrokerClusters => world.cluster(&read(object)),
        Source::BrokerLeases => {}
    }
}

pub(crate) fn kind_name(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::ServiceExport => "ServiceExport",
        ObjectKind::ServiceImport => "ServiceImport",
        ObjectKind::EndpointSlice => "EndpointSlice",
        ObjectKind::Service => "Service",
    }
}
