//! Whether a peer is there, by its handshakes and what it sends.

use std::time::{Duration, Instant};

use super::{HANDSHAKE_LIMIT, KEEPALIVE, SESSION_LIMIT};
use crate::connection::{ConnectionStatus, Traffic};

/// Both sides send at least every ten seconds. Twice that without a byte, and something is wrong.
const SILENCE_LIMIT: Duration = Duration::from_secs(2 * KEEPALIVE as u64);

/// Follows one peer. It has no clock.
///
/// ```text
///   no handshake yet                             connecting, after 130 s error
///   handshake or bytes received in the last 20 s connected, unless the last handshake was 180 s ago
///   neither, last handshake 130 s ago or more    error: no handshake for ...
///   neither                                      error: no bytes received for ...
/// ```
///
/// What is sent says nothing: WireGuard sends handshakes into the void for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    since: Instant,
    received: u64,
    /// When something last came.
    heard: Option<Instant>,
}

impl Liveness {
    /// Of a peer that is new to us. `traffic` is that up to now.
    pub fn new(traffic: Traffic, now: Instant) -> Self {
        Self {
            since: now,
            received: traffic.received,
            heard: None,
        }
    }

    /// The status with what the device counts now. `handshake` is the age of the latest one.
    pub fn observe(
        &mut self,
        handshake: Option<Duration>,
        traffic: Traffic,
        now: Instant,
    ) -> (ConnectionStatus, String) {
        // Counters that start anew are of a peer that was made anew.
        if traffic.received != self.received {
            self.received = traffic.received;
            if traffic.received > 0 {
                self.heard = Some(now);
            }
        }
        let Some(age) = handshake else {
            let waiting = now.saturating_duration_since(self.since);
            return if waiting > HANDSHAKE_LIMIT {
                let message = format!(
                    "no initial handshake for {:.1} seconds",
                    waiting.as_secs_f64()
                );
                (ConnectionStatus::Error, message)
            } else {
                (
                    ConnectionStatus::Connecting,
                    "no initial handshake yet".to_owned(),
                )
            };
        };
        let silence = self
            .heard
            .map_or(age, |heard| age.min(now.saturating_duration_since(heard)));
        // Beginnings of handshakes are bytes too, but no session lasts longer.
        if silence <= SILENCE_LIMIT && age <= SESSION_LIMIT {
            return (ConnectionStatus::Connected, String::new());
        }
        let message = if age > HANDSHAKE_LIMIT {
            format!("no handshake for {:.1} seconds", age.as_secs_f64())
        } else {
            // One who just came to look has heard nothing, however much was said before.
            let looking = now.saturating_duration_since(self.since);
            if self.heard.is_none() && looking <= SILENCE_LIMIT {
                return (
                    ConnectionStatus::Connecting,
                    "no bytes received yet".to_owned(),
                );
            }
            format!("no bytes received for {:.1} seconds", silence.as_secs_f64())
        };
        (ConnectionStatus::Error, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectionStatus::{Connected, Connecting, Error};
    use proptest::prelude::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    fn received(received: u64) -> Traffic {
        Traffic {
            received,
            sent: received * 2,
        }
    }

    #[test]
    fn a_new_peer_is_connecting_and_after_130_seconds_an_error() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        for (after, status) in [
            (0, Connecting),
            (1, Connecting),
            (130, Connecting),
            (131, Error),
            (500, Error),
        ] {
            let traffic = Traffic {
                received: 0,
                sent: 148 * after,
            };
            let (seen, message) = peer.observe(None, traffic, start + secs(after));
            assert_eq!(seen, status, "{after} {message}");
            assert!(message.starts_with("no initial handshake"), "{message}");
        }
    }

    #[test]
    fn the_first_handshake_connects_at_once() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        assert_eq!(
            peer.observe(Some(secs(0)), received(92), start + secs(1)).0,
            Connected
        );
    }

    #[test]
    fn keepalives_keep_it_connected() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        for n in 0..60 {
            // A handshake each two minutes, 32 bytes each ten seconds.
            let age = secs(n * 10 % 120);
            let (status, message) =
                peer.observe(Some(age), received(n * 32 + 92), start + secs(n * 10));
            assert_eq!((status, message.as_str()), (Connected, ""), "{n}");
        }
    }

    #[test]
    fn silence_is_an_error_after_twice_the_keepalive() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        assert_eq!(
            peer.observe(Some(secs(60)), received(92), start).0,
            Connected
        );
        assert_eq!(
            peer.observe(Some(secs(80)), received(92), start + secs(20))
                .0,
            Connected
        );
        let (status, message) = peer.observe(Some(secs(81)), received(92), start + secs(21));
        assert_eq!(
            (status, message.as_str()),
            (Error, "no bytes received for 21.0 seconds")
        );
        let (_, message) = peer.observe(Some(secs(140)), received(92), start + secs(80));
        assert_eq!(message, "no handshake for 140.0 seconds");
        // And back with the first byte.
        assert_eq!(
            peer.observe(Some(secs(0)), received(93), start + secs(81))
                .0,
            Connected
        );
    }

    /// Where Submariner says "connected" while bytes are only sent.
    #[test]
    fn what_is_sent_is_no_witness() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(500), start);
        let traffic = |n: u64| Traffic {
            received: 500,
            sent: 1000 + 148 * n,
        };
        assert_eq!(
            peer.observe(Some(secs(90)), traffic(0), start).0,
            Connecting,
            "nobody has looked for long"
        );
        assert_eq!(
            peer.observe(Some(secs(111)), traffic(4), start + secs(21))
                .0,
            Error
        );
    }

    /// Initiations of a peer that cannot finish a handshake are bytes.
    #[test]
    fn no_session_is_older_than_three_minutes() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        for n in 0..60_u64 {
            let (status, message) = peer.observe(
                Some(secs(n * 5)),
                received(92 + n * 148),
                start + secs(n * 5),
            );
            let expected = if n * 5 <= 180 { Connected } else { Error };
            assert_eq!(status, expected, "{n} {message}");
        }
    }

    #[test]
    fn one_that_looks_again_believes_a_young_handshake() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(12_345), start);
        assert_eq!(
            peer.observe(Some(secs(15)), received(12_345), start).0,
            Connected
        );
    }

    proptest! {
        #[test]
        fn no_course_of_events_panics(events in prop::collection::vec((any::<Option<u32>>(), any::<u64>(), 0_u64..200), 0..50)) {
            let mut now = Instant::now();
            let mut peer = Liveness::new(Traffic::default(), now);
            for (handshake, bytes, pause) in events {
                now += secs(pause);
                let handshake = handshake.map(|age| secs(age.into()));
                let (status, message) = peer.observe(handshake, Traffic { received: bytes, sent: 0 }, now);
                prop_assert_eq!(message.is_empty(), status == Connected);
                // A clock that went backwards.
                peer.observe(handshake, Traffic { received: bytes, sent: 0 }, now.checked_sub(secs(5)).unwrap_or(now));
            }
        }
    }
}
