//! Tells secondaries that a zone has changed (RFC 1996), so that they need not wait for the refresh time.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use subm_dns_core::name::WireName;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::config::Listener;

/// Changes within this time are told together.
const GATHER: Duration = Duration::from_secs(1);
/// A secondary that does not answer is told again after these times.
const RETRIES: [Duration; 3] = [
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// A secondary of a zone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Recipient {
    zone: WireName,
    secondary: SocketAddr,
    /// Where the zone is served: secondaries listen to nobody but the primary that they know (RFC 1996 section 3.10).
    /// Unspecified where that is any address.
    from: IpAddr,
}

/// Whom to tell of changes.
pub(crate) fn recipients(listeners: &[Listener]) -> Vec<Recipient> {
    let mut all = Vec::new();
    for listener in listeners {
        for (zone, rule) in listener.authority.zones().iter().zip(&listener.transfer) {
            all.extend(rule.notify.iter().map(|&secondary| Recipient {
                zone: zone.origin.clone(),
                secondary,
                from: source(listener.addr.ip(), secondary),
            }));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// The served address, where a secondary can be reached from it.
fn source(served: IpAddr, secondary: SocketAddr) -> IpAddr {
    match secondary {
        _ if served.is_ipv4() == secondary.is_ipv4() => served,
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// Sends NOTIFY whenever `serial` changes. Ends with its sender.
pub(crate) async fn run(
    mut serial: watch::Receiver<Option<u32>>,
    recipients: watch::Receiver<Arc<Vec<Recipient>>>,
) {
    while serial.changed().await.is_ok() {
        tokio::time::sleep(GATHER).await;
        let _ = serial.borrow_and_update();
        for recipient in recipients.borrow().iter() {
            tokio::spawn(tell(recipient.clone()));
        }
    }
}

async fn tell(recipient: Recipient) {
    let Recipient {
        zone, secondary, ..
    } = &recipient;
    match try_tell(&recipient).await {
        Ok(true) => tracing::debug!(%zone, %secondary, "secondary was told of a change"),
        Ok(false) => {
            tracing::warn!(%zone, %secondary, "secondary does not answer NOTIFY; it sees the change at its next refresh");
        }
        Err(error) => tracing::warn!(%zone, %secondary, %error, "cannot send NOTIFY"),
    }
}

/// Sends until the secondary answers; `false` where it never does.
async fn try_tell(recipient: &Recipient) -> std::io::Result<bool> {
    let socket = UdpSocket::bind((recipient.from, 0)).await?;
    socket.connect(recipient.secondary).await?;
    let message = message(&recipient.zone, rand::random());
    let mut reply = [0; 512];
    for wait in RETRIES {
        let again = Instant::now() + wait;
        // A secondary that is just starting has no open port, which the kernel reports as an error of either call.
        if socket.send(&message).await.is_ok()
            && let Ok(Ok(len)) = timeout_at(again, socket.recv(&mut reply)).await
            && len >= 12
            && reply[..2] == message[..2]
            && reply[2] & 0x80 != 0
        {
            return Ok(true);
        }
        sleep_until(again).await;
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
        let (serial, serial_seen) = watch::channel(Some(1));
        let served = IpAddr::from([127, 0, 0, 2]);
        let to = secondary.local_addr().unwrap();
        let list = Arc::new(vec![Recipient {
            zone: zone.clone(),
            secondary: to,
            from: source(served, to),
        }]);
        let (_recipients, recipients_seen) = watch::channel(list);
        let running = tokio::spawn(run(serial_seen, recipients_seen));
        serial.send(Some(2)).unwrap();
        let mut query = [0; 512];
        let received =
            tokio::time::timeout(Duration::from_secs(20), secondary.recv_from(&mut query)).await;
        let (len, from) = received.expect("a NOTIFY arrives").unwrap();
        assert_eq!(from.ip(), served);
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
