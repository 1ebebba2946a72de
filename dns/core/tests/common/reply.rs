//! Replies as another DNS library reads them, to the last octet.

use std::collections::BTreeSet;
use std::net::IpAddr;

use domain::base::iana::{Class, Rtype};
use domain::base::{Message, ParsedName, ParsedRecord, UnknownRecordData};
use domain::rdata::AllRecordData;

pub const A: u16 = 1;
pub const NS: u16 = 2;
pub const SOA: u16 = 6;
pub const TXT: u16 = 16;
pub const AAAA: u16 = 28;
pub const SRV: u16 = 33;
pub const ANY: u16 = 255;

pub const NOERROR: u16 = 0;
pub const FORMERR: u16 = 1;
pub const SERVFAIL: u16 = 2;
pub const NXDOMAIN: u16 = 3;
pub const NOTIMP: u16 = 4;
pub const REFUSED: u16 = 5;
pub const BADVERS: u16 = 16;

/// A record of a reply; names as they stand there, with the dot at the end.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    pub owner: String,
    pub rtype: u16,
    pub class: u16,
    pub ttl: u32,
    pub data: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opt {
    pub size: u16,
    pub version: u8,
    pub dnssec_ok: bool,
    /// Position in Additional.
    pub position: usize,
    pub options: Vec<(u16, Vec<u8>)>,
}

impl Opt {
    pub fn option(&self, code: u16) -> Option<&[u8]> {
        self.options
            .iter()
            .find(|(have, _)| *have == code)
            .map(|(_, data)| &data[..])
    }
}

#[derive(Clone, Debug)]
pub struct Reply {
    pub octets: Vec<u8>,
    pub id: u16,
    pub opcode: u8,
    /// With the upper bits of OPT.
    pub rcode: u16,
    pub aa: bool,
    pub tc: bool,
    pub rd: bool,
    pub ra: bool,
    pub ad: bool,
    pub cd: bool,
    pub question: Option<(String, u16, u16)>,
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    /// Without OPT.
    pub additional: Vec<Record>,
    pub opt: Option<Opt>,
}

/// A name with its dot at the end.
fn text(name: &ParsedName<&[u8]>) -> String {
    let text = name.to_string();
    if text.ends_with('.') {
        text
    } else {
        text + "."
    }
}

fn record(parsed: &ParsedRecord<'_, [u8]>) -> Record {
    let any = parsed
        .to_any_record::<AllRecordData<_, ParsedName<_>>>()
        .expect("record data parse");
    let data = match any.data() {
        AllRecordData::A(a) => a.addr().to_string(),
        AllRecordData::Aaaa(aaaa) => aaaa.addr().to_string(),
        AllRecordData::Ns(ns) => text(ns.nsdname()),
        AllRecordData::Srv(srv) => format!(
            "{} {} {} {}",
            srv.priority(),
            srv.weight(),
            srv.port(),
            text(srv.target())
        ),
        AllRecordData::Soa(soa) => format!(
            "{} {} {} {} {} {} {}",
            text(soa.mname()),
            text(soa.rname()),
            soa.serial(),
            soa.refresh().as_secs(),
            soa.retry().as_secs(),
            soa.expire().as_secs(),
            soa.minimum().as_secs()
        ),
        AllRecordData::Txt(txt) => txt
            .iter()
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect(),
        other => panic!("a record of a type that we never send: {other}"),
    };
    Record {
        owner: text(&parsed.owner()),
        rtype: parsed.rtype().to_int(),
        class: parsed.class().to_int(),
        ttl: parsed.ttl().as_secs(),
        data,
    }
}

fn opt(parsed: &ParsedRecord<'_, [u8]>, position: usize) -> (Opt, u16) {
    assert_eq!(text(&parsed.owner()), ".", "OPT belongs to the root");
    let ttl = parsed.ttl().as_secs();
    assert_eq!(ttl & 0x7fff, 0, "reserved EDNS flags are zero");
    let data = parsed
        .to_record::<UnknownRecordData<_>>()
        .expect("OPT")
        .expect("OPT data");
    let mut rest: &[u8] = data.data().data();
    let mut options = Vec::new();
    while !rest.is_empty() {
        let code = u16::from_be_bytes([rest[0], rest[1]]);
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        options.push((code, rest[4..4 + len].to_vec()));
        rest = &rest[4 + len..];
    }
    let opt = Opt {
        size: parsed.class().to_int(),
        version: (ttl >> 16) as u8,
        dnssec_ok: ttl & 0x8000 != 0,
        position,
        options,
    };
    (opt, (ttl >> 24) as u16)
}

