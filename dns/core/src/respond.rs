//! Query bytes to reply bytes. No allocation, no lock, no clock, no socket.

mod find;
mod prepare;
pub(crate) mod records;

use std::net::IpAddr;

use crate::authority::{Authority, Zone};
use crate::edns::{self, ExtendedError};
use crate::ledger::Ledger;
use crate::message::{Edns, HEADER, Malformed, class, rcode, rtype};
use crate::name::WireName;
use crate::serial;
use crate::snapshot::Snapshot;
use crate::status::ClusterStatus;
use crate::writer::{Section, Writer, fixed};

use find::Found;
pub use prepare::Prepared;
use records::Answering;

/// What the transport knows about a query.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub transport: Transport,
    pub client: IpAddr,
    /// Seconds since the epoch, for cookies; a value up to some seconds old will do.
    pub now: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Https,
    Quic,
}

impl Transport {
    fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Quic)
    }
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply stands in `out[..len]`.
    Reply { len: usize, facts: Facts },
    /// No answer: not a query, or too short to have an id.
    Ignore,
    /// The name does not exist here and falls through to the next plugin. `out[..len]` holds the
    /// answer that is due where there is none (SERVFAIL, as CoreDNS has it).
    FallThrough { len: usize, facts: Facts },
    /// AXFR or IXFR of `authority.zones()[zone]` over a stream; see [`crate::transfer`]. `out[..len]` holds
    /// REFUSED, the answer for whoever may not.
    Transfer {
        zone: usize,
        len: usize,
        facts: Facts,
    },
}

/// What counters and logs want to know about a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Extended response code (BADVERS is 16).
    pub rcode: u16,
    /// 0 where the question was not read.
    pub qtype: u16,
    /// Index into `authority.zones()`.
    pub zone: Option<u16>,
    /// The query asked for DNSSEC records (DO).
    pub dnssec_ok: bool,
    pub truncated: bool,
    /// A `<cluster>.<service>` name, which KEP-1645 reserves, existed and was asked for.
    pub cluster_name: bool,
}

/// Answers `query` from `snapshot` and `status` into `out`, which holds at least 512 octets; 65,535 for
/// streams.
///
/// `snapshot` is `None` until everything has been read once: the answer is then SERVFAIL with extended
/// error 14, Not Ready.
pub fn respond(
    authority: &Authority,
    snapshot: Option<&Snapshot>,
    status: &ClusterStatus,
    bytes: &[u8],
    ask: &Ask,
    ledger: &Ledger,
    out: &mut [u8],
) -> Outcome {
    let mut prepared = Prepared::default();
    prepared.read(authority, bytes);
    prepared.answer(authority, snapshot, status, bytes, ask, ledger, out)
}

impl Prepared {
    /// [`respond()`] for a query that has been read.
    #[expect(clippy::too_many_arguments, reason = "those of respond()")]
    pub fn answer(
        &self,
        authority: &Authority,
        snapshot: Option<&Snapshot>,
        status: &ClusterStatus,
        bytes: &[u8],
        ask: &Ask,
        ledger: &Ledger,
        out: &mut [u8],
    ) -> Outcome {
        let name = &self.name;
        let query = match &self.query {
            Ok(query) => query,
            Err(Malformed::Silence) => return Outcome::Ignore,
            Err(Malformed::Header { opcode }) => return header_only(bytes, *opcode, out),
        };
        let limit = match (ask.transport, &query.edns) {
            (Transport::Udp, Some(edns)) => edns.udp_size.clamp(512, authority.udp_limit.max(512)),
            (Transport::Udp, None) => 512,
            _ => u16::MAX,
        };
        let options = query
            .edns
            .as_ref()
            .map_or(0, |edns| opt_len(authority, edns, ask));
        let mut reply = Reply {
            authority,
            ask,
            edns: query.edns,
            opt_len: options,
            question_end: query.question_end,
            error: None,
            writer: Writer::new(
                out,
                &bytes[..query.question_end],
                usize::from(limit).saturating_sub(options),
            ),
            facts: Facts {
                qtype: query.qtype,
                dnssec_ok: query.edns.is_some_and(|edns| edns.dnssec_ok),
                ..Facts::default()
            },
            // QR, the opcode and RD; CD in the second octet. AA comes with a zone.
            flags: [0x80 | bytes[2] & 0x79, bytes[3] & 0x10],
        };
        if query.opcode != 0 {
            return reply.finish(rcode::NOTIMP);
        }
        if query.edns.is_some_and(|edns| edns.version != 0) {
            return reply.finish(rcode::BADVERS);
        }
        if query.qclass != class::IN {
            return reply.chaos(name.as_bytes(), query.qclass, query.qtype);
        }
        let Some((index, zone_label)) = self.zone else {
            reply.error = Some(edns::NOT_AUTHORITATIVE);
            return reply.finish(rcode::REFUSED);
        };
        reply.facts.zone = Some(index as u16);
        let Some(snapshot) = snapshot else {
            reply.error = Some(edns::NOT_READY);
            return reply.finish(rcode::SERVFAIL);
        };
        let zone = &authority.zones()[index];
        let zone_start = name.start(zone_label);
        if matches!(query.qtype, rtype::AXFR | rtype::IXFR) {
            let apex = zone_start == 0;
            let over_udp = ask.transport == Transport::Udp;
            return match (over_udp, query.qtype) {
                (false, _) => reply.transfer(index, apex),
                (true, rtype::IXFR) if apex => {
                    reply.flags[0] |= 0x04;
                    reply.put_soa(
                        zone,
                        zone_start,
                        Section::Answer,
                        serial::newest(snapshot.serial, status.serial),
                    );
                    reply.finish(rcode::NOERROR)
                }
                (true, _) => reply.finish(rcode::FORMERR),
            };
        }
        reply.flags[0] |= 0x04;
        let found = find::name(snapshot, zone, name, zone_label, self.key);
        let serial = serial::newest(snapshot.serial, status.serial);
        if matches!(found, Found::Missing) {
            let within =
                |origin: &WireName| name.find_origin(origin, origin.labels().count()).is_some();
            if zone.fallthrough.iter().any(within) {
                reply.flags[0] &= !0x04;
                return match reply.finish(rcode::SERVFAIL) {
                    Outcome::Reply { len, facts } => Outcome::FallThrough { len, facts },
                    other => other,
                };
            }
            reply.put_soa(zone, zone_start, Section::Authority, serial);
            return reply.finish(rcode::NXDOMAIN);
        }
        let zone_name = &bytes[HEADER + zone_start..HEADER + name.as_bytes().len()];
        let answering = Answering {
            zone,
            zone_name,
            zone_start,
            serial,
            status,
            ledger,
        };
        if !answering.answer(&mut reply, &found, query.qtype) {
            reply.put_soa(zone, zone_start, Section::Authority, serial);
        }
        reply.finish(rcode::NOERROR)
    }
}

