//! Whether a second worker on a second core brings twice the queries.

use super::Lab;
use crate::data::{DataSet, Workload};
use crate::dnsperf::Load;
use crate::peers::{Origin, knot, lighthouse};
use crate::report::{Goal, Row, Table};
use crate::server::Server;
use crate::turns::in_turns;
use crate::workbench::{Queries, per_query};

const COLUMNS: [&str; 4] = [
    "lighthouse-dns, 1 worker",
    "lighthouse-dns, 2 workers",
    "Knot, 1 worker",
    "Knot, 2 workers",
];
/// The kernel spreads sockets over workers by a hash: with many, each worker gets about as much.
const SOCKETS: u32 = 64;

pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let data = DataSet::mixed(lab.services);
    let origin = Origin::start(lab, "scaling", &data)?;
    let two = lighthouse::start(lab, &origin.manifests(), "0,1", 2)?;
    let knot_one = knot::start(&origin.zone, &origin.folder, "0", 1)?;
    let knot_two = knot::start(&origin.zone, &origin.folder, "0,1", 2)?;
    let servers = [
        (&origin.lighthouse, 1),
        (&two, 2),
        (&knot_one, 1),
        (&knot_two, 2),
    ];
    let workloads = [Workload::AHit, Workload::Headless3];
    let mut rows = Vec::new();
    for workload in workloads {
        eprintln!("scaling: {}", workload.name());
        let queries = Queries::write(&origin.folder, workload, &data)?;
        let figures = in_turns(lab.rounds, &servers, |(server, workers)| {
            throughput(lab, server, *workers, &queries).map(|figure| [figure])
        })?;
        rows.push(Row {
            name: workload.name().to_owned(),
            cells: figures.iter().map(|[figure]| Some(*figure)).collect(),
        });
    }
    let mut table = Table {
        title: "Scaling over cores".into(),
        unit: "thousand queries per CPU-bound second".into(),
        method: format!(
            "Workers divided by the CPU time per query: what the workers would answer with a core each to themselves. It has \
             to be computed, because dnsperf ({SOCKETS} sockets, two threads, both cores) shares the cores with them. \
             {} rounds of {} s in turns; {} services.",
            lab.rounds, lab.seconds, lab.services
        ),
        columns: COLUMNS.map(String::from).into(),
        rows,
        goals: vec![],
    };
    for workload in workloads {
        let name = workload.name();
        if let (Some(one), Some(two)) = (table.cell(name, COLUMNS[0]), table.cell(name, COLUMNS[1]))
        {
            let what =
                format!("{name}: lighthouse-dns, one worker / two (two at least 1.8 times one)");
            let goal = Goal::ratio(what, one, two, 1.0 / 1.8);
            table.goals.push(goal);
        }
    }
    Ok(vec![table])
}

fn throughput(lab: &Lab, server: &Server, workers: u32, queries: &Queries) -> anyhow::Result<f64> {
    let load = Load {
        mode: "udp",
        server: server.addr,
        queries: &queries.path,
        edns: queries.edns,
        seconds: lab.seconds,
        sockets: SOCKETS,
        cores: &[0, 1],
    };
    let micros = per_query(server, || Ok(load.run()?.completed))?;
    Ok(f64::from(workers) * 1000.0 / micros)
}
