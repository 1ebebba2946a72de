//! Servers of this process on loopback addresses, which are to be reached from network namespaces too.
//!
//! A loopback address means another thing in each namespace. So that a kubeconfig or a `broker-info.subm` with such an
//! address works for a test and for the pods it deals with, every namespace of a pod relays the addresses listed here.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::LazyLock;

use tokio::sync::watch;

static SERVERS: LazyLock<watch::Sender<BTreeSet<SocketAddr>>> =
    LazyLock::new(|| watch::Sender::new(BTreeSet::new()));

/// A server is listed as long as this lives.
#[derive(Debug)]
pub(crate) struct Registered(SocketAddr);

pub(crate) fn register(server: SocketAddr) -> Registered {
    SERVERS.send_modify(|servers| {
        servers.insert(server);
    });
    Registered(server)
}

impl Drop for Registered {
    fn drop(&mut self) {
        SERVERS.send_modify(|servers| {
            servers.remove(&self.0);
        });
    }
}

/// The servers there are, and news of others.
pub(crate) fn servers() -> watch::Receiver<BTreeSet<SocketAddr>> {
    SERVERS.subscribe()
}
