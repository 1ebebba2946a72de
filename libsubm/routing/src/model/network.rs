//! The whole: objects by key.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    Address, Family, Forward, Link, LinkName, MacAddr, Neighbour, Route, Rule, Sysctl, SysctlKey,
};
use crate::mark::Mark;

/// Part of what a kernel's network holds, as a value: objects, each under the key by which the kernel knows it.
///
/// Two of them can be compared, merged, and printed; order of insertion means nothing. What is inserted is brought into the
/// form in which the kernel gives it back (see [`Object::key`]).
///
/// ```
/// use subm_routing::{Address, Link, LinkName, MacAddr, Network, Route, Vxlan};
///
/// let device = LinkName::from_static("vx-submariner");
/// let vtep = "240.31.1.21".parse()?;
/// let network = Network::new()
///     .with(Link::vxlan(device, Vxlan::new(100, 4800)).mtu(1450).mac(MacAddr::for_vtep(vtep)))
///     .with(Address::new(device, "240.31.1.21/8".parse()?))
///     .with(Route::via("10.9.0.0/16".parse()?, "240.31.1.11".parse()?, device));
/// assert_eq!(network.routes().count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    objects: BTreeMap<Key, Object>,
}

/// By what the kernel knows an object. The order is that in which objects are made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Key {
    Link(LinkName),
    Sysctl(SysctlKey),
    Address {
        link: LinkName,
        net: IpNet,
    },
    Neighbour {
        link: LinkName,
        address: IpAddr,
    },
    /// `remote` for the addresses that have several entries only.
    Forward {
        link: LinkName,
        mac: MacAddr,
        remote: Option<IpAddr>,
    },
    Route {
        table: u32,
        destination: IpNet,
        metric: u32,
    },
    Rule(Rule),
}

impl Key {
    /// Of which address family it is, if only of one.
    pub(crate) fn family(&self) -> Option<Family> {
        match self {
            Self::Link(_) | Self::Forward { .. } => None,
            Self::Sysctl(key) if key.path().starts_with("ipv6/") => Some(Family::V6),
            Self::Sysctl(_) => Some(Family::V4),
            Self::Address { net, .. } => Some(Family::of_net(net)),
            Self::Neighbour { address, .. } => Some(Family::of(address)),
            Self::Route { destination, .. } => Some(Family::of_net(destination)),
            Self::Rule(rule) => Some(rule.family),
        }
    }
}

/// An object of the kernel's network.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Object {
    Link(Link),
    Sysctl(Sysctl),
    Address(Address),
    Neighbour(Neighbour),
    Forward(Forward),
    Route(Route),
    Rule(Rule),
}

/// Two parts of a network want different things of one object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two parts want different things: `{first}` and `{second}`")]
#[non_exhaustive]
pub struct Conflict {
    pub key: Key,
    pub first: Object,
    pub second: Object,
}

impl Network {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an object, or puts it in the place of the one with the same key, which is returned.
    pub fn insert(&mut self, object: impl Into<Object>) -> Option<Object> {
        let object = object.into().normalised();
        self.objects.insert(object.key(), object)
    }

    /// The same with this object in it.
    #[must_use]
    pub fn with(mut self, object: impl Into<Object>) -> Self {
        self.insert(object);
        self
    }

    pub fn remove(&mut self, key: &Key) -> Option<Object> {
        self.objects.remove(key)
    }

    /// Takes in the objects of `other`. Equal ones may be in both. The first conflict ends it, and this is as before.
    pub fn merge(&mut self, other: Self) -> Result<(), Box<Conflict>> {
        for (key, second) in &other.objects {
            if let Some(first) = self.objects.get(key)
                && first != second
            {
                return Err(Box::new(Conflict {
                    key: key.clone(),
                    first: first.clone(),
                    second: second.clone(),
                }));
            }
        }
        self.objects.extend(other.objects);
        Ok(())
    }

    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }

    /// In the order of their keys.
    pub fn objects(&self) -> &BTreeMap<Key, Object> {
        &self.objects
    }

    pub fn into_objects(self) -> BTreeMap<Key, Object> {
        self.objects
    }

    /// All of it under another mark than the default: for a second owner in the same network namespace.
    #[must_use]
    pub fn marked(mut self, mark: &Mark) -> Self {
        let objects = std::mem::take(&mut self.objects);
        for (_, object) in objects {
            self.insert(object.marked(mark));
        }
        self
    }

    pub fn link(&self, name: LinkName) -> Option<&Link> {
        match self.objects.get(&Key::Link(name)) {
            Some(Object::Link(link)) => Some(link),
            _ => None,
        }
    }
}

