//! From a source of objects to what the fronts serve, and from one source to the next.
//!
//! A reload may bring another source. The old one goes on serving until the new one has read everything; if it never
//! does, or fails, nothing is lost.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use subm_dns_core::catalog::{Published, Settings};
use subm_dns_core::facts::Problem;
use subm_dns_core::serial;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::RunError;
use crate::admin::Readiness;
use crate::config::Source;
use crate::ingest::{self, Board, LocalSlices, Timing};
use crate::shared::Shared;
use crate::sources::{self, Event, Options, SourceError};
use crate::stats::Stats;

/// Events that may wait for the ingest thread.
const QUEUE: usize = 1024;

/// Where publications go.
#[derive(Clone)]
pub(super) struct Stage {
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<Stats>,
    pub(super) readiness: Arc<Readiness>,
    /// The last one that was served; `None` before the first.
    pub(super) serial: watch::Sender<Option<u32>>,
}

/// The pipeline that serves, and one that a reload brought and that has not read everything yet.
pub(super) struct Pipelines {
    stage: Stage,
    /// Taken to publish and to change who may: a retired pipeline must not come after its successor.
    turn: Arc<Mutex<()>>,
    serving: Pipeline,
    candidate: Option<Pipeline>,
}

/// A source and the thread that makes publications of its events.
struct Pipeline {
    source: Source,
    settings: Settings,
    /// `None` once it has ended.
    following: Option<JoinHandle<Result<(), SourceError>>>,
    line: Arc<Line>,
}

/// One pipeline's way to the stage.
#[derive(Default)]
struct Line {
    /// Its publications are no longer wanted: a successor has published, or another reload came.
    retired: CancellationToken,
    /// What it last said of each kind of object.
    health: Mutex<BTreeMap<&'static str, (bool, String)>>,
}

impl Pipelines {
    pub(super) fn start(
        source: Source,
        settings: Settings,
        stage: Stage,
    ) -> Result<Self, RunError> {
        let turn = Arc::default();
        let serving = Pipeline::start(source, settings, &stage, &turn, None)?;
        Ok(Self {
            stage,
            turn,
            serving,
            candidate: None,
        })
    }

    /// Goes over to another source, or other settings, once everything has been read with them.
    pub(super) fn replace(&mut self, source: Source, settings: Settings) -> Result<(), RunError> {
        self.settle();
        let latest = self.candidate.as_ref().unwrap_or(&self.serving);
        if latest.source == source && latest.settings == settings {
            return Ok(());
        }
        {
            let _turn = lock(&self.turn);
            if let Some(candidate) = self.candidate.take() {
                candidate.line.retired.cancel();
            }
        }
        // It may have been in the middle of its first publication.
        self.settle();
        if self.serving.source != source || self.serving.settings != settings {
            let predecessor = Some(Arc::clone(&self.serving.line));
            let next = Pipeline::start(source, settings, &self.stage, &self.turn, predecessor)?;
            self.candidate = Some(next);
        }
        Ok(())
    }

    /// Waits until there is nothing left to serve from. A candidate that fails is let go, and that is said.
    pub(super) async fn failed(&mut self) -> SourceError {
        loop {
            let Some(candidate) = &mut self.candidate else {
                return self.serving.failed().await;
            };
            let failed = tokio::select! {
                error = candidate.failed() => Some(error),
                () = self.serving.line.retired.cancelled() => None,
            };
            if self.settle() {
                continue;
            }
            if let (Some(error), Some(candidate)) = (failed, self.candidate.take()) {
                candidate.line.retired.cancel();
                let error = &error as &dyn std::error::Error;
                tracing::error!(
                    error,
                    "the new source of objects is not used; the old one stays in force"
                );
            }
        }
    }

    pub(super) fn stop(&self) {
        for pipeline in self.candidate.iter().chain([&self.serving]) {
            pipeline.line.retired.cancel();
        }
    }

    /// Makes a candidate that has published the one that serves.
    fn settle(&mut self) -> bool {
        let _turn = lock(&self.turn);
        if !self.serving.line.retired.is_cancelled() {
            return false;
        }
        match self.candidate.take() {
            Some(candidate) => {
                self.serving = candidate;
                true
            }
            None => false,
        }
    }
}

