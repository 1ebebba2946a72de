//! The answers of the cluster set, immutable, in wire form.
//!
//! A snapshot is relative to the zone: it holds what stands in front of `.svc.<zone>`, so one serves any
//! number of zones. Its key is the wire form of `<service>.<namespace>`, lower case; behind it stands a
//! service with every name below it. 256 shards are shared between snapshots until a service in them
//! changes.

use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashTable;

use crate::facts::{ClusterId, ServiceKey, ServiceType};
use crate::name::push_label;
use crate::status::ClusterIndex;

const SHARDS: usize = 256;

/// Every name of the cluster set and what it answers.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which catalog numbered the services.
    pub(crate) epoch: u32,
    pub(crate) serial: u32,
    hasher: FixedState,
    shards: Box<[Arc<Shard>]>,
    pub(crate) turns: usize,
    pub(crate) hits: usize,
    pub(crate) services: usize,
    pub(crate) endpoints: usize,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Shard {
    nodes: HashTable<Node>,
}

/// What stands at a key.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    /// `<namespace>`, here in wire form: exists, without records.
    Namespace(Arc<[u8]>),
    /// `<service>.<namespace>`.
    Service(Arc<Service>),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Service {
    /// `<service>.<namespace>.svc` in wire form without a root label.
    pub(crate) owner: Box<[u8]>,
    pub(crate) key: ServiceKey,
    pub(crate) kind: ServiceType,
    /// Slot in a ledger's turns.
    pub(crate) turn: u32,
    /// First of `1 + clusters.len()` slots in a ledger's hits: answers from no cluster in particular,
    /// then those of each cluster.
    pub(crate) hits: u32,
    /// Exporting clusters in order of id.
    pub(crate) clusters: Box<[ClusterIndex]>,
    pub(crate) cluster_ids: Box<[ClusterId]>,
    /// Names in front of `<service>`, sorted by wire form; the first is the service itself (empty).
    pub(crate) scopes: Box<[Scope]>,
    pub(crate) ports: Box<[PortList]>,
    pub(crate) endpoints: u32,
}

/// A name that has addresses, or stands above some that have: the service, a cluster of it, a host.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Scope {
    /// Labels in front of `<service>`, wire form without a root label, lower case.
    pub(crate) prefix: Box<[u8]>,
    pub(crate) kind: ScopeKind,
    pub(crate) a: Addresses,
    pub(crate) aaaa: Addresses,
    pub(crate) srv: Srv,
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
    All(Box<[u8]>),
    /// All of those clusters that are connected.
    Union(Box<[Group]>),
    /// One cluster's address at a time.
    One(Box<[Candidate]>),
}

/// Addresses that any of `clusters` has; an address that two clusters have is listed once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) clusters: Box<[ClusterIndex]>,
    pub(crate) rdata: Box<[u8]>,
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
    /// Indices into [`Service::scopes`]; each has [`Srv::Own`].
    pub(crate) hosts: Box<[u32]>,
    /// Every port list of those, once.
    pub(crate) ports: Box<[u16]>,
}

pub(crate) type PortList = Box<[SrvPort]>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SrvPort {
    /// Lower case; empty for an unnamed port.
    pub(crate) name: Box<[u8]>,
    pub(crate) protocol: &'static [u8],
    pub(crate) number: u16,
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

impl Node {
    /// `<service>.<namespace>` or `<namespace>` in wire form without a root label.
    pub(crate) fn key(&self) -> &[u8] {
        match self {
            Self::Namespace(key) => key,
            Self::Service(service) => &service.owner[..service.owner.len() - SVC.len()],
        }
    }
}

/// [`Service::owner`] of a service.
pub(crate) fn owner_of(key: &ServiceKey) -> Box<[u8]> {
    let (name, namespace) = (key.name.as_bytes(), key.namespace.as_bytes());
    let mut wire = Vec::with_capacity(2 + name.len() + namespace.len() + SVC.len());
    push_label(&mut wire, name);
    push_label(&mut wire, namespace);
    wire.extend_from_slice(SVC);
    wire.into()
}

impl Service {
    /// The scope with just this prefix.
    pub(crate) fn scope(&self, prefix: &[u8]) -> Option<&Scope> {
        if let (true, Some(scope)) = (prefix.is_empty(), self.scopes.first())
            && scope.prefix.is_empty()
        {
            return Some(scope);
        }
        let at = self
            .scopes
            .binary_search_by(|scope| (*scope.prefix).cmp(prefix))
            .ok()?;
        Some(&self.scopes[at])
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
            epoch,
            serial: 0,
            hasher: FixedState::with_seed(0x7375_626d),
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
        self.nodes().filter_map(|node| match node {
            Node::Service(service) => Some(ServiceView {
                key: &service.key,
                kind: service.kind,
                hits: service.hits as usize,
                clusters: &service.cluster_ids,
                endpoints: service.endpoints,
            }),
            Node::Namespace(_) => None,
        })
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.shards.iter().flat_map(|shard| &shard.nodes)
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Node> {
        let hash = self.hasher.hash_one(key);
        let shard = &self.shards[shard_of(hash)];
        shard.nodes.find(hash, |node| node.key() == key)
    }

    /// Puts `node` at `key`, or takes away what stands there.
    pub(crate) fn set(&mut self, key: &[u8], node: Option<Node>) {
        debug_assert!(node.as_ref().is_none_or(|node| node.key() == key));
        let hasher = &self.hasher;
        let hash = hasher.hash_one(key);
        let nodes = &mut Arc::make_mut(&mut self.shards[shard_of(hash)]).nodes;
        match (nodes.find_entry(hash, |node| node.key() == key), node) {
            (Ok(mut entry), Some(node)) => *entry.get_mut() = node,
            (Ok(entry), None) => drop(entry.remove()),
            (Err(_), Some(node)) => {
                nodes.insert_unique(hash, node, |node| hasher.hash_one(node.key()));
            }
            (Err(_), None) => {}
        }
    }
}

/// Top bits choose the shard; hashbrown uses the low ones and the top seven.
fn shard_of(hash: u64) -> usize {
    (hash >> 40) as usize % SHARDS
}
