//! A part of the services, found by hash: open addressing with linear probing in one array.
//!
//! A look-up touches one cache line of it, mostly; a general hash table takes one for its control octets and one for
//! the entry, and what is far from the processor costs more than anything else in a query.

use std::sync::Arc;

use super::Service;

/// What a new array has room for, twice over.
const LEAST: usize = 8;

/// At most half full, so that a search ends soon.
#[derive(Clone, Debug, Default)]
pub(super) struct Shard {
    /// A power of two, or none.
    slots: Box<[Slot]>,
    len: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Enough of the hash to tell others apart without a look at them.
    hash: u32,
    service: Option<Arc<Service>>,
}

impl Shard {
    pub(super) fn get(&self, hash: u32, key: &[u8]) -> Option<&Arc<Service>> {
        let mask = self.slots.len().checked_sub(1)?;
        let mut at = hash as usize & mask;
        loop {
            let slot = &self.slots[at];
            let service = slot.service.as_ref()?;
            if slot.hash == hash && service.wire_key() == key {
                return Some(service);
            }
            at = (at + 1) & mask;
        }
    }

    /// The one where a search begins.
    pub(super) fn first(&self, hash: u32) -> Option<&Service> {
        let mask = self.slots.len().checked_sub(1)?;
        self.slots[hash as usize & mask].service.as_deref()
    }

    pub(super) fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.slots.iter().filter_map(|slot| slot.service.as_ref())
    }

    /// Puts a service in, in place of one with its key.
    pub(super) fn insert(&mut self, hash: u32, service: Arc<Service>) {
        if (self.len + 1) * 2 > self.slots.len() {
            self.grow();
        }
        let at = self.place(hash, service.wire_key());
        self.len += usize::from(self.slots[at].service.is_none());
        self.slots[at] = Slot {
            hash,
            service: Some(service),
        };
    }

    pub(super) fn remove(&mut self, hash: u32, key: &[u8]) {
        if self.get(hash, key).is_none() {
            return;
        }
        let mask = self.slots.len() - 1;
        let mut gap = self.place(hash, key);
        self.slots[gap] = Slot::default();
        self.len -= 1;
        // What was pushed on by the one that is gone moves back, so that no search stops too early.
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            if self.slots[at].service.is_none() {
                return;
            }
            let home = self.slots[at].hash as usize & mask;
            let from_home = at.wrapping_sub(home) & mask;
            let from_gap = at.wrapping_sub(gap) & mask;
            if from_home >= from_gap {
                self.slots.swap(at, gap);
                gap = at;
            }
        }
    }

    /// Where a service with this key is, or would be. There is room.
    fn place(&self, hash: u32, key: &[u8]) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        while let Some(service) = &self.slots[at].service {
            if self.slots[at].hash == hash && service.wire_key() == key {
                break;
            }
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(LEAST * 2);
        let empty = (0..size).map(|_| Slot::default()).collect();
        let full = std::mem::replace(&mut self.slots, empty);
        for slot in full {
            if let Some(service) = &slot.service {
                let at = self.place(slot.hash, service.wire_key());
                self.slots[at] = slot;
            }
        }
    }
}

#[cfg(test)]
mod tests;
