//! From the start of a server to its right answers, with what that takes.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Lab;
use crate::controlplane::memory::Memory;
use crate::controlplane::server::{Subject, await_answers, verify};
use crate::controlplane::world::World;
use crate::report::{Goal, Row, Spread, Table};

/// How long a server may settle before its memory is read.
const SETTLE: Duration = Duration::from_secs(5);
/// How many times as many services [`scale`] has.
const SCALE: usize = 10;

/// With as many services as the run has.
pub(super) fn startup(lab: &Lab) -> Result<Vec<Table>> {
    let world = World::with_services(lab, lab.services)?;
    let [ours, theirs] = starts(&world, lab.rounds)?;
    let mut times = times_table();
    let mut memory = memory_table();
    rows(&mut times, &mut memory, world.services, &ours, &theirs);
    let goal = |what: &str, of: fn(&Start) -> f64| {
        Goal::ratio(
            format!("{what}: lighthouse-dns / CoreDNS"),
            &spread(&ours, of),
            &spread(&theirs, of),
            0.5,
        )
    };
    times.goals = vec![
        goal("time to right answers", Start::millis),
        goal("CPU until then", Start::cpu_millis),
    ];
    Ok(vec![times, memory])
}

/// With as many services as the run has, and with ten times as many: what a service costs.
pub(super) fn scale(lab: &Lab) -> Result<Vec<Table>> {
    let mut times = times_table();
    "Start-up at scale".clone_into(&mut times.title);
    let mut memory = memory_table();
    "Memory at scale".clone_into(&mut memory.title);
    let mut world = World::with_services(lab, lab.services)?;
    let few = starts(&world, lab.rounds)?;
    rows(&mut times, &mut memory, world.services, &few[0], &few[1]);
    world.grow(lab.services * SCALE)?;
    let many = starts(&world, lab.rounds)?;
    rows(&mut times, &mut memory, world.services, &many[0], &many[1]);

    let goal = |what: &str, of: fn(&Start) -> f64, at_most| {
        Goal::ratio(
            format!(
                "{what}, {} services: lighthouse-dns / CoreDNS",
                world.services
            ),
            &spread(&many[0], of),
            &spread(&many[1], of),
            at_most,
        )
    };
    times.goals = vec![goal("CPU until right answers", Start::cpu_millis, 0.33)];
    memory.goals = vec![goal("resident", Start::resident_mib, 0.25)];

    let per_service = |subject: usize| {
        let slopes: Vec<f64> = few[subject]
            .iter()
            .zip(&many[subject])
            .map(|(few, many)| {
                let grown = many.memory.resident as f64 - few.memory.resident as f64;
                grown / (world.services - lab.services) as f64
            })
            .collect();
        Spread::of(&slopes)
    };
    let slope = Table {
        title: "Memory per service".to_owned(),
        unit: "octets of resident memory".to_owned(),
        method: format!(
            "Growth from {} services to {}, divided by their difference.",
            lab.services, world.services
        ),
        columns: columns(),
        rows: vec![Row {
            name: "an import and its slice".to_owned(),
            cells: vec![per_service(0), per_service(1)],
        }],
        goals: Vec::new(),
    };
    Ok(vec![times, memory, slope])
}

/// One start of one server.
struct Start {
    time: Duration,
    cpu: Duration,
    memory: Memory,
}

impl Start {
    fn millis(&self) -> f64 {
        self.time.as_secs_f64() * 1e3
    }

    fn cpu_millis(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e3
    }

    fn resident_mib(&self) -> f64 {
        mib(self.memory.resident)
    }

    fn peak_mib(&self) -> f64 {
        mib(self.memory.peak)
    }
}

fn mib(octets: u64) -> f64 {
    octets as f64 / f64::from(1 << 20)
}

/// Starts each subject once a round, one after the other.
fn starts(world: &World, rounds: usize) -> Result<[Vec<Start>; 2]> {
    let mut starts = [Vec::new(), Vec::new()];
    for _ in 0..rounds {
        for (subject, starts) in world.subjects.iter().zip(&mut starts) {
            starts.push(start(world, subject)?);
        }
    }
    Ok(starts)
}

fn start(world: &World, subject: &Subject) -> Result<Start> {
    let sample = world.sample();
    let began = Instant::now();
    let mut server = subject.start()?;
    await_answers(&mut server, &sample)?;
    let time = began.elapsed();
    let cpu = server.cpu_time()?;
    std::thread::sleep(SETTLE);
    let memory = Memory::of(server.process.id())?;
    verify(&server, world.services)?;
    eprintln!(
        "{}: {time:.2?}, {cpu:.2?} of CPU, {:.1} MiB",
        subject.name,
        mib(memory.resident)
    );
    Ok(Start { time, cpu, memory })
}

fn rows(times: &mut Table, memory: &mut Table, services: usize, ours: &[Start], theirs: &[Start]) {
    let row = |what: &str, of: fn(&Start) -> f64| Row {
        name: format!("{what}, {services} services"),
        cells: vec![Some(spread(ours, of)), Some(spread(theirs, of))],
    };
    times.rows.push(row("time to right answers", Start::millis));
    times.rows.push(row("CPU until then", Start::cpu_millis));
    memory.rows.push(row("resident", Start::resident_mib));
    memory.rows.push(row("peak", Start::peak_mib));
}

fn spread(starts: &[Start], of: fn(&Start) -> f64) -> Spread {
    let figures: Vec<f64> = starts.iter().map(of).collect();
    Spread::of(&figures).expect("at least one round")
}

fn times_table() -> Table {
    Table {
        title: "Start-up".to_owned(),
        unit: "ms".to_owned(),
        method: "From the start of the program until it has answered right for the last service of the list and for fifty \
                 others all over it, one after the other, asked every 2 ms over UDP. The API server, etcd and the server share \
                 the machine. Servers in turns; the answers for one service in 97 are checked after."
            .to_owned(),
        columns: columns(),
        rows: Vec::new(),
        goals: Vec::new(),
    }
}

fn memory_table() -> Table {
    Table {
        title: "Memory".to_owned(),
        unit: "MiB".to_owned(),
        method: format!(
            "VmRSS and VmHWM {} s after the right answers. One ServiceImport and one EndpointSlice of three endpoints per \
             service, one service in ten headless.",
            SETTLE.as_secs()
        ),
        columns: columns(),
        rows: Vec::new(),
        goals: Vec::new(),
    }
}

fn columns() -> Vec<String> {
    ["lighthouse-dns", "CoreDNS"].map(String::from).to_vec()
}
