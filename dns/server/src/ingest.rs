//! Events of a source to publications. One thread owns the catalog; it publishes at once while serials are not far ahead
//! of the clock, and takes together what has piled up while it was building or waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use subm_dns_core::catalog::{Catalog, Published, Settings};
use subm_dns_core::facts::Problem;
use subm_dns_core::serial;
use tokio::sync::{mpsc, watch};

use crate::sources::Event;

/// One step of the serial. Under load, publications are so far apart.
const SERIAL_UNIT: Duration = Duration::from_millis(5);
/// Events taken into one publication at the most, so that a flood does not keep the first of them waiting.
const BATCH: usize = 4096;

/// Where publications go: the fronts, the metrics and the log. A trait, so that a test can look on.
pub trait Board: Send + 'static {
    /// A new state of the world is to be served.
    fn publish(&self, published: &Published, timing: &Timing);
    /// How many problems there are in all, and which are new.
    fn problems(&self, total: usize, new: &[Problem]);
    /// Whether changes of a kind of object reach us, and what is wrong if not.
    fn source(&self, kind: &'static str, healthy: bool, detail: &str);
    /// The serial that was served last; a new catalog goes on from there.
    fn last_serial(&self) -> Option<u32>;
}

/// How long a publication took.
#[derive(Clone, Debug, Default)]
pub struct Timing {
    /// Building the snapshot.
    pub build: Duration,
    /// For each changed slice that says when its endpoints changed: from then until now.
    pub programming: Vec<Duration>,
}

/// How a source comes to give Kubernetes' own slices.
pub struct LocalSlices {
    /// Tells the source whether they are wanted.
    pub want: watch::Sender<bool>,
    /// They come after the rest, once they are wanted.
    pub apart: bool,
}

/// Consumes events until the source is gone. Call it on a thread of its own.
pub fn run(
    settings: Settings,
    mut events: mpsc::Receiver<Event>,
    local_slices: &LocalSlices,
    board: &impl Board,
) {
    let mut ingest = Ingest {
        catalog: Catalog::new(settings),
        problems: BTreeMap::new(),
        synced: false,
        local_slices_read: !local_slices.apart,
        published_at: None,
    };
    while let Some(first) = events.blocking_recv() {
        let mut new = ingest.take(first, board);
        // What comes in the meantime is published along.
        std::thread::sleep(ingest.pause(board, clock()));
        for _ in 1..BATCH {
            match events.try_recv() {
                Ok(event) => new.extend(ingest.take(event, board)),
                Err(_) => break,
            }
        }
        let wanted = ingest.catalog.wants_local_slices();
        let want = &local_slices.want;
        want.send_if_modified(|was| std::mem::replace(was, wanted) != wanted);
        ingest.publish(new, board);
    }
}

struct Ingest {
    catalog: Catalog,
    /// What the source said of each object, beside what the catalog finds.
    problems: BTreeMap<String, Vec<Problem>>,
    synced: bool,
    local_slices_read: bool,
    published_at: Option<Instant>,
}

impl Ingest {
    /// Takes in one event; gives the problems that it is the first to name.
    fn take(&mut self, event: Event, board: &impl Board) -> Vec<Problem> {
        match event {
            Event::Facts(facts) => {
                for fact in facts {
                    self.catalog.apply(fact);
                }
            }
            Event::Problems { object, problems } => {
                let before = self.problems.remove(&object).unwrap_or_default();
                let new = problems
                    .iter()
                    .filter(|problem| !before.contains(problem))
                    .cloned()
                    .collect();
                if !problems.is_empty() {
                    self.problems.insert(object, problems);
                }
                return new;
            }
            Event::Synced => self.synced = true,
            Event::LocalSlicesRead => self.local_slices_read = true,
            Event::Health {
                kind,
                healthy,
                detail,
            } => board.source(kind, healthy, &detail),
        }
        Vec::new()
    }

    /// How long to wait so that serials do not outrun the clock: one step at the most, for a clock may be set back.
    fn pause(&self, board: &impl Board, clock: u32) -> Duration {
        match board.last_serial() {
            Some(last) if serial::must_wait(last, clock) => {
                let since = self.published_at.map_or(Duration::ZERO, |at| at.elapsed());
                SERIAL_UNIT.saturating_sub(since)
            }
            _ => Duration::ZERO,
        }
    }

    /// Whether everything that answers depend on has been read.
    fn is_complete(&self) -> bool {
        // At home, global IPs lead nowhere: better none than those.
        let local = self.local_slices_read || !self.catalog.wants_local_slices();
        self.synced && (local || self.published_at.is_some())
    }

    fn publish(&mut self, mut new: Vec<Problem>, board: &impl Board) {
        if self.is_complete() && (self.catalog.is_dirty() || self.published_at.is_none()) {
            let serial = board.last_serial().map_or_else(
                || serial::first(clock()),
                |last| serial::next(Some(last), clock()),
            );
            let started = Instant::now();
            self.published_at = Some(started);
            let mut published = self.catalog.publish(serial);
            let now = since_epoch();
            let since = |trigger: u64| now.saturating_sub(Duration::from_nanos(trigger));
            let timing = Timing {
                build: started.elapsed(),
                programming: std::mem::take(&mut published.triggered_at)
                    .into_iter()
                    .map(since)
                    .collect(),
            };
            new.append(&mut published.new_problems);
            board.publish(&published, &timing);
        }
        let total =
            self.problems.values().map(Vec::len).sum::<usize>() + self.catalog.problem_count();
        board.problems(total, &new);
    }
}

fn since_epoch() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// The time in steps of the serial.
fn clock() -> u32 {
    (since_epoch().as_millis() / SERIAL_UNIT.as_millis()) as u32
}

#[cfg(test)]
mod tests;
