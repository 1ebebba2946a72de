//! Echoes by ICMP and ICMPv6.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use socket2::Type;
use surge_ping::{Client, Config, ICMP, IcmpPacket, PingIdentifier, PingSequence, SurgeError};

use super::{Echo, PingError, Pinger};

/// What an echo carries: as much as that of `ping`.
const PAYLOAD: [u8; 56] = [0; 56];

/// Sends real echoes: one socket per family for all targets, opened when first needed, in the network namespace of the thread that
/// needs it.
///
/// It needs `CAP_NET_RAW`, or, with one flow for all echoes, a group that `net.ipv4.ping_group_range` names.
#[derive(Default)]
pub struct Icmp {
    v4: OnceLock<Client>,
    v6: OnceLock<Client>,
    identifier: OnceLock<u16>,
}

impl Icmp {
    /// Nothing is opened yet.
    pub fn new() -> Self {
        Self::default()
    }

    fn client(&self, target: IpAddr) -> Result<&Client, PingError> {
        let (slot, kind) = match target {
            IpAddr::V4(_) => (&self.v4, ICMP::V4),
            IpAddr::V6(_) => (&self.v6, ICMP::V6),
        };
        if let Some(client) = slot.get() {
            return Ok(client);
        }
        // The other type, which is the fall-back, has one identifier for all echoes of the socket: the kernel's.
        let config = Config::builder().kind(kind).sock_type_hint(Type::RAW);
        let client = Client::new(&config.build())
            .map_err(|error| PingError::Unavailable(error.to_string()))?;
        Ok(slot.get_or_init(|| client))
    }
}

impl std::fmt::Debug for Icmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Icmp").finish_non_exhaustive()
    }
}

impl Pinger for Icmp {
    async fn ping(
        &self,
        target: IpAddr,
        echo: Echo,
        patience: Duration,
    ) -> Result<Duration, PingError> {
        let first = *self.identifier.get_or_init(rand::random);
        let identifier = PingIdentifier(first.wrapping_add(echo.flow));
        let mut pinger = self.client(target)?.pinger(target, identifier).await;
        pinger.timeout(patience);
        match pinger.ping(PingSequence(echo.sequence), &PAYLOAD).await {
            Ok((packet, round_trip)) if is_reply(&packet) => Ok(round_trip),
            // A router on the way, or this node, says that there is no way.
            Ok(_) => Err(PingError::Lost(Some("it cannot be reached".to_owned()))),
            Err(SurgeError::Timeout { .. }) => Err(PingError::Lost(None)),
            Err(error) => Err(PingError::Lost(Some(error.to_string()))),
        }
    }
}

/// What comes back for an echo may be an error, too.
fn is_reply(packet: &IcmpPacket) -> bool {
    const REPLY: u8 = 0;
    const REPLY6: u8 = 129;
    match packet {
        IcmpPacket::V4(packet) => packet.get_icmp_type().0 == REPLY,
        IcmpPacket::V6(packet) => packet.get_icmpv6_type().0 == REPLY6,
    }
}
