//! The kinds of queries that are counted.

use crate::world::SERVICES;

/// A kind of query and what its reply must be, so that a count never stands for a failure.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    /// The `i`th query.
    pub(crate) query: fn(usize) -> Vec<u8>,
    pub(crate) rcode: u16,
    pub(crate) answers: u16,
}

const A: u16 = 1;
const SOA: u16 = 6;
const TXT: u16 = 16;
const AAAA: u16 = 28;
const SRV: u16 = 33;

pub(crate) const ALL: &[Kind] = &[
    kind("a-vip", |i| service("vip", i, A), 0, 1),
    kind("a-vip-edns", |i| edns(service("vip", i, A), &[]), 0, 1),
    kind(
        "a-vip-cookie",
        |i| edns(service("vip", i, A), &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8]),
        0,
        1,
    ),
    kind("a-round-robin", |i| service("web", i, A), 0, 1),
    kind("a-cluster", |i| service("east.web", i, A), 0, 1),
    kind("aaaa-nodata", |i| service("vip", i, AAAA), 0, 0),
    kind("nxdomain", |i| service("none", i, A), 3, 0),
    kind("txt-nodata", |i| service("vip", i, TXT), 0, 0),
    kind(
        "txt-version",
        |_| query("dns-version.clusterset.local", TXT),
        0,
        1,
    ),
    kind("soa", |_| query("clusterset.local", SOA), 0, 1),
    kind("srv", |i| service("vip", i, SRV), 0, 1),
    kind("srv-port", |i| service("_http._tcp.vip", i, SRV), 0, 1),
    kind("headless-3", |i| service("three", i, A), 0, 3),
    kind(
        "headless-50-edns",
        |i| edns(service("fifty", i, A), &[]),
        0,
        50,
    ),
    kind("host", |i| service("pod-1.east.three", i, A), 0, 1),
    kind("refused", |_| query("example.com", A), 5, 0),
];

const fn kind(name: &'static str, query: fn(usize) -> Vec<u8>, rcode: u16, answers: u16) -> Kind {
    Kind {
        name,
        query,
        rcode,
        answers,
    }
}

/// `east.web` asks for service `web-7`, in its namespace, of cluster `east`.
fn service(name: &str, i: usize, qtype: u16) -> Vec<u8> {
    let i = i % SERVICES;
    query(
        &format!("{name}-{i}.ns-{}.svc.clusterset.local", i % 10),
        qtype,
    )
}

fn query(name: &str, qtype: u16) -> Vec<u8> {
    let mut octets = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        octets.push(u8::try_from(label.len()).expect("labels are short"));
        octets.extend_from_slice(label.as_bytes());
    }
    octets.push(0);
    octets.extend_from_slice(&qtype.to_be_bytes());
    octets.extend_from_slice(&[0, 1]);
    octets
}

/// With an OPT record of 1232 octets and these options.
fn edns(mut query: Vec<u8>, options: &[u8]) -> Vec<u8> {
    query[11] = 1;
    query.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0]);
    query.push(u8::try_from(options.len()).expect("options are short"));
    query.extend_from_slice(options);
    query
}
