//! From a Service in one cluster to its name in the other: two agents, a broker, a DNS server.

use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::runtime::Runtime;

use super::Lab;
use crate::clusterset::{ClusterSet, Exports, millis, percentile};
use crate::controlplane::memory::Memory;
use crate::cpu;
use crate::report::{Goal, Row, Spread, Table};

/// Services whose way is timed, one after the other.
const SINGLES: usize = 200;
/// Services that are exported at once.
const BURST: usize = 1_000;
/// How long the agents are watched at rest.
const REST: Duration = Duration::from_secs(20);

/// One measurement of everything: it takes minutes, so rounds are not repeated; the spread of single ways is their own.
pub(super) fn measure(lab: &Lab) -> Result<Vec<Table>> {
    let runtime = Runtime::new()?;
    let mut set = runtime.block_on(ClusterSet::start(&lab.binaries))?;
    let mut next = 0;
    let mut take = |count: usize| {
        let numbers = next..next + count;
        next += count;
        numbers
    };

    let numbers = take(SINGLES);
    let (idle, writes) = runtime.block_on(singles(&set, numbers))?;

    // A burst: the services are there, and all are exported at once.
    let numbers = take(BURST);
    let (written, resolved) = runtime.block_on(async {
        let exports = exports(&set);
        exports.serve(numbers.clone()).await?;
        set.exporting.agent.wait_idle().await?;
        let began = Instant::now();
        let written = exports.export(numbers.clone()).await?;
        for number in numbers {
            exports.await_name(number)?;
        }
        anyhow::Ok((written, began.elapsed()))
    })?;
    eprintln!("burst: {written:.2?} to write the exports, {resolved:.2?} until all resolve");

    let filled = (lab.services / 2).saturating_sub(SINGLES + BURST);
    let numbers = take(filled);
    runtime.block_on(fill(&set, numbers))?;
    let numbers = take(SINGLES);
    let (filled_set, _) = runtime.block_on(singles(&set, numbers))?;
    let half = lab.services / 2 + SINGLES;

    let numbers = take(lab.services - half);
    runtime.block_on(fill(&set, numbers))?;
    let (start, cpu_of_start, writes_of_start) = runtime.block_on(async {
        let start = set.importing.restart_agent().await?;
        let cpu = cpu::time(set.importing.agent.process.id())?;
        let writes = set
            .importing
            .agent
            .metric("lighthouse_agent_writes_total")
            .await?;
        anyhow::Ok((start, cpu, writes))
    })?;

    let rest = runtime.block_on(rest(&set))?;
    let one = |value: f64| vec![Spread::of(&[value])];
    let row = |name: String, cells| Row { name, cells };
    let ways = Table {
        title: "Service discovery".to_owned(),
        unit: "ms".to_owned(),
        method: format!(
            "A broker, an exporting and an importing cluster (etcd and API server each), their agents and a DNS server on one \
             machine. From the request that creates a Service, whose ServiceExport waits for it, to the first right answer of the \
             importing cluster's DNS server, asked every 1 ms; {SINGLES} services one after the other (min / median / max over \
             them). Burst: {BURST} ServiceExports of Services that are there, created by 64 hands, until all names resolve."
        ),
        columns: vec!["lighthouse-agent".to_owned()],
        rows: vec![
            row("one export, idle".to_owned(), vec![Spread::of(&idle)]),
            row(
                "one export, idle, p99".to_owned(),
                one(percentile(&idle, 99)?),
            ),
            row(
                format!("one export, {} exported", half - SINGLES),
                vec![Spread::of(&filled_set)],
            ),
            row(
                format!("one export, {} exported, p99", half - SINGLES),
                one(percentile(&filled_set, 99)?),
            ),
            row(
                format!("burst of {BURST}: exports written"),
                one(millis(written)),
            ),
            row(
                format!("burst of {BURST}: all resolve"),
                one(millis(resolved)),
            ),
            row(
                format!("start of an agent with {} imports", lab.services),
                one(millis(start)),
            ),
            row("CPU of that start".to_owned(), one(millis(cpu_of_start))),
        ],
        goals: vec![
            goal("one export, p50, ms", percentile(&idle, 50)?, 50.0),
            goal("burst, ms", millis(resolved), 10_000.0),
        ],
    };
    let costs = Table {
        title: "Agents at rest".to_owned(),
        unit: "as the row says".to_owned(),
        method: format!(
            "{} services exported and imported. At rest: {} s without news. Writes of one export: requests of both agents for one \
             Service, mean over {SINGLES}.",
            lab.services,
            REST.as_secs()
        ),
        columns: vec!["exporting".to_owned(), "importing".to_owned()],
        rows: vec![
            row(
                "CPU at rest, ms per s".to_owned(),
                rest.cpu.map(|cpu| Spread::of(&[cpu])).into(),
            ),
            row(
                "resident, MiB".to_owned(),
                rest.resident.map(|mib| Spread::of(&[mib])).into(),
            ),
            row(
                "writes at rest".to_owned(),
                rest.writes.map(|writes| Spread::of(&[writes])).into(),
            ),
            row(
                "writes of one export, both".to_owned(),
                vec![Spread::of(&[writes]), None],
            ),
            row(
                "writes of a start".to_owned(),
                vec![None, Spread::of(&[writes_of_start])],
            ),
        ],
        goals: vec![
            goal("writes at rest", rest.writes.iter().sum(), 0.0),
            goal("writes of a start", writes_of_start, 0.0),
        ],
    };
    Ok(vec![ways, costs])
}

