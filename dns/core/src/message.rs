//! Reads a query: header, question, EDNS. Checks every octet up to the last.

use crate::edns::{COOKIE, KEEPALIVE, NSID, PADDING};
use crate::name::{MAX_NAME, WireName};

pub(crate) const HEADER: usize = 12;

/// Record types with a meaning here (IANA numbers).
pub(crate) mod rtype {
    pub(crate) const A: u16 = 1;
    pub(crate) const NS: u16 = 2;
    pub(crate) const SOA: u16 = 6;
    pub(crate) const TXT: u16 = 16;
    pub(crate) const AAAA: u16 = 28;
    pub(crate) const SRV: u16 = 33;
    pub(crate) const OPT: u16 = 41;
    pub(crate) const IXFR: u16 = 251;
    pub(crate) const AXFR: u16 = 252;
    pub(crate) const ANY: u16 = 255;
}

pub(crate) mod class {
    pub(crate) const IN: u16 = 1;
    pub(crate) const CHAOS: u16 = 3;
}

pub(crate) mod rcode {
    pub(crate) const NOERROR: u16 = 0;
    pub(crate) const FORMERR: u16 = 1;
    pub(crate) const SERVFAIL: u16 = 2;
    pub(crate) const NXDOMAIN: u16 = 3;
    pub(crate) const NOTIMP: u16 = 4;
    pub(crate) const REFUSED: u16 = 5;
    pub(crate) const BADVERS: u16 = 16;
}

/// QNAME in lower case with the places of its labels.
///
/// It is filled in place: moving it about would cost more than reading it.
pub(crate) struct QueryName {
    /// A whole number of [`FOLD`]s, so that folding needs no rest.
    wire: [u8; MAX_NAME.next_multiple_of(FOLD)],
    len: usize,
    /// Where each label's length octet stands; the root label's is `len - 1`.
    starts: [u8; MAX_NAME / 2 + 1],
    labels: usize,
}

/// Octets that are turned to lower case at a time: what fits a vector register everywhere.
const FOLD: usize = 16;

impl QueryName {
    /// Reads an uncompressed name. Compression makes no sense in the first name of a message.
    fn read(&mut self, bytes: &[u8]) -> Option<()> {
        let bytes = &bytes[..bytes.len().min(MAX_NAME)];
        let (mut at, mut labels) = (0, 0);
        loop {
            let len = *bytes.get(at)?;
            *self.starts.get_mut(labels)? = at as u8;
            at += 1 + usize::from(len);
            match len {
                0 => break,
                1..=63 => labels += 1,
                _ => return None,
            }
        }
        self.labels = labels;
        self.len = at;
        self.wire[..at].copy_from_slice(&bytes[..at]);
        // Octets of lengths are below the letters, so that all can be folded alike.
        for chunk in self.wire[..at.next_multiple_of(FOLD)].chunks_exact_mut(FOLD) {
            chunk.make_ascii_lowercase();
        }
        Some(())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.wire[..self.len]
    }

    pub(crate) fn labels(&self) -> usize {
        self.labels
    }

    /// Where `origin`, which has `labels` labels, starts in this name, if it ends it.
    pub(crate) fn find_origin(&self, origin: &WireName, labels: usize) -> Option<usize> {
        let start = self.start(self.labels.checked_sub(labels)?);
        (self.as_bytes()[start..] == *origin.as_bytes()).then_some(start)
    }

    /// Where label `i` starts; `i == labels()` is the root label.
    pub(crate) fn start(&self, i: usize) -> usize {
        usize::from(self.starts[i])
    }

    /// Label `i` without its length octet.
    pub(crate) fn label(&self, i: usize) -> &[u8] {
        let start = self.start(i);
        &self.wire[start + 1..start + 1 + usize::from(self.wire[start])]
    }
}

impl Default for QueryName {
    fn default() -> Self {
        Self {
            wire: [0; MAX_NAME.next_multiple_of(FOLD)],
            len: 0,
            starts: [0; MAX_NAME / 2 + 1],
            labels: 0,
        }
    }
}

/// What a client's OPT record says (RFC 6891).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Edns {
    pub(crate) udp_size: u16,
    pub(crate) version: u8,
    pub(crate) dnssec_ok: bool,
    pub(crate) nsid: bool,
    pub(crate) client_cookie: Option<[u8; 8]>,
    pub(crate) keepalive: bool,
    pub(crate) padding: bool,
}

