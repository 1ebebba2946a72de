//! What gotatun's counters say of a peer, made into what the kernel's say.
//!
//! They differ in three ways. An empty packet (keepalive) does not count, so an idle peer looks dead; a session counts as made when
//! its first half is, so a peer with another shared key looks alive; and headers are left out.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

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

/// A look at a peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Authentic bytes received, of data without headers.
    pub(super) received: u64,
    /// Data messages from where the peer is, authentic or not.
    pub(super) messages: u64,
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
    data: Option<Instant>,
    initiations: VecDeque<Instant>,
}

impl Account {
    /// The age of the latest handshake that succeeded, and the bytes received.
    pub(super) fn observe(&mut self, look: Look, now: Instant) -> (Option<Duration>, u64) {
        let authentic = look.received.saturating_sub(self.last.received);
        // Where it is may have changed, and with it the count.
        let messages = look.messages.saturating_sub(self.last.messages);
        self.last = look;
        self.received += authentic + messages * HEADERS;
        if messages > 0 {
            self.data = Some(now);
        }
        if authentic > 0 && authentic.is_multiple_of(INITIATION) {
            let count = usize::try_from(authentic / INITIATION).unwrap_or(usize::MAX);
            for _ in 0..count.min(PENDING) {
                self.initiations.push_back(now);
            }
            while self.initiations.len() > PENDING {
                self.initiations.pop_front();
            }
            let all = self.initiations.len() == PENDING;
            let first = self.initiations.front();
            if all
                && first.is_some_and(|first| now.saturating_duration_since(*first) < PENDING_WITHIN)
            {
                self.confirmed = false;
            }
        } else if authentic > 0 {
            self.confirmed = true;
            self.initiations.clear();
        }
        match look.session {
            None => self.confirmed = false,
            Some(age) if age >= SETTLED => {
                let recent = |data| now.saturating_duration_since(data) <= SETTLED;
                self.confirmed |= self.data.is_some_and(recent);
            }
            Some(_) => {}
        }
        (look.session.filter(|_| self.confirmed), self.received)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn look(received: u64, messages: u64, session: u64) -> Look {
        Look {
            received,
            messages,
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
