//! The index of all facts: a synchronous state machine that turns changes into the next snapshot.
//!
//! Order of events does not matter: what [`Catalog::publish`] gives is a function of the facts that are
//! known, whatever way they came.

use std::sync::Arc;

use crate::facts::{ClusterId, Fact, Problem};
use crate::snapshot::Snapshot;
use crate::status::ClusterStatus;

/// What the catalog needs from configuration.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Overrides what ClusterProperty and Gateways say.
    pub cluster_id: Option<ClusterId>,
    /// Length in octets of the longest zone name that is served; names that would not fit are left out.
    pub longest_zone: usize,
}

/// What [`Catalog::publish`] gives.
#[derive(Clone, Debug)]
pub struct Published {
    pub snapshot: Arc<Snapshot>,
    pub status: Arc<ClusterStatus>,
    /// Problems that are new since the last publication.
    pub new_problems: Vec<Problem>,
    /// When the slices that this publication brought to answers changed at their origin; nanoseconds
    /// since the epoch, each slice once.
    pub triggered_at: Vec<u64>,
}

/// Holds all facts and the latest publication.
#[derive(Debug)]
pub struct Catalog {
    settings: Settings,
}

impl Catalog {
    pub fn new(settings: Settings) -> Self {
        Self { settings }
    }

    /// Takes in one fact. Cheap: answers are made by [`Catalog::publish`].
    pub fn apply(&mut self, fact: Fact) {
        let _ = fact;
    }

    /// Whether local EndpointSlices of Kubernetes are of use: the local cluster exports a headless service
    /// with global IPs.
    pub fn wants_local_slices(&self) -> bool {
        false
    }

    /// Whether something changed since the last publication.
    pub fn is_dirty(&self) -> bool {
        false
    }

    /// Builds what changed. `now`: seconds since the epoch, for the serial, which grows even where the
    /// clock does not.
    pub fn publish(&mut self, now: u32) -> Published {
        let _ = now;
        let _ = &self.settings;
        Published {
            snapshot: Arc::new(Snapshot::empty()),
            status: Arc::new(ClusterStatus::default()),
            new_problems: Vec::new(),
            triggered_at: Vec::new(),
        }
    }

    /// Every problem of the facts that are known now, in order.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        std::iter::empty()
    }
}
