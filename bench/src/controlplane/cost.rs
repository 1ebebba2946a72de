//! The CPU time that a server takes to follow one change of a large service.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::LATE;
use super::service::Large;
use super::world::World;
use super::writer;
use crate::probe::{Client, Question};
use crate::server::Server;

/// Between two changes: far enough apart for each to be published by itself.
const PACE: Duration = Duration::from_millis(20);
/// How long the server is left alone, to know what it uses then.
const IDLE: Duration = Duration::from_secs(2);
/// How long after the last change what it causes still counts, such as the collection of garbage.
const AFTER: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds per change, without what the server uses when it is idle.
pub fn per_change(world: &World, server: &Server, large: Large, count: usize) -> Result<f64> {
    let used = || server.cpu_time();
    let (before, began) = (used()?, Instant::now());
    sleep(IDLE);
    let idle = used()?
        .saturating_sub(before)
        .div_duration_f64(began.elapsed());

    let (before, began) = (used()?, Instant::now());
    let numbers = world.take_changes(count);
    let last = numbers.end - 1;
    for (turn, number) in numbers.enumerate() {
        sleep((PACE * turn as u32).saturating_sub(began.elapsed()));
        let change = large.change(number);
        world
            .runtime
            .block_on(writer::patch(&world.client, &change))?;
    }
    let (change, host) = (large.change(last), large.host_name(last));
    let question = Question::new(&host, "A", false)?;
    let mut asker = Client::of(server.addr, LATE)?;
    let acknowledged = Instant::now();
    while !asker
        .addresses(&question)?
        .is_some_and(|answer| change.is_in(&answer))
    {
        ensure!(
            acknowledged.elapsed() < PATIENCE,
            "{} does not answer for {host} within {PATIENCE:?}",
            server.name
        );
        sleep(PAUSE);
    }
    sleep(AFTER);
    let used = used()?.saturating_sub(before).as_secs_f64() - idle * began.elapsed().as_secs_f64();
    Ok(used * 1e3 / count as f64)
}
