//! The index of all facts: a synchronous state machine that turns changes into the next snapshot.
//!
//! Order of events does not matter: what [`Catalog::publish`] gives is a function of the facts that are
//! known, whatever way they came.

mod services;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, btree_map};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use crate::build::{ServiceFacts, Surroundings, build};
use crate::clusters::Clusters;
use crate::facts::{
    ClusterId, Fact, Gateway, ImportForm, ObjectKey, ObjectKind, Problem, ServiceKey,
};
use crate::name::{Label, push_label};
use crate::packed::{Kind, Object};
use crate::serial;
use crate::snapshot::{Service, Snapshot, owner_of};
use crate::status::{ClusterIndex, ClusterStatus};

use services::{Number, Services};

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
    services: Services,
    /// How many slices of each cluster have global IPs for addresses.
    globalnet_clusters: HashMap<ClusterIndex, usize>,
    namespaces: BTreeSet<Label>,
    /// Namespaces that objects or answers speak of.
    used_namespaces: BTreeMap<Label, Used>,
    gateways: BTreeMap<ObjectKey, Gateway>,
    cluster_property: Option<ClusterId>,
    clusters: Clusters,
    local: Option<ClusterId>,
    dirty_services: Vec<Number>,
    dirty_namespaces: BTreeSet<Label>,
    dirty_status: bool,
    triggered_at: Vec<u64>,
    problem_count: usize,
    /// Where services counted that are gone, or have other clusters now, to go on there when they come back.
    former_hits: HashMap<(ServiceKey, Box<[ClusterIndex]>), u32>,
    /// The last one given.
    serial: Option<u32>,
    snapshot: Arc<Snapshot>,
    status: Arc<ClusterStatus>,
}

#[derive(Debug, Default)]
struct Used {
    /// Services that objects speak of.
    known: usize,
    /// Those in the snapshot.
    served: usize,
}

impl Catalog {
    pub fn new(settings: Settings) -> Self {
        Self {
            local: settings.cluster_id.clone(),
            settings,
            services: Services::default(),
            globalnet_clusters: HashMap::new(),
            namespaces: BTreeSet::new(),
            used_namespaces: BTreeMap::new(),
            gateways: BTreeMap::new(),
            cluster_property: None,
            clusters: Clusters::default(),
            dirty_services: Vec::new(),
            dirty_namespaces: BTreeSet::new(),
            dirty_status: true,
            triggered_at: Vec::new(),
            problem_count: 0,
            former_hits: HashMap::new(),
            serial: None,
            snapshot: Arc::new(Snapshot::empty_of(NEXT_EPOCH.fetch_add(1, Relaxed))),
            status: Arc::default(),
        }
    }