/// FORMERR, or NOTIMP for an opcode whose messages we do not know: the header alone.
fn header_only(bytes: &[u8], opcode: u8, out: &mut [u8]) -> Outcome {
    let rcode = if opcode == 0 {
        rcode::FORMERR
    } else {
        rcode::NOTIMP
    };
    out[..HEADER].copy_from_slice(&bytes[..HEADER]);
    out[2] = 0x80 | bytes[2] & 0x79;
    out[3] = bytes[3] & 0x10 | rcode as u8;
    out[4..HEADER].fill(0);
    Outcome::Reply {
        len: HEADER,
        facts: Facts {
            rcode,
            ..Facts::default()
        },
    }
}

/// Octets of the OPT record that the reply will have, extended error aside.
fn opt_len(authority: &Authority, edns: &Edns, ask: &Ask) -> usize {
    let nsid = authority
        .nsid
        .as_ref()
        .filter(|_| edns.nsid)
        .map_or(0, |nsid| 4 + nsid.len());
    let cookie = if authority.cookies.is_some() && edns.client_cookie.is_some() {
        4 + 24
    } else {
        0
    };
    let keepalive = keepalive(authority, edns, ask).map_or(0, |_| 4 + 2);
    11 + nsid + cookie + keepalive
}

fn keepalive(authority: &Authority, edns: &Edns, ask: &Ask) -> Option<u16> {
    authority
        .keepalive
        .filter(|_| edns.keepalive && matches!(ask.transport, Transport::Tcp | Transport::Tls))
}

/// A reply under construction.
pub(crate) struct Reply<'r, 'o> {
    authority: &'r Authority,
    ask: &'r Ask,
    edns: Option<Edns>,
    opt_len: usize,
    /// Where records start.
    question_end: usize,
    error: Option<ExtendedError>,
    writer: Writer<'o>,
    facts: Facts,
    flags: [u8; 2],
}

impl Reply<'_, '_> {
    fn finish(mut self, rcode: u16) -> Outcome {
        self.facts.rcode = rcode;
        if let Some(edns) = self.edns {
            self.put_opt(&edns, rcode);
        }
        let truncated = if self.facts.truncated { 0x02 } else { 0 };
        self.writer.finish([
            self.flags[0] | truncated,
            self.flags[1] | (rcode & 0x0f) as u8,
        ]);
        Outcome::Reply {
            len: self.writer.len(),
            facts: self.facts,
        }
    }

    fn transfer(mut self, zone: usize, apex: bool) -> Outcome {
        self.error = Some(edns::PROHIBITED);
        match self.finish(rcode::REFUSED) {
            Outcome::Reply { len, facts } if apex => Outcome::Transfer { zone, len, facts },
            other => other,
        }
    }

