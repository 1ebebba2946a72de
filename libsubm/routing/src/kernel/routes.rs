//! Routes and rules.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteProtocol, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};

use super::addresses::family;
use super::links::Links;
use super::session::{Request, Session};
use crate::Error;
use crate::model::{Family, FwMark, NextHop, Route, Rule, Scope, Target};

/// The protocols of routes that nobody has to take over: the kernel's own, and those of router advertisements.
const KERNEL_AND_RA: [u8; 2] = [2, 9];

/// Which routes to list. The kernel leaves out the others; old ones do not.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Select {
    Protocol(u8),
    Table(u32),
    Device(u32),
}

impl Session {
    pub(crate) fn look_at_routes(
        &mut self,
        family: Family,
        select: Select,
    ) -> Result<Vec<Route>, Error> {
        let mut request = RouteMessage::default();
        request.header.address_family = address_family(family);
        match select {
            Select::Protocol(protocol) => request.header.protocol = protocol.into(),
            Select::Table(table) => request.attributes.push(RouteAttribute::Table(table)),
            Select::Device(index) => request.attributes.push(RouteAttribute::Oif(index)),
        }
        let request = RouteNetlinkMessage::GetRoute(request);
        let messages = match self.netlink.dump("routes", &request) {
            // A table without routes is none for some kernels.
            Err(error) if error.code() == Some(nix::errno::Errno::ENOENT) => Vec::new(),
            other => other?,
        };
        let selected = |route: &Route| match select {
            Select::Protocol(protocol) => route.protocol == protocol,
            Select::Table(table) => route.table == table,
            Select::Device(index) => {
                let name = self.links.name(index);
                !KERNEL_AND_RA.contains(&route.protocol)
                    && route.hops().iter().any(|hop| Some(hop.link) == name)
            }
        };
        let routes = messages.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRoute(message) => route(message, &self.links),
            _ => None,
        });
        Ok(routes.filter(selected).collect())
    }

    pub(crate) fn look_at_rules(&mut self, family: Family) -> Result<Vec<Rule>, Error> {
        let mut request = RuleMessage::default();
        request.header.family = address_family(family);
        let messages = self
            .netlink
            .dump("rules", &RouteNetlinkMessage::GetRule(request))?;
        let rules = messages.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewRule(message) => rule(message, family),
            _ => None,
        });
        Ok(rules.collect())
    }

    pub(crate) fn create_route(&self, route: &Route) -> Result<Request, Error> {
        // Another one with the same key is not ours: it is said, not replaced.
        Ok((
            RouteNetlinkMessage::NewRoute(self.route_message(route)?),
            NLM_F_CREATE | NLM_F_EXCL,
        ))
    }

    pub(crate) fn replace_route(&self, route: &Route) -> Result<Request, Error> {
        Ok((
            RouteNetlinkMessage::NewRoute(self.route_message(route)?),
            NLM_F_CREATE | NLM_F_REPLACE,
        ))
    }

    pub(crate) fn delete_route(&self, route: &Route) -> Result<Request, Error> {
        let mut message = self.route_message(route)?;
        // What it is known by, and its mark.
        message.attributes.retain(|attribute| {
            !matches!(
                attribute,
                RouteAttribute::PrefSource(_) | RouteAttribute::Metrics(_)
            )
        });
        if route.family() == Family::V6 {
            // All its next hops.
            message.attributes.retain(|attribute| {
                !matches!(
                    attribute,
                    RouteAttribute::MultiPath(_)
                        | RouteAttribute::Gateway(_)
                        | RouteAttribute::Oif(_)
                )
            });
        }
        Ok((RouteNetlinkMessage::DelRoute(message), 0))
    }

    fn route_message(&self, route: &Route) -> Result<RouteMessage, Error> {
        let mut message = RouteMessage::default();
        let (scope, kind) = match route.target {
            Target::Unicast(_) => (scope(route.scope), RouteType::Unicast),
            Target::Blackhole => (RouteScope::Universe, RouteType::BlackHole),
            Target::Unreachable => (RouteScope::Universe, RouteType::Unreachable),
            Target::Prohibit => (RouteScope::Universe, RouteType::Prohibit),
        };
        message.header = RouteHeader {
            address_family: family(&route.destination.addr()),
            destination_prefix_length: route.destination.prefix_len(),
            table: u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC),
            protocol: RouteProtocol::from(route.protocol),
            scope,
            kind,
            ..RouteHeader::default()
        };
        let attributes = &mut message.attributes;
        attributes.push(RouteAttribute::Table(route.table));
        if route.destination.prefix_len() > 0 {
            attributes.push(RouteAttribute::Destination(route.destination.addr().into()));
        }
        if route.metric != 0 {
            attributes.push(RouteAttribute::Priority(route.metric));
        }
        attributes.extend(
            route
                .source
                .map(|source| RouteAttribute::PrefSource(source.into())),
        );
        attributes.extend(
            route
                .mtu
                .map(|mtu| RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)])),
        );
        match route.hops() {
            [hop] => {
                attributes.push(RouteAttribute::Oif(self.links.index(hop.link)?));
                attributes.extend(gateway(hop, route.family()));
                if hop.onlink {
                    message.header.flags = RouteFlags::Onlink;
                }
            }
            [] => {}
            hops => {
                let hops = hops.iter().map(|hop| self.next_hop(hop, route.family()));
                attributes.push(RouteAttribute::MultiPath(hops.collect::<Result<_, _>>()?));
            }
        }
        Ok(message)
    }

    fn next_hop(&self, hop: &NextHop, family: Family) -> Result<RouteNextHop, Error> {
        let mut next = RouteNextHop::default();
        next.interface_index = self.links.index(hop.link)?;
        next.hops = u8::try_from(hop.weight.clamp(1, 256) - 1).unwrap_or(u8::MAX);
        if hop.onlink {
            next.flags = RouteNextHopFlags::Onlink;
        }
        next.attributes.extend(gateway(hop, family));
        Ok(next)
    }
}