fn goal(what: &str, measured: f64, at_most: f64) -> Goal {
    Goal {
        what: what.to_owned(),
        measured,
        at_most,
        noise: 0.0,
    }
}

fn exports(set: &ClusterSet) -> Exports<'_> {
    Exports {
        client: &set.exporting.client,
        dns: set.dns,
    }
}

/// Times of single services in ms, and how many requests that write one took.
async fn singles(set: &ClusterSet, numbers: std::ops::Range<usize>) -> Result<(Vec<f64>, f64)> {
    let exports = exports(set);
    exports.announce(numbers.clone()).await?;
    set.exporting.agent.wait_idle().await?;
    let before = set.writes().await?;
    let mut times = Vec::new();
    let count = numbers.len();
    for number in numbers {
        times.push(millis(exports.create_and_resolve(number).await?));
    }
    for member in [&set.exporting, &set.importing] {
        member.agent.wait_idle().await?;
    }
    let writes = (set.writes().await? - before) / count as f64;
    eprintln!(
        "one export: p50 {:.1} ms, p99 {:.1} ms, {writes:.1} writes",
        percentile(&times, 50)?,
        percentile(&times, 99)?
    );
    Ok((times, writes))
}

/// Exports services, and waits until both agents have dealt with all of them.
async fn fill(set: &ClusterSet, numbers: std::ops::Range<usize>) -> Result<()> {
    let began = Instant::now();
    let exports = exports(set);
    let count = numbers.len();
    exports.serve(numbers.clone()).await?;
    exports.export(numbers.clone()).await?;
    for number in numbers {
        exports.await_name(number)?;
    }
    for member in [&set.exporting, &set.importing] {
        member.agent.wait_idle().await?;
    }
    eprintln!("{count} services exported in {:.1?}", began.elapsed());
    Ok(())
}

/// Of the exporting agent, then of the importing one.
struct Rest {
    cpu: [f64; 2],
    resident: [f64; 2],
    writes: [f64; 2],
}

async fn rest(set: &ClusterSet) -> Result<Rest> {
    let agents = [&set.exporting.agent, &set.importing.agent];
    let mut rest = Rest {
        cpu: [0.0; 2],
        resident: [0.0; 2],
        writes: [0.0; 2],
    };
    let writes = "lighthouse_agent_writes_total";
    let mut before = Vec::new();
    for agent in agents {
        agent.wait_idle().await?;
        before.push((agent.metric(writes).await?, cpu::time(agent.process.id())?));
    }
    tokio::time::sleep(REST).await;
    for (index, (agent, (writes_before, cpu_before))) in agents.iter().zip(before).enumerate() {
        rest.cpu[index] =
            millis(cpu::time(agent.process.id())?.saturating_sub(cpu_before)) / REST.as_secs_f64();
        rest.writes[index] = agent.metric(writes).await? - writes_before;
        rest.resident[index] = Memory::of(agent.process.id())?.resident as f64 / f64::from(1 << 20);
    }
    Ok(rest)
}
