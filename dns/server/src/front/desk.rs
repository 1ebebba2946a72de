//! One listener as its connections see it: configuration that may be swapped, counters, the query log.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use subm_dns_core::ledger::Ledger;
use subm_dns_core::respond::{self, Ask, Facts, Outcome, Transport};
use tokio::runtime::Handle;

use super::handoff;
use super::limits::Limits;
use crate::config::Listener;
use crate::plugins::Request;
use crate::querylog::{Entry, QueryLogWriter};
use crate::shared::{Shared, View};
use crate::stats::{Block, LedgerSlot, Sample, Stats};

/// Largest message on a stream (RFC 1035 section 4.2.2).
pub(crate) const MAX_MESSAGE: usize = 65_535;
/// A DNS header; what is shorter is no message.
pub(crate) const HEADER: usize = 12;

/// The counters that a writer needs for a listener.
pub(crate) fn block_for(stats: &Stats, listener: &Listener, transport: Transport) -> Arc<Block> {
    let zones = listener
        .authority
        .zones()
        .iter()
        .map(|zone| zone.origin.to_string());
    stats.register(Block::new(&listener.label, transport, zones))
}

thread_local! {
    /// Where a reply is made, before its octets go to where they wait for the client.
    static OUT: RefCell<Box<[u8]>> = RefCell::new(vec![0; MAX_MESSAGE].into());
}

/// What the connections of a listener share that live on one thread.
pub(crate) struct Desk {
    pub(crate) transport: Transport,
    shared: Arc<Shared>,
    stats: Arc<Stats>,
    site: ArcSwap<Site>,
    ledger: Arc<LedgerSlot>,
    log: QueryLogWriter,
}

pub(crate) struct Site {
    pub(crate) listener: Arc<Listener>,
    /// One writer at a time: zone transfers are made on threads of their own.
    block: Mutex<Arc<Block>>,
}

/// Answers what a connection asks at one time: it sees one configuration, one world and one clock.
pub(crate) struct Turn<'a> {
    desk: &'a Arc<Desk>,
    site: &'a Arc<Site>,
    view: &'a View,
    ledger: &'a Ledger,
    client: SocketAddr,
    ask: Ask,
    begun: Instant,
    out: &'a mut [u8],
}

/// What is to be sent.
pub(crate) enum Answer<'a> {
    Reply(&'a [u8]),
    /// Messages that take a while to make: a zone transfer.
    Later(Box<Later>),
    /// Nothing: it was not a query.
    Nothing,
}

/// A query that a plugin may answer, and the reply that is due if none does.
pub(crate) struct Later {
    desk: Arc<Desk>,
    site: Arc<Site>,
    query: Vec<u8>,
    due: Vec<u8>,
    client: SocketAddr,
    zone: usize,
    facts: Facts,
    asked_at: Instant,
}

impl Desk {
    pub(crate) fn new(
        transport: Transport,
        listener: Arc<Listener>,
        shared: Arc<Shared>,
        stats: Arc<Stats>,
        ledger: Arc<LedgerSlot>,
        log: QueryLogWriter,
    ) -> Arc<Self> {
        let block = Mutex::new(block_for(&stats, &listener, transport));
        let site = ArcSwap::from_pointee(Site { listener, block });
        Arc::new(Self {
            transport,
            shared,
            stats,
            site,
            ledger,
            log,
        })
    }

    /// Goes on with another configuration, from the next query on.
    pub(crate) fn replace(&self, listener: Arc<Listener>) {
        let block = Mutex::new(block_for(&self.stats, &listener, self.transport));
        self.site.store(Arc::new(Site { listener, block }));
    }

    pub(crate) fn listener(&self) -> Arc<Listener> {
        Arc::clone(&self.site.load().listener)
    }

    /// How long a connection may be silent: what clients are told (RFC 7828), else the limit of all connections.
    pub(crate) fn idle_limit(&self, limits: &Limits) -> Duration {
        let told = self.site.load().listener.authority.keepalive;
        told.map_or(limits.idle, |tenths| {
            Duration::from_millis(u64::from(tenths) * 100)
        })
    }

    /// Lets `work` answer `client`. What is the same for all its queries is looked up once.
    pub(crate) fn attend<T>(
        self: &Arc<Self>,
        client: SocketAddr,
        work: impl FnOnce(&mut Turn<'_>) -> T,
    ) -> T {
        let site = self.site.load();
        let view = self.shared.view.load();
        let ledger = self.ledger.fitting(view.snapshot.as_deref());
        OUT.with_borrow_mut(|out| {
            work(&mut Turn {
                desk: self,
                site: &site,
                view: &view,
                ledger: &ledger,
                client,
                ask: Ask {
                    transport: self.transport,
                    client: client.ip().to_canonical(),
                    now: unix_now(),
                },
                begun: Instant::now(),
                out,
            })
        })
    }

    /// Counts and logs a reply of `octets`, of which `first` is the first message.
    #[expect(
        clippy::too_many_arguments,
        reason = "all that is known of an exchange"
    )]
    fn record(
        &self,
        site: &Site,
        facts: &Facts,
        query: &[u8],
        first: &[u8],
        octets: usize,
        client: SocketAddr,
        asked_at: Instant,
    ) {
        let took = asked_at.elapsed();
        {
            let block = site.block();
            block.record(&Sample {
                facts: *facts,
                v6: client.is_ipv6(),
                query: query.len(),
                reply: octets,
            });
            block.record_time(facts.zone, took);
        }
        if wants_log(&site.listener, facts, first) {
            self.log.push(Entry::new(
                client,
                self.transport,
                query,
                first,
                facts,
                took,
            ));
        }
    }
}

