//! The zone as records: for AXFR (RFC 5936), IXFR answered by a whole transfer (RFC 1995 section 4) and
//! `dump`. Equals the query view at the moment of asking; where round robin gives one address at a time,
//! all that it can give are listed.

mod records;

use std::fmt;

use crate::authority::{DEFAULT_UDP_LIMIT, Zone};
use crate::message::{self, Edns, HEADER, QueryName, rtype};
use crate::name::{self, WireName};
use crate::respond::negative_ttl;
use crate::serial;
use crate::snapshot::Snapshot;
use crate::status::ClusterStatus;
use records::{Record, records};

/// Messages of a transfer stay below this; a record more may follow.
const MESSAGE_SIZE: usize = 32 * 1024;

/// The messages of a transfer of `zone` in answer to `query`, which [`crate::respond::respond`] has
/// recognised as AXFR or IXFR. An IXFR from our serial gets the SOA alone: nothing has changed.
pub fn messages(
    zone: &Zone,
    snapshot: &Snapshot,
    status: &ClusterStatus,
    query: &[u8],
) -> Vec<Vec<u8>> {
    let mut name = QueryName::default();
    let Ok(question) = message::read(query, &mut name) else {
        return Vec::new();
    };
    let serial = serial::newest(snapshot.serial, status.serial);
    let soa = soa(zone, serial);
    let unchanged = question.qtype == rtype::IXFR
        && client_serial(query, question.question_end) == Some(serial);
    let mut body = vec![soa.clone()];
    if !unchanged {
        body.extend(records(zone, snapshot, status));
        body.push(soa);
    }
    let mut messages = Vec::new();
    let mut current = Vec::new();
    let mut count: u16 = 0;
    for record in &body {
        if current.len() > MESSAGE_SIZE {
            messages.push(finish(std::mem::take(&mut current), count));
            count = 0;
        }
        if current.is_empty() {
            current.extend_from_slice(&query[..question.question_end]);
        }
        put(&mut current, zone, record);
        count += 1;
    }
    messages.push(finish(current, count));
    if let (Some(edns), Some(first)) = (&question.edns, messages.first_mut()) {
        put_opt(first, edns);
    }
    messages
}

/// The zone in master file form (RFC 1035 section 5), SOA first, then names in canonical order (RFC 4034
/// section 6.1).
pub fn dump(
    zone: &Zone,
    snapshot: &Snapshot,
    status: &ClusterStatus,
    out: &mut impl fmt::Write,
) -> fmt::Result {
    let mut all = records(zone, snapshot, status);
    let reversed = |owner: &[u8]| {
        let mut labels: Vec<Box<[u8]>> = name::labels(owner).map(Into::into).collect();
        labels.reverse();
        labels
    };
    all.sort_by_cached_key(|record| (reversed(&record.owner), record.rtype, record.rdata.clone()));
    let soa = soa(zone, serial::newest(snapshot.serial, status.serial));
    for record in std::iter::once(&soa).chain(&all) {
        name::write_text(&[&record.owner, zone.origin.as_bytes()].concat(), out)?;
        writeln!(out, " {} IN {}", record.ttl, record.text(zone))?;
    }
    Ok(())
}

/// The records of one name and type (any, for ANY) in master file form.
pub(crate) fn texts(
    zone: &Zone,
    snapshot: &Snapshot,
    status: &ClusterStatus,
    name: &WireName,
    qtype: u16,
) -> Vec<String> {
    let owner = &name.as_bytes()[..name.wire_len() - zone.origin.wire_len()];
    let soa = soa(zone, serial::newest(snapshot.serial, status.serial));
    let mut all = records(zone, snapshot, status);
    all.sort();
    let wanted = |record: &&Record| {
        *record.owner == *owner && (record.rtype == qtype || qtype == rtype::ANY)
    };
    let texts = std::iter::once(&soa)
        .chain(&all)
        .filter(wanted)
        .map(|record| record.text(zone));
    texts.collect()
}

fn soa(zone: &Zone, serial: u32) -> Record {
    let mut rdata = Vec::new();
    for first in [&b"\x02ns\x03dns"[..], b"\x0ahostmaster"] {
        rdata.extend_from_slice(first);
        rdata.extend_from_slice(zone.origin.as_bytes());
    }
    for number in [serial, 7200, 1800, 86400, zone.ttl] {
        rdata.extend_from_slice(&number.to_be_bytes());
    }
    Record {
        owner: Box::default(),
        rtype: rtype::SOA,
        ttl: negative_ttl(zone),
        rdata: rdata.into(),
    }
}

/// The serial in the Authority section of an IXFR query (RFC 1995 section 3).
fn client_serial(query: &[u8], question_end: usize) -> Option<u32> {
    let record = message::Record::read(query, question_end)?;
    let serial = record
        .rdata
        .get(record.rdata.len().checked_sub(20)?..)?
        .first_chunk()?;
    (record.rtype == rtype::SOA).then(|| u32::from_be_bytes(*serial))
}

/// Turns the query that stands at the front of `message` into a reply with `count` answers.
fn finish(mut message: Vec<u8>, count: u16) -> Vec<u8> {
    message[2] = 0x84 | message[2] & 0x01;
    message[3] &= 0x10;
    message[6..8].copy_from_slice(&count.to_be_bytes());
    message[8..HEADER].fill(0);
    message
}

/// EDNS stands in the first message of a transfer (RFC 5936 section 2.2.5, RFC 6891 section 6.1.1).
fn put_opt(message: &mut Vec<u8>, edns: &Edns) {
    let size = DEFAULT_UDP_LIMIT.to_be_bytes();
    let flags = if edns.dnssec_ok { 0x80 } else { 0 };
    message.extend_from_slice(&[
        0,
        0,
        rtype::OPT as u8,
        size[0],
        size[1],
        0,
        0,
        flags,
        0,
        0,
        0,
    ]);
    message[HEADER - 1] = 1;
}

/// Appends a record; its owner ends in a pointer to the zone, which QNAME is.
fn put(message: &mut Vec<u8>, zone: &Zone, record: &Record) {
    debug_assert!(record.owner.len() + zone.origin.wire_len() <= name::MAX_NAME);
    message.extend_from_slice(&record.owner);
    message.extend_from_slice(&[0xc0, HEADER as u8]);
    message.extend_from_slice(&record.rtype.to_be_bytes());
    message.extend_from_slice(&message::class::IN.to_be_bytes());
    message.extend_from_slice(&record.ttl.to_be_bytes());
    message.extend_from_slice(&(record.rdata.len() as u16).to_be_bytes());
    message.extend_from_slice(&record.rdata);
}
