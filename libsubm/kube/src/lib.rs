//! What every daemon of the project needs of Kubernetes: a client with clear errors, a watch that
//! outlives whatever happens to the API server.
//!
//! ```text
//! connect() -> Client -> Watch<K>::next() -> Started, Apply*, Listed, Apply | Delete | Invalid ...
//!                            |                Trouble, when something does not work; it goes on by itself
//!                            +-- discovery: which version is served, or none yet
//! ```
//!
//! What the objects mean is the business of the programs. Start with [`Watch`]; [`daemon`] is the frame of a program, [`election`] says
//! which of several replicas works, [`admin`] serves its pages of health and metrics.

pub mod admin;
mod backoff;
mod broker;
mod client;
pub mod daemon;
pub mod election;
mod kubeconfig;
mod tolerant;
mod trouble;
mod watch;

pub use backoff::Backoff;
pub use broker::{BrokerAccess, BrokerError};
pub use client::{ConnectError, KubeconfigFault, certificates, connect, with_timeouts};
pub use kubeconfig::kubectls_kubeconfig;
pub use trouble::{Trouble, with_causes};
pub use watch::{Event, Watch, Watched, served_version};