macro_rules! kinds {
    ($($method:ident: $kind:ident),* $(,)?) => {
        impl Network {
            $(
                pub fn $method(&self) -> impl Iterator<Item = &$kind> {
                    self.objects.values().filter_map(|object| match object {
                        Object::$kind(one) => Some(one),
                        _ => None,
                    })
                }
            )*
        }

        $(
            impl From<$kind> for Object {
                fn from(one: $kind) -> Self {
                    Self::$kind(one)
                }
            }
        )*

        impl fmt::Display for Object {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$kind(one) => one.fmt(f),)*
                }
            }
        }
    };
}

kinds! {
    links: Link,
    sysctls: Sysctl,
    addresses: Address,
    neighbours: Neighbour,
    forwards: Forward,
    routes: Route,
    rules: Rule,
}

impl Object {
    /// By what the kernel knows it.
    pub fn key(&self) -> Key {
        match self {
            Self::Link(link) => Key::Link(link.name),
            Self::Sysctl(sysctl) => Key::Sysctl(sysctl.key.clone()),
            Self::Address(address) => Key::Address {
                link: address.link,
                net: address.net,
            },
            Self::Neighbour(neighbour) => Key::Neighbour {
                link: neighbour.link,
                address: neighbour.address,
            },
            Self::Forward(forward) => {
                let several = forward.mac == MacAddr::ZERO || forward.mac.is_multicast();
                Key::Forward {
                    link: forward.link,
                    mac: forward.mac,
                    remote: several.then_some(forward.remote),
                }
            }
            Self::Route(route) => Key::Route {
                table: route.table,
                destination: route.destination,
                metric: route.metric,
            },
            Self::Rule(rule) => Key::Rule(*rule),
        }
    }

    fn normalised(mut self) -> Self {
        match &mut self {
            Self::Route(route) => route.normalise(),
            Self::Rule(rule) => rule.normalise(),
            _ => {}
        }
        self
    }

    pub(crate) fn marked(mut self, mark: &Mark) -> Self {
        match &mut self {
            Self::Link(link) => link.alias = Some(mark.alias().to_owned()),
            Self::Route(route) => route.protocol = mark.protocol(),
            Self::Rule(rule) => rule.protocol = mark.protocol(),
            _ => {}
        }
        self
    }
}

impl<T: Into<Object>> Extend<T> for Network {
    fn extend<I: IntoIterator<Item = T>>(&mut self, objects: I) {
        for object in objects {
            self.insert(object);
        }
    }
}

impl<T: Into<Object>> FromIterator<T> for Network {
    fn from_iter<I: IntoIterator<Item = T>>(objects: I) -> Self {
        let mut network = Self::new();
        network.extend(objects);
        network
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for object in self.objects.values() {
            writeln!(f, "{object}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link(name) => write!(f, "link {name}"),
            Self::Sysctl(key) => key.fmt(f),
            Self::Address { link, net } => write!(f, "address {net} dev {link}"),
            Self::Neighbour { link, address } => write!(f, "neighbour {address} dev {link}"),
            Self::Forward { link, mac, remote } => {
                write!(f, "fdb {mac} dev {link}")?;
                remote.map_or(Ok(()), |remote| write!(f, " dst {remote}"))
            }
            Self::Route {
                table,
                destination,
                metric,
            } => {
                write!(f, "route {destination} table {table} metric {metric}")
            }
            Self::Rule(rule) => rule.fmt(f),
        }
    }
}
