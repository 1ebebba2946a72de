//! Queries that `respond()` leaves to others: who may take a zone.

use std::net::IpAddr;

use crate::config::Listener;

/// Whether `client` is among those that may take zone number `zone`. Nobody is unless listed.
pub(crate) fn may_transfer(listener: &Listener, zone: usize, client: IpAddr) -> bool {
    listener
        .transfer
        .get(zone)
        .is_some_and(|rule| rule.to.iter().any(|net| net.contains(&client)))
}
