//! Every record of a zone but the SOA.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::authority::Zone;
use crate::message::rtype;
use crate::name::{self, MAX_NAME, push_label};
use crate::respond::records::{PRIORITY_AND_WEIGHT, VERSION, VERSION_TTL};
use crate::select::{Chosen, Reach};
use crate::snapshot::{Addresses, Scope, Service, Snapshot, SrvPort};
use crate::status::ClusterStatus;
use crate::targets::{PortFilter, Targets};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Record {
    /// Labels in front of the zone, wire form without a root label.
    pub(super) owner: Box<[u8]>,
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) rdata: Box<[u8]>,
}

/// Every record but the SOA, in no order.
pub(super) fn records(zone: &Zone, snapshot: &Snapshot, status: &ClusterStatus) -> Vec<Record> {
    let mut zone_records = ZoneRecords {
        zone,
        reach: Reach {
            status,
            lost: zone.lost_cluster,
        },
        records: BTreeSet::new(),
    };
    zone_records.fixed();
    for service in snapshot.all() {
        zone_records.service(service);
    }
    zone_records.records.into_iter().collect()
}

struct ZoneRecords<'a> {
    zone: &'a Zone,
    reach: Reach<'a>,
    records: BTreeSet<Record>,
}

impl<'a> ZoneRecords<'a> {
    fn put(&mut self, owner: &[u8], rtype: u16, ttl: u32, rdata: &[u8]) {
        if owner.len() + self.zone.origin.wire_len() <= MAX_NAME {
            self.records.insert(Record {
                owner: owner.into(),
                rtype,
                ttl,
                rdata: rdata.into(),
            });
        }
    }

    fn fixed(&mut self) {
        let zone = self.zone;
        let name_server = [b"\x02ns\x03dns", zone.origin.as_bytes()].concat();
        self.put(&[], rtype::NS, zone.ttl, &name_server);
        for ip in &zone.name_server {
            match ip {
                IpAddr::V4(ip) => self.put(b"\x02ns\x03dns", rtype::A, zone.ttl, &ip.octets()),
                IpAddr::V6(ip) => self.put(b"\x02ns\x03dns", rtype::AAAA, zone.ttl, &ip.octets()),
            }
        }
        self.put(b"\x0bdns-version", rtype::TXT, VERSION_TTL, VERSION);
    }

    fn service(&mut self, service: &'a Service) {
        let strict = self.zone.strict;
        for scope in service.scopes().filter(|scope| scope.answers(strict)) {
            let owner = owner(&scope.prefix, service);
            self.addresses(&owner, &scope.a, false);
            self.addresses(&owner, &scope.aaaa, true);
            self.srv(&scope.prefix, service, scope, None);
            let ports: BTreeSet<&SrvPort> = scope
                .port_lists(service)
                .flatten()
                .filter(|port| !port.name.is_empty())
                .collect();
            for port in ports {
                let filter = PortFilter {
                    name: &port.name,
                    protocol: port.protocol.label().as_bytes(),
                };
                for prefix in port_prefixes(port, &scope.prefix) {
                    if !service
                        .scope(&prefix)
                        .is_some_and(|scope| scope.exists(strict))
                    {
                        self.srv(&prefix, service, scope, Some(filter));
                    }
                }
            }
        }
    }

    fn addresses(&mut self, owner: &[u8], addresses: &'a Addresses, v6: bool) {
        let (rtype, width) = if v6 { (rtype::AAAA, 16) } else { (rtype::A, 4) };
        let ttl = self.zone.ttl;
        let reach = self.reach;
        let mut put = |rdata: &[u8]| {
            rdata
                .chunks_exact(width)
                .for_each(|rdata| self.put(owner, rtype, ttl, rdata));
        };
        if let Addresses::One(candidates) = addresses {
            for candidate in reach.in_turn(candidates) {
                put(&candidate.rdata[..width]);
            }
            return;
        }
        match reach.choose(addresses, || 0).0 {
            Chosen::All(rdata) => put(rdata),
            Chosen::Union { groups, usable } => {
                let given = groups
                    .iter()
                    .filter(|group| group.clusters.iter().any(|cluster| usable.admits(*cluster)));
                given.for_each(|group| put(&group.rdata));
            }
            Chosen::None | Chosen::Unreachable | Chosen::Unhealthy | Chosen::One(_) => {}
        }
    }