impl Reply {
    /// Parses all of `octets`; panics where anything is out of place.
    pub fn parse(octets: &[u8]) -> Self {
        let message = Message::from_slice(octets).expect("header");
        let header = message.header();
        assert!(header.qr(), "a reply has QR=1");
        assert!(!header.z(), "Z is zero");
        let counts = message.header_counts();
        assert!(counts.qdcount() <= 1);
        let mut questions = message.question();
        let question = questions.next().map(|question| {
            let question = question.expect("question");
            (
                text(question.qname()),
                question.qtype().to_int(),
                question.qclass().to_int(),
            )
        });
        let mut section = questions.answer().expect("answer section");
        let answer: Vec<_> = section
            .by_ref()
            .map(|parsed| record(&parsed.expect("answer record")))
            .collect();
        let mut section = section.next_section().expect("authority").expect("section");
        let authority: Vec<_> = section
            .by_ref()
            .map(|parsed| record(&parsed.expect("authority record")))
            .collect();
        let mut section = section
            .next_section()
            .expect("additional")
            .expect("section");
        let mut additional = Vec::new();
        let mut found = None;
        let mut high = 0;
        for (position, parsed) in section.by_ref().enumerate() {
            let parsed = parsed.expect("additional record");
            if parsed.rtype() == Rtype::OPT {
                assert!(found.is_none(), "one OPT at most");
                let (opt, bits) = opt(&parsed, position);
                high = bits;
                found = Some(opt);
            } else {
                additional.push(record(&parsed));
            }
        }
        assert_eq!(section.pos(), octets.len(), "octets left over");
        let count = additional.len() + usize::from(found.is_some());
        assert_eq!(usize::from(counts.arcount()), count);
        assert_eq!(usize::from(counts.ancount()), answer.len());
        assert_eq!(usize::from(counts.nscount()), authority.len());
        if let Some(opt) = &found {
            assert_eq!(opt.position, additional.len(), "OPT stands behind the glue");
        }
        let reply = Self {
            octets: octets.to_vec(),
            id: header.id(),
            opcode: header.opcode().to_int(),
            rcode: (high << 4) | u16::from(header.rcode().to_int()),
            aa: header.aa(),
            tc: header.tc(),
            rd: header.rd(),
            ra: header.ra(),
            ad: header.ad(),
            cd: header.cd(),
            question,
            answer,
            authority,
            additional,
            opt: found,
        };
        reply.check_sections();
        reply
    }

    /// What holds for every section of every reply.
    fn check_sections(&self) {
        for section in [&self.answer, &self.authority, &self.additional] {
            let distinct: BTreeSet<_> = section.iter().collect();
            let is_transfer = matches!(self.question, Some((_, 251 | 252, _)));
            if is_transfer {
                continue;
            }
            assert_eq!(distinct.len(), section.len(), "twice the same: {self:?}");
            for (i, a) in section.iter().enumerate() {
                let same = |b: &&Record| b.owner == a.owner && b.rtype == a.rtype;
                assert!(
                    section[i..].iter().filter(same).all(|b| b.ttl == a.ttl),
                    "one TTL per RRset"
                );
            }
        }
        assert!(!self.ra, "RA=0");
        assert!(!self.ad, "AD=0");
        let class_in = Class::IN.to_int();
        assert!(self.authority.iter().all(|record| record.class == class_in));
    }

    /// `(owner, type, data)` of Answer, sorted.
    pub fn answers(&self) -> Vec<String> {
        let mut data: Vec<_> = self.answer.iter().map(|r| r.data.clone()).collect();
        data.sort();
        data
    }

    pub fn extra(&self) -> Vec<String> {
        let mut data: Vec<_> = self
            .additional
            .iter()
            .map(|r| format!("{} {}", r.owner, r.data))
            .collect();
        data.sort();
        data
    }

    pub fn addresses(&self) -> BTreeSet<IpAddr> {
        self.answer
            .iter()
            .filter(|record| record.rtype == A || record.rtype == AAAA)
            .map(|record| record.data.parse().expect("an address"))
            .collect()
    }

    /// Code of the extended error, if there is one.
    pub fn extended_error(&self) -> Option<u16> {
        let option = self.opt.as_ref()?.option(15)?;
        Some(u16::from_be_bytes([option[0], option[1]]))
    }
}
