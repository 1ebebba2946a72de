//! The answers of the cluster set, immutable, in wire form.
//!
//! A snapshot is relative to the zone: it holds what stands in front of `.svc.<zone>`, so one serves any
//! number of zones. Its key is the wire form of `<service>.<namespace>`, lower case; behind it stands a
//! service with every name below it. 256 shards are shared between snapshots until a service in them
//! changes.

mod shard;

use std::collections::BTreeSet;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use smallvec::SmallVec;

use crate::facts::{ClusterId, Protocol, ServiceKey, ServiceType};
use crate::name::push_label;
use crate::status::ClusterIndex;
use shard::Shard;

const SHARDS: usize = 256;
const HASHER: FixedState = FixedState::with_seed(0x7375_626d);

/// Every name of the cluster set and what it answers.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Namespaces in wire form, without a root label; they have no records.
    namespaces: Arc<BTreeSet<Box<[u8]>>>,
    /// Which catalog numbered the services.
    pub(crate) epoch: u32,
    pub(crate) serial: u32,
    shards: Box<[Arc<Shard>]>,
    pub(crate) turns: usize,
    pub(crate) hits: usize,
    pub(crate) services: usize,
    pub(crate) endpoints: usize,
}

/// One allocation holds all that most queries need, in the order in which they need it: at random over many services
/// each cache line costs more than all instructions on it.
#[derive(Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Service {
    /// `<service>.<namespace>.svc` in wire form without a root label.
    pub(crate) owner: SmallVec<[u8; 40]>,
    /// The name of the service itself.
    pub(crate) root: Scope,
    /// Slot in a ledger's turns.
    pub(crate) turn: u32,
    /// First of `1 + clusters.len()` slots in a ledger's hits: answers from no cluster in particular,
    /// then those of each cluster.
    pub(crate) hits: u32,
    pub(crate) ports: SmallVec<[PortList; 1]>,
    /// Exporting clusters in order of id.
    pub(crate) clusters: SmallVec<[ClusterIndex; 8]>,
    pub(crate) cluster_ids: Box<[ClusterId]>,
    /// Names in front of `<service>`, sorted by wire form.
    pub(crate) below: Box<[Scope]>,
    pub(crate) key: ServiceKey,
    pub(crate) endpoints: u32,
    pub(crate) kind: ServiceType,
}

/// Octets, up to 16 of them in place.
pub(crate) type Octets = SmallVec<[u8; 16]>;

/// A name that has addresses, or stands above some that have: the service, a cluster of it, a host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) a: Addresses,
    pub(crate) aaaa: Addresses,
    pub(crate) srv: Srv,
    pub(crate) kind: ScopeKind,
    /// Labels in front of `<service>`, wire form without a root label, lower case.
    pub(crate) prefix: Octets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ScopeKind {
    Service,
    /// `<cluster>.<service>`; `hosts` tells whether names of hosts stand below it.
    Cluster {
        position: u16,
        hosts: bool,
    },
    /// `<hostname>.<cluster>.<service>`. An alias is never the target of an SRV record elsewhere.
    Host {
        position: u16,
        alias: bool,
    },
    /// Only stands above others: the right part of a cluster id with dots.
    Empty {
        hosts: bool,
    },
}

/// An RRset of addresses and the rule that chooses from it. RDATA is packed: 4 or 16 octets each.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Addresses {
    None,
    /// All of them, always: cluster set IPs, clusters and hosts asked for by name.
    All(Octets),
    /// All of those clusters that are connected.
    Union(Box<[Group]>),
    /// One cluster's address at a time.
    One(Box<[Candidate]>),
}

/// Addresses that any of `clusters` has; an address that two clusters have is listed once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) clusters: SmallVec<[ClusterIndex; 8]>,
    pub(crate) rdata: Octets,
}

/// An exporting cluster's service address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) cluster: ClusterIndex,
    /// Position in [`Service::clusters`].
    pub(crate) position: u16,
    pub(crate) healthy: bool,
    pub(crate) weight: u16,
    /// The first 4 octets for IPv4.
    pub(crate) rdata: [u8; 16],
}

/// SRV records at a scope and below it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Srv {
    None,
    /// The scope is the target, with one list of [`Service::ports`]; given while it has an address to give.
    Own(u16),
    /// The targets are hosts: all of those clusters that are connected, or of the one asked for.
    Hosts(Box<[HostGroup]>),
}

/// The hosts of one cluster.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct HostGroup {
    pub(crate) cluster: ClusterIndex,
    /// Indices into [`Service::below`]; each has [`Srv::Own`].
    pub(crate) hosts: Box<[u32]>,
    /// Every port list of those, once.
    pub(crate) ports: Box<[u16]>,
}

pub(crate) type PortList = SmallVec<[SrvPort; 1]>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SrvPort {
    /// Lower case; empty for an unnamed port.
    pub(crate) name: Octets,
    pub(crate) protocol: Protocol,
    pub(crate) number: u16,
}

/// Where a key is to be looked for, in every snapshot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    shard: usize,
    hash: u32,
}

impl Place {
    pub(crate) fn of(key: &[u8]) -> Self {
        let hash = HASHER.hash_one(key);
        Self {
            shard: (hash >> 32) as usize % SHARDS,
            hash: hash as u32,
        }
    }
}

/// A service as metrics and reports see it.
#[derive(Clone, Copy, Debug)]
pub struct ServiceView<'a> {
    pub key: &'a ServiceKey,
    pub kind: ServiceType,
    /// Slot of a ledger that counts answers from no cluster in particular; the clusters' follow.
    pub hits: usize,
    pub clusters: &'a [ClusterId],
    pub endpoints: u32,
}

