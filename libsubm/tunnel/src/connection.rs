//! How a cable is: what its driver saw, what the health of its path says, and both together.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use crate::Cable;
use crate::health::{Health, PathStatus, Rtt};

/// `status` of a connection in a Gateway object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionStatus {
    /// Packets pass.
    Connected,
    /// Both sides are getting there.
    Connecting,
    /// They do not pass; the message says why.
    Error,
    /// Nobody looks.
    None,
}

impl ConnectionStatus {
    /// As objects spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Connecting => "connecting",
            Self::Error => "error",
            Self::None => "none",
        }
    }
}

impl fmt::Display for ConnectionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Bytes that went through a cable, with its own headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// From the far gateway.
    pub received: u64,
    /// To it.
    pub sent: u64,
}

/// A cable as seen now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// Name of the cable.
    pub cable: String,
    /// In one word.
    pub status: ConnectionStatus,
    /// In one sentence; empty where there is nothing to say.
    pub message: String,
    /// `usingIP`: where packets are sent to.
    pub using: IpAddr,
    /// `usingNAT`.
    pub nat: bool,
    /// Where the driver counts.
    pub traffic: Option<Traffic>,
    /// How long ago the gateways agreed on a session key, where they do.
    pub handshake: Option<Duration>,
    /// Round trips through the cable; the health check fills it in.
    pub rtt: Option<Rtt>,
}

impl Connection {
    /// As a driver reports it, without traffic and without round trips.
    pub fn new(cable: &Cable, status: ConnectionStatus, message: impl Into<String>) -> Self {
        Self {
            cable: cable.name.clone(),
            status,
            message: message.into(),
            using: cable.using,
            nat: cable.nat,
            traffic: None,
            handshake: None,
            rtt: None,
        }
    }

    /// With what the health check of the path knows; `None` where the path is not checked.
    ///
    /// | driver | health | result |
    /// |---|---|---|
    /// | connected | error | error, with the health check's message |
    /// | connected | unknown | connected, with the health check's message |
    /// | error | connected | connected: a packet that came back is the better witness |
    /// | anything else | | the driver's word |
    ///
    /// Round trips are filled in whatever the status. Do not check the path of a cable that the driver refused: a reply that
    /// comes another way would witness for it.
    #[must_use]
    pub fn with_health(mut self, health: Option<&Health>) -> Self {
        let Some(health) = health else { return self };
        self.rtt = health.rtt;
        match (self.status, health.status) {
            (ConnectionStatus::Connected, PathStatus::Error) => {
                self.status = ConnectionStatus::Error;
                self.message.clone_from(&health.message);
            }
            (ConnectionStatus::Connected, PathStatus::Unknown) => {
                self.message.clone_from(&health.message);
            }
            (ConnectionStatus::Error, PathStatus::Connected) => {
                self.status = ConnectionStatus::Connected;
                self.message.clear();
            }
            _ => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cable() -> Cable {
        Cable::new("cable", "c2", [172, 31, 2, 11].into(), 4500)
    }

    fn health(status: PathStatus) -> Health {
        Health {
            status,
            message: "from the health check".to_owned(),
            rtt: Rtt::of(&[Duration::from_millis(3)]),
        }
    }

    /// Every pair.
    #[test]
    fn driver_status_and_health_are_merged_by_the_table() {
        use ConnectionStatus as C;
        use PathStatus as P;
        let (driver, path) = ("from the driver", "from the health check");
        let table = [
            (C::Connected, P::Connected, C::Connected, driver),
            (C::Connected, P::Error, C::Error, path),
            (C::Connected, P::Unknown, C::Connected, path),
            (C::Connecting, P::Connected, C::Connecting, driver),
            (C::Connecting, P::Error, C::Connecting, driver),
            (C::Connecting, P::Unknown, C::Connecting, driver),
            (C::Error, P::Connected, C::Connected, ""),
            (C::Error, P::Error, C::Error, driver),
            (C::Error, P::Unknown, C::Error, driver),
            (C::None, P::Connected, C::None, driver),
            (C::None, P::Error, C::None, driver),
            (C::None, P::Unknown, C::None, driver),
        ];
        for (status, path, expected, message) in table {
            let health = health(path);
            let merged = Connection::new(&cable(), status, driver).with_health(Some(&health));
            assert_eq!(
                (merged.status, merged.message.as_str()),
                (expected, message),
                "{status} {path:?}"
            );
            assert_eq!(merged.rtt, health.rtt, "{status} {path:?}");
        }
        let alone = Connection::new(&cable(), C::Error, driver);
        assert_eq!(alone.clone().with_health(None), alone);
    }
}
