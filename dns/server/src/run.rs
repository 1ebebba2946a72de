//! The running server: starts everything, reloads on request, ends in order.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use subm_dns_core::catalog::{Published, Settings};
use subm_dns_core::facts::Problem;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admin::{Admin, AdminError, Readiness};
use crate::cli::Cli;
use crate::commands::settings;
use crate::config::{Config, ConfigError, Listener, Source};
use crate::front::{Context, Front, FrontError, Limits};
use crate::ingest::{self, Board, Timing};
use crate::notify;
use crate::querylog::QueryLogWriter;
use crate::shared::Shared;
use crate::sources::{self, Event, Options, SourceError};
use crate::stats::{Plugin, Stats};

/// Events that may wait for the ingest thread.
const QUEUE: usize = 1024;
/// What is in flight at the end may take this long.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Front(#[from] FrontError),
    #[error(transparent)]
    Admin(#[from] AdminError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
    #[error("cannot wait for signals")]
    Signal(#[source] std::io::Error),
    #[error("cannot make metrics")]
    Metrics(#[from] prometheus::Error),
}

/// Serves until SIGTERM or SIGINT. An error before that is one that waiting does not heal.
pub async fn serve(cli: Cli) -> Result<(), RunError> {
    let config = Config::load(&cli)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Signal)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Signal)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(RunError::Signal)?;
    let mut server = Server::start(cli, config)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => server.reload(),
            wake = server.wait() => match wake {
                Wake::FilesChanged => server.reload(),
                Wake::SourceFailed(error) => server.fall_back(error)?,
            },
        }
    }
    server.stop().await;
    Ok(())
}

/// What a server must see to while it runs.
enum Wake {
    FilesChanged,
    SourceFailed(SourceError),
}

struct Server {
    cli: Cli,
    config: Config,
    front: Front,
    admin: Admin,
    readiness: Arc<Readiness>,
    stats: Arc<Stats>,
    shared: Arc<Shared>,
    pipeline: Pipeline,
    /// Serves until `pipeline`, which a reload started, has read everything.
    previous: Option<Pipeline>,
    serial: watch::Sender<u32>,
    recipients: watch::Sender<Arc<Vec<notify::Recipient>>>,
    /// When the files of the configuration were last written, as of the last look.
    written: Vec<Option<SystemTime>>,
}

impl Server {
    fn start(cli: Cli, config: Config) -> Result<Self, RunError> {
        let shared = Arc::new(Shared::default());
        let stats = Stats::new(Arc::clone(&shared))?;
        let readiness = Arc::new(Readiness::new());
        let log = QueryLogWriter::start(std::io::stdout(), Arc::clone(&stats.log_dropped))
            .map_err(RunError::Thread)?;
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let workers = cli.workers.map_or(cores, std::num::NonZero::get);
        let context = Context {
            shared: Arc::clone(&shared),
            stats: Arc::clone(&stats),
            log,
            limits: Limits::default(),
            workers,
        };
        let front = Front::start(&config.listeners, context)?;
        stats.set_plugins(plugins(&config.listeners));
        let admin = Admin::start(&config, &stats, &readiness)?;
        let serial = watch::Sender::new(0);
        let recipients = watch::Sender::new(Arc::new(notify::recipients(&config.listeners)));
        tokio::spawn(notify::run(serial.subscribe(), recipients.subscribe()));
        let publisher = Publisher {
            shared: Arc::clone(&shared),
            stats: Arc::clone(&stats),
            readiness: Arc::clone(&readiness),
            serial: serial.clone(),
            turn: Arc::default(),
            retired: CancellationToken::new(),
            predecessor: Mutex::default(),
        };
        let pipeline = Pipeline::start(config.source.clone(), settings(&config), publisher)?;
        for listener in &config.listeners {
            let zones: Vec<_> = listener
                .authority
                .zones()
                .iter()
                .map(|zone| zone.origin.to_string())
                .collect();
            tracing::info!(listener = %listener.label, zones = zones.join(" "), "listening");
        }
        let written = written(&config);
        Ok(Self {
            cli,
            config,
            front,
            admin,
            readiness,
            stats,
            shared,
            pipeline,
            previous: None,
            serial,
            recipients,
            written,
        })
    }

