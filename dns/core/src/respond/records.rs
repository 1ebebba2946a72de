//! The Answer and Additional sections.

use std::net::IpAddr;

use super::Reply;
use super::find::Found;
use crate::authority::Zone;
use crate::edns;
use crate::ledger::{Ledger, Turn};
use crate::message::{HEADER, rtype};
use crate::select::{Chosen, Reach};
use crate::snapshot::{Addresses, Scope, ScopeKind, Service};
use crate::status::ClusterStatus;
use crate::targets::{PortFilter, Targets};
use crate::writer::{ADDRESS_HEAD, Section, Writer, fixed};

/// TTL of `dns-version`, seconds (multi-cluster DNS specification 2.2).
pub(crate) const VERSION_TTL: u32 = 28800;
/// RDATA of `dns-version`: the version of the specification.
pub(crate) const VERSION: &[u8] = b"\x051.0.0";
/// SRV priority and weight, as Lighthouse gives them.
pub(crate) const PRIORITY_AND_WEIGHT: [u8; 4] = [0, 0, 0, 50];
/// Where the target stands in an SRV record whose owner is a pointer.
const SRV_TARGET_AT: usize = 12 + 6;

/// What an answer depends on besides the name.
pub(super) struct Answering<'a> {
    pub(super) zone: &'a Zone,
    /// The zone as the client spelt it, root label included.
    pub(super) zone_name: &'a [u8],
    pub(super) zone_start: usize,
    pub(super) serial: u32,
    pub(super) status: &'a ClusterStatus,
    pub(super) ledger: &'a Ledger,
}

impl<'a> Answering<'a> {
    /// Writes the answer to `qtype`; `false` is NODATA.
    pub(super) fn answer(&self, reply: &mut Reply<'_, '_>, found: &Found<'_>, qtype: u16) -> bool {
        if qtype == rtype::ANY {
            // RFC 8482 section 4.1: one RRset will do.
            let types = [rtype::SOA, rtype::A, rtype::AAAA, rtype::SRV, rtype::TXT];
            return types.into_iter().any(|qtype| {
                // What the type before lacked says nothing of this one.
                reply.error = None;
                self.answer(reply, found, qtype)
            });
        }
        match (found, qtype) {
            (Found::Apex, rtype::SOA) => {
                reply.put_soa(self.zone, self.zone_start, Section::Answer, self.serial);
                true
            }
            (Found::Apex, rtype::NS) => {
                self.put_ns(reply);
                true
            }
            (Found::NameServer, rtype::A | rtype::AAAA) => self.put_name_server(reply, qtype),
            (Found::Version, rtype::TXT) => {
                reply.writer.put_question_name();
                reply
                    .writer
                    .put_fixed(rtype::TXT, VERSION_TTL, VERSION.len());
                reply.writer.put(VERSION);
                reply.writer.add_count(Section::Answer, 1);
                true
            }
            (Found::Scope { service, scope }, rtype::A) => {
                self.put_scope_addresses::<V4>(reply, service, scope)
            }
            (Found::Scope { service, scope }, rtype::AAAA) => {
                self.put_scope_addresses::<V6>(reply, service, scope)
            }
            (Found::Scope { service, scope }, rtype::SRV) => {
                self.put_srv(reply, service, scope, None)
            }
            (
                Found::Port {
                    service,
                    scope,
                    filter,
                },
                rtype::SRV,
            ) => self.put_srv(reply, service, scope, Some(*filter)),
            _ => false,
        }
    }

