//! How a server follows the objects of an API server: how soon, how many, and at what cost.

use std::time::Duration;

use anyhow::Result;

use super::Lab;
use crate::controlplane::churn::{Churn, churn};
use crate::controlplane::cost;
use crate::controlplane::following::{Kind, delays};
use crate::controlplane::server::Subject;
use crate::controlplane::service::{self, Large};
use crate::controlplane::world::World;
use crate::report::{Goal, Row, Spread, Table};

/// Changes of a kind in one round, so many that one in a hundred says something.
const CHANGES: usize = 500;
/// Changes a second that are tried.
const CHURN: u32 = 1000;
/// Changes of a large service in one round.
const LARGE_CHANGES: usize = 200;
const LARGE: [Large; 2] = [
    Large {
        slices: 10,
        endpoints_each: 100,
    },
    Large {
        slices: 1,
        endpoints_each: 1000,
    },
];

/// All of it, with one control plane.
pub(super) fn programming(lab: &Lab) -> Result<Vec<Table>> {
    let world = World::with_services(lab, lab.services)?;
    let mut tables = vec![following(lab, &world)?];
    tables.extend(churning(lab, &world)?);
    tables.push(large(lab, &world)?);
    Ok(tables)
}

/// Figures of one server, round by round.
type Rounds = Vec<Vec<f64>>;

fn following(lab: &Lab, world: &World) -> Result<Table> {
    let kinds = [
        ("an endpoint's address", Kind::Slice),
        ("a cluster set IP", Kind::Import),
    ];
    let mut figures: [[Rounds; 2]; 2] = Default::default();
    for _ in 0..lab.rounds {
        for (at, subject) in world.subjects.iter().enumerate() {
            let server = subject.start_serving(&world.last())?;
            for ((_, kind), figures) in kinds.iter().zip(&mut figures) {
                figures[at].push(millis(&delays(world, &server, *kind, CHANGES)?));
            }
        }
    }
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for ((name, _), [ours, theirs]) in kinds.iter().zip(&figures) {
        rows.extend(percentile_rows(name, &[ours, theirs]));
        goals.push(Goal::ratio(
            format!("{name}, p50: lighthouse-dns / CoreDNS"),
            &per_round(ours, 500),
            &per_round(theirs, 500),
            1.0,
        ));
        goals.push(at_most(
            &format!("{name}, p99, ms"),
            &per_round(ours, 990),
            5.0,
        ));
    }
    Ok(Table {
        title: "Programming".to_owned(),
        unit: "ms from the API server's acknowledgement to the first answer with the change"
            .to_owned(),
        method: format!(
            "{} services; 50 changes a second, {CHANGES} of a kind in a round, each of another service; asked every 0.1 ms \
             over UDP from the acknowledgement on, by the thread that made the change. Servers in turns, on both cores, beside \
             the API server and etcd.",
            world.services
        ),
        columns: columns(&["lighthouse-dns", "CoreDNS"]),
        rows,
        goals,
    })
}

fn churning(lab: &Lab, world: &World) -> Result<[Table; 4]> {
    let manifests = lab.folder.join("unchanged");
    service::write_manifests(&manifests, world.services)?;
    // The last service has never been changed, neither here nor there.
    let control = Subject::control(&lab.binaries, &manifests).start_serving(&world.last())?;
    let length = Duration::from_secs(lab.seconds);
    let mut seen: [Vec<Churn>; 2] = Default::default();
    for _ in 0..lab.rounds {
        for (subject, seen) in world.subjects.iter().zip(&mut seen) {
            let server = subject.start_serving(&world.last())?;
            seen.push(churn(
                world,
                subject.import_version,
                [&server, &control],
                CHURN,
                length,
            )?);
        }
    }
    let of = |subject: usize, what: fn(&Churn) -> &[Duration]| -> Rounds {
        seen[subject]
            .iter()
            .map(|churn| millis(what(churn)))
            .collect()
    };
    let our_ages = of(0, |c| &c.ages);
    let method = format!(
        "{} services; {CHURN} changes a second for {} s if the API server takes as many, half of slices and half of imports, each \
         of another service.",
        world.services, lab.seconds
    );
    let rates = |subject: usize| {
        let rates: Vec<f64> = seen[subject].iter().map(|churn| churn.rate).collect();
        Spread::of(&rates)
    };
    let rate = Table {
        title: "Churn".to_owned(),
        unit: "changes acknowledged a second".to_owned(),
        method: method.clone(),
        columns: columns(&["lighthouse-dns", "CoreDNS"]),
        rows: vec![Row {
            name: "rate".to_owned(),
            cells: vec![rates(0), rates(1)],
        }],
        goals: Vec::new(),
    };
    let age = Table {
        title: "Age of answers during churn".to_owned(),
        unit: "ms from the API server's acknowledgement to the first answer with the change"
            .to_owned(),
        method: format!(
            "{method} All changes that are not visible yet are asked for in turn, with a pause of 0.2 ms after each turn. Beside \
             each server, a plain watch of the same objects: no server can know of a change before the API server tells it."
        ),
        columns: columns(&[
            "lighthouse-dns",
            "watch beside it",
            "CoreDNS",
            "watch beside it",
        ]),
        rows: percentile_rows(
            "age",
            &[
                &our_ages,
                &of(0, |c| &c.deliveries),
                &of(1, |c| &c.ages),
                &of(1, |c| &c.deliveries),
            ],
        )
        .into(),
        // Never is never: not in the round in the middle, and whatever the spread.
        goals: vec![Goal {
            what: "lighthouse-dns: the oldest, ms".to_owned(),
            measured: per_round(&our_ages, 1000).max,
            at_most: 50.0,
            noise: 0.0,
        }],
    };
    let slices = [of(0, |c| &c.slice_lags), of(1, |c| &c.slice_lags)];
    let imports = [of(0, |c| &c.import_lags), of(1, |c| &c.import_lags)];
    let lag = Table {
        title: "Behind the API server during churn".to_owned(),
        unit: "ms from when a plain watch hears of a change to the first answer with it".to_owned(),
        method: "The same changes: a server's own part of their age.".to_owned(),
        columns: columns(&["lighthouse-dns", "CoreDNS"]),
        rows: [("slices", &slices), ("imports", &imports)]
            .iter()
            .flat_map(|(name, [ours, theirs])| percentile_rows(name, &[ours, theirs]))
            .collect(),
        goals: [("slices", &slices), ("imports", &imports)]
            .iter()
            .map(|(name, [ours, _])| Goal {
                what: format!("lighthouse-dns: the longest lag of {name}, ms"),
                measured: per_round(ours, 1000).max,
                at_most: 50.0,
                noise: 0.0,
            })
            .collect(),
    };
    let controls = |subject: usize| of(subject, |c| &c.control_replies);
    let replies = Table {
        title: "Queries during churn".to_owned(),
        unit: "ms from question to reply".to_owned(),
        method: format!(
            "{method} Meanwhile A records are asked for, one question at a time and one each 2 ms at each server; beside each \
             server, in turn with it, a lighthouse-dns without any changes."
        ),
        columns: columns(&[
            "lighthouse-dns",
            "unchanged beside it",
            "CoreDNS",
            "unchanged beside it",
        ]),
        rows: percentile_rows(
            "reply",
            &[
                &of(0, |c| &c.replies),
                &controls(0),
                &of(1, |c| &c.replies),
                &controls(1),
            ],
        )
        .into(),
        goals: Vec::new(),
    };
    Ok([rate, age, lag, replies])
}

