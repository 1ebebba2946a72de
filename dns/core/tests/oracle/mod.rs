//! docs/answers.md read slowly: every name of a zone listed flat, as plain text.
//!
//! Shares nothing with the crate but the types of its input.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod compare;
mod service;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use subm_dns_core::authority::{LostCluster, Zone};
use subm_dns_core::facts::{
    ClusterId, Fact, Gateway, Import, LocalSlice, ObjectKey, ObjectKind, ServiceKey, Slice,
};

/// What an RRset of addresses may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Exactly these.
    All(BTreeSet<IpAddr>),
    /// One of these at a time, in this order and with these weights; none where empty.
    One(Vec<(IpAddr, u16)>),
}

impl Default for Choice {
    fn default() -> Self {
        Self::All(BTreeSet::new())
    }
}

impl Choice {
    pub fn is_empty(&self) -> bool {
        self.possible().is_empty()
    }

    /// Every address that it can give.
    pub fn possible(&self) -> BTreeSet<IpAddr> {
        match self {
            Self::All(all) => all.clone(),
            Self::One(some) => some.iter().map(|(address, _)| *address).collect(),
        }
    }

    pub fn allows(&self, got: &BTreeSet<IpAddr>) -> bool {
        match self {
            Self::All(all) => all == got,
            Self::One(some) if some.is_empty() => got.is_empty(),
            Self::One(_) => got.len() == 1 && got.is_subset(&self.possible()),
        }
    }
}

/// What stands at one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub a: Choice,
    pub aaaa: Choice,
    /// Port and target, in lower case.
    pub srv: BTreeSet<(u16, String)>,
    pub txt: Option<String>,
    pub is_apex: bool,
}

/// All names of a zone, lower case, with the dot at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    pub origin: String,
    pub ttl: u32,
    pub nodes: BTreeMap<String, Node>,
}

/// The facts that are known in the end, whatever way they came.
#[derive(Clone, Debug, Default)]
pub struct View {
    pub imports: BTreeMap<ObjectKey, Import>,
    pub slices: BTreeMap<ObjectKey, Slice>,
    pub local_slices: BTreeMap<ObjectKey, LocalSlice>,
    pub namespaces: BTreeSet<String>,
    pub gateways: BTreeMap<ObjectKey, Gateway>,
    pub property: Option<ClusterId>,
}

fn put<T: Clone>(map: &mut BTreeMap<ObjectKey, T>, key: &ObjectKey, value: Option<&T>) {
    match value {
        Some(value) => map.insert(key.clone(), value.clone()),
        None => map.remove(key),
    };
}

impl View {
    pub fn of(facts: &[Fact]) -> Self {
        let mut view = Self::default();
        for fact in facts {
            match fact {
                Fact::Import(key, import) => put(&mut view.imports, key, import.as_ref()),
                Fact::Slice(key, slice) => put(&mut view.slices, key, slice.as_ref()),
                Fact::LocalSlice(key, slice) => put(&mut view.local_slices, key, slice.as_ref()),
                Fact::Gateway(key, gateway) => put(&mut view.gateways, key, gateway.as_ref()),
                Fact::ClusterProperty(id) => view.property.clone_from(id),
                Fact::Namespace(name, true) => {
                    view.namespaces.insert(name.to_string());
                }
                Fact::Namespace(name, false) => {
                    view.namespaces.remove(name.as_str());
                }
                Fact::Only(kind, keys) => view.keep_only(*kind, keys),
            }
        }
        view
    }

    fn keep_only(&mut self, kind: ObjectKind, keys: &HashSet<ObjectKey>) {
        match kind {
            ObjectKind::Import => self.imports.retain(|key, _| keys.contains(key)),
            ObjectKind::Slice => self.slices.retain(|key, _| keys.contains(key)),
            ObjectKind::LocalSlice => self.local_slices.retain(|key, _| keys.contains(key)),
            ObjectKind::Gateway => self.gateways.retain(|key, _| keys.contains(key)),
            ObjectKind::Namespace => self
                .namespaces
                .retain(|name| keys.iter().any(|key| *key.name == **name)),
        }
    }

