//! Tells secondaries that a zone has changed (RFC 1996), so that they need not wait for the refresh time.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use subm_dns_core::name::WireName;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::config::Listener;

/// Changes within this time are told together.
const GATHER: Duration = Duration::from_secs(1);
/// A secondary that does not answer is told again after these times.
const RETRIES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Zones and whom to tell of their changes.
pub(crate) fn recipients(listeners: &[Listener]) -> Vec<(WireName, SocketAddr)> {
    let mut all: Vec<(WireName, SocketAddr)> = Vec::new();
    for listener in listeners {
        for (zone, rule) in listener.authority.zones().iter().zip(&listener.transfer) {
            all.extend(rule.notify.iter().map(|addr| (zone.origin.clone(), *addr)));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// Sends NOTIFY whenever `serial` changes. Ends with its sender.
pub(crate) async fn run(
    mut serial: watch::Receiver<u32>,
    recipients: watch::Receiver<Arc<Vec<(WireName, SocketAddr)>>>,
) {
    while serial.changed().await.is_ok() {
        tokio::time::sleep(GATHER).await;
        let _ = serial.borrow_and_update();
        for (zone, addr) in recipients.borrow().iter() {
            tokio::spawn(tell(zone.clone(), *addr));
        }
    }
}

async fn tell(zone: WireName, secondary: SocketAddr) {
    match try_tell(&zone, secondary).await {
        Ok(true) => tracing::debug!(%zone, %secondary, "secondary was told of a change"),
        Ok(false) => {
            tracing::warn!(%zone, %secondary, "secondary does not answer NOTIFY; it sees the change at its next refresh");
        }
        Err(error) => tracing::warn!(%zone, %secondary, %error, "cannot send NOTIFY"),
    }
}

/// Sends until the secondary answers; `false` where it never does.
async fn try_tell(zone: &WireName, secondary: SocketAddr) -> std::io::Result<bool> {
    let any: SocketAddr = if secondary.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(secondary).await?;
    let message = message(zone, rand::random());
    let mut reply = [0; 512];
    for wait in RETRIES {
        socket.send(&message).await?;
        if let Ok(received) = tokio::time::timeout(wait, socket.recv(&mut reply)).await {
            // The kernel reports a closed port as an error of the connected socket.
            let len = received?;
            if len >= 12 && reply[..2] == message[..2] && reply[2] & 0x80 != 0 {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Opcode NOTIFY, AA, the zone's SOA as question (RFC 1996 section 3.7).
fn message(zone: &WireName, id: u16) -> Vec<u8> {
    let mut message = vec![0; 12];
    message[..2].copy_from_slice(&id.to_be_bytes());
    message[2] = 4 << 3 | 0x04;
    message[5] = 1;
    message.extend_from_slice(zone.as_bytes());
    message.extend_from_slice(&[0, 6, 0, 1]);
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_secondary_is_told_when_the_serial_changes() {
        let secondary = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let zone = WireName::parse("clusterset.local").unwrap();
        let (serial, serial_seen) = watch::channel(1);
        let list = Arc::new(vec![(zone.clone(), secondary.local_addr().unwrap())]);
        let (_recipients, recipients_seen) = watch::channel(list);
        let running = tokio::spawn(run(serial_seen, recipients_seen));
        serial.send(2).unwrap();
        let mut query = [0; 512];
        let received =
            tokio::time::timeout(Duration::from_secs(20), secondary.recv_from(&mut query)).await;
        let (len, from) = received.expect("a NOTIFY arrives").unwrap();
        assert_eq!(
            query[..len],
            *message(&zone, u16::from_be_bytes([query[0], query[1]]))
        );
        query[2] |= 0x80;
        secondary.send_to(&query[..len], from).await.unwrap();
        drop(serial);
        running.await.unwrap();
    }
}
