//! Throughput, times and costs of the data plane: two clusters with gateways and route agents as they run, beside the same paths made by hand.

mod many;
mod paths;
mod times;
mod wireguard;

use std::time::{Duration, Instant};

use anyhow::Result;
use subm_test_support::Process;
use tokio::runtime::Runtime;

use super::Lab;
use crate::dataplane::Path;
use crate::dataplane::flow;
use crate::dataplane::world::{FIRST, SECOND, World};
use crate::report::{Goal, Row, Spread};

pub(super) use many::measure as many;
pub(super) use paths::measure as paths;
pub(super) use times::measure as times;
pub(super) use wireguard::measure as wireguard;

/// Where a thing takes milliseconds.
const LIMIT: Duration = Duration::from_secs(30);
const ROUND_TRIPS: usize = 5_000;

struct Bench {
    // Dropped before the runtime that their connections belong to.
    /// Of the first cluster, of the second.
    gateways: Vec<Process>,
    /// Of the first cluster's gateway node and worker, of the second's.
    agents: Vec<Process>,
    world: World,
    runtime: Runtime,
}

/// Of the agents, that on the first cluster's worker.
const WORKER: usize = 1;

impl Bench {
    /// Two clusters with route agents; no gateway runs yet.
    fn start(lab: &Lab, driver: &'static str) -> Result<Self> {
        let runtime = Runtime::new()?;
        let mut bench = Self {
            world: runtime.block_on(World::start(&lab.binaries, driver))?,
            gateways: Vec::new(),
            agents: Vec::new(),
            runtime,
        };
        for side in [FIRST, SECOND] {
            let here = &bench.world.sides[side];
            for place in [&here.gateway, &here.worker] {
                bench.agents.push(bench.world.agent(side, &place.node)?);
            }
        }
        Ok(bench)
    }

    /// Both; when the first answer came.
    fn start_gateways(&mut self, path: &Path) -> Result<Instant> {
        for side in [FIRST, SECOND] {
            let gateway = self.runtime.block_on(self.world.gateway(side))?;
            self.gateways.push(gateway);
        }
        flow::first_answer(path, LIMIT)
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn row(name: &str, cells: Vec<Option<Spread>>) -> Row {
    Row {
        name: name.to_owned(),
        cells,
    }
}

fn goal(what: &str, measured: f64, at_most: f64, noise: f64) -> Goal {
    Goal {
        what: what.to_owned(),
        measured,
        at_most,
        noise,
    }
}
