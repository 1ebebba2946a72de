//! The asynchronous side of plugins.

use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;

use subm_dns_core::authority::Zone;
use subm_dns_core::respond::Transport;
use subm_dns_core::snapshot::Snapshot;
use subm_dns_core::status::ClusterStatus;

/// A query that the synchronous core left to others.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub query: &'a [u8],
    pub client: SocketAddr,
    pub transport: Transport,
    pub zone: &'a Zone,
    /// `None` until everything has been read once.
    pub snapshot: Option<&'a Snapshot>,
    pub status: &'a ClusterStatus,
}

/// Messages that answer a query, in order; `None` leaves it to the next handler, and after the last one to
/// the reply that the core has ready.
pub type Messages<'a> = Pin<Box<dyn Future<Output = Option<Vec<Vec<u8>>>> + Send + 'a>>;

/// Answers queries for which the core returned `Transfer`. Plugins that answer what falls through (`forward`, one day) have
/// their place here too; until there is one, `FallThrough` gets the reply that the core has ready.
pub trait Handler: fmt::Debug + Send + Sync {
    fn handle<'a>(&'a self, request: Request<'a>) -> Messages<'a>;
}
