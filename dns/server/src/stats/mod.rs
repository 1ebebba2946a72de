//! Counters and what a scrape makes of them.
//!
//! Queries only touch plain counters of their own writer (`Block`) and the [`Ledger`] of answers per service;
//! labels and sums are made at scrape time. Rare values (builds, sources) are ordinary `prometheus` metrics in [`Meters`].

mod block;
mod expose;
mod process;

use std::collections::BTreeMap;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use arc_swap::ArcSwap;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder, exponential_buckets,
};
use subm_dns_core::ledger::{Ledger, Writers};
use subm_dns_core::snapshot::Snapshot;

use crate::shared::Shared;
pub(crate) use block::{Block, Sample, proto_label, rcode_name, type_name};

/// All counters of the process.
#[derive(Debug)]
pub struct Stats {
    shared: Arc<Shared>,
    registry: Registry,
    pub meters: Meters,
    blocks: Mutex<Blocks>,
    ledgers: Mutex<Vec<Arc<LedgerSlot>>>,
    sockets: Mutex<Vec<(String, Weak<UdpSocket>)>>,
    streams: Mutex<BTreeMap<(String, &'static str), Arc<Connections>>>,
    plugins: Mutex<Vec<Plugin>>,
    /// Entries of the query log that found no room.
    pub(crate) log_dropped: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Blocks {
    live: Vec<Arc<Block>>,
    /// Sums of the blocks whose writer is gone, so that counters never go back.
    retired: expose::Totals,
}

/// A directive that is in force, for `coredns_plugin_enabled`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    pub server: String,
    pub zone: String,
    pub name: String,
}

/// Connections of one listener.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    pub(crate) open: AtomicI64,
    /// Closed, or not taken, because too many were open.
    pub(crate) refused: AtomicU64,
}

/// A ledger that is replaced by a larger one as services come.
#[derive(Debug)]
pub(crate) struct LedgerSlot {
    pub(crate) current: ArcSwap<Ledger>,
    writers: Writers,
    seed: u32,
    growing: Mutex<()>,
}

impl LedgerSlot {
    /// A ledger with room for `snapshot`. Counts of other threads may be lost in the moment of growing.
    pub(crate) fn fitting(&self, snapshot: Option<&Snapshot>) -> Arc<Ledger> {
        let ledger = self.current.load_full();
        let Some(snapshot) = snapshot.filter(|snapshot| !ledger.fits(snapshot)) else {
            return ledger;
        };
        let _one = self.growing.lock().unwrap_or_else(PoisonError::into_inner);
        let ledger = self.current.load_full();
        if ledger.fits(snapshot) {
            return ledger;
        }
        let grown = Arc::new(ledger.grown(snapshot, self.seed));
        self.current.store(Arc::clone(&grown));
        grown
    }
}

/// What the ingest loop reports.
#[derive(Debug)]
pub struct Meters {
    /// Seconds to build and publish a snapshot.
    pub build_seconds: Histogram,
    /// Seconds from a change at its origin to answers that show it.
    pub programming_seconds: Histogram,
    /// Faults in objects that are known now.
    pub problems: IntGauge,
    /// By source: 1 while it is connected.
    pub source_healthy: IntGaugeVec,
    /// By source: Unix time since when changes do not reach us; 0 while they do.
    pub source_lost_at: IntGaugeVec,
    pub reloads: IntCounter,
    pub reload_failures: IntCounter,
}

impl Meters {
    fn new(registry: &Registry) -> prometheus::Result<Self> {
        let meters = Self {
            build_seconds: Histogram::with_opts(
                HistogramOpts::new("subm_dns_build_duration_seconds", "Time to build and publish a snapshot.")
                    .buckets(exponential_buckets(0.0001, 2.0, 18)?),
            )?,
            programming_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "subm_dns_programming_duration_seconds",
                    "Time from the change of an endpoint in its cluster until answers show it. Both ends are read from \
                     the clocks of different clusters: their skew is part of the value.",
                )
                .buckets(exponential_buckets(0.001, 2.0, 20)?),
            )?,
            problems: IntGauge::new("subm_dns_problems", "Faults in objects that keep a part of them from being served.")?,
            source_healthy: IntGaugeVec::new(
                Opts::new("subm_dns_source_healthy", "1 while the source of objects is connected and up to date."),
                &["source"],
            )?,
            source_lost_at: IntGaugeVec::new(
                Opts::new(
                    "subm_dns_source_lost_timestamp_seconds",
                    "Unix time since when changes of this kind of object do not reach us; 0 while they do.",
                ),
                &["source"],
            )?,
            reloads: IntCounter::new("coredns_reload_total", "Counter of configuration reloads that took effect.")?,
            reload_failures: IntCounter::new(
                "coredns_reload_failed_total",
                "Counter of the number of failed reload attempts.",
            )?,
        };
        registry.register(Box::new(meters.build_seconds.clone()))?;
        registry.register(Box::new(meters.programming_seconds.clone()))?;
        registry.register(Box::new(meters.problems.clone()))?;
        registry.register(Box::new(meters.source_healthy.clone()))?;
        registry.register(Box::new(meters.source_lost_at.clone()))?;
        registry.register(Box::new(meters.reloads.clone()))?;
        registry.register(Box::new(meters.reload_failures.clone()))?;
        Ok(meters)
    }
}

