//! How soon a server answers with a change after the API server has acknowledged it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::LATE;
use super::service::Service;
use super::world::World;
use super::writer;
use crate::probe::{Client, Question};
use crate::server::Server;

/// Between two changes.
const PACE: Duration = Duration::from_millis(20);
/// Between two questions; the kernel makes it about twice as long.
const PAUSE: Duration = Duration::from_micros(50);
/// A change that is not seen by then is lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a change is made to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An address in the one slice of a headless service.
    Slice,
    /// The cluster set IP of an import.
    Import,
}

impl Kind {
    /// The service that the change of this number is made to: one after the other, the last service left out.
    pub fn service(self, number: usize, services: usize) -> Service {
        // Ten services of which the last is headless.
        let ten = number % (services / 10 - 1) * 10;
        match self {
            Self::Slice => Service(ten + 9),
            Self::Import => Service(ten),
        }
    }
}

/// Makes `count` changes at a relaxed rate; for each, the time from its acknowledgement to the first answer with it.
pub fn delays(world: &World, server: &Server, kind: Kind, count: usize) -> Result<Vec<Duration>> {
    let mut asker = Client::of(server.addr, LATE)?;
    let mut delays = Vec::with_capacity(count);
    let began = Instant::now();
    for (turn, number) in world.take_changes(count).enumerate() {
        let service = kind.service(number, world.services);
        let change = service.change(number);
        let question = Question::new(&service.domain_name(), "A", false)?;
        std::thread::sleep((PACE * turn as u32).saturating_sub(began.elapsed()));
        world
            .runtime
            .block_on(writer::patch(&world.client, &change))?;
        let acknowledged = Instant::now();
        loop {
            let answer = asker.addresses(&question)?;
            let delay = acknowledged.elapsed();
            if answer.is_some_and(|answer| change.is_in(&answer)) {
                delays.push(delay);
                break;
            }
            ensure!(
                delay < PATIENCE,
                "{} does not answer with the change of {} within {PATIENCE:?}",
                server.name,
                change.path
            );
            std::thread::sleep(PAUSE);
        }
    }
    Ok(delays)
}
