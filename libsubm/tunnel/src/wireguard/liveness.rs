//! Whether a peer is there, by its handshakes and what it sends.

use std::time::{Duration, Instant};

use super::{HANDSHAKE_LIMIT, KEEPALIVE, SESSION_LIMIT};
use crate::connection::{ConnectionStatus, Traffic};

/// Data is answered within ten seconds, if only by an empty packet. Twice that, and something is wrong.
const SILENCE_LIMIT: Duration = Duration::from_secs(2 * KEEPALIVE as u64);
/// Length of an empty packet.
const EMPTY: u64 = 32;

/// Follows one peer. It has no clock.
///
/// ```text
///   no handshake yet                                  connecting, after 130 s error
///   last handshake 180 s ago or more                  error: no handshake for ...
///   data sent, nothing received since, for 20 s       error: no bytes received for ...
///   anything else                                     connected
/// ```
///
/// Silence alone says nothing. What is received puts off the own keepalive as what is sent does, so of two idle gateways one sends them
/// all and hears nothing until the next handshake. And what is sent says nothing either: WireGuard sends handshakes into the void for
/// ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Liveness {
    since: Instant,
    received: u64,
    /// When something last came.
    heard: Option<Instant>,
    /// What was sent up to then.
    sent: u64,
}

impl Liveness {
    /// Of a peer that is new to us. `traffic` is that up to now.
    pub(super) fn new(traffic: Traffic, now: Instant) -> Self {
        Self {
            since: now,
            received: traffic.received,
            heard: None,
            sent: traffic.sent,
        }
    }

    /// The status with what the device counts now. `handshake` is the age of the latest one.
    pub(super) fn observe(
        &mut self,
        handshake: Option<Duration>,
        traffic: Traffic,
        now: Instant,
    ) -> (ConnectionStatus, String) {
        // Counters that start anew are of a peer that was made anew.
        if traffic.received != self.received {
            self.received = traffic.received;
            self.sent = traffic.sent;
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
        if age > SESSION_LIMIT {
            let message = format!("no handshake for {:.1} seconds", age.as_secs_f64());
            return (ConnectionStatus::Error, message);
        }
        let silence = now.saturating_duration_since(self.heard.unwrap_or(self.since));
        let silence = silence.min(age);
        let unanswered = traffic.sent.saturating_sub(self.sent);
        // One may be on its way, and one has been sent before we looked.
        let keepalives = (silence.as_secs() / u64::from(KEEPALIVE) + 2) * EMPTY;
        if silence > SILENCE_LIMIT && unanswered > keepalives {
            let message = format!("no bytes received for {:.1} seconds", silence.as_secs_f64());
            return (ConnectionStatus::Error, message);
        }
        (ConnectionStatus::Connected, String::new())
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

    /// Of a peer that nothing comes from any more.
    fn only_sent(sent: u64) -> Traffic {
        Traffic {
            received: 92,
            sent: 148 + sent,
        }
    }

    #[test]
    fn data_without_an_answer_is_an_error_after_twice_the_keepalive() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        let mut at = |second: u64| {
            // An echo each second.
            let traffic = only_sent(second * 128);
            peer.observe(Some(secs(60 + second)), traffic, start + secs(second))
        };
        for second in 0..=20 {
            assert_eq!(at(second).0, Connected, "{second}");
        }
        let (status, message) = at(21);
        assert_eq!(
            (status, message.as_str()),
            (Error, "no bytes received for 21.0 seconds")
        );
        let (status, message) = at(121);
        assert_eq!(
            (status, message.as_str()),
            (Error, "no handshake for 181.0 seconds")
        );
        // And back with the first byte.
        let traffic = Traffic {
            received: 93,
            sent: 1 << 20,
        };
        assert_eq!(
            peer.observe(Some(secs(0)), traffic, start + secs(122)).0,
            Connected
        );
    }

    /// As seen between a kernel and a userspace that had nothing to say: one of them sends all keepalives. The next handshake comes at the
    /// latest when the session is 165 seconds old.
    #[test]
    fn the_side_of_an_idle_cable_that_hears_nothing_is_connected() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        for second in 0..170 {
            let traffic = only_sent(second / 10 * 32);
            let (status, message) = peer.observe(Some(secs(second)), traffic, start + secs(second));
            assert_eq!((status, message.as_str()), (Connected, ""), "{second}");
        }
    }

    /// It is cut, and nobody says anything: seen when WireGuard itself begins to try.
    #[test]
    fn an_idle_cable_that_is_cut_is_an_error_when_a_handshake_is_due() {
        let start = Instant::now();
        let mut peer = Liveness::new(received(0), start);
        let mut status = |second: u64| {
            let tries = second.saturating_sub(115) / 5;
            let traffic = only_sent(second / 10 * 32 + tries * 148);
            peer.observe(Some(secs(second)), traffic, start + secs(second))
                .0
        };
        assert_eq!(status(0), Connected);
        assert_eq!(status(115), Connected);
        assert_eq!(status(130), Error);
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
        assert_eq!(peer.observe(Some(secs(90)), traffic(0), start).0, Connected);
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
