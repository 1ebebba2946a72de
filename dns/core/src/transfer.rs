//! The zone as records: for AXFR (RFC 5936), IXFR answered by a whole transfer (RFC 1995 section 4) and
//! `dump`. Equals the query view at the moment of asking.

use crate::authority::Zone;
use crate::snapshot::Snapshot;
use crate::status::ClusterStatus;

/// The messages of a transfer of `zone` in answer to `query`, which [`crate::respond::respond`] has
/// recognised as AXFR or IXFR.
pub fn messages(
    zone: &Zone,
    snapshot: &Snapshot,
    status: &ClusterStatus,
    query: &[u8],
) -> Vec<Vec<u8>> {
    let _ = (zone, snapshot, status, query);
    Vec::new()
}

/// The zone in master file form (RFC 1035 section 5), SOA first, names sorted.
pub fn dump(
    zone: &Zone,
    snapshot: &Snapshot,
    status: &ClusterStatus,
    out: &mut impl std::fmt::Write,
) -> std::fmt::Result {
    let _ = (zone, snapshot, status, out);
    Ok(())
}
