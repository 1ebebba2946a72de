//! Query bytes to reply bytes. No allocation, no lock, no clock, no socket.

use std::net::IpAddr;

use crate::authority::Authority;
use crate::ledger::Ledger;
use crate::snapshot::Snapshot;
use crate::status::ClusterStatus;

/// What the transport knows about a query.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    pub transport: Transport,
    pub client: IpAddr,
    /// Seconds since the epoch, for cookies; a value up to some seconds old will do.
    pub now: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    Udp,
    Tcp,
    Tls,
    Https,
    Quic,
}

/// What became of a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply stands in `out[..len]`.
    Reply { len: usize, facts: Facts },
    /// No answer: not a query, or too short to have an id.
    Ignore,
    /// The name does not exist here and falls through to the next plugin. `out[..len]` holds the
    /// answer that is due where there is none (SERVFAIL, as CoreDNS has it).
    FallThrough { len: usize, facts: Facts },
    /// AXFR or IXFR of `authority.zones()[zone]`; see [`crate::transfer`]. `out[..len]` holds REFUSED, the
    /// answer for whoever may not.
    Transfer { zone: usize, len: usize, facts: Facts },
}

/// What counters and logs want to know about a reply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Extended response code (BADVERS is 16).
    pub rcode: u16,
    /// 0 where the question was not read.
    pub qtype: u16,
    /// Index into `authority.zones()`.
    pub zone: Option<u16>,
    /// The query asked for DNSSEC records (DO).
    pub dnssec_ok: bool,
    pub truncated: bool,
    /// A `<cluster>.<service>` name, which KEP-1645 reserves, existed and was asked for.
    pub cluster_name: bool,
}

/// Answers `query` from `snapshot` and `status` into `out`, which holds at least 512 octets; 65,535 for
/// streams.
///
/// `snapshot` is `None` until everything has been read once: the answer is then SERVFAIL with extended
/// error 14, Not Ready.
pub fn respond(
    authority: &Authority,
    snapshot: Option<&Snapshot>,
    status: &ClusterStatus,
    query: &[u8],
    ask: &Ask,
    ledger: &Ledger,
    out: &mut [u8],
) -> Outcome {
    let _ = (authority, snapshot, status, query, ask, ledger, out);
    Outcome::Ignore
}