impl Turn<'_> {
    pub(crate) fn answer(&mut self, query: &[u8]) -> Answer<'_> {
        let (desk, site) = (self.desk, self.site);
        let outcome = guarded(|| {
            respond::respond(
                &site.listener.authority,
                self.view.snapshot.as_deref(),
                &self.view.status,
                query,
                &self.ask,
                self.ledger,
                self.out,
            )
        });
        let (len, facts) = match outcome {
            Ok(Outcome::Reply { len, facts } | Outcome::FallThrough { len, facts }) => (len, facts),
            Ok(Outcome::Ignore) => {
                site.block().record_ignored();
                return Answer::Nothing;
            }
            // RFC 8484 has one message per request: no transfers there.
            Ok(Outcome::Transfer { len, facts, .. }) if desk.transport == Transport::Https => {
                (len, facts)
            }
            Ok(Outcome::Transfer { zone, len, facts }) => {
                return Answer::Later(Box::new(Later {
                    desk: Arc::clone(desk),
                    site: Arc::clone(site),
                    query: query.to_vec(),
                    due: self.out[..len].to_vec(),
                    client: self.client,
                    zone,
                    facts,
                    asked_at: self.begun,
                }));
            }
            Err(()) => {
                site.block().record_panic();
                let len = server_failure(query, self.out);
                return Answer::Reply(&self.out[..len]);
            }
        };
        let reply = &self.out[..len];
        desk.record(site, &facts, query, reply, len, self.client, self.begun);
        Answer::Reply(reply)
    }
}

impl Site {
    fn block(&self) -> std::sync::MutexGuard<'_, Arc<Block>> {
        self.block.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Later {
    /// The messages of the answer, made on a thread where that may take its time.
    pub(crate) async fn messages(self: Box<Self>) -> Vec<Vec<u8>> {
        let runtime = Handle::current();
        let made = tokio::task::spawn_blocking(move || runtime.block_on(self.make()));
        made.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a zone transfer failed");
            Vec::new()
        })
    }

    async fn make(self) -> Vec<Vec<u8>> {
        let view = self.desk.shared.view.load_full();
        let (snapshot, status) = (&view.snapshot, &view.status);
        let listener = &self.site.listener;
        let request = Request {
            query: &self.query,
            client: self.client,
            transport: self.desk.transport,
            zone: &listener.authority.zones()[self.zone],
            snapshot: snapshot.as_deref(),
            status,
        };
        let made = handoff::messages(listener, self.zone, request).await;
        let facts = Facts {
            rcode: if made.is_some() { 0 } else { self.facts.rcode },
            ..self.facts
        };
        let messages = made.unwrap_or_else(|| vec![self.due]);
        let octets = messages.iter().map(Vec::len).sum();
        let first = messages.first().map_or(&[][..], Vec::as_slice);
        self.desk.record(
            &self.site,
            &facts,
            &self.query,
            first,
            octets,
            self.client,
            self.asked_at,
        );
        messages
    }
}

/// Whether the zone's query log shows this reply.
pub(crate) fn wants_log(listener: &Listener, facts: &Facts, reply: &[u8]) -> bool {
    let rule = facts
        .zone
        .and_then(|zone| listener.query_log.get(usize::from(zone))?.as_ref());
    rule.is_some_and(|rule| match facts.rcode {
        0 if reply.get(6..8) == Some(&[0, 0]) => rule.denial,
        0 => rule.success,
        3 => rule.denial,
        _ => rule.error,
    })
}

/// A part of answering, with a defect in it caught: one query fails, the server does not. Nothing that it refers to may matter half-changed: the buffer for the
/// reply is written anew.
pub(crate) fn guarded<T>(part: impl FnOnce() -> T) -> Result<T, ()> {
    catch_unwind(AssertUnwindSafe(part))
        .map_err(|_| tracing::error!("answering a query panicked; please report this"))
}

/// SERVFAIL without a question, for want of anything better.
pub(crate) fn server_failure(query: &[u8], out: &mut [u8]) -> usize {
    out[..HEADER].fill(0);
    let id = query.len().min(2);
    out[..id].copy_from_slice(&query[..id]);
    out[2] = 0x80;
    out[3] = 2;
    HEADER
}

pub(crate) fn unix_now() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs() as u32)
}

/// IPv4 clients of a dual-stack socket in their IPv4 form.
pub(crate) fn canonical(client: SocketAddr) -> SocketAddr {
    match client.ip().to_canonical() {
        IpAddr::V4(ip) => SocketAddr::new(ip.into(), client.port()),
        IpAddr::V6(_) => client,
    }
}
