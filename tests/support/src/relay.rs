//! TCP from inside a network namespace to servers outside of it.
//!
//! The listener is made inside, connections to the server are made outside: no link, no route, and no address of the
//! machine changes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::netns::NetNs;
use crate::reach;

/// Relays that end, with their connections, when this is dropped.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    tasks: JoinSet<()>,
}

impl Relays {
    /// Accepts connections to `inside` and joins each to one to `server`.
    pub(crate) fn add(
        &mut self,
        netns: &NetNs,
        inside: SocketAddr,
        server: SocketAddr,
    ) -> Result<AbortHandle> {
        Ok(self.tasks.spawn(accept(listener(netns, inside)?, server)))
    }

    /// Relays all servers of [`reach`], those to come included, under their own addresses.
    pub(crate) fn add_reachable(&mut self, netns: Arc<NetNs>) -> Result<()> {
        let mut servers = reach::servers();
        let mut relays = BTreeMap::new();
        update(&netns, &servers.borrow_and_update().clone(), &mut relays)?;
        self.tasks.spawn(async move {
            while servers.changed().await.is_ok() {
                let now = servers.borrow_and_update().clone();
                if let Err(error) = update(&netns, &now, &mut relays) {
                    eprintln!("relay: {error:#}");
                }
            }
        });
        Ok(())
    }
}

type ByServer = BTreeMap<SocketAddr, JoinSet<()>>;

fn update(
    netns: &NetNs,
    servers: &std::collections::BTreeSet<SocketAddr>,
    relays: &mut ByServer,
) -> Result<()> {
    relays.retain(|server, _| servers.contains(server));
    for server in servers {
        if !relays.contains_key(server) {
            let mut task = JoinSet::new();
            task.spawn(accept(listener(netns, *server)?, *server));
            relays.insert(*server, task);
        }
    }
    Ok(())
}

fn listener(netns: &NetNs, inside: SocketAddr) -> Result<TcpListener> {
    let listener = netns.listen(inside)?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

async fn accept(listener: TcpListener, server: SocketAddr) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(join(client, server));
            }
            // It concerns one connection, or file descriptors that come free again.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn join(mut client: TcpStream, server: SocketAddr) {
    let joined = async {
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        copy_bidirectional(&mut client, &mut server).await
    }
    .await;
    if joined.is_err() {
        // A server that refused or reset: its client is to see more than an end. Fails only on a connection that is gone.
        let _ = client.set_zero_linger();
    }
}