    async fn wait(&mut self) -> Wake {
        let Self {
            config,
            written,
            pipeline,
            ..
        } = self;
        tokio::select! {
            () = files_changed(config, written) => Wake::FilesChanged,
            error = pipeline.failed() => Wake::SourceFailed(error),
        }
    }

    /// A source that a reload brought gives way to the one before; without one, there is nothing to serve from.
    fn fall_back(&mut self, error: SourceError) -> Result<(), RunError> {
        let Some(previous) = self
            .previous
            .take()
            .filter(|previous| !previous.retired.is_cancelled())
        else {
            return Err(error.into());
        };
        tracing::error!(%error, "the new source of objects is not used; the old one stays in force");
        self.pipeline.retired.cancel();
        self.pipeline = previous;
        Ok(())
    }

    /// Reads the configuration again. A bad one changes nothing.
    fn reload(&mut self) {
        self.written = written(&self.config);
        match self.try_reload() {
            Ok(()) => {
                self.stats.meters.reloads.inc();
                tracing::info!("configuration reloaded");
            }
            Err(error) => {
                self.stats.meters.reload_failures.inc();
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "the new configuration is not used; the old one stays in force"
                );
            }
        }
    }

    fn try_reload(&mut self) -> Result<(), RunError> {
        let config = Config::load(&self.cli)?;
        self.front.replace(&config.listeners)?;
        self.admin.replace(&config)?;
        self.stats.set_plugins(plugins(&config.listeners));
        self.recipients
            .send_replace(Arc::new(notify::recipients(&config.listeners)));
        let settings = settings(&config);
        if self.pipeline.source != config.source || self.pipeline.settings != settings {
            // The old source serves until the new one has read everything.
            let publisher = Publisher {
                shared: Arc::clone(&self.shared),
                stats: Arc::clone(&self.stats),
                readiness: Arc::clone(&self.readiness),
                serial: self.serial.clone(),
                turn: Arc::clone(&self.pipeline.turn),
                retired: CancellationToken::new(),
                predecessor: Mutex::new(Some(self.pipeline.retired.clone())),
            };
            let next = Pipeline::start(config.source.clone(), settings, publisher)?;
            self.previous = Some(std::mem::replace(&mut self.pipeline, next));
        }
        self.written = written(&config);
        self.config = config;
        Ok(())
    }

    /// Lameduck, drain, end.
    async fn stop(self) {
        let lameduck = self
            .config
            .health
            .map_or(Duration::ZERO, |health| health.lameduck);
        tracing::info!(lameduck_seconds = lameduck.as_secs_f64(), "stopping");
        self.readiness.start_lameduck();
        tokio::time::sleep(lameduck).await;
        self.front.drain(Instant::now() + DRAIN).await;
        self.pipeline.retired.cancel();
        self.admin.stop();
        tracing::info!("stopped");
    }
}

/// Waits until the Corefile, or one that it imports, is another one. Forever without `reload`.
async fn files_changed(config: &Config, last: &mut Vec<Option<SystemTime>>) {
    let Some(interval) = config.reload else {
        return std::future::pending().await;
    };
    loop {
        tokio::time::sleep(interval).await;
        let now = written(config);
        if now != *last {
            *last = now;
            return;
        }
    }
}

/// What is in force where, for `coredns_plugin_enabled`.
fn plugins(listeners: &[Listener]) -> Vec<Plugin> {
    let mut plugins = Vec::new();
    for listener in listeners {
        for (at, zone) in listener.authority.zones().iter().enumerate() {
            let transfers = listener
                .transfer
                .get(at)
                .is_some_and(|rule| !rule.to.is_empty());
            let logs = listener.query_log.get(at).is_some_and(Option::is_some);
            let names = [("lighthouse", true), ("transfer", transfers), ("log", logs)];
            plugins.extend(names.iter().filter(|(_, on)| *on).map(|(name, _)| Plugin {
                server: listener.label.clone(),
                zone: zone.origin.to_string(),
                name: (*name).to_owned(),
            }));
        }
    }
    plugins
}

fn written(config: &Config) -> Vec<Option<SystemTime>> {
    let time = |file: &std::path::PathBuf| {
        std::fs::metadata(file)
            .and_then(|file| file.modified())
            .ok()
    };
    config.files.iter().map(time).collect()
}

