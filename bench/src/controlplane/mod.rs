//! What the tables measure with that need a Kubernetes API server: services as objects, writes to them, the servers that
//! watch them, and what those answer and use.

pub mod churn;
pub mod cost;
pub mod delivery;
pub mod following;
pub mod memory;
pub mod server;
pub mod service;
pub mod world;
pub mod writer;

/// A reply that takes longer is none.
const LATE: std::time::Duration = std::time::Duration::from_secs(1);
