//! WireGuard as a process runs it, beside another that does.

use std::time::Duration;

use anyhow::Result;

use super::{Bench, LIMIT, ROUND_TRIPS, row};
use crate::cpu;
use crate::dataplane::byhand::{Between, ByHand};
use crate::dataplane::flow;
use crate::dataplane::world::SECOND;
use crate::report::Table;
use crate::tables::Lab;
use crate::turns::in_turns;

pub(in crate::tables) fn measure(lab: &Lab) -> Result<Vec<Table>> {
    let mut bench = Bench::start(lab, "wireguard")?;
    Ok(vec![bench.wireguard(lab)?])
}

impl Bench {
    fn wireguard(&mut self, lab: &Lab) -> Result<Table> {
        let paths = self.world.paths();
        self.start_gateways(&paths.gateways)?;
        let by_hand = match ByHand::new(Between::WireGuardGo) {
            Ok(by_hand) => Some(by_hand),
            Err(error) => {
                eprintln!("nothing stands beside userspace WireGuard: {error:#}");
                None
            }
        };
        let far = &self.world.sides[SECOND];
        let mut subjects = vec![(
            "gotatun",
            &self.gateways,
            paths.gateways,
            &far.gateway.answering,
        )];
        if let Some(by_hand) = &by_hand {
            flow::first_answer(&by_hand.paths()?.gateways, LIMIT)?;
            subjects.push((
                "wireguard-go",
                &by_hand.processes,
                by_hand.paths()?.gateways,
                &by_hand.at_gateway,
            ));
        }
        let spreads = in_turns(lab.rounds, &subjects, |(name, processes, path, at)| {
            let mut clock = Vec::new();
            let flow = flow::streams(path, at, 1, lab.seconds, || {
                let mut sum = Duration::ZERO;
                for process in *processes {
                    sum += cpu::time(process.id())?;
                }
                clock.push(sum);
                Ok(())
            })?;
            let used = clock[1].saturating_sub(clock[0]);
            let figures = [
                flow.megabits(),
                used.as_secs_f64() / flow.gigabytes(),
                flow::round_trip(path, ROUND_TRIPS)?,
            ];
            eprintln!("{name}: {figures:.2?}");
            Ok(figures)
        })?;
        let rows = [
            "one stream, Mbit/s",
            "CPU of both processes, s per GB",
            "round trip, µs",
        ];
        Ok(Table {
            title: "WireGuard in userspace".to_owned(),
            unit: "as the row says".to_owned(),
            method: format!(
                "Pods on gateway nodes, {} s of TCP. The kernel of this machine has no WireGuard: gateways run it themselves (gotatun, 0.10); by hand: \
                 Debian's wireguard-go on each gateway node, set up by `wg`. The processes share the cores with sender and receiver.",
                lab.seconds
            ),
            columns: subjects
                .iter()
                .map(|(name, ..)| (*name).to_owned())
                .collect(),
            rows: rows
                .iter()
                .enumerate()
                .map(|(at, name)| {
                    row(
                        name,
                        spreads.iter().map(|figures| Some(figures[at])).collect(),
                    )
                })
                .collect(),
            goals: Vec::new(),
        })
    }
}
