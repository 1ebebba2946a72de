//! What stands for a user's workload: nothing runs, but each TCP port of the manifest answers HTTP with the pod's name.

use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::Container;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::netns::NetNs;

/// Serves until it is dropped.
pub(super) fn serve(netns: &NetNs, container: &Container, name: &str) -> Result<JoinSet<()>> {
    let mut servers = JoinSet::new();
    for port in container.ports.iter().flatten() {
        if port.protocol.as_deref().unwrap_or("TCP") == "TCP" {
            let number = u16::try_from(port.container_port)?;
            let listener = netns.listen(SocketAddr::from((Ipv6Addr::UNSPECIFIED, number)))?;
            listener.set_nonblocking(true)?;
            let listener = TcpListener::from_std(listener)?;
            servers.spawn(accept(listener, format!("{name}\n")));
        }
    }
    Ok(servers)
}

async fn accept(listener: TcpListener, text: String) {
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        match listener.accept().await {
            Ok((client, _)) => {
                connections.spawn(answer(client, text.clone()));
            }
            // It concerns one connection, or file descriptors that come free again.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn answer(mut client: TcpStream, text: String) {
    let mut request = [0; 4096];
    // A client that says nothing, or goes away, is no business of ours.
    if client.read(&mut request).await.is_ok_and(|n| n > 0) {
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
            text.len()
        );
        let _ = client.write_all(reply.as_bytes()).await;
    }
}
