//! A query between its reading and its answer.

use std::hint::black_box;

use super::find;
use crate::authority::Authority;
use crate::message::{self, Malformed, Query, QueryName};
use crate::snapshot::Snapshot;

/// A query that has been read. Whoever has many at a time reads all of them, has their services fetched, and then
/// answers: the processor waits for memory far from it once, not once per query.
///
/// Reading again into the same value saves making a new one. [`Prepared::answer`] wants the octets and the authority
/// that were read with.
pub struct Prepared {
    pub(super) name: QueryName,
    pub(super) query: Result<Query, Malformed>,
    /// Index of the zone, and the label of QNAME with which it starts.
    pub(super) zone: Option<(usize, usize)>,
    pub(super) key: Option<find::Key>,
}

impl Default for Prepared {
    fn default() -> Self {
        Self {
            name: QueryName::default(),
            query: Err(Malformed::Silence),
            zone: None,
            key: None,
        }
    }
}

impl Prepared {
    /// Reads a query, finds its zone, and where the service would be.
    pub fn read(&mut self, authority: &Authority, bytes: &[u8]) {
        self.query = message::read(bytes, &mut self.name);
        self.zone = match self.query {
            Ok(_) => find::zone(authority, &self.name),
            Err(_) => None,
        };
        self.key = self
            .zone
            .and_then(|(_, labels)| find::key(&self.name, labels));
    }

    /// Fetches the entry of the index: the first of two steps that change no answer, to be done for all queries before
    /// the second.
    pub fn fetch_entry(&self, snapshot: &Snapshot) {
        if let Some(key) = self.key {
            black_box(snapshot.touch_entry(key.place));
        }
    }

    /// Fetches the service.
    pub fn fetch_service(&self, snapshot: &Snapshot) {
        if let Some(key) = self.key {
            black_box(snapshot.touch_service(key.place));
        }
    }
}