fn large(lab: &Lab, world: &World) -> Result<Table> {
    let objects = LARGE.iter().flat_map(|large| large.objects());
    world.create_in(Large::NAMESPACE, objects.collect())?;
    let mut figures: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..lab.rounds {
        for (at, subject) in world.subjects.iter().enumerate() {
            let server = subject.start_serving(&world.last())?;
            for (large, figures) in LARGE.iter().zip(&mut figures) {
                figures[at].push(cost::per_change(world, &server, *large, LARGE_CHANGES)?);
            }
        }
    }
    let mut rows = Vec::new();
    let mut goals = Vec::new();
    for (large, [ours, theirs]) in LARGE.iter().zip(&figures) {
        let name = format!("{} × {} endpoints", large.slices, large.endpoints_each);
        let ours = spread(ours);
        goals.push(at_most(&format!("{name}, ms"), &ours, 0.25));
        rows.push(Row {
            name,
            cells: vec![Some(ours), Some(spread(theirs))],
        });
    }
    Ok(Table {
        title: "A slice of a large service".to_owned(),
        unit: "ms of CPU per change".to_owned(),
        method: format!(
            "One address in one slice of a headless service changes, 50 times a second, {LARGE_CHANGES} times in a round; {} other \
             services. What the server uses when idle is taken off.",
            world.services
        ),
        columns: columns(&["lighthouse-dns", "CoreDNS"]),
        rows,
        goals,
    })
}

fn percentile_rows(name: &str, subjects: &[&Rounds]) -> [Row; 3] {
    [("p50", 500), ("p99", 990), ("max", 1000)].map(|(label, permille)| Row {
        name: format!("{name}, {label}"),
        cells: subjects
            .iter()
            .map(|rounds| Some(per_round(rounds, permille)))
            .collect(),
    })
}

/// The spread of the percentiles of each round.
fn per_round(rounds: &Rounds, permille: usize) -> Spread {
    let figures: Vec<f64> = rounds
        .iter()
        .map(|round| percentile(round, permille))
        .collect();
    spread(&figures)
}

/// The least figure that so many in a thousand do not exceed.
fn percentile(figures: &[f64], permille: usize) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (permille * sorted.len()).div_ceil(1000);
    sorted[rank.max(1) - 1]
}

fn at_most(what: &str, measured: &Spread, at_most: f64) -> Goal {
    Goal {
        what: format!("lighthouse-dns: {what}"),
        measured: measured.median,
        at_most,
        noise: measured.noise(),
    }
}

fn spread(figures: &[f64]) -> Spread {
    Spread::of(figures).expect("at least one round")
}

fn millis(durations: &[Duration]) -> Vec<f64> {
    durations
        .iter()
        .map(|duration| duration.as_secs_f64() * 1e3)
        .collect()
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::percentile;

    #[test]
    fn percentiles_are_figures_that_were_measured() {
        let figures: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert!((percentile(&figures, 500) - 100.0).abs() < f64::EPSILON);
        assert!((percentile(&figures, 990) - 198.0).abs() < f64::EPSILON);
        assert!((percentile(&figures, 1000) - 200.0).abs() < f64::EPSILON);
        assert!((percentile(&[3.0], 500) - 3.0).abs() < f64::EPSILON);
    }
}
