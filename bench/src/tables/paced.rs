//! CPU per query at a rate that a cluster has, where each query wakes the server up.

use super::Lab;
use crate::data::{DataSet, Workload};
use crate::peers::{ECHO, KNOT, LIGHTHOUSE, NSD, Origin};
use crate::report::{Row, Table};
use crate::turns::in_turns;
use crate::workbench::{Queries, paced};

const RATE: f64 = 2000.0;

pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let data = DataSet::mixed(lab.services);
    let origin = Origin::start(lab, "paced", &data)?;
    let folder = origin.folder.clone();
    let servers = origin.with_peers(lab)?;
    let workloads = [Workload::AHit, Workload::NxDomain, Workload::Headless3];
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("CPU per query, paced: {}", workload.name());
        let queries = Queries::write(&folder, workload, &data)?;
        let figures = in_turns(lab.rounds, &servers, |server| {
            paced(lab, server, &queries, RATE).map(|(_, micros)| [micros])
        })?;
        rows.push(Row {
            name: workload.name().to_owned(),
            cells: figures.iter().map(|[micros]| Some(*micros)).collect(),
        });
    }
    let mut table = Table {
        title: "CPU per query, paced".into(),
        unit: "µs of CPU per query".into(),
        method: format!(
            "As above, at {RATE} queries per second at random times (a Poisson process) from a client that spins on core 1: \
             nearly every query wakes the server up. {} rounds of {} s in turns; {} services.",
            lab.rounds, lab.seconds, lab.services
        ),
        columns: [ECHO, LIGHTHOUSE, KNOT, NSD].map(String::from).into(),
        rows,
        goals: vec![],
    };
    for workload in workloads {
        table.goal(workload.name(), LIGHTHOUSE, ECHO, 1.15);
    }
    Ok(vec![table])
}
