//! In which order a network is changed, and what goes with a device that goes.

use std::collections::{BTreeMap, BTreeSet};

use subm_reconcile::{Change, Plan, diff};

use crate::model::{Key, Link, LinkKind, LinkName, Object, Vxlan};

type Objects = BTreeMap<Key, Object>;

impl subm_reconcile::Key for Key {
    /// Parameters of all devices, devices, their parameters, addresses, neighbours, forwarding entries, then routes, then rules.
    ///
    /// Some devices change a parameter of all when they are made (WireGuard: `send_redirects`). What it was before can be
    /// remembered before them only, and put back after they are gone.
    fn rank(&self) -> u8 {
        match self {
            Self::Sysctl(key) if key.link().is_none() => 0,
            Self::Link(_) => 1,
            Self::Sysctl(_) => 2,
            Self::Address { .. } => 3,
            Self::Neighbour { .. } => 4,
            Self::Forward { .. } => 5,
            Self::Route { .. } => 6,
            Self::Rule(_) => 7,
        }
    }
}

/// What differs, in the order in which a kernel takes it.
///
/// It is [`diff`] with what a kernel does by itself: with a device go its parameters, addresses, neighbours, forwarding
/// entries and routes, so those need no removal of their own.
///
/// Additions and changes come before removals (make before break), but for devices that are in the way of others: one that
/// has to be replaced (see [`replaces`]; the new one has the same name), and a VXLAN device with the identifier and port of a
/// new one. They are removed first, and what they carried is made anew: traffic through them is interrupted for as long as
/// the plan takes.
pub fn plan(desired: &Objects, observed: &Objects) -> Plan<Key, Object> {
    let first = in_the_way(desired, observed);
    let removed: Vec<_> = observed
        .iter()
        .filter(|(_, object)| matches!(object, Object::Link(link) if first.contains(&link.name)))
        .filter(|(_, object)| !goes_with(object, &first))
        .map(|(key, object)| Change::Delete {
            key: key.clone(),
            from: object.clone(),
        })
        .collect();
    let last = no_longer_desired(desired, observed);
    let observed: Objects = observed
        .iter()
        .filter(|(key, object)| {
            let gone = matches!(object, Object::Link(link) if first.contains(&link.name))
                || goes_with(object, &first);
            let goes = !desired.contains_key(*key) && goes_with(object, &last);
            !gone
                && !goes
                && !is_end_of_desired(object, desired)
                && !is_forgotten(object, desired, observed)
        })
        .map(|(key, object)| (key.clone(), resolved(object, desired.get(key))))
        .collect();
    let mut changes: Vec<_> = diff(desired, &observed).into_iter().collect();
    changes.sort_by_key(|change| {
        let rank = i32::from(subm_reconcile::Key::rank(change.key()));
        let after = i32::from(needs_others(change.to().or(change.from())));
        if change.is_delete() {
            (1, -rank, -after)
        } else {
            (0, rank, after)
        }
    });
    removed.into_iter().chain(changes).collect()
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

/// The observed devices that have to go before others can be made.
fn in_the_way(desired: &Objects, observed: &Objects) -> BTreeSet<LinkName> {
    let identifiers: BTreeMap<_, _> = desired
        .values()
        .filter_map(|object| vxlan(Some(object)))
        .map(|(link, vxlan)| ((vxlan.id, vxlan.port), link.name))
        .collect();
    let mut names = BTreeSet::new();
    for object in observed.values() {
        let Object::Link(link) = object else { continue };
        let replaced = matches!(
            desired.get(&Key::Link(link.name)),
            Some(Object::Link(to)) if replaces(link, to)
        );
        let taken = vxlan(Some(object)).is_some_and(|(_, vxlan)| {
            identifiers
                .get(&(vxlan.id, vxlan.port))
                .is_some_and(|owner| *owner != link.name)
        });
        // Its other end has a name that something else is to have.
        let named = matches!(link.kind, LinkKind::Veth { peer } if matches!(
            desired.get(&Key::Link(peer)),
            Some(Object::Link(to)) if to.kind != LinkKind::Veth { peer: link.name }
        ));
        if replaced || taken || named {
            insert_with_peer(&mut names, link);
        }
    }
    names
}

/// The observed devices that are removed because nobody wants them. Those that others make are given back, not removed.
fn no_longer_desired(desired: &Objects, observed: &Objects) -> BTreeSet<LinkName> {
    let mut names = BTreeSet::new();
    for object in observed.values() {
        if let Object::Link(link) = object
            && link.kind != LinkKind::External
            && !desired.contains_key(&Key::Link(link.name))
            && !is_end_of_desired(object, desired)
        {
            insert_with_peer(&mut names, link);
        }
    }
    names
}

fn insert_with_peer(names: &mut BTreeSet<LinkName>, link: &Link) {
    names.insert(link.name);
    if let LinkKind::Veth { peer } = link.kind {
        names.insert(peer);
    }
}

/// Whether it is the end of a pair of which only the other end is desired: it stays as long as that one.
fn is_end_of_desired(object: &Object, desired: &Objects) -> bool {
    let Object::Link(Link {
        name,
        kind: LinkKind::Veth { peer },
        ..
    }) = object
    else {
        return false;
    };
    !desired.contains_key(&Key::Link(*name))
        && matches!(
            desired.get(&Key::Link(*peer)),
            Some(Object::Link(Link { kind: LinkKind::Veth { peer }, .. })) if peer == name
        )
}

/// Whether it is a neighbour on a device whose hardware address changes: the kernel forgets all of them.
fn is_forgotten(object: &Object, desired: &Objects, observed: &Objects) -> bool {
    let Object::Neighbour(neighbour) = object else {
        return false;
    };
    let key = Key::Link(neighbour.link);
    match (desired.get(&key), observed.get(&key)) {
        (Some(Object::Link(to)), Some(Object::Link(from))) => {
            to.mac.is_some() && to.mac != from.mac
        }
        _ => false,
    }
}

/// Whether the kernel removes `object` with one of the devices in `gone`. The devices themselves it does not, but for the
/// second end of a pair.
fn goes_with(object: &Object, gone: &BTreeSet<LinkName>) -> bool {
    match object {
        Object::Link(Link {
            name,
            kind: LinkKind::Veth { peer },
            ..
        }) => gone.contains(peer) && gone.contains(name) && peer < name,
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
