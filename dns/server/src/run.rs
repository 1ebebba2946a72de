//! The running server: starts everything, reloads on request, ends in order.

mod pipelines;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::Instant;

use self::pipelines::{Pipelines, Stage};
use crate::admin::{Admin, AdminError, Readiness};
use crate::cli::Cli;
use crate::commands::settings;
use crate::config::{Config, ConfigError, Listener};
use crate::front::{Context, Front, FrontError, Limits};
use crate::notify;
use crate::querylog::QueryLogWriter;
use crate::shared::Shared;
use crate::sources::SourceError;
use crate::stats::{Plugin, Stats};

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
    // CoreDNS's habits: USR1 reloads, QUIT ends.
    let mut user = signal(SignalKind::user_defined1()).map_err(RunError::Signal)?;
    let mut quit = signal(SignalKind::quit()).map_err(RunError::Signal)?;
    let mut server = Server::start(cli, config)?;
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = quit.recv() => break,
            _ = user.recv() => server.reload(),
            _ = hangup.recv() => server.reload(),
            wake = server.wait() => match wake {
                Wake::FilesChanged => server.reload(),
                Wake::SourceFailed(error) => return Err(error.into()),
            },
        }
    }
    tokio::select! {
        () = server.stop() => {}
        // Whoever asks twice does not want to wait.
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = quit.recv() => {}
    }
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
    pipelines: Pipelines,
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
        let serial = watch::Sender::new(None);
        let recipients = watch::Sender::new(Arc::new(notify::recipients(&config.listeners)));
        tokio::spawn(notify::run(serial.subscribe(), recipients.subscribe()));
        let stage = Stage {
            shared,
            stats: Arc::clone(&stats),
            readiness: Arc::clone(&readiness),
            serial,
        };
        let pipelines = Pipelines::start(config.source.clone(), settings(&config), stage)?;
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
            pipelines,
            recipients,
            written,
        })
    }

    async fn wait(&mut self) -> Wake {
        let Self {
            config,
            written,
            pipelines,
            ..
        } = self;
        tokio::select! {
            () = files_changed(config, written) => Wake::FilesChanged,
            error = pipelines.failed() => Wake::SourceFailed(error),
        }
    }

    /// Reads the configuration again. A bad one changes nothing.
    fn reload(&mut self) {
        // Before the files are read, so that a change in between is seen next time.
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
        let pages = self.admin.prepare(&config)?;
        self.front.replace(&config.listeners)?;
        self.admin.commit(pages);
        self.stats.set_plugins(plugins(&config.listeners));
        self.recipients
            .send_replace(Arc::new(notify::recipients(&config.listeners)));
        self.pipelines
            .replace(config.source.clone(), settings(&config))?;
        if config.files != self.config.files {
            self.written = written(&config);
        }
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
        self.pipelines.stop();
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
