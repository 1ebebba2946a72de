//! From QNAME to what stands there.

use crate::authority::{Authority, Zone};
use crate::message::QueryName;
use crate::snapshot::{Place, Scope, Service, Snapshot};
use crate::targets::PortFilter;

/// What a name is.
pub(super) enum Found<'a> {
    /// The name does not exist.
    Missing,
    /// It exists without records: it stands above others, or is a namespace.
    Empty,
    Apex,
    NameServer,
    Version,
    /// A service, a cluster or a host of it.
    Scope {
        service: &'a Service,
        scope: &'a Scope,
    },
    /// `_port._proto` in front of a scope.
    Port {
        service: &'a Service,
        scope: &'a Scope,
        filter: PortFilter<'a>,
    },
}

/// The zone with the longest origin that QNAME is in, and with which label of QNAME the origin starts.
pub(super) fn zone(authority: &Authority, name: &QueryName) -> Option<(usize, usize)> {
    let zones = authority.zones().iter().zip(authority.zone_labels());
    zones.enumerate().find_map(|(index, (zone, labels))| {
        name.find_origin(&zone.origin, *labels)?;
        Some((index, name.labels() - labels))
    })
}

/// The part of QNAME that is a service's key, if there is such a service.
#[derive(Clone, Copy)]
pub(super) struct Key {
    start: usize,
    end: usize,
    pub(super) place: Place,
}

/// The key of the service that QNAME, whose part from label number `labels` on is the zone, is or stands below.
pub(super) fn key(name: &QueryName, labels: usize) -> Option<Key> {
    let first = labels.checked_sub(3)?;
    (name.label(labels - 1) == b"svc").then(|| {
        let (start, end) = (name.start(first), name.start(labels - 1));
        Key {
            start,
            end,
            place: Place::of(&name.as_bytes()[start..end]),
        }
    })
}

/// What stands at QNAME, whose part from label number `labels` on is the zone; `key` is what [`key`] gives.
pub(super) fn name<'a>(
    snapshot: &'a Snapshot,
    zone: &Zone,
    name: &'a QueryName,
    labels: usize,
    key: Option<Key>,
) -> Found<'a> {
    if let Some(Key { start, end, place }) = key {
        return match snapshot.service_at(place, &name.as_bytes()[start..end]) {
            Some(service) => below(service, &name.as_bytes()[..start], zone.strict),
            None => Found::Missing,
        };
    }
    let Some(last) = labels.checked_sub(1) else {
        return Found::Apex;
    };
    match (name.label(last), labels) {
        (b"svc" | b"pod" | b"dns", 1) => Found::Empty,
        (b"svc", 2) if snapshot.has_namespace(&name.as_bytes()[..name.start(1)]) => Found::Empty,
        (b"dns", 2) if name.label(0) == b"ns" => Found::NameServer,
        (b"dns-version", 1) => Found::Version,
        _ => Found::Missing,
    }
}

/// What stands at `prefix` in front of the service: a scope, or labels of a port in front of one.
fn below<'a>(service: &'a Service, prefix: &'a [u8], strict: bool) -> Found<'a> {
    let scope = |prefix| {
        service
            .scope(prefix)
            .filter(|scope: &&Scope| scope.exists(strict))
    };
    if let Some(scope) = scope(prefix) {
        return if scope.answers(strict) {
            Found::Scope { service, scope }
        } else {
            Found::Empty
        };
    }
    let Some((first, rest)) = split(prefix) else {
        return Found::Missing;
    };
    let with_ports = |prefix| scope(prefix).filter(|scope: &&Scope| scope.answers(strict));
    if let Some((second, rest)) = split(rest)
        && !first.is_empty()
        && let Some(scope) = with_ports(rest)
    {
        let filter = PortFilter {
            name: first,
            protocol: second,
        };
        if scope.has_port(service, |port| filter.admits(port)) {
            return Found::Port {
                service,
                scope,
                filter,
            };
        }
    }
    if let Some(scope) = with_ports(rest)
        && scope.has_port(service, |port| {
            !port.name.is_empty() && port.protocol.label().as_bytes() == first
        })
    {
        return Found::Empty;
    }
    Found::Missing
}

/// The first label without its underscore, and what follows.
fn split(prefix: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = prefix.split_first()?;
    let (label, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((label.strip_prefix(b"_").unwrap_or(label), rest))
}
