//! Keeps the cables, and looks how they are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use subm_reconcile::{Report, Status};
use subm_routing::{Kernel, Key, Network, Object};
use subm_tunnel::health::{Icmp, Monitor, Settings};
use subm_tunnel::{Cable, CableDriver, Connection, Local, Refusals};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::shell::network::{self, Objects};
use crate::shell::{set, turn};

/// What shall be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) local: Local,
    pub(super) cables: Vec<Cable>,
    /// Where echo requests go, by the name of the cable.
    pub(super) targets: BTreeMap<String, IpAddr>,
}

/// What is to be done about cables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Wish {
    /// What there is stays as it is.
    #[default]
    LeaveAlone,
    /// Another gateway has them now.
    LetGo,
    Keep(Wanted),
}

/// What there is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) connections: Vec<Connection>,
    /// What does not work, besides the connections.
    pub(super) troubles: Vec<String>,
}

/// How often one looks how the cables are.
const LOOK: Duration = Duration::from_secs(1);
/// Peers and keys may have been changed by somebody, which nothing tells.
const RESYNC: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);
/// How long to wait for the kernel before peers are told.
const PATIENCE: Duration = Duration::from_secs(5);

/// Until nobody wishes anything any more. What was made stays, but for what this process runs itself.
pub(super) async fn keep<D: CableDriver>(
    driver: D,
    kernel: Kernel,
    health: Option<Settings>,
    mut wishes: watch::Receiver<Wish>,
    seen: watch::Sender<Seen>,
) {
    let mut keeper = Keeper {
        driver,
        network: Links::keep(kernel).await,
        monitor: health.map(|settings| Monitor::start(Icmp::new(), settings)),
        kept: false,
        troubles: Vec::new(),
        seen,
    };
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut again = Instant::now();
    loop {
        let (network, monitor) = (&mut keeper.network, &mut keeper.monitor);
        tokio::select! {
            changed = wishes.changed() => {
                if changed.is_err() {
                    return;
                }
                again = Instant::now();
            }
            () = sleep_until(again) => {
                let wish = wishes.borrow_and_update().clone();
                let good = keeper.fulfil(wish).await;
                again = Instant::now() + if good { RESYNC } else { RETRY };
            }
            // A device that was made anew has no peers.
            () = network.mended() => again = Instant::now(),
            () = turn(monitor) => {}
            _ = look.tick() => {}
        }
        if !keeper.look().await {
            again = again.min(Instant::now() + RETRY);
        }
    }
}

struct Keeper<D> {
    driver: D,
    network: Links,
    monitor: Option<Monitor>,
    /// There may be cables.
    kept: bool,
    troubles: Vec<String>,
    seen: watch::Sender<Seen>,
}

impl<D: CableDriver> Keeper<D> {
    /// Whether all went well.
    async fn fulfil(&mut self, wish: Wish) -> bool {
        let troubles = match wish {
            Wish::LeaveAlone => Vec::new(),
            Wish::LetGo => self.let_go().await,
            Wish::Keep(wanted) => self.make(&wanted).await,
        };
        for trouble in &troubles {
            if !self.troubles.contains(trouble) {
                tracing::warn!("{trouble}");
            }
        }
        self.troubles = troubles;
        self.troubles.is_empty()
    }

    async fn make(&mut self, wanted: &Wanted) -> Vec<String> {
        self.kept = true;
        if let Err(error) = self.prepare(&wanted.local).await {
            return vec![subm_kube::with_causes(&error)];
        }
        let (network, refusals) = self.driver.plan(&wanted.local, &wanted.cables);
        let mut troubles: Vec<String> = self
            .network
            .become_like(network)
            .await
            .into_iter()
            .collect();
        self.check(&wanted.targets, &refusals);
        match self.driver.ensure(&wanted.local, &wanted.cables).await {
            Ok(applied) => {
                for change in &applied.changes {
                    tracing::info!("{change}");
                }
                troubles.extend(applied.troubles);
            }
            Err(error) => troubles.push(subm_kube::with_causes(&error)),
        }
        troubles
    }

