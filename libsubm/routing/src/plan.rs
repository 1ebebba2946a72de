//! In which order a network is changed, and what goes with a device that goes.

use std::collections::{BTreeMap, BTreeSet};

use subm_reconcile::{Change, Plan, diff};

use crate::model::{Key, Link, LinkKind, LinkName, Object, Vxlan};

type Objects = BTreeMap<Key, Object>;

impl subm_reconcile::Key for Key {
    /// Devices, their parameters, addresses, neighbours, forwarding entries, then routes, then rules.
    fn rank(&self) -> u8 {
        match self {
            Self::Link(_) => 0,
            Self::Sysctl(_) => 1,
            Self::Address { .. } => 2,
            Self::Neighbour { .. } => 3,
            Self::Forward { .. } => 4,
            Self::Route { .. } => 5,
            Self::Rule(_) => 6,
        }
    }
}

/// What differs, in the order in which a kernel takes it.
///
/// It is [`diff`] with what a kernel does by itself: with a device go its parameters, addresses, neighbours, forwarding
/// entries and routes. So those of a device that goes are not removed one by one, and those of a device that is replaced
/// (see [`replaces`]) are made anew.
///
/// Additions come before removals, but for one case: a VXLAN device that goes before another with the same identifier and
/// port can be made. A replaced device has its name and so is removed before it is made; what it carried is interrupted.
pub fn plan(desired: &Objects, observed: &Objects) -> Plan<Key, Object> {
    let gone = gone(desired, observed);
    let observed: Objects = observed
        .iter()
        .filter(|(_, object)| !goes_with(object, &gone))
        .map(|(key, object)| (key.clone(), resolved(object, desired.get(key))))
        .collect();
    let mut changes: Vec<_> = diff(desired, &observed).into_iter().collect();
    let made: BTreeSet<_> = changes
        .iter()
        .filter_map(|change| vxlan(change.to()))
        .map(|(_, vxlan)| (vxlan.id, vxlan.port))
        .collect();
    changes.sort_by_key(|change| {
        let rank = i32::from(subm_reconcile::Key::rank(change.key()));
        let after = i32::from(needs_others(change.to().or(change.from())));
        match change {
            Change::Delete { from, .. } => {
                let in_the_way = vxlan(Some(from))
                    .is_some_and(|(_, vxlan)| made.contains(&(vxlan.id, vxlan.port)));
                if in_the_way {
                    (0, 0, 0)
                } else {
                    (2, -rank, -after)
                }
            }
            Change::Create { .. } | Change::Update { .. } => (1, rank, after),
        }
    });
    changes.into_iter().collect()
}

/// Whether `from` cannot be changed into `to`, so that it has to be removed and made anew: another kind, another identifier,
/// port, lower device or address family of a VXLAN, another peer of a veth pair.
///
/// What can be changed in place: MTU, hardware address, mark, up or down; remote and local address of a VXLAN, whether it learns.
pub fn replaces(from: &Link, to: &Link) -> bool {
    match (&from.kind, &to.kind) {
        (LinkKind::Vxlan(from), LinkKind::Vxlan(to)) => {
            (from.id, from.port, from.device) != (to.id, to.port, to.device)
                || is_v6(from) != is_v6(to)
                // The kernel has no word for "none any more".
                || from.local.is_some() && to.local.is_none()
                || from.remote.is_some() && to.remote.is_none()
        }
        (from, to) => from != to,
    }
}

fn is_v6(vxlan: &Vxlan) -> bool {
    vxlan
        .local
        .or(vxlan.remote)
        .is_some_and(|address| address.is_ipv6())
}

/// The observed devices that will not be there any more at some point of the plan.
fn gone(desired: &Objects, observed: &Objects) -> BTreeSet<LinkName> {
    let mut gone = BTreeSet::new();
    for object in observed.values() {
        let Object::Link(link) = object else { continue };
        let stays = match desired.get(&Key::Link(link.name)) {
            Some(Object::Link(to)) => !replaces(link, to),
            _ => false,
        };
        if !stays {
            gone.insert(link.name);
            if let LinkKind::Veth { peer } = link.kind {
                gone.insert(peer);
            }
        }
    }
    gone
}

/// Whether the kernel removes `object` with one of the devices in `gone`. The devices themselves stay in the plan, but for the
/// other end of a pair.
fn goes_with(object: &Object, gone: &BTreeSet<LinkName>) -> bool {
    match object {
        Object::Link(Link {
            name,
            kind: LinkKind::Veth { peer },
            ..
        }) => {
            // Of two ends that both go, the first is removed and takes the other along.
            gone.contains(peer) && gone.contains(name) && peer < name
        }
        Object::Link(_) | Object::Rule(_) => false,
        Object::Sysctl(sysctl) => sysctl.key.link().is_some_and(|link| gone.contains(&link)),
        Object::Address(address) => gone.contains(&address.link),
        Object::Neighbour(neighbour) => gone.contains(&neighbour.link),
        Object::Forward(forward) => gone.contains(&forward.link),
        Object::Route(route) => route.hops().iter().any(|hop| gone.contains(&hop.link)),
    }
}

/// What is left to the kernel is no difference.
fn resolved(observed: &Object, desired: Option<&Object>) -> Object {
    let mut observed = observed.clone();
    if let (Object::Link(observed), Some(Object::Link(desired))) = (&mut observed, desired) {
        if desired.mtu.is_none() {
            observed.mtu = None;
        }
        if desired.mac.is_none() {
            observed.mac = None;
        }
    }
    observed
}

/// Whether it comes after others of its kind: a route through a gateway after routes to gateways, a device on top of another.
fn needs_others(object: Option<&Object>) -> bool {
    match object {
        Some(Object::Route(route)) => route.hops().iter().any(|hop| hop.gateway.is_some()),
        Some(Object::Link(Link {
            kind: LinkKind::Vxlan(vxlan),
            ..
        })) => vxlan.device.is_some(),
        _ => false,
    }
}

fn vxlan(object: Option<&Object>) -> Option<(&Link, &Vxlan)> {
    match object {
        Some(Object::Link(link)) => match &link.kind {
            LinkKind::Vxlan(vxlan) => Some((link, vxlan)),
            _ => None,
        },
        _ => None,
    }
}

/// The devices without which a change cannot be made.
pub(crate) fn needs(change: &Change<Key, Object>) -> Vec<Key> {
    let links: Vec<LinkName> = match change {
        Change::Delete { .. } => Vec::new(),
        Change::Create { to, .. } | Change::Update { to, .. } => match to {
            Object::Link(Link {
                kind: LinkKind::Vxlan(vxlan),
                ..
            }) => vxlan.device.into_iter().collect(),
            Object::Link(_) | Object::Rule(_) => Vec::new(),
            Object::Sysctl(sysctl) => sysctl.key.link().into_iter().collect(),
            Object::Address(address) => vec![address.link],
            Object::Neighbour(neighbour) => vec![neighbour.link],
            Object::Forward(forward) => vec![forward.link],
            Object::Route(route) => route.hops().iter().map(|hop| hop.link).collect(),
        },
    };
    links.into_iter().map(Key::Link).collect()
}

#[cfg(test)]
mod tests;
