//! Counters of one writer: one UDP worker, or the streams of a listener one at a time.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use subm_dns_core::respond::{Facts, Transport};

/// Query types that CoreDNS names in its metrics; all others are `other`.
pub(super) const TYPES: [(u16, &str); 18] = [
    (1, "A"),
    (28, "AAAA"),
    (33, "SRV"),
    (2, "NS"),
    (5, "CNAME"),
    (6, "SOA"),
    (12, "PTR"),
    (15, "MX"),
    (16, "TXT"),
    (43, "DS"),
    (46, "RRSIG"),
    (47, "NSEC"),
    (48, "DNSKEY"),
    (50, "NSEC3"),
    (65, "HTTPS"),
    (251, "IXFR"),
    (252, "AXFR"),
    (255, "ANY"),
];
pub(super) const RCODES: [(u16, &str); 7] = [
    (0, "NOERROR"),
    (1, "FORMERR"),
    (2, "SERVFAIL"),
    (3, "NXDOMAIN"),
    (4, "NOTIMP"),
    (5, "REFUSED"),
    (16, "BADVERS"),
];
/// Octets (CoreDNS `plugin.SizeBuckets`).
pub(super) const SIZES: [u32; 14] = [
    0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16_000, 32_000, 48_000, 64_000,
];
/// Upper bounds of durations: 0.25 ms and its doubles (CoreDNS `plugin.TimeBuckets`).
pub(super) const TIMES: usize = 16;
pub(super) const FIRST_TIME_MICROS: u64 = 250;

/// Counts, of which a scrape sees each one by itself.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// For the one writer: no locked instruction is needed.
    fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Counts of a zone, or of what is outside all of them.
#[derive(Debug, Default)]
pub(super) struct Row {
    /// Per family (IPv4, IPv6) and type, `other` last.
    pub(super) requests: [[Count; TYPES.len() + 1]; 2],
    /// Per response code, all others last.
    pub(super) responses: [Count; RCODES.len() + 1],
    pub(super) request_sizes: [Count; SIZES.len() + 1],
    pub(super) request_octets: Count,
    pub(super) response_sizes: [Count; SIZES.len() + 1],
    pub(super) response_octets: Count,
    pub(super) times: [Count; TIMES + 1],
    pub(super) micros: Count,
    pub(super) dnssec_ok: Count,
}

/// Counts of one writer on one listener.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Block {
    pub(super) server: String,
    pub(super) proto: &'static str,
    /// Per zone; the last is for queries outside all zones.
    pub(super) zones: Vec<String>,
    pub(super) rows: Vec<Row>,
    pub(super) ignored: Count,
    pub(super) send_dropped: Count,
    pub(super) truncated: Count,
    pub(super) cluster_names: Count,
    pub(super) panics: Count,
}

/// One query and its reply.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) facts: Facts,
    pub(crate) v6: bool,
    /// Octets.
    pub(crate) query: usize,
    pub(crate) reply: usize,
}

impl Block {
    /// For `proto` of the listener with the label `server` and these zones.
    pub(crate) fn new(server: &str, proto: Transport, zones: impl Iterator<Item = String>) -> Self {
        // CoreDNS's word for queries that no server block takes.
        let zones: Vec<_> = zones.chain([String::from("dropped")]).collect();
        Self {
            server: server.to_owned(),
            proto: proto_label(proto),
            rows: zones.iter().map(|_| Row::default()).collect(),
            zones,
            ignored: Count::default(),
            send_dropped: Count::default(),
            truncated: Count::default(),
            cluster_names: Count::default(),
            panics: Count::default(),
        }
    }

    pub(crate) fn record(&self, sample: &Sample) {
        let Sample {
            facts,
            v6,
            query,
            reply,
        } = *sample;
        let row = self.row(facts.zone);
        row.requests[usize::from(v6)][place(&TYPES, facts.qtype)].add(1);
        row.responses[place(&RCODES, facts.rcode)].add(1);
        row.request_sizes[size_bucket(query)].add(1);
        row.request_octets.add(query as u64);
        row.response_sizes[size_bucket(reply)].add(1);
        row.response_octets.add(reply as u64);
        if facts.dnssec_ok {
            row.dnssec_ok.add(1);
        }
        if facts.truncated {
            self.truncated.add(1);
        }
        if facts.cluster_name {
            self.cluster_names.add(1);
        }
    }

    /// `took`: from the system call that brought the query to the one that took the reply.
    pub(crate) fn record_time(&self, zone: Option<u16>, took: Duration) {
        self.record_times(zone, 1, took);
    }

    /// [`Block::record_time`] of as many queries, all of the same batch.
    pub(crate) fn record_times(&self, zone: Option<u16>, queries: usize, took: Duration) {
        let micros = took.as_micros() as u64;
        let row = self.row(zone);
        let bucket = (0..TIMES)
            .find(|&n| micros <= FIRST_TIME_MICROS << n)
            .unwrap_or(TIMES);
        row.times[bucket].add(queries as u64);
        row.micros.add(micros * queries as u64);
    }

    pub(crate) fn record_ignored(&self) {
        self.ignored.add(1);
    }

    pub(crate) fn record_send_dropped(&self, replies: usize) {
        self.send_dropped.add(replies as u64);
    }

    pub(crate) fn record_panic(&self) {
        self.panics.add(1);
    }

    fn row(&self, zone: Option<u16>) -> &Row {
        let outside = self.rows.len() - 1;
        &self.rows[zone.map_or(outside, usize::from).min(outside)]
    }
}

/// `proto` label, as CoreDNS has it.
pub(crate) fn proto_label(transport: Transport) -> &'static str {
    match transport {
        Transport::Udp => "udp",
        Transport::Tcp => "tcp",
        Transport::Tls => "tls",
        Transport::Https => "https",
        Transport::Quic => "quic",
    }
}

fn place(table: &[(u16, &str)], code: u16) -> usize {
    table
        .iter()
        .position(|&(have, _)| have == code)
        .unwrap_or(table.len())
}

fn size_bucket(octets: usize) -> usize {
    SIZES
        .iter()
        .position(|&limit| octets <= limit as usize)
        .unwrap_or(SIZES.len())
}

pub(crate) fn type_name(code: u16) -> Option<&'static str> {
    TYPES
        .iter()
        .find(|&&(have, _)| have == code)
        .map(|(_, name)| *name)
}

pub(crate) fn rcode_name(code: u16) -> Option<&'static str> {
    RCODES
        .iter()
        .find(|&&(have, _)| have == code)
        .map(|(_, name)| *name)
}