    fn reach(&self) -> Reach<'a> {
        Reach {
            status: self.status,
            lost: self.zone.lost_cluster,
        }
    }

    fn put_ns(&self, reply: &mut Reply<'_, '_>) {
        let Some(origin) = Writer::pointer(HEADER + self.zone_start) else {
            return;
        };
        reply.writer.put_question_name();
        reply.writer.put_fixed(rtype::NS, self.zone.ttl, 9);
        let name_server = Writer::pointer(reply.writer.len());
        reply.writer.put(b"\x02ns\x03dns");
        reply.writer.put(&origin);
        reply.writer.add_count(Section::Answer, 1);
        let Some(owner) = name_server else { return };
        for ip in &self.zone.name_server {
            let written = self.put_address(reply, owner, ip);
            reply.writer.add_count(Section::Additional, written);
        }
    }

    fn put_name_server(&self, reply: &mut Reply<'_, '_>, qtype: u16) -> bool {
        let mut any = false;
        for ip in &self.zone.name_server {
            if rtype_of(ip) == qtype {
                any = true;
                let written = self.put_address(reply, Writer::question_owner(), ip);
                reply.facts.truncated |= written == 0;
                reply.writer.add_count(Section::Answer, written);
            }
        }
        any
    }

    /// Writes one record if it fits; gives the number written.
    fn put_address(&self, reply: &mut Reply<'_, '_>, owner: [u8; 2], ip: &IpAddr) -> usize {
        let (rtype, ttl) = (rtype_of(ip), self.zone.ttl);
        match ip {
            IpAddr::V4(ip) => {
                let octets = &ip.octets();
                reply.writer.put_addresses::<V4>(owner, rtype, ttl, octets)
            }
            IpAddr::V6(ip) => {
                let octets = &ip.octets();
                reply.writer.put_addresses::<V6>(owner, rtype, ttl, octets)
            }
        }
    }

    fn put_scope_addresses<const WIDTH: usize>(
        &self,
        reply: &mut Reply<'_, '_>,
        service: &Service,
        scope: &Scope,
    ) -> bool {
        let turn = if WIDTH == V4 { Turn::A } else { Turn::Aaaa };
        let turn = || self.ledger.next(service.turn, turn);
        let (chosen, stale) = self.reach().choose(addresses::<WIDTH>(scope), turn);
        self.note(reply, service, scope, &chosen, stale);
        let total = count::<WIDTH>(&chosen);
        if total == 0 {
            return false;
        }
        // A lone record takes no turn, so that names of clusters do not disturb the service's own.
        let start = if total > 1 {
            turn() as usize % total
        } else {
            0
        };
        let owner = Writer::question_owner();
        let written = put::<WIDTH>(&mut reply.writer, owner, self.zone.ttl, &chosen, start);
        reply.writer.add_count(Section::Answer, written);
        reply.facts.truncated |= written < total;
        self.ledger
            .count(service.hits as usize + hit_of(scope, &chosen));
        true
    }

    /// Extended errors that tell an operator why an answer is empty or may be out of date.
    fn note(
        &self,
        reply: &mut Reply<'_, '_>,
        service: &Service,
        scope: &Scope,
        chosen: &Chosen<'_>,
        stale: bool,
    ) {
        match chosen {
            Chosen::Unreachable => reply.error = Some(edns::NO_REACHABLE_CLUSTER),
            Chosen::Unhealthy => reply.error = Some(edns::NO_HEALTHY_ENDPOINT),
            Chosen::None => {}
            _ if stale || self.is_lost(service, scope) => reply.error = Some(edns::STALE_ANSWER),
            _ => {}
        }
        reply.facts.cluster_name |= matches!(scope.kind, ScopeKind::Cluster { .. });
    }

    /// Whether the scope belongs to one cluster, and that is not connected.
    fn is_lost(&self, service: &Service, scope: &Scope) -> bool {
        scope.position().is_some_and(|position| {
            !self
                .status
                .is_connected(service.clusters[usize::from(position)])
        })
    }

    fn put_srv(
        &self,
        reply: &mut Reply<'_, '_>,
        service: &Service,
        scope: &Scope,
        filter: Option<PortFilter<'_>>,
    ) -> bool {
        let turn = self.ledger.next(service.turn, Turn::Srv);
        let targets = match Targets::choose(self.reach(), service, scope, filter, turn) {
            Ok(targets) => targets,
            Err(why) => {
                self.note(reply, service, scope, &why, false);
                return false;
            }
        };
        self.note(reply, service, scope, &Chosen::All(&[]), targets.stale);
        let (written, complete) = self.put_srv_records(reply, &targets, turn);
        if written == 0 && complete {
            return false;
        }
        reply.facts.truncated |= !complete;
        if complete {
            self.put_glue(reply, &targets, turn);
        }
        self.ledger
            .count(service.hits as usize + hit_of(scope, &Chosen::None));
        true
    }

    /// Octets of an SRV record with this target.
    fn srv_len(&self, service: &Service, target: &Scope) -> usize {
        SRV_TARGET_AT + target.prefix.len() + service.owner.len() + self.zone_name.len()
    }

    /// Writes the records; gives their number and whether all fitted.
    fn put_srv_records(
        &self,
        reply: &mut Reply<'_, '_>,
        targets: &Targets<'_>,
        start: u32,
    ) -> (usize, bool) {
        let service = &*targets.service.owner;
        let mut written = 0;
        let complete = targets.each(start, |target, ports| {
            let len = self.srv_len(targets.service, target);
            for port in targets.wanted(ports) {
                if reply.writer.room() < len {
                    return false;
                }
                let mut head = [0; SRV_TARGET_AT];
                head[..2].copy_from_slice(&Writer::question_owner());
                head[2..12].copy_from_slice(&fixed(rtype::SRV, self.zone.ttl, len - 12));
                head[12..16].copy_from_slice(&PRIORITY_AND_WEIGHT);
                head[16..].copy_from_slice(&port.number.to_be_bytes());
                reply.writer.put(&head);
                reply.writer.put(&target.prefix);
                reply.writer.put(service);
                reply.writer.put(self.zone_name);
                written += 1;
            }
            true
        });
        reply.writer.add_count(Section::Answer, written);
        (written, complete)
    }

    /// Writes each target's addresses once, whole RRsets, as long as there is room.
    fn put_glue(&self, reply: &mut Reply<'_, '_>, targets: &Targets<'_>, turn: u32) {
        // Records stand one after the other behind the question; the first of each target holds the
        // name that the glue's owner points to.
        let mut record = reply.question_end;
        targets.each(turn, |target, ports| {
            let count = targets.wanted(ports).count();
            let owner = Writer::pointer(record + SRV_TARGET_AT);
            record += count * self.srv_len(targets.service, target);
            let Some(owner) = owner.filter(|_| count > 0) else {
                return count == 0;
            };
            self.put_target_addresses::<V4>(reply, owner, target, turn)
                && self.put_target_addresses::<V6>(reply, owner, target, turn)
        });
    }

    /// Writes all of a family, or nothing where there is no room.
    fn put_target_addresses<const WIDTH: usize>(
        &self,
        reply: &mut Reply<'_, '_>,
        owner: [u8; 2],
        target: &Scope,
        turn: u32,
    ) -> bool {
        let (chosen, _) = self.reach().choose(addresses::<WIDTH>(target), || turn);
        let total = count::<WIDTH>(&chosen);
        if reply.writer.room() < total * (ADDRESS_HEAD + WIDTH) {
            return false;
        }
        let written = put::<WIDTH>(&mut reply.writer, owner, self.zone.ttl, &chosen, 0);
        reply.writer.add_count(Section::Additional, written);
        true
    }
}

