//! What gotatun's counters say of a peer, made into what the kernel's say.
//!
//! They differ in three ways. An empty packet (keepalive) does not count, so an idle peer looks dead; a session counts as made when
//! its first half is, so a peer with another shared key looks alive; and headers are left out.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::udp::Messages;

/// Length of a handshake initiation. All other messages count with other lengths.
const INITIATION: u64 = 148;
/// Header and tag of a data message.
const HEADERS: u64 = 32;
/// A peer that cannot finish a handshake begins again each five seconds. One that has not done so for this long has finished.
const SETTLED: Duration = Duration::from_secs(20);
/// So many initiations within a minute: handshakes do not succeed.
const PENDING: usize = 3;
/// See [`PENDING`].
const PENDING_WITHIN: Duration = Duration::from_secs(60);
/// So many initiations that were not believed are remembered.
const OPEN: u64 = 16;

/// A look at a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Authentic bytes received, of data without headers.
    pub(super) received: u64,
    /// Where the peer is.
    pub(super) source: Option<SocketAddr>,
    /// What came from there, authentic or not.
    pub(super) heard: Messages,
    /// Since the latest handshake began to succeed.
    pub(super) session: Option<Duration>,
}

/// One peer, followed from look to look.
#[derive(Clone, Debug, Default)]
pub(super) struct Account {
    last: Look,
    received: u64,
    /// Somebody with the right keys has used the session.
    confirmed: bool,
    /// When data was last heard.
    data: Option<Instant>,
    /// Initiations that were heard and are not among the authentic bytes: yet, or because they are not authentic.
    open: u64,
    /// Authentic ones that nothing else came after.
    initiations: VecDeque<Instant>,
}

impl Account {
    /// The age of the latest handshake that succeeded, and the bytes received.
    pub(super) fn observe(&mut self, look: Look, now: Instant) -> (Option<Duration>, u64) {
        let authentic = look.received.saturating_sub(self.last.received);
        let heard = if look.source == self.last.source {
            look.heard.since(self.last.heard)
        } else {
            look.heard
        };
        self.last = look;
        self.received += authentic + heard.data * HEADERS;
        self.open = (self.open + heard.initiations).min(OPEN);
        if heard.data > 0 {
            self.data = Some(now);
        }
        let begun = authentic / INITIATION;
        if authentic > 0 && authentic.is_multiple_of(INITIATION) && begun <= self.open {
            self.open -= begun;
            self.begins(begun, now);
        } else if authentic > 0 {
            self.confirmed = true;
            self.open = 0;
            self.initiations.clear();
        }
        match look.session {
            None => self.confirmed = false,
            Some(age) if age >= SETTLED => {
                // One with the right keys says something at once, if nothing but that it is there.
                let made = now.checked_sub(age);
                self.confirmed |= self.data.is_some_and(|data| Some(data) >= made);
            }
            Some(_) => {}
        }
        (look.session.filter(|_| self.confirmed), self.received)
    }

