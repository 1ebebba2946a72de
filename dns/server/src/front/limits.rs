//! How long and how many: what keeps slow or silent clients from holding the server.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::stats::Connections;

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// A connection without a whole message for so long is closed (RFC 7766 section 6.2.3).
    /// [`Authority::keepalive`](subm_dns_core::authority::Authority::keepalive) goes before it.
    pub idle: Duration,
    pub handshake: Duration,
    /// For each 64 KiB of replies that a client does not take.
    pub write: Duration,
    /// Connections per listener. A further one takes the place of the one that has been silent longest.
    pub connections: usize,
    /// How often certificate files are looked at.
    pub certificate_poll: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(10),
            handshake: Duration::from_secs(5),
            write: Duration::from_secs(10),
            connections: 4096,
            certificate_poll: Duration::from_secs(5),
        }
    }
}

/// The open connections of one listener.
pub(crate) struct Places {
    limit: usize,
    counts: Arc<Connections>,
    started: Instant,
    next: AtomicU64,
    taken: Mutex<HashMap<u64, Arc<Visit>>>,
}

/// When a connection was last of use, and the way to end it.
struct Visit {
    last: AtomicU64,
    close: CancellationToken,
}

/// One connection's place; free again when this is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    id: u64,
    visit: Arc<Visit>,
}

impl Places {
    pub(crate) fn new(limit: usize, counts: Arc<Connections>) -> Arc<Self> {
        Arc::new(Self {
            limit: limit.max(1),
            counts,
            started: Instant::now(),
            next: AtomicU64::new(0),
            taken: Mutex::default(),
        })
    }

    /// A place for a new connection, if need be that of the one that has been silent longest.
    pub(crate) fn take(self: &Arc<Self>) -> Place {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        while taken.len() >= self.limit {
            let oldest = taken
                .iter()
                .min_by_key(|(_, visit)| visit.last.load(Relaxed))
                .map(|(id, _)| *id);
            let Some(visit) = oldest.and_then(|id| taken.remove(&id)) else {
                break;
            };
            visit.close.cancel();
            self.counts.refused.fetch_add(1, Relaxed);
        }
        let id = self.next.fetch_add(1, Relaxed);
        let visit = Arc::new(Visit {
            last: AtomicU64::new(self.millis()),
            close: CancellationToken::new(),
        });
        taken.insert(id, Arc::clone(&visit));
        self.counts.open.fetch_add(1, Relaxed);
        Place {
            places: Arc::clone(self),
            id,
            visit,
        }
    }

    pub(crate) fn is_half_full(&self) -> bool {
        let taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.len() >= self.limit.div_ceil(2)
    }

    fn millis(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}

impl Place {
    /// A whole message came.
    pub(crate) fn touch(&self) {
        self.visit.last.store(self.places.millis(), Relaxed);
    }

    /// How long no message has come.
    pub(crate) fn silent(&self) -> Duration {
        Duration::from_millis(
            self.places
                .millis()
                .saturating_sub(self.visit.last.load(Relaxed)),
        )
    }

    /// Resolves when another connection needs the place.
    pub(crate) fn wanted(&self) -> tokio_util::sync::WaitForCancellationFutureOwned {
        self.visit.close.clone().cancelled_owned()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.id);
        self.places.counts.open.fetch_sub(1, Relaxed);
    }
}
