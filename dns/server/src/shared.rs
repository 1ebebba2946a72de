//! What the ingest loop publishes and every front reads, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use subm_dns_core::catalog::Published;
use subm_dns_core::snapshot::Snapshot;
use subm_dns_core::status::ClusterStatus;

/// A snapshot and the status that goes with it: one catalog has numbered the clusters of both.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// `None` until everything has been read once.
    pub snapshot: Option<Arc<Snapshot>>,
    pub status: Arc<ClusterStatus>,
}

/// The latest publication.
#[derive(Debug, Default)]
pub struct Shared {
    pub view: ArcSwap<View>,
    /// Milliseconds since the epoch; 0: never.
    published_at: AtomicU64,
}

impl Shared {
    /// Shows readers a publication.
    pub fn publish(&self, published: &Published) {
        self.view.store(Arc::new(View {
            snapshot: Some(Arc::clone(&published.snapshot)),
            status: Arc::clone(&published.status),
        }));
        self.published_at.store(now_millis(), Relaxed);
    }

    /// Seconds since the last publication.
    pub fn age(&self) -> Option<f64> {
        match self.published_at.load(Relaxed) {
            0 => None,
            at => Some(now_millis().saturating_sub(at) as f64 / 1000.0),
        }
    }
}

fn now_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_millis() as u64)
}
