//! The data plane to measure: two clusters with gateways and route agents as they run, the same paths made by hand, and what is sent through
//! them.
//!
//! ```text
//!   c1: pod ─ worker ─ gateway ══ cable ══ gateway ─ worker ─ pod :c2
//!         │                 │                 │            │
//!         └────── flow: TCP streams, round trips, the first answer ┘
//! ```

pub mod byhand;
pub mod flow;
pub mod many;
pub mod status;
pub mod world;

use std::net::SocketAddr;
use std::sync::Arc;

use subm_test_support::NetNs;

/// From a pod of c1 to one of c2.
pub struct Path {
    pub from: Arc<NetNs>,
    pub to: SocketAddr,
}

/// A path between pods on workers, and one between pods on gateway nodes.
pub struct Paths {
    pub workers: Path,
    pub gateways: Path,
}
