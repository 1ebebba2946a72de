//! How long a client waits, at an everyday rate and at half of what a server can do.

use super::Lab;
use crate::data::{DataSet, Workload};
use crate::peers::{ECHO, KNOT, LIGHTHOUSE, NSD, Origin};
use crate::report::{Row, Table};
use crate::turns::in_turns;
use crate::workbench::{Queries, paced, saturated};

const EVERYDAY: f64 = 2000.0;

pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let data = DataSet::mixed(lab.services);
    let origin = Origin::start(lab, "latency", &data)?;
    let folder = origin.folder.clone();
    let servers = origin.with_peers(lab)?;
    let queries = Queries::write(&folder, Workload::AHit, &data)?;
    let [_, lighthouse, knot, _] = &servers;
    let mut saturation = f64::INFINITY;
    for server in [lighthouse, knot] {
        saturation = saturation.min(1e6 / saturated(lab, server, &queries)?);
    }
    // Round, so that it can be named.
    let half = (saturation / 2.0 / 1000.0).floor() * 1000.0;
    let mut rows = Vec::new();
    for rate in [EVERYDAY, half] {
        eprintln!("latency: {rate} q/s");
        let figures = in_turns(lab.rounds, &servers, |server| {
            let (latency, _) = paced(lab, server, &queries, rate)?;
            Ok([latency.p50, latency.p99, latency.p999])
        })?;
        for (at, quantile) in ["p50", "p99", "p99.9"].iter().enumerate() {
            rows.push(Row {
                name: format!("{rate} q/s, {quantile}"),
                cells: figures.iter().map(|spreads| Some(spreads[at])).collect(),
            });
        }
    }
    let mut table = Table {
        title: "Latency".into(),
        unit: "µs until the reply".into(),
        method: format!(
            "A hit, {} services, one worker on core 0. The client spins on core 1 and sends at random times (a Poisson process) \
             whatever the server does; time counts from when a query was due. The higher rate is half of the saturation \
             ({saturation:.0} q/s: one core's time by CPU per query) of lighthouse-dns or Knot, whichever has less. {} \
             rounds of {} s in turns.",
            lab.services, lab.rounds, lab.seconds
        ),
        columns: [ECHO, LIGHTHOUSE, KNOT, NSD].map(String::from).into(),
        rows,
        goals: vec![],
    };
    let names: Vec<String> = table.rows.iter().map(|row| row.name.clone()).collect();
    for name in names {
        table.goal(&name, LIGHTHOUSE, KNOT, 1.0);
    }
    Ok(vec![table])
}