/// What follows the key of a service in its name.
const SVC: &[u8] = b"\x03svc";

/// `<service>.<namespace>` in wire form without a root label.
pub(crate) fn key_of(key: &ServiceKey) -> SmallVec<[u8; 40]> {
    let (name, namespace) = (key.name.as_bytes(), key.namespace.as_bytes());
    let mut wire = SmallVec::with_capacity(2 + name.len() + namespace.len() + SVC.len());
    push_label(&mut wire, name);
    push_label(&mut wire, namespace);
    wire
}

/// [`Service::owner`] of a service.
pub(crate) fn owner_of(key: &ServiceKey) -> SmallVec<[u8; 40]> {
    let mut wire = key_of(key);
    wire.extend_from_slice(SVC);
    wire
}

impl Service {
    /// `<service>.<namespace>` in wire form without a root label.
    pub(crate) fn wire_key(&self) -> &[u8] {
        &self.owner[..self.owner.len() - SVC.len()]
    }

    /// The scope with just this prefix.
    pub(crate) fn scope(&self, prefix: &[u8]) -> Option<&Scope> {
        if prefix.is_empty() {
            return Some(&self.root);
        }
        let at = self
            .below
            .binary_search_by(|scope| (*scope.prefix).cmp(prefix))
            .ok()?;
        Some(&self.below[at])
    }

    /// Every name, its own first.
    pub(crate) fn scopes(&self) -> impl Iterator<Item = &Scope> {
        std::iter::once(&self.root).chain(&self.below)
    }
}

impl Scope {
    /// Position of its cluster in [`Service::clusters`], where it belongs to one.
    pub(crate) fn position(&self) -> Option<u16> {
        match self.kind {
            ScopeKind::Cluster { position, .. } | ScopeKind::Host { position, .. } => {
                Some(position)
            }
            ScopeKind::Service | ScopeKind::Empty { .. } => None,
        }
    }

    /// Whether the name exists; `strict` takes away names of clusters that have nothing below.
    pub(crate) fn exists(&self, strict: bool) -> bool {
        match self.kind {
            ScopeKind::Cluster { hosts, .. } | ScopeKind::Empty { hosts } => hosts || !strict,
            ScopeKind::Service | ScopeKind::Host { .. } => true,
        }
    }

    /// Whether the name has records of its own.
    pub(crate) fn answers(&self, strict: bool) -> bool {
        match self.kind {
            ScopeKind::Cluster { .. } => !strict,
            ScopeKind::Empty { .. } => false,
            ScopeKind::Service | ScopeKind::Host { .. } => true,
        }
    }
}

impl Snapshot {
    /// A zone without services.
    pub fn empty() -> Self {
        Self::empty_of(0)
    }

    pub(crate) fn empty_of(epoch: u32) -> Self {
        Self {
            namespaces: Arc::default(),
            epoch,
            serial: 0,
            shards: (0..SHARDS).map(|_| Arc::default()).collect(),
            turns: 0,
            hits: 0,
            services: 0,
            endpoints: 0,
        }
    }

    /// Grows with every visible change.
    pub fn serial(&self) -> u32 {
        self.serial
    }

    /// Turns that a ledger must have room for.
    pub fn turns(&self) -> usize {
        self.turns
    }

    /// Counts that a ledger must have room for.
    pub fn hits(&self) -> usize {
        self.hits
    }

    pub fn service_count(&self) -> usize {
        self.services
    }

    pub fn endpoint_count(&self) -> usize {
        self.endpoints
    }

    /// Every service, in no order.
    pub fn services(&self) -> impl Iterator<Item = ServiceView<'_>> {
        self.all().map(|service| ServiceView {
            key: &service.key,
            kind: service.kind,
            hits: service.hits as usize,
            clusters: &service.cluster_ids,
            endpoints: service.endpoints,
        })
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.shards.iter().flat_map(|shard| shard.services())
    }

    /// The service with `<service>.<namespace>` in wire form, without a root label, as its key.
    pub(crate) fn service(&self, key: &[u8]) -> Option<&Arc<Service>> {
        self.service_at(Place::of(key), key)
    }

    /// [`Snapshot::service`] for a key whose place is known.
    pub(crate) fn service_at(
        &self,
        Place { shard, hash }: Place,
        key: &[u8],
    ) -> Option<&Arc<Service>> {
        self.shards[shard].get(hash, key)
    }

    /// Reads the index where a service would be found, for its entry to come near.
    pub(crate) fn touch_entry(&self, place: Place) -> bool {
        self.shards[place.shard].first(place.hash).is_some()
    }

    /// Reads what most queries need of a service, for it to come near.
    pub(crate) fn touch_service(&self, place: Place) -> usize {
        self.shards[place.shard]
            .first(place.hash)
            .map_or(0, |service| {
                service.owner.len() + service.root.prefix.len() + service.turn as usize
            })
    }

    /// Puts a service at its key, or takes away what stands there.
    pub(crate) fn set_service(&mut self, key: &[u8], service: Option<Service>) {
        let Place { shard, hash } = Place::of(key);
        let shard = Arc::make_mut(&mut self.shards[shard]);
        match service {
            Some(service) => {
                debug_assert_eq!(service.wire_key(), key);
                shard.insert(hash, Arc::new(service));
            }
            None => shard.remove(hash, key),
        }
    }

    pub(crate) fn has_namespace(&self, wire: &[u8]) -> bool {
        self.namespaces.contains(wire)
    }

    pub(crate) fn set_namespace(&mut self, wire: &[u8], exists: bool) {
        let namespaces = Arc::make_mut(&mut self.namespaces);
        if exists {
            namespaces.insert(wire.into());
        } else {
            namespaces.remove(wire);
        }
    }
}