fn gateway(hop: &NextHop, family: Family) -> Option<RouteAttribute> {
    Some(match (hop.gateway?, family) {
        (IpAddr::V6(gateway), Family::V4) => RouteAttribute::Via(RouteVia::Inet6(gateway)),
        (gateway, _) => RouteAttribute::Gateway(gateway.into()),
    })
}

/// `None`: a route of a form that we do not make, or of a device that is gone.
pub(crate) fn route(message: &RouteMessage, links: &Links) -> Option<Route> {
    let family = match message.header.address_family {
        netlink_packet_route::AddressFamily::Inet => Family::V4,
        netlink_packet_route::AddressFamily::Inet6 => Family::V6,
        _ => return None,
    };
    if message.header.tos != 0 || message.header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut destination = family.everything().addr();
    let mut table = u32::from(message.header.table);
    let mut metric = 0;
    let mut source = None;
    let mut mtu = None;
    let mut single = (None, None);
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => destination = ip(address)?,
            RouteAttribute::Table(number) => table = *number,
            RouteAttribute::Priority(priority) => metric = *priority,
            RouteAttribute::PrefSource(address) => source = ip(address),
            RouteAttribute::Oif(index) => single.0 = Some(*index),
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => single.1 = via(attribute),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            RouteAttribute::MultiPath(several) => {
                for next in several {
                    hops.push(NextHop {
                        link: links.name(next.interface_index)?,
                        gateway: next.attributes.iter().find_map(via),
                        weight: u16::from(next.hops) + 1,
                        onlink: next.flags.contains(RouteNextHopFlags::Onlink),
                    });
                }
            }
            _ => {}
        }
    }
    let target = match message.header.kind {
        RouteType::Unicast => {
            if hops.is_empty() {
                hops.push(NextHop {
                    link: links.name(single.0?)?,
                    gateway: single.1,
                    weight: 1,
                    onlink: message.header.flags.contains(RouteFlags::Onlink),
                });
            }
            Target::Unicast(hops)
        }
        RouteType::BlackHole => Target::Blackhole,
        RouteType::Unreachable => Target::Unreachable,
        RouteType::Prohibit => Target::Prohibit,
        _ => return None,
    };
    let destination = IpNet::new(destination, message.header.destination_prefix_length).ok()?;
    let mut route = Route::new(destination, target);
    route.table = table;
    route.metric = metric;
    route.source = source;
    route.mtu = mtu;
    route.protocol = message.header.protocol.into();
    route.scope = match message.header.scope {
        RouteScope::Universe => Scope::Universe,
        RouteScope::Link => Scope::Link,
        RouteScope::Host => Scope::Host,
        other => Scope::Other(other.into()),
    };
    route.normalise();
    Some(route)
}

