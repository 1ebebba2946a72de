//! The index of all facts: a synchronous state machine that turns changes into the next snapshot.
//!
//! Order of events does not matter: what [`Catalog::publish`] gives is a function of the facts that are
//! known, whatever way they came.

mod clusters;

use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::build::{ServiceFacts, Surroundings, build};
use crate::facts::{ClusterId, Fact, Gateway, ObjectKey, Problem, ServiceKey, SliceForm};
use crate::name::{Label, push_label};
use crate::serial;
use crate::snapshot::{Service, Snapshot, owner_of};
use crate::status::{ClusterIndex, ClusterStatus};

use clusters::Clusters;

/// Catalogs number services and clusters each on their own.
static NEXT_EPOCH: AtomicU32 = AtomicU32::new(1);

/// Most counts per ledger: places are never given to another service, so names that come and go without end must not
/// take memory without end.
const MAX_HITS: usize = 1 << 21;

/// What the catalog needs from configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Overrides what ClusterProperty and Gateways say.
    pub cluster_id: Option<ClusterId>,
    /// Length in octets of the longest zone name that is served; names that would not fit are left out.
    pub longest_zone: usize,
}

/// What [`Catalog::publish`] gives.
#[derive(Clone, Debug)]
pub struct Published {
    pub snapshot: Arc<Snapshot>,
    pub status: Arc<ClusterStatus>,
    /// Problems that are new since the last publication.
    pub new_problems: Vec<Problem>,
    /// When the slices that this publication brought to answers changed at their origin; nanoseconds
    /// since the epoch, each slice once.
    pub triggered_at: Vec<u64>,
}

/// Holds all facts and the latest publication.
#[derive(Debug)]
pub struct Catalog {
    settings: Settings,
    services: HashMap<ServiceKey, Entry>,
    /// Which service an object speaks of, to find it again when the object goes or changes its mind.
    owners: HashMap<(Kind, ObjectKey), ServiceKey>,
    /// Slices whose addresses are global IPs, and how many each cluster has.
    globalnet_slices: HashMap<ObjectKey, ClusterId>,
    globalnet_clusters: HashMap<ClusterId, usize>,
    namespaces: BTreeSet<Label>,
    /// How many services each namespace has in the snapshot.
    used_namespaces: BTreeMap<Label, usize>,
    gateways: BTreeMap<ObjectKey, Gateway>,
    cluster_property: Option<ClusterId>,
    clusters: Clusters,
    local: Option<ClusterId>,
    dirty_services: BTreeSet<ServiceKey>,
    dirty_namespaces: BTreeSet<Label>,
    dirty_status: bool,
    triggered_at: Vec<u64>,
    problem_count: usize,
    /// Where services count, also such that are gone, to go on where they were when they come back.
    hits: HashMap<(ServiceKey, Box<[ClusterIndex]>), u32>,
    /// Turns of services that are gone, to be given to others.
    free_turns: Vec<u32>,
    /// The last one given.
    serial: Option<u32>,
    snapshot: Arc<Snapshot>,
    status: Arc<ClusterStatus>,
}

#[derive(Debug, Default)]
struct Entry {
    facts: ServiceFacts,
    turn: Option<u32>,
    problems: Vec<Problem>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Import,
    Slice,
    LocalSlice,
}

impl Catalog {
    pub fn new(settings: Settings) -> Self {
        Self {
            local: settings.cluster_id.clone(),
            settings,
            services: HashMap::new(),
            owners: HashMap::new(),
            globalnet_slices: HashMap::new(),
            globalnet_clusters: HashMap::new(),
            namespaces: BTreeSet::new(),
            used_namespaces: BTreeMap::new(),
            gateways: BTreeMap::new(),
            cluster_property: None,
            clusters: Clusters::default(),
            dirty_services: BTreeSet::new(),
            dirty_namespaces: BTreeSet::new(),
            dirty_status: true,
            triggered_at: Vec::new(),
            problem_count: 0,
            hits: HashMap::new(),
            free_turns: Vec::new(),
            serial: None,
            snapshot: Arc::new(Snapshot::empty_of(NEXT_EPOCH.fetch_add(1, Relaxed))),
            status: Arc::default(),
        }
    }

