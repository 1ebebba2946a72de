//! Sets and maps: what a ruleset looks up instead of asking rule by rule.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv4Subnets, Ipv6Net, Ipv6Subnets};

use crate::{Family, Verdict};

/// What a set or map is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyType {
    /// IPv4 addresses.
    Ipv4,
    /// IPv6 addresses.
    Ipv6,
    /// Packet marks.
    Mark,
    /// Ports of TCP, UDP and SCTP.
    Port,
}

/// What a map gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataType {
    /// An IPv4 address, for NAT.
    Ipv4,
    /// An IPv6 address, for NAT.
    Ipv6,
    /// A packet mark.
    Mark,
    /// What becomes of the packet.
    Verdict,
}

/// The key of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// A network; an address is a network of full length.
    Net(IpNet),
    /// A packet mark.
    Mark(u32),
    /// A port.
    Port(u16),
}

/// What a map holds for a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    /// An address, for NAT.
    Address(IpAddr),
    /// A packet mark.
    Mark(u32),
    /// What becomes of the packet.
    Verdict(Verdict),
}

/// Elements in the form in which they stand in the kernel: keys do not overlap. A set holds `None` for each.
pub(crate) type Elements = BTreeMap<Key, Option<Value>>;

/// A set, or with [`Set::data`] a map.
///
/// Its declaration (types, interval) belongs to the structure of a ruleset; its elements are what may change at any time at the
/// price of the change alone.
///
/// Networks may overlap here. In the kernel they must not: of a set only the widest go there, and in a map the longest prefix wins,
/// as in a route table, by cutting wider networks around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    key: KeyType,
    data: Option<DataType>,
    interval: bool,
    elements: Elements,
}

impl Set {
    /// An empty set of single values.
    pub fn of(key: KeyType) -> Self {
        Self {
            key,
            data: None,
            interval: false,
            elements: BTreeMap::new(),
        }
    }

    /// An empty set of networks.
    pub fn of_nets(family: Family) -> Self {
        Self {
            interval: true,
            ..Self::of(family.into())
        }
    }

    /// An empty map from single values.
    pub fn map(key: KeyType, data: DataType) -> Self {
        Self {
            data: Some(data),
            ..Self::of(key)
        }
    }

    /// An empty map from networks.
    pub fn map_of_nets(family: Family, data: DataType) -> Self {
        Self {
            data: Some(data),
            ..Self::of_nets(family)
        }
    }

    /// Adds a key to a set. Host bits of a network are cleared. That types agree is checked with the whole ruleset.
    pub fn insert(&mut self, key: impl Into<Key>) {
        self.elements.insert(key.into(), None);
    }

    /// Adds a key and what belongs to it to a map; an earlier value of the key goes.
    pub fn insert_value(&mut self, key: impl Into<Key>, value: impl Into<Value>) {
        self.elements.insert(key.into(), Some(value.into()));
    }

    /// Takes a key out; whether it was there.
    pub fn remove(&mut self, key: impl Into<Key>) -> bool {
        self.elements.remove(&key.into()).is_some()
    }

    /// What it is looked up by.
    pub fn key(&self) -> KeyType {
        self.key
    }

    /// What it gives, if it is a map.
    pub fn data(&self) -> Option<DataType> {
        self.data
    }

    /// Whether elements may be networks rather than single addresses.
    pub fn interval(&self) -> bool {
        self.interval
    }

    /// The elements as they were inserted, in order.
    pub fn elements(&self) -> impl Iterator<Item = (&Key, Option<&Value>)> {
        self.elements
            .iter()
            .map(|(key, value)| (key, value.as_ref()))
    }

    /// How many elements were inserted.
    pub fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether nothing was inserted.
    pub fn is_empty(&self) -> bool {
        self.elements.is_empty()
    }

    pub(crate) fn declared_like(&self, other: &Self) -> bool {
        (self.key, self.data, self.interval) == (other.key, other.data, other.interval)
    }