/// Where a ledger counts an answer: 0 for no cluster in particular.
fn hit_of(scope: &Scope, chosen: &Chosen<'_>) -> usize {
    match (scope.position(), chosen) {
        (Some(position), _) => 1 + usize::from(position),
        (None, Chosen::One(candidate)) => 1 + usize::from(candidate.position),
        (None, _) => 0,
    }
}

/// Octets of an address: the two families.
const V4: usize = 4;
const V6: usize = 16;

fn rtype_of(ip: &IpAddr) -> u16 {
    if ip.is_ipv4() { rtype::A } else { rtype::AAAA }
}

/// The addresses of one family.
fn addresses<const WIDTH: usize>(scope: &Scope) -> &Addresses {
    if WIDTH == V4 { &scope.a } else { &scope.aaaa }
}

/// Records that `chosen` comes to.
fn count<const WIDTH: usize>(chosen: &Chosen<'_>) -> usize {
    match chosen {
        Chosen::None | Chosen::Unreachable | Chosen::Unhealthy => 0,
        Chosen::One(_) => 1,
        Chosen::All(rdata) => rdata.len() / WIDTH,
        Chosen::Union { groups, usable } => groups
            .iter()
            .filter(|group| usable.admits_any(&group.clusters))
            .map(|group| group.rdata.len() / WIDTH)
            .sum(),
    }
}

/// Writes all of `chosen` from record `start` on, round; as many as fit. Gives the number written.
fn put<const WIDTH: usize>(
    writer: &mut Writer<'_>,
    owner: [u8; 2],
    ttl: u32,
    chosen: &Chosen<'_>,
    start: usize,
) -> usize {
    let rtype = if WIDTH == V4 { rtype::A } else { rtype::AAAA };
    let mut put = |rdata: &[u8]| writer.put_addresses::<WIDTH>(owner, rtype, ttl, rdata);
    let split = start * WIDTH;
    match chosen {
        Chosen::None | Chosen::Unreachable | Chosen::Unhealthy => 0,
        Chosen::One(candidate) => put(&candidate.rdata[..WIDTH]),
        Chosen::All(rdata) => {
            let (before, from) = rdata.split_at(split);
            put(from) + put(before)
        }
        Chosen::Union { groups, usable } => {
            let mut written = 0;
            // Two rounds over the same groups: what stands at `split` and behind, then what stands before.
            for tail in [true, false] {
                let mut base = 0;
                let given = groups
                    .iter()
                    .filter(|group| usable.admits_any(&group.clusters));
                for group in given {
                    let rdata = &*group.rdata;
                    let cut = split.saturating_sub(base).min(rdata.len());
                    base += rdata.len();
                    written += put(if tail { &rdata[cut..] } else { &rdata[..cut] });
                }
            }
            written
        }
    }
}