/// A source and the thread that makes publications of its events.
struct Pipeline {
    source: Source,
    settings: Settings,
    /// `None` once it has ended.
    following: Option<JoinHandle<Result<(), SourceError>>>,
    turn: Arc<Mutex<()>>,
    retired: CancellationToken,
}

impl Pipeline {
    fn start(source: Source, settings: Settings, publisher: Publisher) -> Result<Self, RunError> {
        let (events, received) = mpsc::channel::<Event>(QUEUE);
        let (want, want_local_slices) = watch::channel(false);
        let (turn, retired) = (Arc::clone(&publisher.turn), publisher.retired.clone());
        let of_thread = settings.clone();
        std::thread::Builder::new()
            .name("ingest".into())
            .spawn(move || ingest::run(of_thread, received, &want, &publisher))
            .map_err(RunError::Thread)?;
        let options = Options { want_local_slices };
        let following = Some(tokio::spawn(sources::run(
            source.clone(),
            options,
            events,
            retired.clone(),
        )));
        Ok(Self {
            source,
            settings,
            following,
            turn,
            retired,
        })
    }

    /// Waits until the source gives up.
    async fn failed(&mut self) -> SourceError {
        if let Some(following) = &mut self.following {
            let ended = following.await;
            self.following = None;
            if let Ok(Err(error)) = ended {
                return error;
            }
        }
        // It ended because it was told to.
        std::future::pending().await
    }
}

/// Brings publications to the fronts, the metrics and the log.
struct Publisher {
    shared: Arc<Shared>,
    stats: Arc<Stats>,
    readiness: Arc<Readiness>,
    serial: watch::Sender<u32>,
    /// One publisher at a time: a retired one must not come after its successor.
    turn: Arc<Mutex<()>>,
    /// A successor has published.
    retired: CancellationToken,
    /// Whom the first publication retires.
    predecessor: Mutex<Option<CancellationToken>>,
}

impl Board for Publisher {
    fn publish(&self, published: &Published, timing: &Timing) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if self.retired.is_cancelled() {
            return;
        }
        if let Some(predecessor) = self
            .predecessor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            predecessor.cancel();
        }
        // The first publication shows changes from before our time; they say nothing about us.
        let first = self.shared.snapshot.load().is_none();
        self.shared.publish(published);
        self.stats
            .meters
            .build_seconds
            .observe(timing.build.as_secs_f64());
        if first {
            self.readiness.set_synced();
            let (services, endpoints) = (
                published.snapshot.service_count(),
                published.snapshot.endpoint_count(),
            );
            tracing::info!(services, endpoints, "everything has been read; serving");
        } else {
            for programming in &timing.programming {
                self.stats
                    .meters
                    .programming_seconds
                    .observe(programming.as_secs_f64());
            }
        }
        let serial = published.snapshot.serial().max(published.status.serial());
        self.serial
            .send_if_modified(|before| std::mem::replace(before, serial) != serial);
    }

    fn problems(&self, total: usize, new: &[Problem]) {
        self.stats
            .meters
            .problems
            .set(i64::try_from(total).unwrap_or(i64::MAX));
        for problem in new {
            tracing::warn!(object = %problem.object, field = %problem.field, "{}", problem.message);
        }
    }

    fn source(&self, kind: &'static str, healthy: bool, detail: &str) {
        let meters = &self.stats.meters;
        let is_healthy = meters.source_healthy.with_label_values(&[kind]);
        let lost_at = meters.source_lost_at.with_label_values(&[kind]);
        match (healthy, lost_at.get()) {
            (true, _) => lost_at.set(0),
            // Lost just now, or never reached.
            (false, 0) => {
                let now = SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default();
                lost_at.set(now.as_secs().cast_signed());
            }
            (false, _) => {}
        }
        is_healthy.set(i64::from(healthy));
        self.readiness.set_source(kind, healthy, detail);
        match (healthy, detail) {
            (false, _) => {
                tracing::warn!(kind, detail, "no changes reach us; serving what is known");
            }
            (true, "") => tracing::info!(kind, "changes reach us"),
            (true, _) => tracing::info!(kind, detail, "changes reach us"),
        }
    }

    fn last_serial(&self) -> u32 {
        *self.serial.borrow()
    }
}