    /// `version.bind` and its kin, hidden unless configured; other classes are not ours.
    fn chaos(mut self, name: &[u8], qclass: u16, qtype: u16) -> Outcome {
        let text = match name {
            b"\x07version\x04bind\0" | b"\x07version\x06server\0" => &self.authority.version,
            b"\x08hostname\x04bind\0" | b"\x02id\x06server\0" => &self.authority.server_id,
            _ => &None,
        };
        let Some(text) = text
            .as_ref()
            .filter(|_| qclass == class::CHAOS && qtype == rtype::TXT)
        else {
            self.error = Some(edns::NOT_AUTHORITATIVE);
            return self.finish(rcode::REFUSED);
        };
        let text = &text.as_bytes()[..text.len().min(255)];
        if self.writer.room() >= 13 + text.len() {
            self.writer.put_question_name();
            let mut fixed = [0, 16, 0, 3, 0, 0, 0, 0, 0, 0, text.len() as u8];
            fixed[8..10].copy_from_slice(&(text.len() as u16 + 1).to_be_bytes());
            self.writer.put(&fixed);
            self.writer.put(text);
            self.writer.add_count(Section::Answer, 1);
        } else {
            self.facts.truncated = true;
        }
        self.finish(rcode::NOERROR)
    }

    /// The SOA of the zone, whose name starts at `zone_start` of QNAME; its TTL is the negative one
    /// everywhere (RFC 2308 section 5).
    fn put_soa(&mut self, zone: &Zone, zone_start: usize, section: Section, serial: u32) {
        /// Refresh, retry, expire; seconds.
        const TIMERS: [u32; 3] = [7200, 1800, 86400];
        const NAMES: usize = b"\x02ns\x03dns".len() + 2 + b"\x0ahostmaster".len() + 2;
        const SIZE: usize = 12 + NAMES + 20;
        let Some(origin) = Writer::pointer(HEADER + zone_start) else {
            return;
        };
        if self.writer.room() < SIZE {
            self.facts.truncated = true;
            return;
        }
        let mut record = [0; SIZE];
        let mut rest = &mut record[..];
        let mut put = |octets: &[u8]| {
            let (to, behind) = std::mem::take(&mut rest).split_at_mut(octets.len());
            to.copy_from_slice(octets);
            rest = behind;
        };
        put(&origin);
        put(&fixed(rtype::SOA, negative_ttl(zone), SIZE - 12));
        put(b"\x02ns\x03dns");
        put(&origin);
        put(b"\x0ahostmaster");
        put(&origin);
        put(&serial.to_be_bytes());
        for timer in TIMERS {
            put(&timer.to_be_bytes());
        }
        put(&zone.ttl.to_be_bytes());
        self.writer.put(&record);
        self.writer.add_count(section, 1);
    }

    /// RFC 6891 section 6.1: root, OPT, our UDP size, extended rcode, version 0, DO.
    fn put_opt(&mut self, edns: &Edns, rcode: u16) {
        let start = self.writer.len();
        self.writer.extend_limit(self.opt_len);
        let udp_size = self.authority.udp_limit.to_be_bytes();
        let flags = if edns.dnssec_ok { 0x80 } else { 0 };
        self.writer.put(&[
            0,
            0,
            rtype::OPT as u8,
            udp_size[0],
            udp_size[1],
            (rcode >> 4) as u8,
            0,
            flags,
            0,
            0,
            0,
        ]);
        if let Some(nsid) = self.authority.nsid.as_ref().filter(|_| edns.nsid) {
            self.put_option(edns::NSID, &[nsid]);
        }
        if let (Some(secret), Some(client)) = (&self.authority.cookies, edns.client_cookie) {
            let server = secret.server_cookie(client, self.ask.client, self.ask.now);
            self.put_option(edns::COOKIE, &[&client, &server]);
        }
        if let Some(timeout) = keepalive(self.authority, edns, self.ask) {
            self.put_option(edns::KEEPALIVE, &[&timeout.to_be_bytes()]);
        }
        if let Some(error) = self.error {
            let code = error.code.to_be_bytes();
            if self.writer.room() >= 6 + error.text.len() {
                self.put_option(edns::EXTENDED_ERROR, &[&code, error.text.as_bytes()]);
            } else if self.writer.room() >= 6 {
                self.put_option(edns::EXTENDED_ERROR, &[&code]);
            }
        }
        if edns.padding && self.ask.transport.is_encrypted() {
            self.put_padding();
        }
        let rdlen = self.writer.len() - start - 11;
        self.writer.patch(start + 9, (rdlen as u16).to_be_bytes());
        self.writer.add_count(Section::Additional, 1);
    }

    fn put_option(&mut self, code: u16, parts: &[&[u8]]) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        self.writer.put(&code.to_be_bytes());
        self.writer.put(&(len as u16).to_be_bytes());
        for part in parts {
            self.writer.put(part);
        }
    }

    /// RFC 8467 section 4.1: encrypted replies in blocks of 468 octets.
    fn put_padding(&mut self) {
        const BLOCK: usize = 468;
        const ZEROS: [u8; BLOCK] = [0; BLOCK];
        let unpadded = self.writer.len() + 4;
        let padding = unpadded.next_multiple_of(BLOCK) - unpadded;
        if self.writer.room() >= 4 + padding {
            self.put_option(edns::PADDING, &[&ZEROS[..padding]]);
        }
    }
}

/// TTL of SOA records and so of negative answers, in seconds (CoreDNS: at most 300).
pub(crate) fn negative_ttl(zone: &Zone) -> u32 {
    zone.ttl.min(300)
}
