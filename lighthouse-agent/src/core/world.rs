//! Everything that is known, by service. Objects come in any order; which services have to be planned anew comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::ObjectMeta;
use serde::Serialize;
use subm_api::{Cluster, GlobalIngressIP, Namespace, ServiceExport, ServiceImport, names};

use super::clusters::{self, Declared};
use super::global_ips::GlobalIps;
use super::names::{aggregate, aggregate_hashed, cluster_of_lease};
use super::objects::Place;
use super::packed::PackedView;
use super::view::{ServiceView, Slot};
use super::{Clusters, ServiceKey, Settings};

/// Namespace and name of the Service that stands for this cluster's API servers.
const API_SERVER: (&str, &str) = ("default", "kubernetes");

/// A stream of objects of one kind from one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    Exports,
    Services,
    Slices,
    Imports,
    Namespaces,
    Nodes,
    GlobalIps,
    BrokerImports,
    BrokerSlices,
    BrokerClusters,
    BrokerLeases,
}

impl Source {
    /// Whose objects it tells of.
    pub fn place(self) -> Place {
        match self {
            Self::BrokerImports
            | Self::BrokerSlices
            | Self::BrokerClusters
            | Self::BrokerLeases => Place::Broker,
            _ => Place::Home,
        }
    }

    /// Without all of these nothing about this cluster is certain.
    const HOME: [Self; 6] = [
        Self::Exports,
        Self::Services,
        Self::Slices,
        Self::Imports,
        Self::Namespaces,
        Self::Nodes,
    ];
    /// Without these nothing about the others is: what they declare is what their addresses are held to.
    const BROKER: [Self; 3] = [
        Self::BrokerImports,
        Self::BrokerSlices,
        Self::BrokerClusters,
    ];
}

/// The whole view. See the [module](self).
#[derive(Debug)]
pub struct World {
    pub settings: Settings,
    pub clusters: Clusters,
    services: BTreeMap<ServiceKey, PackedView>,
    /// Those that exist and are not on their way out.
    namespaces: HashSet<String>,
    global_ips: GlobalIps,
    /// Uid of kube-system: which cluster this is.
    uid: Option<String>,
    /// Which cluster has this one's id, as its Cluster object on the broker says.
    id_is_of: Option<String>,
    /// Where the objects of each source went, and in which list they were last seen.
    placed: HashMap<Source, HashMap<ObjectName, Placed>>,
    lists: HashMap<Source, u64>,
    listed: HashSet<Source>,
    dirty: BTreeSet<ServiceKey>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct ObjectName {
    namespace: String,
    name: String,
}

impl ObjectName {
    fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

#[derive(Clone, Debug)]
struct Placed {
    /// `None`: it is nothing of ours.
    at: Option<(ServiceKey, Slot)>,
    version: Option<u64>,
    list: u64,
}

impl World {
    pub fn new(settings: Settings) -> Self {
        Self {
            clusters: Clusters::of(&settings),
            settings,
            services: BTreeMap::new(),
            namespaces: HashSet::new(),
            global_ips: GlobalIps::default(),
            uid: None,
            id_is_of: None,
            placed: HashMap::new(),
            lists: HashMap::new(),
            listed: HashSet::new(),
            dirty: BTreeSet::new(),
        }
    }

    pub fn service(&self, key: &ServiceKey) -> Option<ServiceView> {
        self.services.get(key).map(PackedView::unpack)
    }

    /// All services; each is put together when it is asked for.
    pub fn services(&self) -> impl Iterator<Item = (&ServiceKey, ServiceView)> {
        self.services.iter().map(|(key, view)| (key, view.unpack()))
    }

    /// How many services have an object of this kind.
    pub fn count(&self, slot: Slot) -> usize {
        self.services.values().filter(|view| view.has(slot)).count()
    }

    pub fn has_namespace(&self, namespace: &str) -> bool {
        self.namespaces.contains(namespace)
    }

    pub fn global_ips(&self) -> &GlobalIps {
        &self.global_ips
    }

    /// Whether all of this cluster has been read once.
    pub fn knows_home(&self) -> bool {
        let globalnet = !self.settings.globalnet || self.listed.contains(&Source::GlobalIps);
        globalnet
            && Source::HOME
                .iter()
                .all(|source| self.listed.contains(source))
    }

    /// Whether all of the broker has been read once. Until then the imports that are here stay as they are.
    pub fn knows_broker(&self) -> bool {
        Source::BROKER
            .iter()
            .all(|source| self.listed.contains(source))
    }

    /// Whether the id is another cluster's: two agents that take each other's objects for their own would delete and make them for
    /// ever.
    pub fn id_is_anothers(&self) -> bool {
        let (Some(uid), Some(of)) = (&self.uid, &self.id_is_of) else {
            return false;
        };
        uid != of
    }

