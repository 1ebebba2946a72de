//! A query between its reading and its answer.

use std::hint::black_box;

use super::{Ask, Outcome, answer, find};
use crate::authority::Authority;
use crate::ledger::Ledger;
use crate::message::{self, Malformed, Query, QueryName};
use crate::snapshot::{Place, Snapshot};
use crate::status::ClusterStatus;

/// A query that has been read. Whoever has many at a time reads all of them, has their services fetched, and then
/// answers: the processor waits for memory far from it once, not once per query.
///
/// Reading again into the same value saves making a new one. Every method wants the octets that were read, and the
/// same authority and snapshot.
pub struct Prepared {
    pub(super) name: QueryName,
    pub(super) query: Result<Query, Malformed>,
    /// Index of the zone, and the label of QNAME with which it starts.
    pub(super) zone: Option<(usize, usize)>,
    place: Option<Place>,
}

impl Default for Prepared {
    fn default() -> Self {
        Self {
            name: QueryName::default(),
            query: Err(Malformed::Silence),
            zone: None,
            place: None,
        }
    }
}

impl Prepared {
    /// Reads a query, and finds its zone.
    pub fn read(&mut self, authority: &Authority, bytes: &[u8]) {
        self.query = message::read(bytes, &mut self.name);
        self.zone = match self.query {
            Ok(_) => find::zone(authority, &self.name),
            Err(_) => None,
        };
        self.place = None;
    }

    /// Finds out where the service would be. The first of three steps that change no answer: each is to be done for
    /// all queries before the next.
    pub fn locate(&mut self, snapshot: &Snapshot) {
        let key = self
            .zone
            .and_then(|(_, labels)| find::service_key(&self.name, labels));
        self.place = key.map(|(start, end)| snapshot.place(&self.name.as_bytes()[start..end]));
    }

    /// Fetches the entry of the index.
    pub fn fetch_entry(&self, snapshot: &Snapshot) {
        if let Some(place) = self.place {
            black_box(snapshot.touch_entry(place));
        }
    }

    /// Fetches the service.
    pub fn fetch_service(&self, snapshot: &Snapshot) {
        if let Some(place) = self.place {
            black_box(snapshot.touch_service(place));
        }
    }

    /// [`respond()`](super::respond()) for a query that has been read.
    #[expect(clippy::too_many_arguments, reason = "those of respond()")]
    pub fn answer(
        &self,
        authority: &Authority,
        snapshot: Option<&Snapshot>,
        status: &ClusterStatus,
        bytes: &[u8],
        ask: &Ask,
        ledger: &Ledger,
        out: &mut [u8],
    ) -> Outcome {
        answer(authority, snapshot, status, bytes, self, ask, ledger, out)
    }
}
