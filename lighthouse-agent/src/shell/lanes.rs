//! Writes under way: one lane for each service and API server, so that none waits for another. A lane that failed waits
//! longer each time, with jitter; the rest goes on. Of an object only one write is under way at a time.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::answers::Answers;
use super::writer::{Outcome, Writer};
use crate::core::{Action, ObjectId, Place, ServiceKey, Urgency, Write};

/// Requests to one API server at once: those that make names resolve, and those that report.
const RESOLVING: usize = 24;
const REPORTING: usize = 4;
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Somebody else wrote at the same time: the news of it is under way.
const OVERTAKEN_WAIT: Duration = Duration::from_millis(20);

/// What came of the writes of a lane.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) place: Place,
    pub(super) key: ServiceKey,
    pub(super) results: Vec<(Write, Outcome)>,
    pub(super) started: Instant,
}

#[derive(Debug, Default)]
struct Lane {
    /// Objects that a request is under way for.
    in_flight: HashSet<ObjectId>,
    failures: u32,
    not_before: Option<Instant>,
    /// Fingerprints of writes that were accepted and changed nothing: the server leaves something out. Not tried again.
    futile: HashSet<u64>,
    last: HashSet<u64>,
}

pub(super) struct Lanes {
    by_service: HashMap<(Place, ServiceKey), Lane>,
    servers: HashMap<Place, Server>,
    running: usize,
    done: UnboundedSender<Done>,
}

#[derive(Clone)]
struct Server {
    writer: Arc<Writer>,
    resolving: Arc<Semaphore>,
    reporting: Arc<Semaphore>,
}

/// What a lane did with its writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Accepted {
    Started,
    /// All are under way, or of no use.
    Nothing,
    /// Not before then.
    Waiting(Instant),
}

impl Lanes {
    pub(super) fn new(writers: [(Place, Writer); 2], done: UnboundedSender<Done>) -> Self {
        let server = |writer| Server {
            writer: Arc::new(writer),
            resolving: Arc::new(Semaphore::new(RESOLVING)),
            reporting: Arc::new(Semaphore::new(REPORTING)),
        };
        Self {
            by_service: HashMap::new(),
            servers: writers
                .into_iter()
                .map(|(place, writer)| (place, server(writer)))
                .collect(),
            running: 0,
            done,
        }
    }

    /// How many batches of requests are under way.
    pub(super) fn running(&self) -> usize {
        self.running
    }

    /// Takes a service's writes for one API server. `since` is when the news arrived that made them due.
    pub(super) fn submit(
        &mut self,
        place: Place,
        key: &ServiceKey,
        mut writes: Vec<Write>,
        since: Instant,
        answers: &mut Answers,
    ) -> Accepted {
        let now = Instant::now();
        let lane = self.by_service.entry((place, key.clone())).or_default();
        if let Some(at) = lane.not_before.filter(|at| *at > now) {
            return Accepted::Waiting(at);
        }
        writes.retain(|write| {
            !lane.in_flight.contains(&write.id) && !lane.futile.contains(&fingerprint(write))
        });
        if writes.is_empty() {
            return Accepted::Nothing;
        }
        lane.not_before = None;
        lane.in_flight
            .extend(writes.iter().map(|write| write.id.clone()));
        lane.last.extend(writes.iter().map(fingerprint));
        for write in &writes {
            answers.awaited(&write.id);
        }
        self.running += 1;
        let server = self.servers[&place].clone();
        let (key, done) = (key.clone(), self.done.clone());
        tokio::spawn(async move {
            let results = run(&server, writes).await;
            // Nobody listens any more when the agent ends.
            let _ = done.send(Done {
                place,
                key,
                results,
                started: since,
            });
        });
        Accepted::Started
    }

    /// Nothing is due for a service: what its lane remembers is of the past.
    pub(super) fn settled(&mut self, place: Place, key: &ServiceKey) {
        let id = (place, key.clone());
        if self
            .by_service
            .get(&id)
            .is_some_and(|lane| lane.in_flight.is_empty())
        {
            self.by_service.remove(&id);
        }
    }

    /// A lane is done. Tells when its service is to be planned again at the earliest.
    pub(super) fn finished(&mut self, done: &Done) -> Option<Instant> {
        self.running -= 1;
        let lane = self.by_service.get_mut(&(done.place, done.key.clone()))?;
        for (write, _) in &done.results {
            lane.in_flight.remove(&write.id);
        }
        let failed = done
            .results
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Failed(_)));
        let overtaken = done
            .results
            .iter()
            .any(|(_, outcome)| matches!(outcome, Outcome::Overtaken | Outcome::Missing));
        let first = match (failed, overtaken) {
            (true, _) => FIRST_WAIT,
            (false, true) => OVERTAKEN_WAIT,
            (false, false) => {
                lane.failures = 0;
                lane.not_before = None;
                return None;
            }
        };
        // Also who is overtaken again and again waits longer: somebody else may hold the name for good.
        let wait = first
            .saturating_mul(1 << lane.failures.min(12))
            .min(LONGEST_WAIT);
        lane.failures += 1;
        let at = Instant::now() + wait.mul_f64(rand::random_range(0.5..=1.0));
        lane.not_before = Some(at);
        Some(at)
    }

    /// Writes that are due again though they were accepted: they are of no use as long as nothing else changes.
    pub(super) fn note_futile<'a>(
        &mut self,
        place: Place,
        key: &ServiceKey,
        due: &'a [Write],
    ) -> Vec<&'a Write> {
        let lane = self.by_service.get_mut(&(place, key.clone()));
        let Some(lane) = lane.filter(|lane| {
            lane.in_flight.is_empty() && lane.failures == 0 && lane.not_before.is_none()
        }) else {
            return Vec::new();
        };
        let again = due.iter().filter(|write| {
            lane.last.contains(&fingerprint(write)) && lane.futile.insert(fingerprint(write))
        });
        let again = again.collect();
        lane.last.clear();
        again
    }
}

fn fingerprint(write: &Write) -> u64 {
    let mut hasher = DefaultHasher::new();
    write.hash(&mut hasher);
    hasher.finish()
}

/// New objects first, then old ones go; what makes names resolve before what tells of it.
async fn run(server: &Server, writes: Vec<Write>) -> Vec<(Write, Outcome)> {
    let mut stages: [Vec<Write>; 3] = Default::default();
    for write in writes {
        let stage = match (write.urgency, &write.action) {
            (Urgency::Resolve, Action::Delete { .. }) => 1,
            (Urgency::Resolve, _) => 0,
            (Urgency::Report, _) => 2,
        };
        stages[stage].push(write);
    }
    let mut results = Vec::new();
    for (stage, writes) in stages.into_iter().enumerate() {
        let permits = if stage == 2 {
            &server.reporting
        } else {
            &server.resolving
        };
        let attempts = writes.into_iter().map(|write| async {
            let _permit = permits.acquire().await;
            let outcome = server.writer.write(&write).await;
            (write, outcome)
        });
        results.extend(futures::future::join_all(attempts).await);
    }
    results
}