    fn srv(
        &mut self,
        prefix: &[u8],
        service: &'a Service,
        scope: &'a Scope,
        filter: Option<PortFilter<'_>>,
    ) {
        let owner = owner(prefix, service);
        let Ok(targets) = Targets::choose(self.reach, service, scope, filter, 0) else {
            return;
        };
        targets.each(0, |target, ports| {
            for port in targets.wanted(ports) {
                let mut rdata = PRIORITY_AND_WEIGHT.to_vec();
                rdata.extend_from_slice(&port.number.to_be_bytes());
                rdata.extend_from_slice(&self::owner(&target.prefix, service));
                rdata.extend_from_slice(self.zone.origin.as_bytes());
                self.put(&owner, rtype::SRV, self.zone.ttl, &rdata);
            }
            true
        });
    }
}

/// `<prefix>.<service>.<namespace>.svc`.
fn owner(prefix: &[u8], service: &Service) -> Vec<u8> {
    [prefix, &service.owner].concat()
}

/// The four spellings of a port's labels in front of `scope`: each underscore may be missing.
fn port_prefixes(port: &SrvPort, scope: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    [(true, true), (true, false), (false, true), (false, false)]
        .into_iter()
        .filter_map(move |underscores| {
            let mut prefix = Vec::new();
            for (label, underscore) in [
                (&*port.name, underscores.0),
                (port.protocol.label().as_bytes(), underscores.1),
            ] {
                let label = if underscore {
                    [b"_", label].concat()
                } else {
                    label.to_vec()
                };
                if label.len() > name::MAX_LABEL {
                    return None;
                }
                push_label(&mut prefix, &label);
            }
            prefix.extend_from_slice(scope);
            Some(prefix)
        })
}

impl Record {
    /// Type and RDATA as a master file has them.
    pub(super) fn text(&self, zone: &Zone) -> String {
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = self.write_text(zone, &mut text);
        text
    }

    fn write_text(&self, zone: &Zone, out: &mut String) -> std::fmt::Result {
        let rdata = &*self.rdata;
        match self.rtype {
            rtype::SOA => {
                let names = rdata.len() - 20;
                write!(
                    out,
                    "SOA ns.dns.{origin} hostmaster.{origin}",
                    origin = zone.origin
                )?;
                for number in rdata[names..].chunks_exact(4) {
                    write!(
                        out,
                        " {}",
                        u32::from_be_bytes([number[0], number[1], number[2], number[3]])
                    )?;
                }
                Ok(())
            }
            rtype::NS => {
                out.push_str("NS ");
                name::write_text(rdata, out)
            }
            rtype::A => match <[u8; 4]>::try_from(rdata) {
                Ok(octets) => write!(out, "A {}", Ipv4Addr::from(octets)),
                Err(_) => Ok(()),
            },
            rtype::AAAA => match <[u8; 16]>::try_from(rdata) {
                Ok(octets) => write!(out, "AAAA {}", Ipv6Addr::from(octets)),
                Err(_) => Ok(()),
            },
            rtype::TXT => write!(out, "TXT \"{}\"", String::from_utf8_lossy(&rdata[1..])),
            _ => {
                out.push_str("SRV");
                for number in rdata[..6].chunks_exact(2) {
                    write!(out, " {}", u16::from_be_bytes([number[0], number[1]]))?;
                }
                out.push(' ');
                name::write_text(&rdata[6..], out)
            }
        }
    }
}
