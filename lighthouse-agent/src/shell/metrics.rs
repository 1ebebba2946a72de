//! What the agent counts. Names of Lighthouse's two metrics are kept.

use std::time::Duration;

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

use super::writer::Outcome;
use crate::core::trust::Refusal;
use crate::core::view::Slot;
use crate::core::{Action, ObjectKind, Place, World, Write};

#[derive(Clone)]
pub(crate) struct Metrics {
    pub(crate) registry: Registry,
    imports: GaugeVec,
    exports: GaugeVec,
    hops: HistogramVec,
    objects: IntGaugeVec,
    writes: IntCounterVec,
    refused: IntCounterVec,
    conflicts: IntGaugeVec,
    blocked: IntGauge,
    depth: Gauge,
    leader: IntGauge,
    broker: IntGauge,
    synced: IntGauge,
}

impl Metrics {
    pub(super) fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let labels = ["direction", "operation", "syncer_name"];
        let metrics = Self {
            imports: GaugeVec::new(Opts::new("submariner_service_import", "Count of imported services"), &labels)?,
            exports: GaugeVec::new(Opts::new("submariner_service_export", "Count of exported services"), &labels)?,
            hops: HistogramVec::new(
                HistogramOpts::new("lighthouse_agent_hop_seconds", "Time from hearing of a change to having written all that follows, by where it was written")
                    .buckets(vec![0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]),
                &["to"],
            )?,
            objects: IntGaugeVec::new(Opts::new("lighthouse_agent_services", "Services of the cluster set, by direction"), &["direction"])?,
            writes: IntCounterVec::new(Opts::new("lighthouse_agent_writes_total", "Requests that write, by API server, kind, operation and result"), &["to", "kind", "operation", "result"])?,
            refused: IntCounterVec::new(Opts::new("lighthouse_agent_refused_total", "What other clusters export and is not taken over"), &["cluster", "reason"])?,
            conflicts: IntGaugeVec::new(Opts::new("lighthouse_agent_conflicts", "Exported services about which clusters disagree"), &["reason"])?,
            blocked: IntGauge::new("lighthouse_agent_imports_blocked", "Imports that wait for their namespace")?,
            depth: Gauge::new("lighthouse_agent_queue_depth", "Services that wait to be looked at, or for another attempt")?,
            leader: IntGauge::new("lighthouse_agent_leader", "1 where this replica writes")?,
            synced: IntGauge::new(
                "lighthouse_agent_synced",
                "1 once this cluster and the broker have been read",
            )?,
            broker: IntGauge::new("lighthouse_agent_broker_connected", "1 while the broker can be read")?,
            registry,
        };
        let all: [Box<dyn prometheus::core::Collector>; 12] = [
            Box::new(metrics.imports.clone()),
            Box::new(metrics.exports.clone()),
            Box::new(metrics.hops.clone()),
            Box::new(metrics.objects.clone()),
            Box::new(metrics.writes.clone()),
            Box::new(metrics.refused.clone()),
            Box::new(metrics.conflicts.clone()),
            Box::new(metrics.blocked.clone()),
            Box::new(metrics.depth.clone()),
            Box::new(metrics.leader.clone()),
            Box::new(metrics.broker.clone()),
            Box::new(metrics.synced.clone()),
        ];
        for collector in all {
            metrics.registry.register(collector)?;
        }
        Ok(metrics)
    }

    pub(super) fn leader(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    pub(super) fn broker(&self, connected: bool) {
        self.broker.set(connected.into());
    }

    pub(super) fn synced(&self, synced: bool) {
        self.synced.set(synced.into());
    }

    pub(super) fn depth(&self, services: usize) {
        self.depth.set(services as f64);
    }

    pub(super) fn hop(&self, to: Place, took: Duration) {
        self.hops
            .with_label_values(&[place(to)])
            .observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self, refusal: &Refusal) {
        self.refused
            .with_label_values(&[refusal.cluster.as_str(), refusal.why.reason()])
            .inc();
    }

    pub(super) fn conflicts(&self, reason: &str, services: usize) {
        self.conflicts
            .with_label_values(&[reason])
            .set(i64::try_from(services).unwrap_or(i64::MAX));
    }

    pub(super) fn blocked(&self, imports: usize) {
        self.blocked.set(i64::try_from(imports).unwrap_or(i64::MAX));
    }

    pub(super) fn world(&self, world: &World) {
        let exported = world.count(Slot::Export);
        let imported = world.count(Slot::Import);
        for (direction, count) in [("export", exported), ("import", imported)] {
            self.objects
                .with_label_values(&[direction])
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn write(&self, write: &Write, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Written(_) | Outcome::Deleted => "ok",
            Outcome::Missing => "missing",
            Outcome::Overtaken => "conflict",
            Outcome::Failed(_) => "error",
        };
        let kind = format!("{:?}", write.id.kind);
        self.writes
            .with_label_values(&[place(write.id.place), &kind, write.action.verb(), result])
            .inc();
        if write.id.kind != ObjectKind::ServiceImport || result != "ok" {
            return;
        }
        // As Lighthouse counts: operations of its two syncers of ServiceImports.
        let operation = match write.action {
            Action::Create(_) => "create",
            Action::Delete { .. } => "delete",
            _ => "update",
        };
        match write.id.place {
            Place::Home => self
                .imports
                .with_label_values(&["remoteToLocal", operation, "Remote ServiceImport"])
                .inc(),
            Place::Broker => self
                .exports
                .with_label_values(&["localToRemote", operation, "Local ServiceImport"])
                .inc(),
        }
    }
}

fn place(place: Place) -> &'static str {
    match place {
        Place::Home => "home",
        Place::Broker => "broker",
    }
}
