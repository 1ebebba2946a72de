//! What goes through, and how long it takes, beside what is made by hand.

use anyhow::Result;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use subm_test_support::TestNode;

use super::{Bench, ROUND_TRIPS, row};
use crate::dataplane::Paths;
use crate::dataplane::byhand::{Between, ByHand};
use crate::dataplane::flow::{self, Answering};
use crate::dataplane::world::SECOND;
use crate::report::Table;
use crate::tables::Lab;
use crate::turns::in_turns;

const BARE: &str = "VXLAN by hand";
const WAYS: [&str; 4] = [
    "one stream, worker to worker",
    "four streams, worker to worker",
    "one stream, gateway to gateway",
    "four streams, gateway to gateway",
];
const TRIPS: [&str; 2] = ["worker to worker", "gateway to gateway"];

pub(in crate::tables) fn measure(lab: &Lab) -> Result<Vec<Table>> {
    let mut bench = Bench::start(lab, "vxlan")?;
    for side in &bench.world.sides {
        for place in [&side.gateway, &side.worker] {
            without_kube_proxy(&place.node)?;
        }
    }
    let paths = bench.world.paths();
    bench.start_gateways(&paths.workers)?;
    bench.paths(lab)
}

impl Bench {
    fn paths(&self, lab: &Lab) -> Result<Vec<Table>> {
        let (vxlan, plain) = (ByHand::new(Between::Vxlan)?, ByHand::new(Between::Routes)?);
        let far = &self.world.sides[SECOND];
        let subjects = [
            (
                "subm",
                self.world.paths(),
                &far.worker.answering,
                &far.gateway.answering,
            ),
            (BARE, vxlan.paths()?, &vxlan.at_worker, &vxlan.at_gateway),
            (
                "plain routing",
                plain.paths()?,
                &plain.at_worker,
                &plain.at_gateway,
            ),
        ];
        let spreads = in_turns(
            lab.rounds,
            &subjects,
            |(name, paths, at_worker, at_gateway)| {
                let figures = through(lab, paths, at_worker, at_gateway)?;
                eprintln!("{name}: {figures:.0?}");
                Ok(figures)
            },
        )?;
        let columns: Vec<String> = subjects
            .iter()
            .map(|(name, ..)| (*name).to_owned())
            .collect();
        let cells = |at: usize| spreads.iter().map(|figures| Some(figures[at])).collect();
        let method = "In namespaces on this machine, through the gateways of both clusters. By hand: VXLAN devices of `ip link` from the worker to its \
                      gateway and between the gateways, the same exemption from masquerade and the same MSS; plain routing: a router that knows the \
                      pods, straight to the other cluster's gateway node. No node has kube-proxy's rules.";
        let mut throughput = Table {
            title: "Throughput across clusters".to_owned(),
            unit: "Mbit/s of TCP".to_owned(),
            method: format!("{method} {} s each.", lab.seconds),
            columns: columns.clone(),
            rows: WAYS
                .iter()
                .enumerate()
                .map(|(at, way)| row(way, cells(at)))
                .collect(),
            goals: Vec::new(),
        };
        for way in WAYS {
            throughput.goal(way, BARE, "subm", 1.0 / 0.95);
        }
        let mut trips = Table {
            title: "Round trip across clusters".to_owned(),
            unit: "µs, median of a round".to_owned(),
            method: format!("{method} {ROUND_TRIPS} datagrams of 64 octets, one at a time."),
            columns,
            rows: TRIPS
                .iter()
                .enumerate()
                .map(|(at, way)| row(way, cells(WAYS.len() + at)))
                .collect(),
            goals: Vec::new(),
        };
        for way in TRIPS {
            trips.goal(way, "subm", BARE, 1.0 / 0.95);
        }
        Ok(vec![throughput, trips])
    }
}

/// It looks at each packet, and nodes of paths made by hand have none.
fn without_kube_proxy(node: &TestNode) -> Result<()> {
    for process in node.process_ids() {
        kill(Pid::from_raw(process.cast_signed()), Signal::SIGKILL)?;
    }
    for table in ["ip kube-proxy", "ip6 kube-proxy"] {
        let script = format!("add table {table}\ndelete table {table}\n");
        node.net().netns().nft(&script)?;
    }
    Ok(())
}

/// In the order of [`WAYS`], then of [`TRIPS`].
fn through(
    lab: &Lab,
    paths: &Paths,
    at_worker: &Answering,
    at_gateway: &Answering,
) -> Result<[f64; 6]> {
    let mut figures = [0.0; 6];
    for (at, (path, answering)) in [(&paths.workers, at_worker), (&paths.gateways, at_gateway)]
        .into_iter()
        .enumerate()
    {
        for (more, count) in [1, 4].into_iter().enumerate() {
            let flow = flow::streams(path, answering, count, lab.seconds, || Ok(()))?;
            figures[2 * at + more] = flow.megabits();
        }
        figures[WAYS.len() + at] = flow::round_trip(path, ROUND_TRIPS)?;
    }
    Ok(figures)
}