    /// What stands in the way may be the tunnel that another driver left: of this one nothing works yet, so all goes before a second try.
    async fn prepare(&mut self, local: &Local) -> Result<(), subm_tunnel::Error> {
        let Err(error) = self.driver.prepare(local).await else {
            return Ok(());
        };
        match self.network.become_like(Network::new()).await {
            None => self.driver.prepare(local).await,
            Some(trouble) => {
                tracing::warn!("what was there of cables cannot be removed: {trouble}");
                Err(error)
            }
        }
    }

    async fn let_go(&mut self) -> Vec<String> {
        self.check(&BTreeMap::new(), &Refusals::new());
        let mut troubles: Vec<String> = self
            .network
            .become_like(Network::new())
            .await
            .into_iter()
            .collect();
        if self.kept && troubles.is_empty() {
            match self.driver.teardown().await {
                Ok(()) => self.kept = false,
                Err(error) => troubles.push(subm_kube::with_causes(&error)),
            }
        }
        troubles
    }

    /// An answer by another way would witness for a cable that is refused.
    fn check(&self, targets: &BTreeMap<String, IpAddr>, refusals: &Refusals) {
        if let Some(monitor) = &self.monitor {
            let mut targets = targets.clone();
            targets.retain(|cable, _| !refusals.contains_key(cable));
            monitor.set_targets(targets);
        }
    }

    /// Publishes how the cables are. `false` if that cannot be seen.
    async fn look(&mut self) -> bool {
        let mut seen = Seen {
            connections: Vec::new(),
            troubles: self.troubles.clone(),
        };
        let mut good = true;
        if self.kept {
            match self.driver.observe(std::time::Instant::now()).await {
                Ok(connections) => {
                    let healths = self.monitor.as_ref().map(Monitor::healths);
                    let merge = |connection: Connection| {
                        let health = healths.as_ref().and_then(|all| all.get(&connection.cable));
                        connection.with_health(health)
                    };
                    seen.connections = connections.into_iter().map(merge).collect();
                }
                Err(error) => {
                    seen.troubles.push(subm_kube::with_causes(&error));
                    good = false;
                }
            }
        }
        set(&self.seen, seen);
        good
    }
}

/// The part of the kernel's network that is the cables'.
struct Links {
    desired: watch::Sender<Option<Arc<Objects>>>,
    status: watch::Receiver<Status<Key, Object>>,
    /// The last thing that was done there, as far as is known.
    report: Option<Arc<Report<Key, Object>>>,
    _tasks: JoinSet<()>,
}

impl Links {
    async fn keep(kernel: Kernel) -> Self {
        let (desired, receiver) = watch::channel(None);
        let hints = kernel.hints().await;
        let mut tasks = JoinSet::new();
        let status = network::keep(&mut tasks, "cables", kernel, hints, receiver);
        Self {
            desired,
            status,
            report: None,
            _tasks: tasks,
        }
    }

    /// What kept it from being so, in words.
    async fn become_like(&mut self, network: Network) -> Option<String> {
        let wanted = network::desire(&self.desired, network);
        let ended = |status: &Status<Key, Object>| network::is_tried(status, &wanted);
        let status = match timeout(PATIENCE, self.status.wait_for(ended)).await {
            Ok(Ok(status)) => status.clone(),
            Ok(Err(_)) | Err(_) => {
                return Some("the kernel's network is not changed in time".to_owned());
            }
        };
        self.report.clone_from(&status.report);
        network::trouble(&status)
    }

    /// Waits until something was done that [`Links::become_like`] did not ask for.
    async fn mended(&mut self) {
        loop {
            if self.status.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
            let report = self.status.borrow_and_update().report.clone();
            let same = match (&report, &self.report) {
                (Some(new), Some(old)) => Arc::ptr_eq(new, old),
                (new, _) => new.is_none(),
            };
            self.report = report;
            if !same {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests;