    /// Setting, else property, else what the believed Gateway says, or a passive one (G06) where none is
    /// active.
    pub fn local(&self, setting: Option<&ClusterId>) -> Option<ClusterId> {
        let newest = || {
            self.gateways
                .values()
                .max_by_key(|gateway| gateway.updated_at)
        };
        let gateway = self.believed().or_else(newest);
        let named = gateway.and_then(|gateway| gateway.local_cluster.as_ref());
        setting.or(self.property.as_ref()).or(named).cloned()
    }

    /// The active Gateway with the latest timestamp.
    fn believed(&self) -> Option<&Gateway> {
        let active = self.gateways.values().filter(|gateway| gateway.active);
        active.max_by_key(|gateway| gateway.updated_at)
    }

    fn is_connected(&self, id: &ClusterId, local: Option<&ClusterId>) -> bool {
        if local == Some(id) || self.gateways.is_empty() {
            return true;
        }
        self.believed().is_some_and(|gateway| {
            let listed = gateway.connections.iter();
            listed.filter(|(other, _)| other == id).any(|(_, up)| *up)
        })
    }

    fn services(&self) -> BTreeSet<ServiceKey> {
        self.imports
            .values()
            .map(|import| import.service.clone())
            .collect()
    }

    /// Every name of `zone`, as `setting` for the local cluster has it.
    pub fn names(&self, zone: &Zone, setting: Option<&ClusterId>) -> Names {
        let origin = zone.origin.to_string();
        let local = self.local(setting);
        let context = Context {
            view: self,
            local: local.as_ref(),
            strict: zone.strict,
            policy: zone.lost_cluster,
            origin: &origin,
        };
        let mut nodes = fixed_names(zone, &origin);
        for namespace in &self.namespaces {
            nodes.insert(format!("{namespace}.svc.{origin}"), Node::default());
        }
        for key in self.services() {
            nodes.extend(service::names(&context, &key));
        }
        for name in nodes.keys().cloned().collect::<Vec<_>>() {
            add_ancestors(&mut nodes, &name, &origin);
        }
        Names {
            origin,
            ttl: zone.ttl,
            nodes,
        }
    }
}

/// What the rules of a service depend on.
pub struct Context<'a> {
    pub view: &'a View,
    pub local: Option<&'a ClusterId>,
    pub strict: bool,
    pub policy: LostCluster,
    pub origin: &'a str,
}

impl Context<'_> {
    pub fn is_connected(&self, id: &ClusterId) -> bool {
        self.view.is_connected(id, self.local)
    }
}

fn fixed_names(zone: &Zone, origin: &str) -> BTreeMap<String, Node> {
    let apex = Node {
        is_apex: true,
        ..Node::default()
    };
    let of_family = |v4| {
        zone.name_server
            .iter()
            .copied()
            .filter(move |ip| ip.is_ipv4() == v4)
    };
    let name_server = Node {
        a: Choice::All(of_family(true).collect()),
        aaaa: Choice::All(of_family(false).collect()),
        ..Node::default()
    };
    let version = Node {
        txt: Some("1.0.0".to_owned()),
        ..Node::default()
    };
    BTreeMap::from([
        (origin.to_owned(), apex),
        (format!("ns.dns.{origin}"), name_server),
        (format!("dns-version.{origin}"), version),
        (format!("svc.{origin}"), Node::default()),
        (format!("pod.{origin}"), Node::default()),
    ])
}

/// A name that stands above one that exists, exists.
fn add_ancestors(nodes: &mut BTreeMap<String, Node>, name: &str, origin: &str) {
    let mut rest = name;
    while rest != origin {
        nodes.entry(rest.to_owned()).or_default();
        rest = rest.split_once('.').expect("a label in front").1;
    }
}
