//! One worker's turns of round robin and its counts of answers per service, indexed by numbers that
//! the snapshot gives to services. Grows between queries, never in one.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::snapshot::Snapshot;

#[derive(Debug, Default)]
pub struct Ledger {
    /// Which catalog's numbers these are.
    epoch: u32,
    writers: Writers,
    turns: Box<[Turns]>,
    hits: Box<[AtomicU64]>,
}

/// How many threads count in a ledger at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writers {
    /// A locked instruction costs more than the rest of the count: one writer does without.
    One,
    #[default]
    Many,
}

/// A and AAAA have a turn each: resolvers ask for both at once, and a common one would always give
/// the same cluster to A (lighthouse defect X01).
#[derive(Debug, Default)]
struct Turns([AtomicU32; 3]);

#[derive(Clone, Copy, Debug)]
pub(crate) enum Turn {
    A,
    Aaaa,
    Srv,
}

impl Ledger {
    /// Large enough for `snapshot`; `seed` spreads the first turns, so that workers and replicas do not
    /// march in step.
    pub fn new(snapshot: &Snapshot, seed: u32) -> Self {
        Self::default().grown(snapshot, seed)
    }

    /// Without room as yet.
    pub fn empty(writers: Writers) -> Self {
        Self {
            writers,
            ..Self::default()
        }
    }

    pub fn fits(&self, snapshot: &Snapshot) -> bool {
        self.epoch == snapshot.epoch
            && self.turns.len() >= snapshot.turns()
            && self.hits.len() >= snapshot.hits()
    }

    /// The same counts with room for `snapshot`, and some more; all anew where another catalog numbered its services.
    #[must_use]
    pub fn grown(&self, snapshot: &Snapshot, seed: u32) -> Self {
        if self.epoch != snapshot.epoch {
            let anew = Self {
                epoch: snapshot.epoch,
                ..Self::empty(self.writers)
            };
            return anew.grown(snapshot, seed);
        }
        let room = |len: usize| len + len / 8 + 64;
        let turns = (0..room(snapshot.turns()).max(self.turns.len()))
            .map(|slot| {
                let start = seed.wrapping_add(slot as u32).wrapping_mul(0x9e37_79b9) >> 8;
                let old = self.turns.get(slot);
                let turn = |i: usize| old.map_or(start, |Turns(old)| old[i].load(Relaxed));
                Turns(std::array::from_fn(|i| AtomicU32::new(turn(i))))
            })
            .collect();
        let hits = (0..room(snapshot.hits()).max(self.hits.len()))
            .map(|slot| AtomicU64::new(self.hit(slot)))
            .collect();
        Self {
            epoch: self.epoch,
            writers: self.writers,
            turns,
            hits,
        }
    }

    /// Answers counted at `slot` (see [`Snapshot::services`]).
    pub fn hit(&self, slot: usize) -> u64 {
        self.hits.get(slot).map_or(0, |count| count.load(Relaxed))
    }

    pub(crate) fn count(&self, slot: usize) {
        let Some(count) = self.hits.get(slot) else {
            return;
        };
        match self.writers {
            Writers::One => count.store(count.load(Relaxed).wrapping_add(1), Relaxed),
            Writers::Many => {
                count.fetch_add(1, Relaxed);
            }
        }
    }

    /// The next turn of a service; a constant where the ledger has not grown yet.
    pub(crate) fn next(&self, slot: u32, turn: Turn) -> u32 {
        let Some(Turns(turns)) = self.turns.get(slot as usize) else {
            return 0;
        };
        let next = &turns[turn as usize];
        match self.writers {
            Writers::One => {
                let now = next.load(Relaxed);
                next.store(now.wrapping_add(1), Relaxed);
                now
            }
            Writers::Many => next.fetch_add(1, Relaxed),
        }
    }
}