    /// Takes in one fact. Cheap: answers are made by [`Catalog::publish`].
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Import(object, import) => {
                let packed = import.map(|import| {
                    if let ImportForm::PerCluster(cluster) = &import.form {
                        self.clusters.add(cluster);
                    }
                    let packed = Object::import(&import.service, &object, &import);
                    (import.service, packed)
                });
                self.put(Kind::Import, &object, packed);
            }
            Fact::Slice(object, slice) => {
                let triggered_at = slice.as_ref().and_then(|slice| slice.triggered_at);
                let packed = slice.map(|slice| {
                    let cluster = self.clusters.add(&slice.cluster);
                    let packed = Object::slice(&slice.service, &object, &slice, cluster);
                    (slice.service, packed)
                });
                if self.put(Kind::Slice, &object, packed) {
                    self.triggered_at.extend(triggered_at);
                }
            }
            Fact::LocalSlice(object, slice) => {
                let packed = slice.map(|slice| {
                    let packed = Object::local_slice(&slice.service, &object, &slice);
                    (slice.service, packed)
                });
                self.put(Kind::LocalSlice, &object, packed);
            }
            Fact::Namespace(name, exists) => {
                self.put_namespace(name, exists);
            }
            Fact::Gateway(object, gateway) => {
                self.put_gateway(object, gateway);
            }
            Fact::ClusterProperty(id) => {
                self.dirty_status |= self.cluster_property != id;
                self.cluster_property = id;
            }
            Fact::Only(kind, keys) => self.keep_only(kind, &keys),
        }
    }

    /// Stores, replaces or removes (`new` is `None`) what an object says; tells whether that is news.
    fn put(&mut self, kind: Kind, key: &ObjectKey, new: Option<(ServiceKey, Object)>) -> bool {
        let owner = self.services.owner(kind, key);
        let new = new.map(|(service, object)| {
            let number = self.services.number(&service);
            (number.unwrap_or_else(|| self.add(service)), object)
        });
        let mut news = false;
        if let Some(before) =
            owner.filter(|before| new.as_ref().map(|(number, _)| number) != Some(before))
        {
            let object = self.services.take(before, kind, key);
            self.count_globalnet(before, object.as_ref(), false);
            self.mark(before);
            news = true;
        }
        if let Some((number, object)) = new {
            let before = self.services.entry(number).object(kind, key);
            if before != Some(&object) {
                self.count_globalnet(number, before.cloned().as_ref(), false);
                self.count_globalnet(number, Some(&object), true);
                self.services.put(number, kind, key, object);
                self.mark(number);
                news = true;
            }
        }
        news
    }

    fn add(&mut self, mut service: ServiceKey) -> Number {
        // One copy of a namespace's name for all its services.
        match self.used_namespaces.entry(service.namespace.clone()) {
            btree_map::Entry::Occupied(mut used) => {
                service.namespace = used.key().clone();
                used.get_mut().known += 1;
            }
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(Used {
                    known: 1,
                    served: 0,
                });
            }
        }
        self.services.add(service)
    }

    /// The service is to be built anew.
    fn mark(&mut self, number: Number) {
        if !std::mem::replace(&mut self.services.entry_mut(number).dirty, true) {
            self.dirty_services.push(number);
        }
    }

    fn count_globalnet(&mut self, number: Number, object: Option<&Object>, add: bool) {
        let key = &self.services.entry(number).key;
        if let Some(cluster) = object.and_then(|object| object.globalnet(key)) {
            let count = self.globalnet_clusters.entry(cluster).or_default();
            *count = if add { *count + 1 } else { *count - 1 };
        }
    }

    fn put_namespace(&mut self, name: Label, exists: bool) {
        let changed = if exists {
            self.namespaces.insert(name.clone())
        } else {
            self.namespaces.remove(&name)
        };
        if changed {
            self.dirty_namespaces.insert(name);
        }
    }

    fn put_gateway(&mut self, key: ObjectKey, gateway: Option<Gateway>) {
        if self.gateways.get(&key) == gateway.as_ref() {
            return;
        }
        self.dirty_status = true;
        match gateway {
            Some(gateway) => self.gateways.insert(key, gateway),
            None => self.gateways.remove(&key),
        };
    }

    /// Takes back what all objects of a kind said but those that are named.
    fn keep_only(&mut self, kind: ObjectKind, keys: &HashSet<ObjectKey>) {
        let kind = match kind {
            ObjectKind::Import => Kind::Import,
            ObjectKind::Slice => Kind::Slice,
            ObjectKind::LocalSlice => Kind::LocalSlice,
            ObjectKind::Namespace => {
                let names: HashSet<_> = keys.iter().map(|key| &*key.name).collect();
                let gone = |name: &&Label| !names.contains(name.as_str());
                let gone: Vec<_> = self.namespaces.iter().filter(gone).cloned().collect();
                for name in gone {
                    self.put_namespace(name, false);
                }
                return;
            }
            ObjectKind::Gateway => {
                let gone = |key: &&ObjectKey| !keys.contains(key);
                let gone: Vec<_> = self.gateways.keys().filter(gone).cloned().collect();
                for key in gone {
                    self.put_gateway(key, None);
                }
                return;
            }
        };
        let of_kind = self.services.iter().flat_map(|(_, entry)| {
            let objects = entry.objects.iter().filter(|object| object.kind() == kind);
            objects.map(|object| ObjectKey::from(object.name(&entry.key)))
        });
        let gone: Vec<_> = of_kind.filter(|key| !keys.contains(key)).collect();
        for key in gone {
            self.put(kind, &key, None);
        }
    }

    /// Whether local EndpointSlices of Kubernetes are of use: the local cluster exports a headless service
    /// with global IPs.
    pub fn wants_local_slices(&self) -> bool {
        let count = self
            .local_cluster()
            .and_then(|local| self.clusters.index(local))
            .and_then(|local| self.globalnet_clusters.get(&local));
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
            let all: Vec<_> = self.services.iter().map(|(number, _)| number).collect();
            for number in all {
                self.mark(number);
            }
        }
        let first = self.serial.is_none();
        let serial = serial::next(self.serial, now);
        let mut next = Snapshot::clone(&self.snapshot);
        let mut new_problems = Vec::new();
        let mut changed = false;
        for number in std::mem::take(&mut self.dirty_services) {
            changed |= self.rebuild(number, &mut next, &mut new_problems);
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
        self.services.iter().flat_map(|(_, entry)| &entry.problems)
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

    pub(crate) fn facts(&self, key: &ServiceKey) -> ServiceFacts<'_> {
        let entry = self
            .services
            .number(key)
            .map(|number| self.services.entry(number));
        entry.map_or_else(ServiceFacts::default, |entry| {
            ServiceFacts::read(&entry.key, &entry.objects)
        })
    }

    pub(crate) fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    pub(crate) fn latest(&self) -> (&Arc<Snapshot>, &Arc<ClusterStatus>) {
        (&self.snapshot, &self.status)
    }

    /// Brings the answers of a service up to its facts; tells whether they are others than before.
    fn rebuild(
        &mut self,
        number: Number,
        next: &mut Snapshot,
        new_problems: &mut Vec<Problem>,
    ) -> bool {
        let surroundings = Surroundings {
            local: self.local.as_ref(),
            longest_zone: self.settings.longest_zone,
            clusters: &self.clusters,
        };
        let entry = self.services.entry(number);
        let key = entry.key.clone();
        let facts = ServiceFacts::read(&key, &entry.objects);
        let (service, problems) = match build(&key, &facts, &surroundings) {
            Some((service, problems)) => (Some(service), problems),
            None => (None, Vec::new()),
        };
        self.problem_count += problems.len();
        self.problem_count -= entry.problems.len();
        let said: HashSet<&Problem> = entry.problems.iter().collect();
        new_problems.extend(
            problems
                .iter()
                .filter(|problem| !said.contains(problem))
                .cloned(),
        );
        let entry = self.services.entry_mut(number);
        entry.problems = problems.into();
        entry.dirty = false;
        let forgotten = entry.objects.is_empty();

        let owner = owner_of(&key);
        let wire = &owner[..owner.len() - b"\x03svc".len()];
        let before = next.service(wire).cloned();
        let service = service.map(|mut service| {
            service.turn = number;
            next.turns = next.turns.max(number as usize + 1);
            service.hits = self.place_of_hits(before.as_deref(), &service, next);
            service
        });
        let changed = before.as_deref() != service.as_ref();
        if changed {
            self.replace(&key, before.as_deref(), service, wire, next);
        }
        if forgotten {
            self.services.remove(number);
            if let Some(used) = self.used_namespaces.get_mut(&key.namespace) {
                used.known -= 1;
                self.dirty_namespaces.insert(key.namespace);
            }
        }
        changed
    }

    fn replace(
        &mut self,
        key: &ServiceKey,
        before: Option<&Service>,
        service: Option<Service>,
        wire: &[u8],
        next: &mut Snapshot,
    ) {
        let endpoints = |service: &Service| service.endpoints as usize;
        next.endpoints += service.as_ref().map_or(0, endpoints);
        next.endpoints -= before.map_or(0, endpoints);
        if before.is_some() != service.is_some() {
            let used = self
                .used_namespaces
                .entry(key.namespace.clone())
                .or_default();
            if service.is_some() {
                next.services += 1;
                used.served += 1;
            } else {
                next.services -= 1;
                used.served -= 1;
            }
            self.dirty_namespaces.insert(key.namespace.clone());
        }
        if let Some(before) = before
            && before.hits != u32::MAX
            && service
                .as_ref()
                .is_none_or(|service| service.hits != before.hits)
        {
            let of = (before.key.clone(), before.clusters.as_slice().into());
            self.former_hits.insert(of, before.hits);
        }
        next.set_service(wire, service);
    }

    /// Where a service counts; services beyond [`MAX_HITS`] are not counted.
    fn place_of_hits(
        &mut self,
        before: Option<&Service>,
        service: &Service,
        next: &mut Snapshot,
    ) -> u32 {
        if let Some(before) = before.filter(|before| before.clusters == service.clusters) {
            return before.hits;
        }
        let of = (service.key.clone(), service.clusters.as_slice().into());
        if let Some(place) = self.former_hits.remove(&of) {
            return place;
        }
        let slots = 1 + service.clusters.len();
        if next.hits + slots > MAX_HITS {
            return u32::MAX;
        }
        next.hits += slots;
        (next.hits - slots) as u32
    }

    fn renew_namespace(&mut self, name: &Label, next: &mut Snapshot) -> bool {
        let used = self.used_namespaces.get(name);
        let served = used.is_some_and(|used| used.served > 0);
        if used.is_some_and(|used| used.known == 0 && used.served == 0) {
            self.used_namespaces.remove(name);
        }
        let exists = self.namespaces.contains(name) || served;
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
