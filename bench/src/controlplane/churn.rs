//! Many changes a second, and how a server gets on meanwhile.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use super::LATE;
use super::delivery::Delivery;
use super::following::Kind;
use super::service::{Change, Service};
use super::world::World;
use super::writer;
use crate::probe::{Client, Question};
use crate::server::Server;

/// Who write at the same time.
const HANDS: usize = 32;
/// Between two looks at all changes that are not visible yet.
const PAUSE: Duration = Duration::from_micros(200);
/// Between two questions whose replies are timed.
const QUESTION_PACE: Duration = Duration::from_millis(1);
/// A change that is not seen by then is lost.
const PATIENCE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug)]
pub struct Churn {
    /// Changes a second that the API server acknowledged.
    pub rate: f64,
    /// How old each change was when an answer first had it.
    pub ages: Vec<Duration>,
    /// How old it was when a plain watch heard of it.
    pub deliveries: Vec<Duration>,
    /// From there to the answer: changes of slices,
    pub slice_lags: Vec<Duration>,
    /// and of imports.
    pub import_lags: Vec<Duration>,
    /// Time to reply to a question, of the server that follows the changes,
    pub replies: Vec<Duration>,
    /// and, in the same time, of one that has no changes.
    pub control_replies: Vec<Duration>,
}

/// Changes slices and imports in turn, `rate` a second at the most, each time those of another service.
pub fn churn(
    world: &World,
    import_version: &str,
    [server, control]: [&Server; 2],
    rate: u32,
    length: Duration,
) -> Result<Churn> {
    let delivery = world
        .runtime
        .block_on(Delivery::start(&world.client, import_version))?;
    let over = AtomicBool::new(false);
    let (acknowledged, inbox) = channel();
    thread::scope(|scope| {
        let watcher = scope.spawn(move || watch(server, &inbox));
        let timer = scope.spawn(|| time_replies([server, control], world.services, &over));
        let writes = write(world, rate, length, acknowledged);
        let written = world.runtime.block_on(writes);
        over.store(true, Ordering::Relaxed);
        // A panic in there is a bug here.
        let seen = watcher.join().expect("the watcher panicked")?;
        let [replies, control_replies] = timer.join().expect("the timer panicked")?;
        let heard = delivery.heard();
        // A change that was replaced before the watch heard of it is in none of these.
        let heard: Vec<(&Seen, Instant)> = seen
            .iter()
            .filter_map(|seen| Some((seen, *heard.get(&seen.address)?)))
            .collect();
        let lags = |kind: Kind| {
            let of_kind = heard.iter().filter(|(seen, _)| seen.kind == kind);
            of_kind.map(|(seen, heard)| seen.lag(*heard)).collect()
        };
        Ok(Churn {
            rate: written?,
            ages: seen.iter().map(|seen| seen.age).collect(),
            deliveries: heard
                .iter()
                .map(|(seen, heard)| seen.delivery(*heard))
                .collect(),
            slice_lags: lags(Kind::Slice),
            import_lags: lags(Kind::Import),
            replies,
            control_replies,
        })
    })
}

/// A change that the API server has acknowledged.
struct Acknowledged {
    kind: Kind,
    change: Change,
    question: Question,
    at: Instant,
}

/// A change that an answer has had.
struct Seen {
    kind: Kind,
    address: Ipv4Addr,
    acknowledged: Instant,
    age: Duration,
}

impl Seen {
    /// When the watch heard of it. Counted from the acknowledgement: the watch may be the first to hear.
    fn delivery(&self, heard: Instant) -> Duration {
        heard.saturating_duration_since(self.acknowledged)
    }

    fn lag(&self, heard: Instant) -> Duration {
        (self.acknowledged + self.age).saturating_duration_since(heard)
    }
}