impl Stats {
    pub fn new(shared: Arc<Shared>) -> prometheus::Result<Arc<Self>> {
        let registry = Registry::new();
        Ok(Arc::new(Self {
            shared,
            meters: Meters::new(&registry)?,
            registry,
            blocks: Mutex::default(),
            ledgers: Mutex::default(),
            sockets: Mutex::default(),
            streams: Mutex::default(),
            plugins: Mutex::default(),
            log_dropped: Arc::default(),
        }))
    }

    /// Replaces the list of directives in force.
    pub fn set_plugins(&self, plugins: Vec<Plugin>) {
        *lock(&self.plugins) = plugins;
    }

    /// Lets scrapes see a block. It is summed up and forgotten once its writer has dropped it.
    pub(crate) fn register(&self, block: Block) -> Arc<Block> {
        let block = Arc::new(block);
        let mut blocks = lock(&self.blocks);
        blocks.retire();
        blocks.live.push(Arc::clone(&block));
        block
    }

    /// A ledger for a worker: one that another of its kind has left, with its counts, or a new one.
    pub(crate) fn ledger(&self, writers: Writers) -> Arc<LedgerSlot> {
        let mut ledgers = lock(&self.ledgers);
        let free =
            |slot: &&Arc<LedgerSlot>| slot.writers == writers && Arc::strong_count(slot) == 1;
        if let Some(free) = ledgers.iter().find(free) {
            return Arc::clone(free);
        }
        let slot = Arc::new(LedgerSlot {
            current: ArcSwap::from_pointee(Ledger::empty(writers)),
            writers,
            seed: rand::random(),
            growing: Mutex::default(),
        });
        ledgers.push(Arc::clone(&slot));
        slot
    }

    /// Lets scrapes ask the kernel for the drops of a socket.
    pub(crate) fn watch_socket(&self, server: &str, socket: &Arc<UdpSocket>) {
        let mut sockets = lock(&self.sockets);
        sockets.retain(|(_, socket)| socket.strong_count() > 0);
        sockets.push((server.to_owned(), Arc::downgrade(socket)));
    }

    pub(crate) fn connections(&self, server: &str, proto: &'static str) -> Arc<Connections> {
        Arc::clone(
            lock(&self.streams)
                .entry((server.to_owned(), proto))
                .or_default(),
        )
    }

    /// All metrics in Prometheus' text form.
    pub fn render(&self) -> String {
        let mut families = self.registry.gather();
        families.extend(expose::families(self));
        families.retain(|family| !family.get_metric().is_empty());
        families.sort_by(|a, b| a.name().cmp(b.name()));
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Blocks {
    fn retire(&mut self) {
        let Self { live, retired } = self;
        live.retain(|block| {
            let live = Arc::strong_count(block) > 1;
            if !live {
                retired.add(block);
            }
            live
        });
    }

    fn totals(&mut self) -> expose::Totals {
        self.retire();
        let mut totals = self.retired.clone();
        for block in &self.live {
            totals.add(block);
        }
        totals
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Answers per service slot, over all ledgers.
fn hits(ledgers: &[Arc<Ledger>], slot: usize) -> u64 {
    ledgers
        .iter()
        .map(|ledger| ledger.hit(slot))
        .fold(0, u64::wrapping_add)
}

impl Stats {
    fn all_ledgers(&self) -> Vec<Arc<Ledger>> {
        lock(&self.ledgers)
            .iter()
            .map(|slot| slot.current.load_full())
            .collect()
    }

    fn kernel_drops(&self) -> BTreeMap<String, u64> {
        let mut drops = BTreeMap::new();
        for (server, socket) in lock(&self.sockets).iter() {
            if let Some(count) = socket
                .upgrade()
                .and_then(|socket| crate::front::kernel_drops(&socket))
            {
                *drops.entry(server.clone()).or_default() += count;
            }
        }
        drops
    }

    fn connection_counts(&self) -> Vec<(String, &'static str, i64, u64)> {
        let streams = lock(&self.streams);
        let counts = streams.iter().map(|((server, proto), counts)| {
            (
                server.clone(),
                *proto,
                counts.open.load(Relaxed),
                counts.refused.load(Relaxed),
            )
        });
        counts.collect()
    }
}