    /// Services to plan anew, since the last call.
    pub fn take_dirty(&mut self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.dirty)
    }

    pub fn mark_all(&mut self) {
        self.dirty.extend(self.services.keys().cloned());
    }

    /// Those that a cluster exports, or exported to us.
    pub fn mark_cluster(&mut self, cluster: &str) {
        let named = self.services.iter();
        let named = named.filter(|(_, view)| view.mentions(cluster));
        self.dirty.extend(named.map(|(key, _)| key.clone()));
    }

    /// Whether another service, or somebody else's object, has a name.
    pub fn is_taken(&self, source: Source, namespace: &str, name: &str, key: &ServiceKey) -> bool {
        let name = ObjectName::new(namespace, name);
        let placed = self
            .placed
            .get(&source)
            .and_then(|placed| placed.get(&name));
        placed.is_some_and(|placed| placed.at.as_ref().is_none_or(|(holder, _)| holder != key))
    }

    /// An object is there but cannot be read: what is known of it stays.
    pub fn unreadable(&mut self, source: Source, namespace: &str, name: &str) {
        let object = ObjectName::new(namespace, name);
        let list = self.lists.get(&source).copied().unwrap_or_default();
        let placed = self.placed.entry(source).or_default();
        if let Some(placed) = placed.get_mut(&object) {
            placed.list = list;
        }
    }

    /// A list of all objects of a source begins.
    pub fn started(&mut self, source: Source) {
        *self.lists.entry(source).or_default() += 1;
    }

    /// It is complete: what it did not name is gone.
    pub fn listed(&mut self, source: Source) {
        let list = self.lists.get(&source).copied().unwrap_or_default();
        let placed = self.placed.entry(source).or_default();
        let gone: Vec<_> = placed
            .iter()
            .filter(|(_, placed)| placed.list != list)
            .map(|(name, _)| name.clone())
            .collect();
        for name in gone {
            self.gone(source, &name.namespace, &name.name);
        }
        if self.listed.insert(source) {
            self.mark_all();
        }
    }

    /// An object is gone.
    pub fn gone(&mut self, source: Source, namespace: &str, name: &str) {
        let object = ObjectName::new(namespace, name);
        let placed = self
            .placed
            .get_mut(&source)
            .and_then(|placed| placed.remove(&object));
        match placed.map(|placed| placed.at) {
            Some(Some((key, slot))) => self.remove(key, slot, name),
            // Somebody else's import may have been in the way of ours.
            Some(None) if source == Source::Imports => {
                let key = ServiceKey::new(namespace, name);
                self.dirty
                    .extend(key.filter(|key| self.services.contains_key(key)));
            }
            _ => {}
        }
        self.forget(source, namespace, name);
    }

    /// What is known by an object beside services.
    fn forget(&mut self, source: Source, namespace: &str, name: &str) {
        let known = match source {
            Source::Namespaces => self.namespaces.remove(name),
            Source::GlobalIps => self.global_ips.remove(namespace, name),
            Source::Nodes => self.clusters.nodes.remove(name).is_some(),
            Source::Slices => {
                namespace == API_SERVER.0 && self.clusters.api_servers.remove(name).is_some()
            }
            // A Cluster object has the cluster's id as its name.
            Source::BrokerClusters => {
                if name == self.settings.cluster {
                    self.claimed_by(None);
                }
                return self.declare(name, None);
            }
            Source::BrokerLeases => return self.left(name),
            _ => false,
        };
        match source {
            _ if !known => {}
            Source::Namespaces => self.mark_namespace(name),
            Source::GlobalIps => self.mark_namespace(namespace),
            _ => self.mark_all(),
        }
    }

    /// Which cluster has our id. When that changes, all that was left undone is due.
    fn claimed_by(&mut self, uid: Option<&str>) {
        if self.id_is_of.as_deref() != uid {
            self.id_is_of = uid.map(str::to_owned);
            self.mark_all();
        }
    }

    fn left(&mut self, lease: &str) {
        if let Some(cluster) = cluster_of_lease(lease)
            && self.clusters.left(cluster)
        {
            self.mark_cluster(cluster);
        }
    }

    fn declare(&mut self, cluster: &str, declared: Option<Declared>) {
        if !self.clusters.declare(cluster, declared) {
            return;
        }
        if cluster == self.settings.cluster {
            // Whoever's address lies in our own networks is not believed.
            self.mark_all();
        } else {
            self.mark_cluster(cluster);
        }
    }

    pub fn export(&mut self, export: &ServiceExport) {
        let at = key_of(&export.metadata).map(|key| (key, Slot::Export));
        self.place(Source::Exports, &export.metadata, at, export);
    }

