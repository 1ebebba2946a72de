//! The task that checks all paths.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Action, Echo, Health, Path, PathStatus, Settings};

/// Something that sends an echo and waits for the reply.
pub trait Pinger: Send + Sync + 'static {
    /// The round trip to `target`. A reply that takes longer than `patience` is lost.
    ///
    /// Two echoes with one sequence number are never under way at once.
    fn ping(
        &self,
        target: IpAddr,
        echo: Echo,
        patience: Duration,
    ) -> impl Future<Output = Result<Duration, PingError>> + Send;
}

/// Why there was no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PingError {
    /// It did not come in time, or the echo could not be sent on its way (which says why).
    #[error("no reply{}", .0.as_ref().map(|why| format!(": {why}")).unwrap_or_default())]
    Lost(Option<String>),
    /// Nothing can be sent to anybody.
    #[error("no echo can be sent: {0}")]
    Unavailable(String),
}

/// Health by name of the cable.
pub type Healths = Arc<BTreeMap<String, Health>>;

/// Checks the paths of all cables, in one task that ends with this value.
///
/// ```no_run
/// use std::collections::BTreeMap;
/// use subm_tunnel::health::{Icmp, Monitor, Settings};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let mut monitor = Monitor::start(Icmp::new(), Settings::default());
/// monitor.set_targets(BTreeMap::from([("submariner-cable-c2".to_owned(), "10.9.1.1".parse()?)]));
/// while monitor.changed().await {
///     println!("{:?}", monitor.healths());
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Monitor {
    targets: watch::Sender<BTreeMap<String, IpAddr>>,
    healths: watch::Receiver<Healths>,
    turns: watch::Receiver<()>,
    task: JoinHandle<()>,
}

impl Monitor {
    /// Without targets.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(pinger: impl Pinger, settings: Settings) -> Self {
        let (targets, wanted) = watch::channel(BTreeMap::new());
        let (publish, healths) = watch::channel(Healths::default());
        let (turn, turns) = watch::channel(());
        let checks = Checks {
            pinger: Arc::new(pinger),
            settings,
            paths: BTreeMap::new(),
            sequence: 0,
            publish,
            turn,
        };
        let task = tokio::spawn(checks.run(wanted));
        Self {
            targets,
            healths,
            turns,
            task,
        }
    }

    /// From now on these are checked, by name of their cable. A target that stays keeps its history; one whose address changed
    /// starts anew.
    pub fn set_targets(&self, targets: BTreeMap<String, IpAddr>) {
        self.targets.send_if_modified(|old| {
            let news = *old != targets;
            *old = targets;
            news
        });
    }

    /// What is known now, of all targets that were set.
    pub fn healths(&self) -> Healths {
        Arc::clone(&self.healths.borrow())
    }

    /// Waits until the status of a path is another one. Round trips alone are no news. `false` if that will never be.
    pub async fn changed(&mut self) -> bool {
        self.turns.changed().await.is_ok()
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Checks<P> {
    pinger: Arc<P>,
    settings: Settings,
    paths: BTreeMap<String, Path>,
    /// Of all echoes: those to one target by two cables are told apart.
    sequence: u16,
    publish: watch::Sender<Healths>,
    turn: watch::Sender<()>,
}

impl<P: Pinger> Checks<P> {
    async fn run(mut self, mut wanted: watch::Receiver<BTreeMap<String, IpAddr>>) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let mut wake = None;
            for (cable, path) in &mut self.paths {
                loop {
                    match path.poll(Instant::now()) {
                        Action::Send => {
                            let echo = Echo {
                                flow: path.flow(),
                                sequence: self.sequence,
                            };
                            self.sequence = self.sequence.wrapping_add(1);
                            let (pinger, cable) = (Arc::clone(&self.pinger), cable.clone());
                            let (target, patience) = (path.target(), self.settings.patience());
                            under_way.push(async move {
                                let result = pinger.ping(target, echo, patience).await;
                                (cable, target, result)
                            });
                        }
                        Action::WaitUntil(then) => {
                            wake = Some(wake.map_or(then, |wake: Instant| wake.min(then)));
                            break;
                        }
                    }
                }
            }
            self.tell();
            let sleep = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let targets = wanted.borrow_and_update().clone();
                    self.aim(targets);
                }
                Some((cable, target, result)) = under_way.next() => self.take(&cable, target, result),
                () = sleep => {}
            }
        }
    }

    fn aim(&mut self, mut targets: BTreeMap<String, IpAddr>) {
        self.paths
            .retain(|cable, path| targets.get(cable) == Some(&path.target()));
        targets.retain(|cable, _| !self.paths.contains_key(cable));
        let now = Instant::now();
        for (cable, target) in targets {
            let path = Path::new(target, self.settings, now);
            self.paths.insert(cable, path);
        }
    }

    fn take(&mut self, cable: &str, target: IpAddr, result: Result<Duration, PingError>) {
        let Some(path) = self.paths.get_mut(cable) else {
            return;
        };
        // Of before the address changed.
        if path.target() != target {
            return;
        }
        match result {
            Ok(round_trip) => path.replied(round_trip),
            Err(PingError::Unavailable(why)) => path.cannot_send(why),
            // The absence of a reply is seen by the path itself.
            Err(PingError::Lost(None)) => {}
            Err(PingError::Lost(Some(why))) => {
                tracing::debug!(cable, %target, why, "an echo could not be sent");
            }
        }
    }

    /// Publishes what is new. Round trips are, with each reply; the rest is not touched.
    fn tell(&self) {
        let mut turned = false;
        self.publish.send_if_modified(|old| {
            let gone = old.keys().any(|cable| !self.paths.contains_key(cable));
            let news: Vec<_> = self
                .paths
                .iter()
                .filter(|(cable, path)| !old.get(*cable).is_some_and(|old| path.is(old)))
                .collect();
            if news.is_empty() && !gone {
                return false;
            }
            turned = gone;
            let healths = Arc::make_mut(old);
            healths.retain(|cable, _| self.paths.contains_key(cable));
            for (cable, path) in news {
                let health = path.health();
                let before = healths.get(cable).map(|old| old.status);
                if before != Some(health.status) {
                    turned = true;
                    log_turn(cable, &health, before.is_none());
                }
                healths.insert(cable.clone(), health);
            }
            true
        });
        if turned {
            self.turn.send_replace(());
        }
    }
}

fn log_turn(cable: &str, health: &Health, new: bool) {
    match health.status {
        PathStatus::Connected => tracing::info!(cable, "the far gateway answers through the cable"),
        PathStatus::Error => {
            tracing::warn!(
                cable,
                message = health.message,
                "no answer through the cable"
            );
        }
        PathStatus::Unknown if new => tracing::info!(cable, "its path is checked from now on"),
        PathStatus::Unknown => tracing::warn!(cable, message = health.message, "not known"),
    }
}

#[cfg(test)]
mod tests;
