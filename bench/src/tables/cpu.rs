//! CPU per query at full load, beside the floor and the servers that people run.

use anyhow::Context;

use super::Lab;
use crate::data::{DataSet, Workload};
use crate::peers::{ECHO, KNOT, LIGHTHOUSE, NSD, Origin, PADDED_ECHO, echo};
use crate::probe::Reply;
use crate::report::{Row, Spread, Table};
use crate::server::Server;
use crate::turns::in_turns;
use crate::workbench::{Queries, ensure_same_answers, saturated};

const COLUMNS: [&str; 5] = [ECHO, PADDED_ECHO, LIGHTHOUSE, KNOT, NSD];

/// The rows of both tables.
#[derive(Default)]
struct Rows {
    cpu: Vec<Row>,
    sizes: Vec<Row>,
}

pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let mut rows = Rows::default();
    let mixed = DataSet::mixed(lab.services);
    {
        let origin = Origin::start(lab, "mixed", &mixed)?;
        let folder = origin.folder.clone();
        let servers = origin.with_peers(lab)?;
        for workload in Workload::ALL {
            let queries = Queries::write(&folder, workload, &mixed)?;
            rows.add(lab, &servers, workload.name(), &queries)?;
        }
    }
    let large = DataSet::cluster_set_ips(lab.services * 10);
    let large_row = format!("A hit of {} services", large.cluster_set_ip);
    {
        let origin = Origin::start(lab, "large", &large)?;
        let folder = origin.folder.clone();
        let servers = origin.with_peers(lab)?;
        let queries = Queries::write(&folder, Workload::AHit, &large)?;
        rows.add(lab, &servers, &large_row, &queries)?;
    }

    let mut cpu = Table {
        title: "CPU per query".into(),
        unit: "µs of CPU per query".into(),
        method: format!(
            "User and system time of all processes of the server, on core 0 with one worker, while dnsperf on core 1 keeps \
             200 queries in flight from one socket; {} rounds of {} s in turns; {} services, the last row ten times as \
             many, all with a cluster set IP. \"headless 50\" asks with EDNS, the others without.",
            lab.rounds, lab.seconds, lab.services
        ),
        columns: COLUMNS.map(String::from).into(),
        rows: rows.cpu,
        goals: vec![],
    };
    for workload in [
        Workload::AHit,
        Workload::AaaaNoData,
        Workload::NxDomain,
        Workload::Srv,
        Workload::Txt,
        Workload::Headless3,
    ] {
        cpu.goal(workload.name(), LIGHTHOUSE, ECHO, 1.10);
        cpu.goal(workload.name(), LIGHTHOUSE, NSD, 0.95);
        cpu.goal(workload.name(), LIGHTHOUSE, KNOT, 0.95);
    }
    cpu.goal(Workload::Headless50.name(), LIGHTHOUSE, NSD, 1.15);
    let sizes = Table {
        title: "Reply sizes".into(),
        unit: "octets of DNS".into(),
        method: "Of the replies that the table above is about, a sample of up to 100 queries: what the kernel copies besides the \
                 servers' own work. All servers give the same answer records, which is checked; they differ in name \
                 compression and additional records."
            .into(),
        columns: COLUMNS.map(String::from).into(),
        rows: rows.sizes,
        goals: vec![],
    };
    Ok(vec![cpu, sizes])
}

impl Rows {
    /// Measures a workload at all servers: echo, lighthouse-dns, Knot, NSD.
    fn add(
        &mut self,
        lab: &Lab,
        [echo, lighthouse, knot, nsd]: &[Server; 4],
        name: &str,
        queries: &Queries,
    ) -> anyhow::Result<()> {
        eprintln!("CPU per query: {name}");
        let ours = queries.sample(lighthouse)?;
        let padded = &echo::start(lab, Some(mean_size(&ours)))?;
        let samples = [
            queries.sample(echo)?,
            queries.sample(padded)?,
            ours,
            queries.sample(knot)?,
            queries.sample(nsd)?,
        ];
        let answering = [(LIGHTHOUSE, 2), (KNOT, 3), (NSD, 4)];
        ensure_same_answers(&answering.map(|(name, at)| (name, &*samples[at])))
            .with_context(|| format!("{name}: the servers differ"))?;
        self.sizes.push(Row {
            name: name.to_owned(),
            cells: samples.iter().map(|sample| sizes(sample)).collect(),
        });
        let servers = [echo, padded, lighthouse, knot, nsd];
        let figures = in_turns(lab.rounds, &servers, |server| {
            saturated(lab, server, queries).map(|micros| [micros])
        })
        .with_context(|| name.to_owned())?;
        self.cpu.push(Row {
            name: name.to_owned(),
            cells: figures.iter().map(|[micros]| Some(*micros)).collect(),
        });
        Ok(())
    }
}

fn sizes(replies: &[Reply]) -> Option<Spread> {
    let sizes: Vec<f64> = replies.iter().map(|reply| reply.size as f64).collect();
    Spread::of(&sizes)
}

fn mean_size(replies: &[Reply]) -> usize {
    let sum: usize = replies.iter().map(|reply| reply.size).sum();
    sum / replies.len().max(1)
}