    pub fn service_of_kubernetes(&mut self, service: &Service) {
        let metadata = &service.metadata;
        let derived = label(metadata, names::DERIVED_FROM)
            .and_then(|name| ServiceKey::new(metadata.namespace.as_deref()?, name));
        let at = match derived {
            Some(key) => Some((key, Slot::Derived)),
            None => key_of(metadata).map(|key| (key, Slot::Service)),
        };
        self.place(Source::Services, metadata, at, service);
    }

    /// A slice of this cluster: Kubernetes' own, or one of ours.
    pub fn slice(&mut self, slice: &EndpointSlice) {
        let at = place_of_slice(&slice.metadata);
        let metadata = &slice.metadata;
        let service = label(metadata, names::LOCAL_SERVICE_NAME).unwrap_or_default();
        if (metadata.namespace.as_deref(), service) == (Some(API_SERVER.0), API_SERVER.1) {
            let name = metadata.name.clone().unwrap_or_default();
            let addresses = clusters::addresses_in(slice);
            if self.clusters.api_servers.insert(name, addresses.clone()) != Some(addresses) {
                self.mark_all();
            }
        }
        self.place(Source::Slices, metadata, at, slice);
    }

    /// An import of this cluster.
    pub fn import(&mut self, import: &ServiceImport) {
        let at = self.place_of_import(&import.metadata);
        self.place(Source::Imports, &import.metadata, at, import);
    }

    pub fn broker_import(&mut self, import: &ServiceImport) {
        let metadata = &import.metadata;
        let object = metadata.name.as_deref().unwrap_or_default();
        let at = match annotation(metadata, names::SERVICE_NAME) {
            // Under another name it is nothing that an exporter made.
            Some(name) => annotation(metadata, names::SOURCE_NAMESPACE)
                .and_then(|namespace| ServiceKey::new(namespace, name))
                .filter(|key| aggregate(key) == object || aggregate_hashed(key) == object)
                .map(|key| (key, Slot::Aggregate)),
            None => label(metadata, names::SOURCE_CLUSTER)
                .and_then(|_| key_of_labels(metadata))
                .map(|key| (key, Slot::Record)),
        };
        self.place(Source::BrokerImports, metadata, at, import);
    }

    pub fn broker_slice(&mut self, slice: &EndpointSlice) {
        let ours = label(&slice.metadata, names::MANAGED_BY) == Some(names::LIGHTHOUSE_AGENT);
        let at = key_of_labels(&slice.metadata)
            .filter(|_| ours)
            .map(|key| (key, Slot::BrokerSlice));
        self.place(Source::BrokerSlices, &slice.metadata, at, slice);
    }

    pub fn namespace(&mut self, namespace: &Namespace) {
        self.place(Source::Namespaces, &namespace.metadata, None, namespace);
        let name = namespace.metadata.name.as_deref().unwrap_or_default();
        if name == "kube-system" {
            self.uid.clone_from(&namespace.metadata.uid);
        }
        if namespace.metadata.deletion_timestamp.is_some() {
            self.forget(Source::Namespaces, "", name);
        } else if self.namespaces.insert(name.to_owned()) {
            self.mark_namespace(name);
        }
    }

    pub fn node(&mut self, node: &Node) {
        self.place(Source::Nodes, &node.metadata, None, node);
        let name = node.metadata.name.clone().unwrap_or_default();
        let addresses = clusters::addresses_of(node);
        if self.clusters.nodes.insert(name, addresses.clone()) != Some(addresses) {
            self.mark_all();
        }
    }

    /// What a cluster declares on the broker.
    pub fn cluster(&mut self, cluster: &Cluster) {
        self.place(Source::BrokerClusters, &cluster.metadata, None, cluster);
        if cluster.spec.cluster_id == self.settings.cluster {
            self.claimed_by(annotation(&cluster.metadata, names::CLUSTER_UID));
        }
        self.declare(&cluster.spec.cluster_id, Declared::of(&cluster.spec));
    }

    /// A cluster's sign of life on the broker.
    pub fn lease(&mut self, lease: &Lease, now: Timestamp) {
        self.place(Source::BrokerLeases, &lease.metadata, None, lease);
        let name = lease.metadata.name.as_deref().unwrap_or_default();
        let Some(cluster) = cluster_of_lease(name) else {
            return;
        };
        let renewed = lease
            .spec
            .as_ref()
            .and_then(|spec| spec.renew_time.as_ref());
        let renewed = renewed.map_or_else(String::new, |time| time.0.to_string());
        if self.clusters.heard(cluster, &renewed, now) {
            self.mark_cluster(cluster);
        }
    }

    pub fn global_ip(&mut self, ip: &GlobalIngressIP) {
        let namespace = ip.metadata.namespace.clone().unwrap_or_default();
        self.place(Source::GlobalIps, &ip.metadata, None, ip);
        if self.global_ips.insert(ip) {
            self.mark_namespace(&namespace);
        }
    }

