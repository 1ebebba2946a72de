//! What every daemon of the project needs of Kubernetes: a client with clear errors, a watch that
//! outlives whatever happens to the API server.
//!
//! ```text
//! connect() -> Client -> Watch<K>::next() -> Started, Apply*, Listed, Apply | Delete | Invalid ...
//!                            |                Trouble, when something does not work; it goes on by itself
//!                            +-- discovery: which version is served, or none yet
//! ```
//!
//! What the objects mean is the business of the programs. Start with [`Watch`].

mod backoff;
mod client;
mod tolerant;
mod trouble;
mod watch;

pub use client::{ConnectError, KubeconfigFault, connect};
pub use trouble::Trouble;
pub use watch::{Event, Watch};
