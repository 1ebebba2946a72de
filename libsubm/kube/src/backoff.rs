//! Waiting times between attempts.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(5);

/// Doubles from 100 ms up to 5 s, each time shortened by up to a half at random, so that daemons
/// that lost the same server do not come back in step.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    pub fn new() -> Self {
        Self::default()
    }

    /// An attempt went well.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    /// How long to wait before the next attempt.
    pub fn wait(&mut self) -> Duration {
        let full = self.next;
        self.next = (full * 2).min(LONGEST);
        full.mul_f64(rand::random_range(0.5..=1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_the_longest_and_starts_again() {
        let mut backoff = Backoff::new();
        assert!(backoff.wait() <= FIRST);
        let late: Vec<_> = (0..20).map(|_| backoff.wait()).collect();
        assert!(late.iter().all(|delay| *delay <= LONGEST));
        assert!(late.last().is_some_and(|delay| *delay >= LONGEST / 2));
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