    /// Adds the other's elements; its values win.
    pub(crate) fn extend(&mut self, other: Self) {
        self.elements.extend(other.elements);
    }

    /// The elements without overlaps.
    pub(crate) fn normal(&self) -> Elements {
        let mut nets = Vec::new();
        let mut normal = Elements::new();
        for (key, value) in &self.elements {
            match key {
                Key::Net(net) if self.interval => nets.push((*net, value)),
                _ => drop(normal.insert(*key, value.clone())),
            }
        }
        if self.data.is_none() {
            // In order a wider network comes before all that it covers.
            let mut last: Option<IpNet> = None;
            for (net, _) in nets {
                if !last.is_some_and(|last| last.contains(&net)) {
                    normal.insert(Key::Net(net), None);
                    last = Some(net);
                }
            }
        } else {
            cut_out(&nets, &mut normal);
        }
        normal
    }
}

/// Puts each network without the narrower ones inside it into `into`. `nets` are in order: wider ones first, then by address.
fn cut_out(nets: &[(IpNet, &Option<Value>)], into: &mut Elements) {
    let mut at = 0;
    while let Some((outer, value)) = nets.get(at) {
        let inner = nets[at + 1..].iter();
        let inner = inner.take_while(|(net, _)| outer.contains(net)).count();
        let inside = &nets[at + 1..=at + inner];
        let mut next = Some(first(*outer));
        let mut covered: Option<IpNet> = None;
        for (net, _) in inside {
            if covered.is_some_and(|covered| covered.contains(net)) {
                continue;
            }
            covered = Some(*net);
            if let Some(from) = next.filter(|from| *from < first(*net)) {
                for piece in pieces(outer, from, first(*net) - 1) {
                    into.insert(Key::Net(piece), (*value).clone());
                }
            }
            next = last(*net).checked_add(1);
        }
        if inner == 0 {
            into.insert(Key::Net(*outer), (*value).clone());
        } else if let Some(from) = next.filter(|from| *from <= last(*outer)) {
            for piece in pieces(outer, from, last(*outer)) {
                into.insert(Key::Net(piece), (*value).clone());
            }
        }
        cut_out(inside, into);
        at += 1 + inner;
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u128::from(u32::from(address)),
        IpAddr::V6(address) => address.into(),
    }
}

fn first(net: IpNet) -> u128 {
    number(net.network())
}

fn last(net: IpNet) -> u128 {
    number(net.broadcast())
}

/// The fewest networks that cover the numbers `from..=to` of the family of `like`.
fn pieces(like: &IpNet, from: u128, to: u128) -> Vec<IpNet> {
    match like {
        // Numbers of IPv4 addresses fit.
        IpNet::V4(_) => {
            let address = |number: u128| Ipv4Addr::from(number as u32);
            Ipv4Subnets::new(address(from), address(to), 0)
                .map(IpNet::V4)
                .collect()
        }
        IpNet::V6(_) => Ipv6Subnets::new(Ipv6Addr::from(from), Ipv6Addr::from(to), 0)
            .map(IpNet::V6)
            .collect(),
    }
}

impl From<Family> for KeyType {
    fn from(family: Family) -> Self {
        match family {
            Family::V4 => Self::Ipv4,
            Family::V6 => Self::Ipv6,
        }
    }
}

impl From<IpNet> for Key {
    fn from(net: IpNet) -> Self {
        Self::Net(net.trunc())
    }
}

impl From<Ipv4Net> for Key {
    fn from(net: Ipv4Net) -> Self {
        IpNet::V4(net).into()
    }
}

impl From<Ipv6Net> for Key {
    fn from(net: Ipv6Net) -> Self {
        IpNet::V6(net).into()
    }
}

impl From<IpAddr> for Key {
    fn from(address: IpAddr) -> Self {
        Self::Net(address.into())
    }
}

impl From<IpAddr> for Value {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl From<Verdict> for Value {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

#[cfg(test)]
mod tests;
