//! UDP: one thread and one socket per worker; the kernel spreads clients over them (`SO_REUSEPORT`).

pub(super) mod batch;

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::{ArcSwap, Cache};
use subm_dns_core::respond::{Ask, Facts, Outcome, Prepared, Transport};
use subm_dns_core::snapshot::Snapshot;

use self::batch::{BATCH, Batch};
use super::desk::{block_for, guarded, server_failure, unix_now, wants_log};
use crate::config::Listener;
use crate::querylog::{Entry, QueryLogWriter};
use crate::shared::Shared;
use crate::stats::{Block, LedgerSlot, Sample, Stats};

/// What a worker thread is made of.
pub(super) struct Worker {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) listener: Arc<ArcSwap<Listener>>,
    pub(super) shared: Arc<Shared>,
    pub(super) stats: Arc<Stats>,
    pub(super) ledger: Arc<LedgerSlot>,
    pub(super) log: QueryLogWriter,
    pub(super) stop: Arc<AtomicBool>,
}

impl Worker {
    /// Answers until told to stop, which it notices within the socket's time limit.
    pub(super) fn run(self) {
        let mut batch = Batch::new();
        let mut prepared: Box<[Prepared]> = (0..BATCH).map(|_| Prepared::default()).collect();
        let mut listeners = Cache::new(Arc::clone(&self.listener));
        let mut views = Cache::new(&self.shared.view);
        let mut listener = Arc::clone(listeners.load());
        let mut block = block_for(&self.stats, &listener, Transport::Udp);
        let mut ledger = self.ledger.fitting(None);
        while !self.stop.load(Relaxed) {
            let count = match batch.receive(&self.socket) {
                Ok(count) => count,
                Err(error) => {
                    tracing::warn!(%error, addr = %listener.addr, "receiving failed");
                    // Nothing that is waited for: only keeps a lasting fault from taking a whole core.
                    std::thread::park_timeout(std::time::Duration::from_millis(50));
                    continue;
                }
            };
            let received_at = Instant::now();
            // Without queries too, so that an idle worker does not keep an old world in memory.
            let view = views.load();
            if !Arc::ptr_eq(listeners.load(), &listener) {
                listener = Arc::clone(listeners.load());
                block = block_for(&self.stats, &listener, Transport::Udp);
            }
            if count == 0 {
                continue;
            }
            let snapshot = view.snapshot.as_deref();
            if snapshot.is_some_and(|snapshot| !ledger.fits(snapshot)) {
                ledger = self.ledger.fitting(snapshot);
            }
            let authority = &listener.authority;
            let mut unread = [false; BATCH];
            for (i, prepared) in prepared.iter_mut().enumerate().take(count) {
                unread[i] = guarded(|| prepared.read(authority, batch.query(i))).is_err();
            }
            if let (Some(snapshot), 2..) = (snapshot, count) {
                fetch(&prepared[..count], snapshot);
            }
            let now = unix_now();
            let mut zones = [None; BATCH];
            let mut answered = 0;
            for i in 0..count {
                // Port 0 is nobody's: answering it would only serve a forger.
                let Some(client) = batch.client(i).filter(|client| client.port() != 0) else {
                    block.record_ignored();
                    continue;
                };
                let ask = Ask {
                    transport: Transport::Udp,
                    client: client.ip(),
                    now,
                };
                let (query, out) = batch.exchange(i);
                let outcome = if unread[i] {
                    Err(())
                } else {
                    let status = &view.status;
                    guarded(|| {
                        prepared[i].answer(authority, snapshot, status, query, &ask, &ledger, out)
                    })
                };
                let (len, facts) = match outcome {
                    Ok(
                        Outcome::Reply { len, facts }
                        | Outcome::FallThrough { len, facts }
                        | Outcome::Transfer { len, facts, .. },
                    ) => (len, facts),
                    Ok(Outcome::Ignore) => {
                        block.record_ignored();
                        continue;
                    }
                    Err(()) => {
                        block.record_panic();
                        (
                            server_failure(query, out),
                            Facts {
                                rcode: 2,
                                ..Facts::default()
                            },
                        )
                    }
                };
                block.record(&Sample {
                    facts,
                    v6: client.is_ipv6(),
                    query: query.len(),
                    reply: len,
                });
                if wants_log(&listener, &facts, &out[..len]) {
                    let took = received_at.elapsed();
                    self.log.push(Entry::new(
                        client,
                        Transport::Udp,
                        query,
                        &out[..len],
                        &facts,
                        took,
                    ));
                }
                zones[answered] = facts.zone;
                answered += 1;
                batch.queue(i, len);
            }
            let sent = batch.send(&self.socket);
            finish(&block, &zones[..answered], sent.dropped, received_at);
        }
    }
}

/// Has the services of a batch fetched, each step for all of them, so that the processor waits for memory once.
fn fetch(prepared: &[Prepared], snapshot: &Snapshot) {
    for query in prepared {
        query.fetch_entry(snapshot);
    }
    for query in prepared {
        query.fetch_service(snapshot);
    }
}

fn finish(block: &Block, zones: &[Option<u16>], dropped: usize, received_at: Instant) {
    if dropped > 0 {
        block.record_send_dropped(dropped);
    }
    let took = received_at.elapsed();
    // Neighbours mostly ask in one and the same zone.
    for same in zones.chunk_by(|a, b| a == b) {
        block.record_times(same[0], same.len(), took);
    }
}
