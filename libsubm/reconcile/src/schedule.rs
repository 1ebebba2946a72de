//! When to look.

use std::time::Duration;

use tokio::time::Instant;

/// The times of a [`Schedule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// How long after a hint to look, so that a burst of hints is one look. A burst that does not end is cut at twice this.
    pub settle: Duration,
    /// How long after a look that found nothing to do to look again, hints or not. Spread by a tenth.
    pub resync: Duration,
    /// The wait after the first failure. It doubles with each further one.
    pub retry_first: Duration,
    /// The longest wait after a failure.
    pub retry_longest: Duration,
    /// Hints during a failure bring the next look forward, but not closer than this to the last one.
    pub retry_closest: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            settle: Duration::from_millis(50),
            resync: Duration::from_secs(60),
            retry_first: Duration::from_millis(100),
            retry_longest: Duration::from_secs(30),
            retry_closest: Duration::from_secs(1),
        }
    }
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing to do.
    Nothing,
    /// Something, and all of it was done.
    Done,
    /// Something failed: the look itself, or a step.
    Trouble,
}

/// Decides when to look. It is told what happens, and when; it never asks for the time.
///
/// * What is desired changed: at once.
/// * A hint: when hints settle.
/// * All was done: when the hints about that settle, to see that it is so. If there is something to do again, twice in a row,
///   that counts as a failure: somebody undoes it, or the target does not do what it says.
/// * A failure: later, and later each time, a random part of up to a half sooner; a hint brings it forward.
/// * Nothing to do: when it is time to resync.
#[derive(Clone, Debug)]
pub struct Schedule {
    timing: Timing,
    /// When to look if there are no hints.
    due: Option<Instant>,
    /// The first and the latest of the hints that were not yet followed by a look.
    hints: Option<(Instant, Instant)>,
    last: Option<(Instant, Look)>,
    /// Failures in a row.
    failures: u32,
    /// Looks in a row that found something and did it.
    redone: u32,
}

impl Schedule {
    /// Looks for the first time when something is desired.
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            due: None,
            hints: None,
            last: None,
            failures: 0,
            redone: 0,
        }
    }

    pub fn timing(&self) -> Timing {
        self.timing
    }

    /// When to look next. `None`: nothing is desired yet.
    pub fn next(&self) -> Option<Instant> {
        let due = self.due?;
        let Some((first, latest)) = self.hints else {
            return Some(due);
        };
        let settled = (latest + self.timing.settle).min(first + 2 * self.timing.settle);
        let hinted = match self.last {
            Some((at, Look::Trouble)) => settled.max(at + self.timing.retry_closest),
            _ => settled,
        };
        Some(due.min(hinted))
    }

    /// What is desired changed.
    pub fn desired(&mut self, now: Instant) {
        self.failures = 0;
        self.redone = 0;
        self.due = Some(now);
    }

    /// Something may have changed.
    pub fn hint(&mut self, now: Instant) {
        let first = self.hints.map_or(now, |(first, _)| first);
        self.hints = Some((first, now));
    }

    /// A look ended. `chance`, from 0 to 1, spreads what many would do at the same time.
    pub fn looked(&mut self, now: Instant, look: Look, chance: f64) {
        let chance = chance.clamp(0.0, 1.0);
        self.hints = None;
        let look = match look {
            Look::Done if self.redone >= 2 => Look::Trouble,
            other => other,
        };
        let wait = match look {
            Look::Nothing => {
                self.failures = 0;
                self.redone = 0;
                self.timing.resync.mul_f64(0.9 + 0.2 * chance)
            }
            Look::Done => {
                self.redone += 1;
                self.timing.settle
            }
            Look::Trouble => {
                let longer = self
                    .timing
                    .retry_first
                    .saturating_mul(1 << self.failures.min(20));
                self.failures += 1;
                longer
                    .min(self.timing.retry_longest)
                    .mul_f64(1.0 - 0.5 * chance)
            }
        };
        self.last = Some((now, look));
        self.due = Some(now + wait);
    }

    /// Whether the last looks count as failures.
    pub fn in_trouble(&self) -> bool {
        matches!(self.last, Some((_, Look::Trouble)))
    }
}

#[cfg(test)]
mod tests;
