//! From an event to what follows from it, and what the processes take when nothing happens.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;
use subm_test_support::objects;

use super::{Bench, LIMIT, WORKER, goal, millis, row};
use crate::controlplane::memory::Memory;
use crate::cpu;
use crate::dataplane::status::Told;
use crate::dataplane::world::{BROKER, FIRST, SECOND};
use crate::dataplane::{Path, flow};
use crate::report::{Spread, Table};
use crate::tables::Lab;

/// Times are taken so often at least.
const TIMES: usize = 5;
/// How long processes are watched at rest, and how often.
const REST: Duration = Duration::from_secs(60);
const RESTS: usize = 2;

pub(in crate::tables) fn measure(lab: &Lab) -> Result<Vec<Table>> {
    let mut bench = Bench::start(lab, "vxlan")?;
    let times = bench.times(lab.rounds.max(TIMES))?;
    Ok(vec![times, bench.rest()?])
}

impl Bench {
    fn times(&mut self, rounds: usize) -> Result<Table> {
        let entered = self.runtime.enter();
        let mut told = [FIRST, SECOND].map(|side| Told::watch(&self.world.sides[side].client));
        drop(entered);
        let paths = self.world.paths();
        let (mut connected, mut first) = (Vec::new(), Vec::new());
        for round in 0..rounds {
            if round > 0 {
                self.remove_gateways()?;
            }
            let began = Instant::now();
            let answered = self.start_gateways(&paths.workers)?;
            first.push(millis(answered - began));
            connected.push(millis(self.until(&mut told, true)? - began));
            eprintln!(
                "start: connected {:.0?} ms, first answer {:.0?} ms",
                connected[round], first[round]
            );
        }
        let (mut cut, mut healed, mut flows) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..rounds {
            // At another time between two echo requests each time.
            std::thread::sleep(Duration::from_millis(1500 + 137 * round as u64));
            let fault = self.world.sides[SECOND].cluster.lan()?.uplink()?.cut()?;
            let began = Instant::now();
            cut.push(millis(self.until(&mut told, false)? - began));
            fault.heal()?;
            let began = Instant::now();
            flows.push(millis(flow::first_answer(&paths.workers, LIMIT)? - began));
            healed.push(millis(self.until(&mut told, true)? - began));
            eprintln!(
                "cut: told after {:.0?} ms, healed {:.0?} ms",
                cut[round], healed[round]
            );
        }
        let mut workers = Vec::new();
        for _ in 0..rounds {
            let node = &self.world.sides[FIRST].worker.node;
            let agent = self.agents.remove(WORKER);
            self.runtime
                .block_on(self.world.remove_agent(FIRST, node, agent))?;
            flow::silence(&paths.workers, LIMIT)?;
            let began = Instant::now();
            self.agents.insert(WORKER, self.world.agent(FIRST, node)?);
            workers.push(millis(flow::first_answer(&paths.workers, LIMIT)? - began));
        }
        let endpoints = self.endpoints(rounds, &paths.workers)?;
        self.until(&mut told, true)?;
        let rows = [
            (
                "both gateways started -> both say connected",
                &connected,
                Some(1000.0),
            ),
            (
                "both gateways started -> first answer",
                &first,
                Some(1000.0),
            ),
            ("link cut -> both say not connected", &cut, Some(6000.0)),
            ("link healed -> first answer", &flows, None),
            ("link healed -> both say connected", &healed, Some(1000.0)),
            (
                "Endpoint on the broker -> first answer",
                &endpoints,
                Some(200.0),
            ),
            (
                "route agent on a new worker -> first answer",
                &workers,
                Some(200.0),
            ),
        ];
        let goals = rows.iter().filter_map(|(what, figures, at_most)| {
            let spread = Spread::of(figures)?;
            Some(goal(what, spread.median, (*at_most)?, spread.noise()))
        });
        Ok(Table {
            title: "Times of the data plane".to_owned(),
            unit: "ms".to_owned(),
            method: format!(
                "VXLAN; two clusters with an API server each, one of them the broker too, a gateway node and a worker each, all on this machine. \
                 What a gateway says is heard by a watch of its Gateway object; an answer is one to a datagram from a pod on c1's worker to one on \
                 c2's, asked every 5 ms from a new port. {rounds} times each. The gateways look for no public address (AIR_GAPPED_DEPLOYMENT). \
                 Endpoint: c2's gateway process has ended, its Endpoint is created anew on the broker."
            ),
            columns: vec!["subm".to_owned()],
            goals: goals.collect(),
            rows: rows
                .iter()
                .map(|(what, figures, _)| row(what, vec![Spread::of(figures)]))
                .collect(),
        })
    }