/// Changes a second that came about.
async fn write(
    world: &World,
    rate: u32,
    length: Duration,
    acknowledged: Sender<Acknowledged>,
) -> Result<f64> {
    let interval = Duration::from_secs(1) / rate;
    let numbers = world.take_changes(length.as_millis() as usize * rate as usize / 1000);
    let plan = Arc::new(Plan {
        first: numbers.start,
        count: numbers.len(),
        next: AtomicUsize::new(0),
        began: Instant::now(),
        interval,
        length,
        services: world.services,
    });
    let mut hands = JoinSet::new();
    for _ in 0..HANDS {
        hands.spawn(
            plan.clone()
                .work(world.client.clone(), acknowledged.clone()),
        );
    }
    drop(acknowledged);
    let mut made = 0;
    while let Some(hand) = hands.join_next().await {
        made += hand??;
    }
    Ok(f64::from(made) / plan.began.elapsed().as_secs_f64())
}

struct Plan {
    first: usize,
    count: usize,
    next: AtomicUsize,
    began: Instant,
    interval: Duration,
    length: Duration,
    services: usize,
}

impl Plan {
    /// Makes changes while there are any and time is left; how many.
    async fn work(
        self: Arc<Self>,
        client: kube::Client,
        acknowledged: Sender<Acknowledged>,
    ) -> Result<u32> {
        let mut made = 0;
        loop {
            let turn = self.next.fetch_add(1, Ordering::Relaxed);
            if turn >= self.count || self.began.elapsed() > self.length {
                return Ok(made);
            }
            let kind = [Kind::Slice, Kind::Import][turn % 2];
            let number = self.first + turn;
            let service = kind.service(number / 2, self.services);
            let change = service.change(number);
            let question = Question::new(&service.domain_name(), "A", false)?;
            let due = self.interval * turn as u32;
            tokio::time::sleep(due.saturating_sub(self.began.elapsed())).await;
            writer::patch(&client, &change).await?;
            made += 1;
            let at = Instant::now();
            let message = Acknowledged {
                kind,
                change,
                question,
                at,
            };
            // Without a watcher there is an error to report, and it is the watcher's.
            let _ = acknowledged.send(message);
        }
    }
}

/// Asks for all changes that are not visible yet, over and over, until nobody makes any more and all are.
fn watch(server: &Server, inbox: &Receiver<Acknowledged>) -> Result<Vec<Seen>> {
    let mut asker = Client::of(server.addr, LATE)?;
    let mut waiting: Vec<Acknowledged> = Vec::new();
    let mut seen = Vec::new();
    loop {
        let more = loop {
            match inbox.try_recv() {
                Ok(acknowledged) => waiting.push(acknowledged),
                Err(TryRecvError::Empty) => break true,
                Err(TryRecvError::Disconnected) => break false,
            }
        };
        if !more && waiting.is_empty() {
            return Ok(seen);
        }
        let mut unseen = Vec::with_capacity(waiting.len());
        for entry in waiting {
            let answer = asker.addresses(&entry.question)?;
            let age = entry.at.elapsed();
            if answer.is_some_and(|answer| entry.change.is_in(&answer)) {
                seen.push(Seen {
                    kind: entry.kind,
                    address: entry.change.address,
                    acknowledged: entry.at,
                    age,
                });
            } else {
                ensure!(
                    age < PATIENCE,
                    "{} does not answer with the change of {} within {PATIENCE:?}",
                    server.name,
                    entry.change.path
                );
                unseen.push(entry);
            }
        }
        waiting = unseen;
        thread::sleep(PAUSE);
    }
}

/// Asks the servers in turn, until it is over.
fn time_replies(
    servers: [&Server; 2],
    services: usize,
    over: &AtomicBool,
) -> Result<[Vec<Duration>; 2]> {
    let mut askers = [
        Client::of(servers[0].addr, LATE)?,
        Client::of(servers[1].addr, LATE)?,
    ];
    let mut replies = [Vec::new(), Vec::new()];
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        // A step without common divisor with the usual powers of ten spreads neighbours apart.
        number = (number + 7919) % services;
        let question = Question::new(&Service(number).domain_name(), "A", false)?;
        for (asker, replies) in askers.iter_mut().zip(&mut replies) {
            let sent = Instant::now();
            asker
                .addresses(&question)?
                .with_context(|| format!("no answer for service {number}"))?;
            replies.push(sent.elapsed());
            thread::sleep(QUESTION_PACE);
        }
    }
    Ok(replies)
}
