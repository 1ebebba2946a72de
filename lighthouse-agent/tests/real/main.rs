//! The agent beside real API servers: a broker and clusters, through proxies that can cut and slow the way.

mod chaos;
mod life;
mod objects;
mod set;

use std::time::Duration;

/// A change takes some 50 ms; a busy machine has taken seconds.
pub(crate) const SOON: Duration = Duration::from_secs(40);