    /// Takes in one fact. Cheap: answers are made by [`Catalog::publish`].
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Import(object, import) => {
                let service = import.as_ref().map(|import| import.service.clone());
                self.put(Kind::Import, object, service, import, |facts| {
                    &mut facts.imports
                });
            }
            Fact::Slice(object, slice) => {
                let service = slice.as_ref().map(|slice| slice.service.clone());
                let triggered_at = slice.as_ref().and_then(|slice| slice.triggered_at);
                let global = slice
                    .as_ref()
                    .filter(|slice| slice.globalnet && slice.form != SliceForm::ServiceIp)
                    .map(|slice| slice.cluster.clone());
                self.note_globalnet(&object, global);
                if self.put(Kind::Slice, object, service, slice, |facts| {
                    &mut facts.slices
                }) {
                    self.triggered_at.extend(triggered_at);
                }
            }
            Fact::LocalSlice(object, slice) => {
                let service = slice.as_ref().map(|slice| slice.service.clone());
                self.put(Kind::LocalSlice, object, service, slice, |facts| {
                    &mut facts.local_slices
                });
            }
            Fact::Namespace(name, exists) => {
                let changed = if exists {
                    self.namespaces.insert(name.clone())
                } else {
                    self.namespaces.remove(&name)
                };
                if changed {
                    self.dirty_namespaces.insert(name);
                }
            }
            Fact::Gateway(object, gateway) => {
                let before = match gateway.clone() {
                    Some(gateway) => self.gateways.insert(object, gateway),
                    None => self.gateways.remove(&object),
                };
                self.dirty_status |= before != gateway;
            }
            Fact::ClusterProperty(id) => {
                self.dirty_status |= self.cluster_property != id;
                self.cluster_property = id;
            }
        }
    }

    /// Stores, replaces or removes (`value` is `None`) what an object says; tells whether that is news.
    fn put<T: PartialEq>(
        &mut self,
        kind: Kind,
        object: ObjectKey,
        service: Option<ServiceKey>,
        value: Option<T>,
        of: impl Fn(&mut ServiceFacts) -> &mut BTreeMap<ObjectKey, T>,
    ) -> bool {
        let before = match &service {
            Some(service) => self.owners.insert((kind, object.clone()), service.clone()),
            None => self.owners.remove(&(kind, object.clone())),
        };
        let mut news = false;
        if let Some(before) = before.filter(|before| Some(before) != service.as_ref()) {
            if let Some(entry) = self.services.get_mut(&before) {
                of(&mut entry.facts).remove(&object);
            }
            self.dirty_services.insert(before);
            news = true;
        }
        if let (Some(service), Some(value)) = (service, value) {
            let objects = of(&mut self.services.entry(service.clone()).or_default().facts);
            if objects.get(&object) != Some(&value) {
                objects.insert(object, value);
                self.dirty_services.insert(service);
                news = true;
            }
        }
        news
    }

    fn note_globalnet(&mut self, object: &ObjectKey, cluster: Option<ClusterId>) {
        let before = match cluster.clone() {
            Some(cluster) => self.globalnet_slices.insert(object.clone(), cluster),
            None => self.globalnet_slices.remove(object),
        };
        if let Some(count) = before.and_then(|cluster| self.globalnet_clusters.get_mut(&cluster)) {
            *count -= 1;
        }
        if let Some(cluster) = cluster {
            *self.globalnet_clusters.entry(cluster).or_default() += 1;
        }
    }

    /// Whether local EndpointSlices of Kubernetes are of use: the local cluster exports a headless service
    /// with global IPs.
    pub fn wants_local_slices(&self) -> bool {
        let count = self
            .local_cluster()
            .and_then(|local| self.globalnet_clusters.get(local));
        count.is_some_and(|count| *count > 0)
    }

    /// Whether something changed since the last publication.
    pub fn is_dirty(&self) -> bool {
        self.dirty_status || !self.dirty_services.is_empty() || !self.dirty_namespaces.is_empty()
    }

    /// Builds what changed. `now` is the clock that serials follow, in any unit; they grow even where it does not
    /// ([`serial::next`]).
    pub fn publish(&mut self, now: u32) -> Published {
        let local = self.local_cluster().cloned();
        if local != self.local {
            self.local = local;
            self.dirty_services.extend(self.services.keys().cloned());
        }
        let first = self.serial.is_none();
        let serial = serial::next(self.serial, now);
        let mut next = Snapshot::clone(&self.snapshot);
        let mut new_problems = Vec::new();
        let mut changed = false;
        for key in std::mem::take(&mut self.dirty_services) {
            changed |= self.rebuild(&key, &mut next, &mut new_problems);
        }
        for name in std::mem::take(&mut self.dirty_namespaces) {
            changed |= self.renew_namespace(&name, &mut next);
        }
        if changed || first {
            next.serial = serial;
            self.snapshot = Arc::new(next);
            self.serial = Some(serial);
        }
        self.renew_status(serial, first);
        Published {
            snapshot: Arc::clone(&self.snapshot),
            status: Arc::clone(&self.status),
            new_problems,
            triggered_at: std::mem::take(&mut self.triggered_at),
        }
    }

    /// Every problem of the facts that were published last.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.services.values().flat_map(|entry| &entry.problems)
    }

    pub fn problem_count(&self) -> usize {
        self.problem_count
    }

    /// The local cluster: configuration, then ClusterProperty, then the believed Gateway.
    pub(crate) fn local_cluster(&self) -> Option<&ClusterId> {
        let of_gateway = || {
            self.believed_gateway()
                .and_then(|(_, gateway)| gateway.local_cluster.as_ref())
        };
        self.settings
            .cluster_id
            .as_ref()
            .or(self.cluster_property.as_ref())
            .or_else(of_gateway)
    }

    /// Of active Gateways the one that was written last; without any, the freshest of all.
    pub(crate) fn believed_gateway(&self) -> Option<(&ObjectKey, &Gateway)> {
        self.gateways
            .iter()
            .max_by_key(|(_, gateway)| (gateway.active, gateway.updated_at))
    }

    pub(crate) fn facts(&self, key: &ServiceKey) -> Option<&ServiceFacts> {
        self.services.get(key).map(|entry| &entry.facts)
    }

    pub(crate) fn latest(&self) -> (&Arc<Snapshot>, &Arc<ClusterStatus>) {
        (&self.snapshot, &self.status)
    }

    fn rebuild(
        &mut self,
        key: &ServiceKey,
        next: &mut Snapshot,
        new_problems: &mut Vec<Problem>,
    ) -> bool {
        let Some(entry) = self.services.get_mut(key) else {
            return false;
        };
        let surroundings = Surroundings {
            local: self.local.as_ref(),
            longest_zone: self.settings.longest_zone,
        };
        let clusters = &mut self.clusters;
        for id in entry.facts.clusters() {
            clusters.add(id);
        }
        let built = build(key, &entry.facts, &surroundings, |id| clusters.index(id));
        let (service, problems) = match built {
            Some((service, problems)) => (Some(service), problems),
            None => (None, Vec::new()),
        };
        let said: HashSet<&Problem> = entry.problems.iter().collect();
        new_problems.extend(
            problems
                .iter()
                .filter(|problem| !said.contains(problem))
                .cloned(),
        );
        self.problem_count += problems.len();
        self.problem_count -= entry.problems.len();
        entry.problems = problems;
        let service = service.map(|mut service| {
            let fresh = || {
                next.turns += 1;
                (next.turns - 1) as u32
            };
            service.turn = *entry
                .turn
                .get_or_insert_with(|| self.free_turns.pop().unwrap_or_else(fresh));
            service
        });
        if entry.facts.is_empty() {
            self.free_turns.extend(entry.turn);
            self.services.remove(key);
        }
        let owner = owner_of(key);
        let wire = &owner[..owner.len() - b"\x03svc".len()];
        let before = next.service(wire).cloned();
        let service = service.map(|mut service| {
            service.hits = self.place_of_hits(&service, next);
            service
        });
        if before.as_deref() == service.as_ref() {
            return false;
        }
        next.endpoints += service
            .as_ref()
            .map_or(0, |service| service.endpoints as usize);
        next.endpoints -= before
            .as_ref()
            .map_or(0, |service| service.endpoints as usize);
        match (&before, &service) {
            (None, Some(_)) => {
                next.services += 1;
                *self
                    .used_namespaces
                    .entry(key.namespace.clone())
                    .or_default() += 1;
                self.dirty_namespaces.insert(key.namespace.clone());
            }
            (Some(_), None) => {
                next.services -= 1;
                if let Some(count) = self.used_namespaces.get_mut(&key.namespace) {
                    *count -= 1;
                }
                self.dirty_namespaces.insert(key.namespace.clone());
            }
            _ => {}
        }
        next.set_service(wire, service);
        true
    }

    /// Where a service counts; services beyond [`MAX_HITS`] are not counted.
    fn place_of_hits(&mut self, service: &Service, next: &mut Snapshot) -> u32 {
        let slots = 1 + service.clusters.len();
        match self
            .hits
            .entry((service.key.clone(), service.clusters.as_slice().into()))
        {
            Occupied(place) => *place.get(),
            Vacant(_) if next.hits + slots > MAX_HITS => u32::MAX,
            Vacant(place) => {
                next.hits += slots;
                *place.insert((next.hits - slots) as u32)
            }
        }
    }

    fn renew_namespace(&mut self, name: &Label, next: &mut Snapshot) -> bool {
        if self.used_namespaces.get(name) == Some(&0) {
            self.used_namespaces.remove(name);
        }
        let exists = self.namespaces.contains(name) || self.used_namespaces.contains_key(name);
        let mut wire = Vec::new();
        push_label(&mut wire, name.as_bytes());
        if next.has_namespace(&wire) == exists {
            return false;
        }
        next.set_namespace(&wire, exists);
        true
    }

    fn renew_status(&mut self, serial: u32, first: bool) {
        self.dirty_status = false;
        let believed = self
            .gateways
            .iter()
            .max_by_key(|(_, gateway)| (gateway.active, gateway.updated_at))
            .map(|(_, gateway)| gateway);
        let status = self.clusters.status(self.local.as_ref(), believed);
        if first || status.differs_visibly(&self.status) {
            self.serial = Some(serial);
            self.status = Arc::new(ClusterStatus { serial, ..status });
        } else if status.names.len() != self.status.names.len()
            || status.updated_at != self.status.updated_at
        {
            self.status = Arc::new(ClusterStatus {
                serial: self.status.serial,
                ..status
            });
        }
    }
}