    /// So many handshakes were begun by the peer, and nothing else came.
    fn begins(&mut self, count: u64, now: Instant) {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(PENDING);
        self.initiations.extend(std::iter::repeat_n(now, count));
        while self.initiations.len() > PENDING {
            self.initiations.pop_front();
        }
        let all = self.initiations.len() == PENDING;
        let within = |first: &Instant| now.saturating_duration_since(*first) < PENDING_WITHIN;
        if all && self.initiations.front().is_some_and(within) {
            self.confirmed = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// With as many initiations heard as there could be.
    fn look(received: u64, data: u64, session: u64) -> Look {
        Look {
            received,
            source: None,
            heard: Messages {
                initiations: received / INITIATION,
                data,
            },
            session: Some(SECOND * u32::try_from(session).unwrap()),
        }
    }

    #[test]
    fn the_side_that_begins_knows_with_the_response() {
        let mut account = Account::default();
        assert_eq!(
            account.observe(look(92, 0, 0), Instant::now()),
            (Some(Duration::ZERO), 92)
        );
    }

    #[test]
    fn the_side_that_answers_knows_with_the_first_data() {
        let start = Instant::now();
        let mut account = Account::default();
        assert_eq!(account.observe(look(148, 0, 0), start).0, None);
        assert_eq!(
            account.observe(look(148, 1, 1), start + SECOND).0,
            None,
            "an empty one proves nothing yet"
        );
        assert_eq!(
            account.observe(look(212, 2, 2), start + SECOND * 2),
            (Some(SECOND * 2), 212 + 64)
        );
    }

    #[test]
    fn an_idle_peer_is_believed_when_it_does_not_begin_again() {
        let start = Instant::now();
        let mut account = Account::default();
        account.observe(look(148, 1, 0), start);
        for n in 1..20 {
            assert_eq!(
                account
                    .observe(
                        look(148, 1 + n / 10, n),
                        start + SECOND * u32::try_from(n).unwrap()
                    )
                    .0,
                None,
                "{n}"
            );
        }
        let (age, received) = account.observe(look(148, 3, 20), start + SECOND * 20);
        assert_eq!((age, received), (Some(SECOND * 20), 148 + 3 * 32));
        // Keepalives are bytes.
        assert_eq!(
            account.observe(look(148, 4, 30), start + SECOND * 30).1,
            148 + 4 * 32
        );
    }

    /// It heard one empty packet, and then nothing: it sends all keepalives itself.
    #[test]
    fn the_side_of_an_idle_cable_that_answered_is_believed_by_the_first_packet() {
        let start = Instant::now();
        let mut account = Account::default();
        account.observe(look(148, 1, 0), start);
        for n in 1..60_u32 {
            let (age, _) = account.observe(look(148, 1, n.into()), start + SECOND * n);
            assert_eq!(age.is_some(), n >= 20, "{n}");
        }
    }

    /// Data of just the length of initiations, look after look, is data: no initiation was heard.
    #[test]
    fn data_is_not_taken_for_handshakes() {
        let start = Instant::now();
        let mut account = Account::default();
        account.observe(look(92, 0, 0), start);
        for n in 1..20_u32 {
            let mut seen = look(92 + 148 * 37 * u64::from(n), u64::from(n) * 37, n.into());
            seen.heard.initiations = 0;
            let (age, _) = account.observe(seen, start + SECOND * n);
            assert!(age.is_some(), "{n}");
        }
    }

    /// An initiation is heard before it is found to be authentic, and from another address than before.
    #[test]
    fn an_initiation_may_be_counted_late_and_elsewhere() {
        let start = Instant::now();
        let mut account = Account::default();
        let mut seen = look(0, 0, 0);
        seen.heard.initiations = 1;
        account.observe(seen, start);
        let mut seen = look(148, 0, 0);
        assert_eq!(account.observe(seen, start + SECOND).0, None);
        seen.received += 148;
        seen.source = Some(([198, 51, 100, 1], 61_234).into());
        assert_eq!(account.observe(seen, start + SECOND * 6).0, None);
    }

    #[test]
    fn one_with_another_secret_begins_again_and_again() {
        let start = Instant::now();
        let mut account = Account::default();
        for n in 0..100_u32 {
            // An initiation each five seconds, and data that nobody can read.
            let (round, since) = (n / 5, n % 5);
            let seen = look(148 * u64::from(round + 1), u64::from(n / 10), since.into());
            assert_eq!(account.observe(seen, start + SECOND * n).0, None, "{n}");
        }
    }

    #[test]
    fn one_whose_secret_changes_is_not_believed_for_long() {
        let start = Instant::now();
        let mut account = Account::default();
        assert!(account.observe(look(92, 0, 0), start).0.is_some());
        account.observe(look(92 + 148, 0, 0), start + SECOND * 5);
        account.observe(look(92 + 148 * 2, 0, 0), start + SECOND * 10);
        assert_eq!(
            account
                .observe(look(92 + 148 * 3, 0, 0), start + SECOND * 15)
                .0,
            None
        );
        // And it is changed back: a response.
        assert!(
            account
                .observe(look(92 + 148 * 3 + 92, 0, 0), start + SECOND * 20)
                .0
                .is_some()
        );
    }

    #[test]
    fn handshakes_of_an_idle_cable_are_no_trouble() {
        let start = Instant::now();
        let mut account = Account::default();
        account.observe(look(92, 0, 0), start);
        for n in 1..600_u32 {
            let seen = look(
                92 + 148 * u64::from(n / 120),
                u64::from(n / 10),
                u64::from(n % 120),
            );
            assert!(account.observe(seen, start + SECOND * n).0.is_some(), "{n}");
        }
    }

    #[test]
    fn counters_that_go_back_do_no_harm() {
        let start = Instant::now();
        let mut account = Account::default();
        account.observe(look(5_000, 10, 0), start);
        let (_, before) = account.observe(look(5_000, 10, 1), start);
        let (_, after) = account.observe(Look::default(), start);
        assert_eq!(before, after);
    }
}