fn via(attribute: &RouteAttribute) -> Option<IpAddr> {
    match attribute {
        RouteAttribute::Gateway(address) => ip(address),
        RouteAttribute::Via(RouteVia::Inet(address)) => Some((*address).into()),
        RouteAttribute::Via(RouteVia::Inet6(address)) => Some((*address).into()),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(address) => Some((*address).into()),
        RouteAddress::Inet6(address) => Some((*address).into()),
        _ => None,
    }
}

fn scope(scope: Scope) -> RouteScope {
    match scope {
        Scope::Universe => RouteScope::Universe,
        Scope::Link => RouteScope::Link,
        Scope::Host => RouteScope::Host,
        Scope::Other(number) => number.into(),
    }
}

pub(crate) fn address_family(family: Family) -> netlink_packet_route::AddressFamily {
    match family {
        Family::V4 => netlink_packet_route::AddressFamily::Inet,
        Family::V6 => netlink_packet_route::AddressFamily::Inet6,
    }
}

fn rule(message: &RuleMessage, family: Family) -> Option<Rule> {
    if message.header.action != RuleAction::ToTable {
        return None;
    }
    let mut rule = Rule::new(family, 0, u32::from(message.header.table));
    rule.protocol = 0;
    let mut mark = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RuleAttribute::Priority(priority) => rule.priority = *priority,
            RuleAttribute::Table(table) => rule.table = *table,
            RuleAttribute::Source(address) => {
                rule.from = Some(IpNet::new(*address, message.header.src_len).ok()?);
            }
            RuleAttribute::Destination(address) => {
                rule.to = Some(IpNet::new(*address, message.header.dst_len).ok()?);
            }
            RuleAttribute::FwMark(value) => mark.0 = Some(*value),
            RuleAttribute::FwMask(mask) => mark.1 = Some(*mask),
            RuleAttribute::Iifname(name) => rule.iif = Some(name.parse().ok()?),
            RuleAttribute::Oifname(name) => rule.oif = Some(name.parse().ok()?),
            RuleAttribute::Protocol(protocol) => rule.protocol = (*protocol).into(),
            _ => {}
        }
    }
    if let Some(mask) = mark.1.or(mark.0.map(|_| u32::MAX)) {
        rule.fwmark = Some(FwMark {
            value: mark.0.unwrap_or(0),
            mask,
        });
    }
    rule.normalise();
    Some(rule)
}

/// A rule to add or to delete. Others like it but for the protocol do not matter when one is added.
pub(crate) fn rule_request(rule: &Rule, add: bool) -> Request {
    let mut message = RuleMessage::default();
    message.header.family = address_family(rule.family);
    message.header.table = u8::try_from(rule.table).unwrap_or(0);
    message.header.action = RuleAction::ToTable;
    let attributes = &mut message.attributes;
    attributes.push(RuleAttribute::Priority(rule.priority));
    attributes.push(RuleAttribute::Table(rule.table));
    attributes.push(RuleAttribute::Protocol(rule.protocol.into()));
    if let Some(from) = rule.from {
        message.header.src_len = from.prefix_len();
        attributes.push(RuleAttribute::Source(from.addr()));
    }
    if let Some(to) = rule.to {
        message.header.dst_len = to.prefix_len();
        attributes.push(RuleAttribute::Destination(to.addr()));
    }
    if let Some(FwMark { value, mask }) = rule.fwmark {
        attributes.push(RuleAttribute::FwMark(value));
        attributes.push(RuleAttribute::FwMask(mask));
    }
    attributes.extend(
        rule.iif
            .map(|name| RuleAttribute::Iifname(name.to_string())),
    );
    attributes.extend(
        rule.oif
            .map(|name| RuleAttribute::Oifname(name.to_string())),
    );
    if add {
        (RouteNetlinkMessage::NewRule(message), NLM_F_CREATE)
    } else {
        (RouteNetlinkMessage::DelRule(message), 0)
    }
}

/// Device, gateway and source address of the answer to a lookup.
pub(crate) fn looked_up(
    message: &RouteMessage,
    links: &Links,
) -> Option<(crate::model::LinkName, Option<IpAddr>, Option<IpAddr>)> {
    let mut found = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => found.0 = links.name(*index),
            RouteAttribute::PrefSource(address) => found.2 = ip(address),
            other => found.1 = via(other).or(found.1),
        }
    }
    Some((found.0?, found.1, found.2))
}
