//! What the agent's pages tell.

use std::sync::atomic::{AtomicBool, Ordering};

use prometheus::proto::MetricFamily;
use subm_kube::admin::{Check, Pages};

use super::metrics::Metrics;

/// The agent's one task sets it.
pub(super) struct Health {
    /// This cluster has been read.
    pub(super) home: AtomicBool,
    /// The broker can be read. Not needed to be ready: what is here is served without it.
    pub(super) broker: AtomicBool,
    pub(super) leads: AtomicBool,
    metrics: Metrics,
}

impl Health {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self {
            home: AtomicBool::default(),
            broker: AtomicBool::default(),
            leads: AtomicBool::default(),
            metrics,
        }
    }
}

impl Pages for Health {
    fn checks(&self) -> Vec<Check> {
        let check = |flag: &AtomicBool, text, needed| Check {
            good: flag.load(Ordering::Relaxed),
            text,
            needed,
        };
        vec![
            check(&self.home, "this cluster has been read", true),
            check(&self.broker, "the broker can be read", false),
            check(&self.leads, "this replica writes", false),
        ]
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        self.metrics.registry.gather()
    }
}
