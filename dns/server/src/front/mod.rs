//! Everything between sockets and [`respond()`](subm_dns_core::respond::respond).
//!
//! UDP has threads of its own (`udp`), and so have connections (`threads`); TCP and DNS over TLS share one stream code
//! (`stream`); HTTPS and QUIC are framed over hyper and quinn. A [`Front`] holds all listeners, and on a reload keeps the sockets whose address stays.

mod bind;
mod desk;
mod handoff;
mod https;
mod limits;
mod listening;
mod quic;
mod stream;
mod threads;
mod tls;
mod udp;
pub(crate) mod wire;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use subm_dns_core::respond::Transport;
use tokio::time::Instant;

pub use self::bind::BindError;
pub use self::limits::Limits;
pub(crate) use self::limits::Places;
use self::listening::Listening;
use self::threads::Threads;
pub use self::tls::TlsError;
pub(crate) use self::udp::batch::kernel_drops;
use crate::config::Listener;
use crate::querylog::QueryLogWriter;
use crate::shared::Shared;
use crate::stats::Stats;

#[derive(Debug, thiserror::Error)]
pub enum FrontError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("{label}")]
    Tls {
        label: String,
        #[source]
        source: Box<TlsError>,
    },
    #[error("cannot serve on {addr}")]
    Start {
        addr: SocketAddr,
        #[source]
        source: std::io::Error,
    },
    #[error("cannot start threads for connections")]
    Threads(#[source] std::io::Error),
}

/// What all listeners share.
#[derive(Clone)]
pub struct Context {
    pub shared: Arc<Shared>,
    pub stats: Arc<Stats>,
    pub log: QueryLogWriter,
    pub limits: Limits,
    /// UDP threads per listener, and threads for the connections of all listeners.
    pub workers: usize,
}

/// Transport by its CoreDNS label, and the configured address.
type Key = (&'static str, SocketAddr);

/// All listeners, serving. Dropping it stops them without regard for what is in flight.
pub struct Front {
    context: Context,
    threads: Threads,
    listening: BTreeMap<Key, Listening>,
}

impl Front {
    /// Binds and serves every listener, or none. Must be called within a tokio runtime.
    pub fn start(listeners: &[Listener], context: Context) -> Result<Self, FrontError> {
        let threads = Threads::start(context.workers).map_err(FrontError::Threads)?;
        let mut front = Self {
            context,
            threads,
            listening: BTreeMap::new(),
        };
        front.replace(listeners)?;
        Ok(front)
    }

    /// Goes over to other listeners. Sockets whose transport and address stay are kept, with no query lost; on an
    /// error everything stays as it was.
    pub fn replace(&mut self, listeners: &[Listener]) -> Result<(), FrontError> {
        let mut stores = BTreeMap::new();
        let mut fresh = BTreeMap::new();
        for listener in listeners {
            let key = key(listener);
            if let Some(kept) = self.listening.get(&key) {
                stores.insert(key, kept.certificates_for(listener)?);
            } else {
                let stack = stack_of(listener, listeners);
                fresh.insert(
                    key,
                    Listening::start(listener.clone(), stack, &self.context, &self.threads)?,
                );
            }
        }
        let wanted: Vec<Key> = listeners.iter().map(key).collect();
        self.listening.retain(|key, _| wanted.contains(key));
        for listener in listeners {
            if let (Some(kept), Some(store)) = (
                self.listening.get_mut(&key(listener)),
                stores.remove(&key(listener)),
            ) {
                kept.replace(listener.clone(), store);
            }
        }
        self.listening.extend(fresh);
        Ok(())
    }

    /// The address in use for a listener, whose port may have been left to the system.
    pub fn local_addr(&self, listener: &Listener) -> Option<SocketAddr> {
        self.listening
            .get(&key(listener))
            .map(Listening::local_addr)
    }

    /// Takes no more connections and queries, lets those in flight finish until `deadline`, then closes.
    pub async fn drain(self, deadline: Instant) {
        let all = self
            .listening
            .into_values()
            .map(|listening| listening.drain(deadline));
        futures::future::join_all(all).await;
    }
}

/// Whether the certificates of listeners could be used, as a start would find out.
pub fn check_certificates(listeners: &[Listener]) -> Result<(), FrontError> {
    listeners
        .iter()
        .filter(|listener| listener.tls.is_some())
        .try_for_each(|listener| {
            listening::open_store(listener)?;
            Ok(())
        })
}

fn key(listener: &Listener) -> Key {
    (crate::stats::proto_label(listener.transport), listener.addr)
}

fn stack_of(listener: &Listener, all: &[Listener]) -> bind::Stack {
    let datagrams = |transport| matches!(transport, Transport::Udp | Transport::Quic);
    let own_v4 = all.iter().any(|other| {
        other.addr.is_ipv4()
            && other.addr.ip().is_unspecified()
            && other.addr.port() == listener.addr.port()
            && (other.transport == listener.transport
                || datagrams(other.transport) == datagrams(listener.transport))
    });
    if own_v4 {
        bind::Stack::V6Only
    } else {
        bind::Stack::Dual
    }
}

#[cfg(test)]
mod tests;