    fn mark_namespace(&mut self, namespace: &str) {
        let keys = self
            .services
            .keys()
            .filter(|key| key.namespace == namespace);
        self.dirty.extend(keys.cloned());
    }

    fn remove(&mut self, key: ServiceKey, slot: Slot, name: &str) {
        if let Some(view) = self.services.get_mut(&key) {
            view.remove(slot, name);
            if view.is_empty() {
                self.services.remove(&key);
            }
        }
        self.dirty.insert(key);
    }

    /// Puts an object where it belongs, and takes it from where it was. What is older than what is there is left out: the
    /// answer to a write may come before the watch tells of an earlier one.
    fn place<T: Serialize>(
        &mut self,
        source: Source,
        metadata: &ObjectMeta,
        at: Option<(ServiceKey, Slot)>,
        contents: &T,
    ) {
        let object = ObjectName::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        );
        let version = metadata
            .resource_version
            .as_deref()
            .and_then(|version| version.parse().ok());
        let list = self.lists.get(&source).copied().unwrap_or_default();
        let placed = self.placed.entry(source).or_default();
        let new = Placed {
            at: at.clone(),
            version,
            list,
        };
        let old = placed.get_mut(&object);
        if let Some(old) = old {
            // A new list is the truth even where versions went back: a broker may be restored from a backup.
            let same_list = std::mem::replace(&mut old.list, list) == list;
            if same_list && old.version.is_some() && version.is_some() && version < old.version {
                return;
            }
            let unchanged = version.is_some() && version == old.version;
            let before = std::mem::replace(old, new).at;
            if unchanged && before == at {
                return;
            }
            if before != at
                && let Some((key, slot)) = before
            {
                self.remove(key, slot, &object.name);
            }
        } else {
            placed.insert(object, new);
        }
        if let Some((key, slot)) = at {
            let name = metadata.name.as_deref().unwrap_or_default();
            let view = self.services.entry(key.clone()).or_default();
            view.put(slot, name, contents);
            self.dirty.insert(key);
        }
    }

    fn place_of_import(&self, metadata: &ObjectMeta) -> Option<(ServiceKey, Slot)> {
        // The broker may be this very cluster; its objects are not ours to show.
        if annotation(metadata, names::SERVICE_NAME).is_some()
            || label(metadata, names::LEGACY_SOURCE_NAME).is_some()
        {
            return None;
        }
        if label(metadata, names::SOURCE_CLUSTER).is_some() {
            let here = metadata.namespace.as_deref() == Some(&self.settings.namespace);
            return key_of_labels(metadata)
                .filter(|_| here)
                .map(|key| (key, Slot::PerCluster));
        }
        // Other controllers of the MCS API, and people, may keep imports too.
        key_of(metadata)
            .filter(|_| is_lighthouses(metadata))
            .map(|key| (key, Slot::Import))
    }
}

fn is_lighthouses(metadata: &ObjectMeta) -> bool {
    let mut annotations = metadata.annotations.iter().flatten();
    annotations.any(|(key, _)| names::marks_lighthouses_import(key))
}

/// Whether an aggregated import names a cluster among its exporters.
pub fn lists(aggregate: &ServiceImport, cluster: &str) -> bool {
    aggregate
        .status
        .iter()
        .flat_map(|status| status.clusters.iter())
        .any(|member| member.cluster == cluster)
}

fn place_of_slice(metadata: &ObjectMeta) -> Option<(ServiceKey, Slot)> {
    let namespace = metadata.namespace.as_deref()?;
    if let Some(service) = label(metadata, names::DERIVED_FROM) {
        return ServiceKey::new(namespace, service).map(|key| (key, Slot::DerivedSlice));
    }
    if label(metadata, names::MANAGED_BY) == Some(names::LIGHTHOUSE_AGENT) {
        // In another namespace it is the broker's.
        return key_of_labels(metadata)
            .filter(|key| key.namespace == namespace)
            .map(|key| (key, Slot::Slice));
    }
    let service = label(metadata, names::LOCAL_SERVICE_NAME)?;
    ServiceKey::new(namespace, service).map(|key| (key, Slot::Backend))
}

fn key_of(metadata: &ObjectMeta) -> Option<ServiceKey> {
    ServiceKey::new(metadata.namespace.as_deref()?, metadata.name.as_deref()?)
}

fn key_of_labels(metadata: &ObjectMeta) -> Option<ServiceKey> {
    ServiceKey::new(
        label(metadata, names::SOURCE_NAMESPACE)?,
        label(metadata, names::SERVICE_NAME)?,
    )
}

pub(super) fn label<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

/// Whether a cluster wrote it, as its label says.
pub(super) fn is_from(metadata: &ObjectMeta, cluster: &str) -> bool {
    label(metadata, names::SOURCE_CLUSTER) == Some(cluster)
}

pub(super) fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}