impl Pipeline {
    fn start(
        source: Source,
        settings: Settings,
        stage: &Stage,
        turn: &Arc<Mutex<()>>,
        predecessor: Option<Arc<Line>>,
    ) -> Result<Self, RunError> {
        let (events, received) = mpsc::channel::<Event>(QUEUE);
        let (want, want_local_slices) = watch::channel(false);
        let apart = matches!(source, Source::Kubernetes { .. });
        let local_slices = LocalSlices { want, apart };
        let line = Arc::new(Line::default());
        let publisher = Publisher {
            stage: stage.clone(),
            turn: Arc::clone(turn),
            line: Arc::clone(&line),
            predecessor: Mutex::new(predecessor),
        };
        let of_thread = settings.clone();
        std::thread::Builder::new()
            .name("ingest".into())
            .spawn(move || ingest::run(of_thread, received, &local_slices, &publisher))
            .map_err(RunError::Thread)?;
        let options = Options { want_local_slices };
        let following = sources::run(source.clone(), options, events, line.retired.clone());
        Ok(Self {
            source,
            settings,
            following: Some(tokio::spawn(following)),
            line,
        })
    }

    /// Waits until the source or the ingest thread ends without being told to.
    async fn failed(&mut self) -> SourceError {
        if let Some(following) = &mut self.following {
            let ended = following.await;
            self.following = None;
            if !self.line.retired.is_cancelled() {
                return match ended {
                    Ok(Err(error)) => error,
                    Ok(Ok(())) | Err(_) => SourceError::Ended,
                };
            }
        }
        std::future::pending().await
    }
}

/// Brings publications to the fronts, the metrics and the log.
struct Publisher {
    stage: Stage,
    turn: Arc<Mutex<()>>,
    line: Arc<Line>,
    /// Whom the first publication retires.
    predecessor: Mutex<Option<Arc<Line>>>,
}

impl Publisher {
    /// Shows on the stage what a line said of the kinds of objects.
    fn show_health(&self) {
        for (kind, (healthy, detail)) in &*lock(&self.line.health) {
            self.show(kind, *healthy, detail);
        }
    }

    fn show(&self, kind: &'static str, healthy: bool, detail: &str) {
        let meters = &self.stage.stats.meters;
        meters
            .source_healthy
            .with_label_values(&[kind])
            .set(i64::from(healthy));
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
        self.stage.readiness.set_source(kind, healthy, detail);
    }

    /// Whether this pipeline serves, or is the first.
    fn is_on_stage(&self) -> bool {
        lock(&self.predecessor).is_none() && !self.line.retired.is_cancelled()
    }
}

impl Board for Publisher {
    fn publish(&self, published: &Published, timing: &Timing) {
        let _turn = lock(&self.turn);
        if self.line.retired.is_cancelled() {
            return;
        }
        if let Some(predecessor) = lock(&self.predecessor).take() {
            predecessor.retired.cancel();
            // Its troubles went with it.
            for kind in lock(&predecessor.health).keys() {
                self.show(kind, true, "");
            }
            self.show_health();
        }
        let meters = &self.stage.stats.meters;
        let first = self.stage.serial.borrow().is_none();
        self.stage.shared.publish(published);
        meters.build_seconds.observe(timing.build.as_secs_f64());
        if first {
            self.stage.readiness.set_synced();
            let snapshot = &published.snapshot;
            let (services, endpoints) = (snapshot.service_count(), snapshot.endpoint_count());
            tracing::info!(services, endpoints, "everything has been read; serving");
        } else {
            // The first publication shows changes from before our time; they say nothing about us.
            for programming in &timing.programming {
                meters
                    .programming_seconds
                    .observe(programming.as_secs_f64());
            }
        }
        let serial = serial::newest(published.snapshot.serial(), published.status.serial());
        self.stage
            .serial
            .send_if_modified(|before| before.replace(serial) != Some(serial));
    }

    fn problems(&self, total: usize, new: &[Problem]) {
        if !self.line.retired.is_cancelled() {
            self.stage
                .stats
                .meters
                .problems
                .set(i64::try_from(total).unwrap_or(i64::MAX));
        }
        for problem in new {
            tracing::warn!(object = %problem.object, field = %problem.field, "{}", problem.message);
        }
    }

    fn source(&self, kind: &'static str, healthy: bool, detail: &str) {
        lock(&self.line.health).insert(kind, (healthy, detail.to_owned()));
        if self.is_on_stage() {
            self.show(kind, healthy, detail);
        }
        let serving = if self.stage.serial.borrow().is_some() {
            "serving what is known"
        } else {
            "nothing is known yet"
        };
        match (healthy, detail) {
            (false, _) => tracing::warn!(kind, detail, "no changes reach us; {serving}"),
            (true, "") => tracing::info!(kind, "changes reach us"),
            // The API server does not serve the kind, which is fine for some and leaves nothing to serve for one.
            (true, _) if kind == "ServiceImport" => {
                tracing::warn!(kind, detail, "there is nothing to serve");
            }
            (true, _) => tracing::info!(kind, detail, "there are no such objects"),
        }
    }

    fn last_serial(&self) -> Option<u32> {
        *self.stage.serial.borrow()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
