//! Whether clients notice that services come and go.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::Lab;
use crate::data::{DataSet, Workload, ZONE};
use crate::peers::Origin;
use crate::probe::{Client, PATIENCE, Question};
use crate::report::{Row, Table};
use crate::server::Server;
use crate::turns::in_turns;
use crate::workbench::{Queries, paced};

const RATE: f64 = 2000.0;

pub(super) fn measure(lab: &Lab) -> anyhow::Result<Vec<Table>> {
    let data = DataSet::mixed(lab.services);
    let origin = Origin::start(lab, "change", &data)?;
    let queries = Queries::write(&origin.folder, Workload::AHit, &data)?;
    let manifests = origin.manifests();
    let mut changes = 0;
    eprintln!("latency under change");
    let figures = in_turns(lab.rounds, &[false, true], |changing| {
        let run = || paced(lab, &origin.lighthouse, &queries, RATE);
        let (latency, _) = if *changing {
            let (outcome, count) = while_changing(&origin.lighthouse, &manifests, run)?;
            changes += count;
            outcome
        } else {
            run()?
        };
        Ok([latency.p50, latency.p99, latency.p999])
    })?;
    let rows = ["p50", "p99", "p99.9"].iter().enumerate();
    let rows = rows.map(|(at, quantile)| Row {
        name: (*quantile).to_owned(),
        cells: figures.iter().map(|spreads| Some(spreads[at])).collect(),
    });
    let rate = f64::from(changes) / (lab.rounds as u64 * lab.seconds) as f64;
    Ok(vec![Table {
        title: "Latency under change".into(),
        unit: "µs until the reply".into(),
        method: format!(
            "lighthouse-dns with all its threads on core 0, A hit at {RATE} queries per second, as in the table of latencies, \
             at rest and while a service appears and disappears {rate:.1} times per second: its manifest is written again as \
             soon as the last change is answered. {} rounds of {} s in turns; {} services.",
            lab.rounds, lab.seconds, lab.services
        ),
        columns: ["at rest", "while data change"].map(String::from).into(),
        rows: rows.collect(),
        goals: vec![],
    }])
}

/// Runs `load` while a service comes and goes, and counts how often it did.
fn while_changing<T>(
    server: &Server,
    manifests: &Path,
    load: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<(T, u32)> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let changer = scope.spawn(|| change(server, &manifests.join("changing.yaml"), &stop));
        let outcome = load();
        stop.store(true, Relaxed);
        let changes = changer
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok((outcome?, changes?))
    })
}

fn change(server: &Server, file: &Path, stop: &AtomicBool) -> anyhow::Result<u32> {
    const SERVICE: &str = "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\n\
        metadata: {name: changing, namespace: ns-0}\nspec: {type: ClusterSetIP, ips: [243.255.255.1], ports: []}\n";
    let mut client = Client::of(server.addr, PATIENCE)?;
    let question = Question::new(&format!("changing.ns-0.svc.{ZONE}"), "A", false)?;
    let mut changes = 0;
    while !stop.load(Relaxed) {
        let (text, rcode) = if changes % 2 == 0 {
            (SERVICE, 0)
        } else {
            ("", 3)
        };
        std::fs::write(file, text).with_context(|| file.display().to_string())?;
        let deadline = Instant::now() + Duration::from_secs(30);
        while client.ask(&question)?.rcode != rcode {
            ensure!(Instant::now() < deadline, "a change was never answered");
            std::thread::sleep(Duration::from_millis(5));
        }
        changes += 1;
    }
    Ok(changes)
}