    fn remove_gateways(&mut self) -> Result<()> {
        for (side, gateway) in self.gateways.drain(..).enumerate() {
            self.runtime
                .block_on(self.world.remove_gateway(side, gateway))?;
        }
        self.runtime.block_on(self.world.wait_clean())
    }

    /// When the later of both has said it.
    fn until(&self, told: &mut [Told; 2], connected: bool) -> Result<Instant> {
        self.runtime.block_on(async {
            let [first, second] = told;
            let (one, other) = tokio::try_join!(
                first.until(connected, LIMIT),
                second.until(connected, LIMIT)
            )?;
            Ok(one.max(other))
        })
    }

    fn endpoints(&mut self, rounds: usize, path: &Path) -> Result<Vec<f64>> {
        drop(self.gateways.pop());
        let broker = self.world.sides[FIRST].client.clone();
        let all = self
            .runtime
            .block_on(objects::all(&broker, "Endpoint", Some(BROKER)))?;
        let theirs = all
            .into_iter()
            .find(|endpoint| endpoint["spec"]["cluster_id"] == "c2");
        let theirs = theirs.context("c2's Endpoint is on the broker")?;
        let object = json!({
            "apiVersion": "submariner.io/v1", "kind": "Endpoint", "spec": theirs["spec"],
            "metadata": {"name": theirs["metadata"]["name"], "namespace": BROKER, "labels": theirs["metadata"]["labels"]},
        });
        let mut times = Vec::new();
        for _ in 0..rounds {
            self.runtime
                .block_on(objects::delete(&broker, object.clone()))?;
            flow::silence(path, LIMIT)?;
            let began = Instant::now();
            self.runtime
                .block_on(objects::put(&broker, object.clone()))?;
            times.push(millis(flow::first_answer(path, LIMIT)? - began));
        }
        self.gateways
            .push(self.runtime.block_on(self.world.gateway(SECOND))?);
        Ok(times)
    }

    fn rest(&self) -> Result<Table> {
        let processes = [&self.gateways[FIRST], &self.agents[0], &self.agents[WORKER]];
        let mut resident = vec![Vec::new(); processes.len()];
        let mut busy = resident.clone();
        let mut writes = [Vec::new(), Vec::new()];
        for _ in 0..RESTS {
            let before: Vec<_> = processes
                .iter()
                .map(|process| cpu::time(process.id()))
                .collect::<Result<_>>()?;
            let written = self.world.writes()?;
            let began = Instant::now();
            std::thread::sleep(REST);
            let took = began.elapsed().as_secs_f64();
            for (at, process) in processes.iter().enumerate() {
                let used = cpu::time(process.id())?.saturating_sub(before[at]);
                busy[at].push(used.as_secs_f64() * 100.0 / took);
                resident[at].push(Memory::of(process.id())?.resident as f64 / f64::from(1 << 20));
            }
            for (all, (now, before)) in writes
                .iter_mut()
                .zip(self.world.writes()?.into_iter().zip(written))
            {
                all.push((now - before) as f64 * 60.0 / took);
            }
        }
        let spreads =
            |figures: &[Vec<f64>]| figures.iter().map(|figures| Spread::of(figures)).collect();
        let median = |figures: &[f64]| Spread::of(figures).map_or(0.0, |spread| spread.median);
        let of_all = |figures: &Vec<f64>| vec![Spread::of(figures), None, None];
        Ok(Table {
            title: "Data plane at rest".to_owned(),
            unit: "as the row says".to_owned(),
            method: format!(
                "VXLAN, two clusters connected, {RESTS} times {} s without news. Writes: of the gateways and agents of both clusters together, from \
                 the API servers' audit logs.",
                REST.as_secs()
            ),
            columns: [
                "gateway",
                "route agent, gateway node",
                "route agent, worker",
            ]
            .map(str::to_owned)
            .into(),
            goals: vec![
                goal("gateway, MiB", median(&resident[0]), 20.0, 0.0),
                goal(
                    "route agent of a worker, MiB",
                    median(&resident[2]),
                    20.0,
                    0.0,
                ),
                goal("gateway, % of a core", median(&busy[0]), 0.1, 0.0),
                goal(
                    "route agent of a worker, % of a core",
                    median(&busy[2]),
                    0.1,
                    0.0,
                ),
                goal(
                    "writes a minute, but for Leases and one Gateway of each cluster",
                    median(&writes[1]) - 2.0,
                    0.0,
                    0.0,
                ),
            ],
            rows: vec![
                row("resident, MiB", spreads(&resident)),
                row("CPU, % of a core", spreads(&busy)),
                row("writes a minute: Leases", of_all(&writes[0])),
                row("writes a minute: all else", of_all(&writes[1])),
            ],
        })
    }
}
