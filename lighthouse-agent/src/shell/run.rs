//! The agent from start to end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use kube::Client;
use subm_kube::admin;
use subm_kube::election::{self, Election, Timing};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::brain::Brain;
use super::environment::Arguments;
use super::health::Health;
use super::lanes::{Done, Lanes};
use super::metrics::Metrics;
use super::reports::Reports;
use super::writer::Writer;
use super::{presence, watches};
use crate::core::{Place, Settings, Source};

/// News taken before plans are made of them.
const BATCH: usize = 512;
/// Replicas elect their leader by this Lease.
const ELECTION: &str = "submariner-lighthouse-agent";
/// An uninstallation that cannot reach the broker ends after this long.
const UNINSTALL_DEADLINE: Duration = Duration::from_secs(90);

/// Runs until the process is told to end, or until nothing is left to remove.
pub async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let settings = arguments.settings()?;
    let home = subm_kube::connect(arguments.kubeconfig.as_deref(), None).await?;
    let broker = match &arguments.broker_kubeconfig {
        Some(path) => subm_kube::connect(Some(path), None).await?,
        None => arguments
            .broker()?
            .client()
            .map_err(super::environment::Mistake::from)?,
    };
    let metrics = Metrics::new()?;
    let health = Arc::new(Health::new(metrics.clone()));
    let mut tasks = JoinSet::new();
    if !settings.uninstalling {
        let listener = admin::listen(arguments.metrics_address)
            .await
            .with_context(|| format!("cannot listen on {}", arguments.metrics_address))?;
        let health = health.clone();
        tasks.spawn(async move {
            if let Err(error) = admin::serve(listener, health).await {
                tracing::error!("the pages of metrics and health ended: {error}");
            }
        });
    }
    let identity = arguments
        .identity
        .clone()
        .unwrap_or_else(|| format!("{}-{:08x}", settings.cluster, rand::random::<u32>()));
    tracing::info!(
        "cluster {:?} of the cluster set on {}",
        settings.cluster,
        arguments
            .broker_api_server
            .as_deref()
            .unwrap_or("the broker")
    );
    let agent = Agent {
        settings,
        home,
        broker,
        metrics,
        health,
        identity,
    };
    agent.run(tasks).await
}

struct Agent {
    settings: Settings,
    home: Client,
    broker: Client,
    metrics: Metrics,
    health: Arc<Health>,
    identity: String,
}

impl Agent {
    async fn run(self, mut tasks: JoinSet<()>) -> anyhow::Result<()> {
        let (news_to, mut news) = mpsc::channel(4096);
        let (done_to, mut done) = mpsc::unbounded_channel::<Done>();
        watches::home(&mut tasks, &self.home, self.settings.globalnet, &news_to);
        watches::broker(
            &mut tasks,
            &self.broker,
            &self.settings.broker_namespace,
            &news_to,
        );
        drop(news_to);
        let writers = [
            (Place::Home, Writer::new(self.home.clone())),
            (Place::Broker, Writer::new(self.broker.clone())),
        ];
        let reports = Reports::new(self.home.clone(), self.metrics.clone());
        let mut brain = Brain::new(
            self.settings.clone(),
            Lanes::new(writers, done_to),
            reports,
            self.metrics.clone(),
        );
        let (leads_to, mut leads) = watch::channel(false);
        let (stop_to, mut stop) = watch::channel(false);
        let candidate = Election::new(
            self.home.clone(),
            &self.settings.namespace,
            ELECTION,
            &self.identity,
            Timing::default(),
        );
        let election = tokio::spawn(election::take_part(candidate, leads_to, async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }));
        if !self.settings.uninstalling {
            tasks.spawn(show_presence(
                self.broker.clone(),
                self.settings.clone(),
                leads.clone(),
            ));
        }
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = Instant::now();
        let mut ended = Ok(());
        loop {
            let due = brain.next_due();
            tokio::select! {
                biased;
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                Some(result) = done.recv() => {
                    brain.done(result);
                    while let Ok(result) = done.try_recv() {
                        brain.done(result);
                    }
                }
                Some((source, item)) = news.recv() => {
                    brain.news(source, item);
                    take_more(&mut brain, &mut news);
                }
                Ok(()) = leads.changed() => {
                    let leading = *leads.borrow_and_update();
                    brain.lead(leading);
                    self.health.leads.store(leading, Ordering::Relaxed);
                }
                _ = tick.tick() => brain.tick(),
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            brain.work();
            self.health
                .home
                .store(brain.knows_home(), Ordering::Relaxed);
            self.health
                .broker
                .store(brain.hears_broker(), Ordering::Relaxed);
            if self.settings.uninstalling
                && let Some(result) = uninstalled(&brain, started)
            {
                ended = result;
                break;
            }
        }
        // What is under way is finished; it takes milliseconds, or is not to be had.
        let drained = timeout(Duration::from_secs(5), async {
            while !brain.is_resting() {
                let Some(result) = done.recv().await else {
                    break;
                };
                brain.done(result);
            }
        });
        if drained.await.is_err() {
            tracing::warn!("some writes were not answered in time");
        }
        if self.settings.uninstalling && ended.is_ok() && brain.world.id_is_anothers() {
            tracing::warn!(
                "another cluster is {:?} on the broker: what is there is that cluster's and stays",
                self.settings.cluster
            );
        } else if self.settings.uninstalling && ended.is_ok() {
            presence::end(
                self.broker.clone(),
                &self.settings.broker_namespace,
                &self.settings.cluster,
            )
            .await
            .context("cannot remove this cluster's Lease from the broker")?;
            tracing::info!("nothing is left of this cluster's exports and imports");
        }
        // The next leader need not wait for the Lease to expire.
        let _ = stop_to.send(true);
        let _ = timeout(Duration::from_secs(2), election).await;
        tasks.abort_all();
        ended
    }
}

fn take_more(brain: &mut Brain, news: &mut mpsc::Receiver<(Source, watches::News)>) {
    for _ in 0..BATCH {
        let Ok((source, item)) = news.try_recv() else {
            return;
        };
        brain.news(source, item);
    }
}

fn uninstalled(brain: &Brain, started: Instant) -> Option<anyhow::Result<()>> {
    if brain.knows_home() && brain.hears_broker() && brain.leads() && brain.is_idle() {
        return Some(Ok(()));
    }
    (started.elapsed() > UNINSTALL_DEADLINE).then(|| {
        Err(anyhow::anyhow!(
            "not all could be removed within {} s: {}",
            UNINSTALL_DEADLINE.as_secs(),
            if brain.hears_broker() {
                "API servers refuse; see the log"
            } else {
                "the broker cannot be read"
            }
        ))
    })
}

async fn show_presence(broker: Client, settings: Settings, mut leads: watch::Receiver<bool>) {
    let mut said = false;
    loop {
        if *leads.borrow_and_update() {
            let renewed = presence::renew(
                broker.clone(),
                &settings.broker_namespace,
                &settings.cluster,
            )
            .await;
            match renewed {
                Err(error) if !said => {
                    tracing::warn!("this cluster's Lease on the broker cannot be renewed: {error}");
                    said = true;
                }
                Ok(()) => said = false,
                Err(_) => {}
            }
        }
        tokio::select! {
            () = sleep(presence::INTERVAL) => {}
            changed = leads.changed() => if changed.is_err() { return },
        }
    }
}
