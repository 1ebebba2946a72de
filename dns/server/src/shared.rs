//! What the ingest loop publishes and every front reads, without a lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, ArcSwapOption};
use subm_dns_core::catalog::Published;
use subm_dns_core::snapshot::Snapshot;
use subm_dns_core::status::ClusterStatus;

/// The latest publication. `snapshot` is empty until everything has been read once.
#[derive(Debug, Default)]
pub struct Shared {
    pub snapshot: ArcSwapOption<Snapshot>,
    pub status: ArcSwap<ClusterStatus>,
    /// Milliseconds since the epoch; 0: never.
    published_at: AtomicU64,
}

impl Shared {
    /// Shows readers a publication. The status goes first: a snapshot may name clusters that only the new status knows.
    pub fn publish(&self, published: &Published) {
        self.status.store(Arc::clone(&published.status));
        self.snapshot.store(Some(Arc::clone(&published.snapshot)));
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
