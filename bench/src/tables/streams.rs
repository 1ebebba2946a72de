//! TCP, TLS, HTTPS and QUIC beside the servers of Debian that speak them.

use anyhow::Context;

use super::Lab;
use crate::report::{Goal, Row, Spread, Table};
use crate::streams::load::Load;
use crate::streams::peers::{self, Peer, Ports, Site};
use crate::streams::{certificate, zone};

/// Enough that no answer stays in a core's first cache, few enough that every cache of answers holds them all.
const SERVICES: usize = 1000;

struct Workload {
    name: &'static str,
    load: Load,
    port: fn(&Ports) -> Option<u16>,
}

const WORKLOADS: &[Workload] = &[
    Workload {
        name: "TCP, pipelined",
        load: Load::Pipelined("tcp"),
        port: |ports| ports.tcp,
    },
    Workload {
        name: "TCP, one query per connection",
        load: Load::Own("tcp"),
        port: |ports| ports.tcp,
    },
    Workload {
        name: "DoT, pipelined",
        load: Load::Pipelined("dot"),
        port: |ports| ports.tls,
    },
    Workload {
        name: "DoT, handshake and one query",
        load: Load::Own("tls"),
        port: |ports| ports.tls,
    },
    Workload {
        name: "DoT, resumption and one query",
        load: Load::Own("resumed"),
        port: |ports| ports.resumable,
    },
    Workload {
        name: "DoH, HTTP/2, GET",
        load: Load::Own("get"),
        port: |ports| ports.https,
    },
    Workload {
        name: "DoH, HTTP/2, POST",
        load: Load::Own("post"),
        port: |ports| ports.https,
    },
    Workload {
        name: "DoQ, many streams",
        load: Load::Own("quic"),
        port: |ports| ports.quic,
    },
    Workload {
        name: "DoQ, handshake and one query",
        load: Load::Own("quic-handshakes"),
        port: |ports| ports.quic,
    },
];

/// The bound: no more CPU than any of them.
const AT_MOST: f64 = 1.0;

/// CPU per query, or per connection with one query, of every server that has the transport.
pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let folder = lab.folder.join("streams");
    let (manifests, zone_file) = (folder.join("manifests"), folder.join("zone"));
    let queries = folder.join("queries");
    zone::write_manifests(&manifests, SERVICES)?;
    zone::write_queries(&queries, SERVICES)?;
    let certificate = certificate::write(&folder)?;
    let ours = peers::lighthouse_dns(&lab.binaries, &manifests, &certificate)?;
    let port = ours.ports.tcp.context("lighthouse-dns serves TCP")?;
    zone::transfer(port, &zone_file)?;
    let site = Site {
        folder: &folder,
        zone_file: &zone_file,
        certificate: &certificate,
    };
    let peers = [
        site.knot()?,
        site.nsd()?,
        site.unbound()?,
        site.dnsdist(port)?,
    ];
    let mut subjects = vec![ours];
    subjects.extend(peers);
    // dnsdist's plain TCP is only there to see that it runs.
    if let Some(dnsdist) = subjects.last_mut() {
        dnsdist.ports.tcp = None;
    }
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for workload in WORKLOADS {
        let row = measure_row(workload, &subjects, &queries, lab).with_context(|| workload.name)?;
        let peers = subjects.iter().zip(&row.cells).skip(1);
        for (peer, theirs) in peers {
            if let (Some(ours), Some(theirs)) = (&row.cells[0], theirs) {
                let what = format!("{}: {} / {}", row.name, subjects[0].name, peer.name);
                goals.push(Goal::ratio(what, ours, theirs, AT_MOST));
            }
        }
        rows.push(row);
    }
    Ok(vec![Table {
        title: "Streams".into(),
        unit: "µs of CPU per query".into(),
        method: format!(
            "User and system time of all threads and processes of a server with one worker on core 0, per answered query for A \
             of {SERVICES} services; the client, dnsperf or stream-asker with 8 connections (200 queries at once where they are \
             pipelined), on core 1 as fast as it can. ECDSA P-256, TLS 1.3, X25519. A connection of one query counts as a whole, \
             from accepting to closing. dnsdist answers from its packet cache, and gives no new tickets to a client that resumes. No server of Debian speaks DoQ, and Debian's Knot no TLS."
        ),
        columns: subjects
            .iter()
            .map(|subject| subject.name.to_owned())
            .collect(),
        rows,
        goals,
    }])
}

fn measure_row(
    workload: &Workload,
    subjects: &[Peer],
    queries: &std::path::Path,
    lab: &Lab,
) -> anyhow::Result<Row> {
    let mut figures = vec![Vec::new(); subjects.len()];
    // Round 0 fills caches and does not count.
    for round in 0..=lab.rounds {
        let seconds = if round == 0 { 1 } else { lab.seconds };
        for (subject, figures) in subjects.iter().zip(&mut figures) {
            let Some(port) = (workload.port)(&subject.ports) else {
                continue;
            };
            let before = subject.cpu_micros()?;
            let answered = workload
                .load
                .run(&lab.binaries, port, queries, seconds)
                .with_context(|| subject.name)?;
            let used = subject.cpu_micros()? - before;
            if round > 0 {
                figures.push(used / answered as f64);
            }
        }
    }
    Ok(Row {
        name: workload.name.into(),
        cells: figures.iter().map(|figures| Spread::of(figures)).collect(),
    })
}