pub(crate) struct Query {
    pub(crate) opcode: u8,
    pub(crate) qtype: u16,
    pub(crate) qclass: u16,
    /// End of the question section.
    pub(crate) question_end: usize,
    pub(crate) edns: Option<Edns>,
}

/// Why a message is not a query.
pub(crate) enum Malformed {
    /// No reply is due: too short for a header, or a reply itself.
    Silence,
    /// FORMERR, or NOTIMP for an opcode that we do not read further.
    Header { opcode: u8 },
}

/// Reads a query, its name into `name`.
pub(crate) fn read(bytes: &[u8], name: &mut QueryName) -> Result<Query, Malformed> {
    if bytes.len() < HEADER || bytes[2] & 0x80 != 0 {
        return Err(Malformed::Silence);
    }
    let opcode = bytes[2] >> 3 & 0x0f;
    read_sections(bytes, opcode, name).ok_or(Malformed::Header { opcode })
}

fn read_sections(bytes: &[u8], opcode: u8, name: &mut QueryName) -> Option<Query> {
    let count = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (questions, answers, authorities, additionals) = (count(4), count(6), count(8), count(10));
    if questions != 1 {
        return None;
    }
    name.read(&bytes[HEADER..])?;
    let mut at = HEADER + name.len;
    let question = bytes.get(at..at + 4)?;
    let qtype = u16::from_be_bytes([question[0], question[1]]);
    let qclass = u16::from_be_bytes([question[2], question[3]]);
    at += 4;
    let question_end = at;
    for _ in 0..u32::from(answers) + u32::from(authorities) {
        at = Record::read(bytes, at)?.end;
    }
    let mut edns = None;
    for _ in 0..additionals {
        let record = Record::read(bytes, at)?;
        if record.rtype == rtype::OPT && edns.replace(read_edns(&record)?).is_some() {
            return None;
        }
        at = record.end;
    }
    (at == bytes.len()).then_some(Query {
        opcode,
        qtype,
        qclass,
        question_end,
        edns,
    })
}

/// A record of a query, as far as anyone here cares.
pub(crate) struct Record<'a> {
    pub(crate) rtype: u16,
    is_root: bool,
    class: u16,
    ttl: [u8; 4],
    pub(crate) rdata: &'a [u8],
    pub(crate) end: usize,
}

impl<'a> Record<'a> {
    pub(crate) fn read(bytes: &'a [u8], start: usize) -> Option<Self> {
        let at = skip_name(bytes, start)?;
        let fixed = bytes.get(at..at + 10)?;
        let end = at + 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        Some(Self {
            rtype: u16::from_be_bytes([fixed[0], fixed[1]]),
            is_root: at == start + 1,
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
            ttl: [fixed[4], fixed[5], fixed[6], fixed[7]],
            rdata: bytes.get(at + 10..end)?,
            end,
        })
    }
}

/// The place after a name, which may end in a pointer. What a pointer points to is not looked at.
fn skip_name(bytes: &[u8], mut at: usize) -> Option<usize> {
    let start = at;
    loop {
        let len = *bytes.get(at)?;
        match len {
            0 => return Some(at + 1),
            1..=63 => at += 1 + usize::from(len),
            0xc0.. => return bytes.get(at + 1).map(|_| at + 2),
            _ => return None,
        }
        if at - start > MAX_NAME {
            return None;
        }
    }
}

fn read_edns(record: &Record<'_>) -> Option<Edns> {
    if !record.is_root {
        return None;
    }
    let mut edns = Edns {
        udp_size: record.class,
        version: record.ttl[1],
        dnssec_ok: record.ttl[2] & 0x80 != 0,
        ..Edns::default()
    };
    let mut options = record.rdata;
    while !options.is_empty() {
        let (head, rest) = options.split_at_checked(4)?;
        let code = u16::from_be_bytes([head[0], head[1]]);
        let (value, rest) =
            rest.split_at_checked(usize::from(u16::from_be_bytes([head[2], head[3]])))?;
        options = rest;
        match code {
            NSID => edns.nsid = true,
            // RFC 7873 section 5.2.2: 8 octets of the client, then none or 8 to 32 of ours.
            COOKIE if edns.client_cookie.is_none() => match value.len() {
                8 | 16..=40 => edns.client_cookie = value.first_chunk().copied(),
                _ => return None,
            },
            KEEPALIVE => edns.keepalive = true,
            PADDING => edns.padding = true,
            _ => {}
        }
    }
    Some(edns)
}
