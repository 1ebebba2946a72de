//! TCP, TLS, HTTPS and QUIC beside the servers of Debian that speak them.

use anyhow::Context;

use super::Lab;
use crate::data::{DataSet, Workload::AHit};
use crate::peers::{LIGHTHOUSE, zone};
use crate::report::{Row, Table};
use crate::server::Server;
use crate::streams::asker::Mode;
use crate::streams::certificate;
use crate::streams::load::Load;
use crate::streams::peers::{self, Peer, Ports, Site};
use crate::turns::in_turns;
use crate::workbench::{Queries, ensure_same_answers, per_query};

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
        load: Load::Own(Mode::Tcp),
        port: |ports| ports.tcp,
    },
    Workload {
        name: "DoT, pipelined",
        load: Load::Pipelined("dot"),
        port: |ports| ports.tls,
    },
    Workload {
        name: "DoT, handshake and one query",
        load: Load::Own(Mode::Tls),
        port: |ports| ports.tls,
    },
    Workload {
        name: "DoT, resumption and one query",
        load: Load::Own(Mode::Resumed),
        port: |ports| ports.resumable,
    },
    Workload {
        name: "DoH, HTTP/2, GET",
        load: Load::Own(Mode::Get),
        port: |ports| ports.https,
    },
    Workload {
        name: "DoH, HTTP/2, POST",
        load: Load::Own(Mode::Post),
        port: |ports| ports.https,
    },
    Workload {
        name: "DoQ, many streams",
        load: Load::Own(Mode::Quic),
        port: |ports| ports.quic,
    },
    Workload {
        name: "DoQ, handshake and one query",
        load: Load::Own(Mode::QuicHandshakes),
        port: |ports| ports.quic,
    },
];

/// The bound: no more CPU than any of them.
const AT_MOST: f64 = 1.0;

/// CPU per query, or per connection with one query, of every server that has the transport.
pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let folder = lab.folder.join("streams");
    let (manifests, zone_file) = (folder.join("manifests"), folder.join("zone"));
    let data = DataSet::cluster_set_ips(SERVICES);
    data.write(&manifests)?;
    let queries = Queries::write(&folder, AHit, &data)?;
    let certificate = certificate::write(&folder)?;
    let ours = peers::lighthouse_dns(lab, &manifests, &certificate)?;
    let backend = ours.server.addr;
    zone::transfer(backend, &zone_file)?;
    let site = Site {
        folder: &folder,
        zone_file: &zone_file,
        certificate: &certificate,
    };
    let subjects = [
        ours,
        site.knot()?,
        site.nsd()?,
        site.unbound()?,
        site.dnsdist(backend)?,
    ];
    ensure_same(&subjects, &queries)?;
    let mut table = Table {
        title: "Streams".into(),
        unit: "µs of CPU per query".into(),
        method: format!(
            "User and system time of all threads and processes of a server with one worker on core 0, per answered query for A \
             of {SERVICES} services; the client, dnsperf or stream-asker with 8 connections (200 queries at once where they are \
             pipelined), on core 1 as fast as it can; {} rounds of {} s in turns, after one that does not count. \
             ECDSA P-256, TLS 1.3, X25519. A connection of one query counts as a whole, \
             from accepting to closing. dnsdist answers from its packet cache, and gives no new tickets to a client that resumes. \
             No server of Debian speaks DoQ, and Debian's Knot no TLS.",
            lab.rounds, lab.seconds
        ),
        columns: subjects
            .iter()
            .map(|peer| peer.server.name.clone())
            .collect(),
        rows: vec![],
        goals: vec![],
    };
    for workload in WORKLOADS {
        eprintln!("streams: {}", workload.name);
        let row = workload
            .measure(lab, &subjects, &queries)
            .with_context(|| workload.name)?;
        table.rows.push(row);
        for peer in &subjects[1..] {
            table.goal(workload.name, LIGHTHOUSE, &peer.server.name, AT_MOST);
        }
    }
    Ok(vec![table])
}

/// Compared over UDP: the answers are the same over connections, whose replies are checked for their codes.
fn ensure_same(subjects: &[Peer], queries: &Queries) -> anyhow::Result<()> {
    let samples: Vec<_> = subjects
        .iter()
        .map(|peer| queries.sample(&peer.server))
        .collect::<Result<_, _>>()?;
    let named: Vec<_> = subjects
        .iter()
        .zip(&samples)
        .map(|(peer, sample)| (peer.server.name.as_str(), sample.as_slice()))
        .collect();
    ensure_same_answers(&named)
}

impl Workload {
    fn measure(&self, lab: &Lab, subjects: &[Peer], queries: &Queries) -> anyhow::Result<Row> {
        let listening: Vec<_> = subjects
            .iter()
            .filter_map(|peer| Some((&peer.server, (self.port)(&peer.ports)?)))
            .collect();
        let ask = |server: &Server, port, seconds| {
            per_query(server, || {
                self.load.run(&lab.binaries, port, &queries.path, seconds)
            })
            .with_context(|| server.name.clone())
        };
        // Fills caches.
        for (server, port) in &listening {
            ask(server, *port, 1)?;
        }
        let figures = in_turns(lab.rounds, &listening, |(server, port)| {
            ask(server, *port, lab.seconds).map(|micros| [micros])
        })?;
        let mut figures = figures.into_iter();
        let mut next = || figures.next().map(|[micros]| micros);
        let cells = subjects
            .iter()
            .map(|peer| (self.port)(&peer.ports).and_then(|_| next()))
            .collect();
        Ok(Row {
            name: self.name.into(),
            cells,
        })
    }
}
