//! A cluster set as a user has it: a broker cluster and members with a node, a cluster DNS and workloads, the programs of this
//! project as the images that `subctl join` deploys, and a desk to type commands at.
//!
//! [`Lab::start`] gives clusters as `kind` would: no Submariner yet. The rest is `subctl`'s work.

pub mod article;
pub mod connectivity;
mod desk;
mod lab;
mod workloads;

pub use desk::{Desk, Ran};
pub use lab::{Kind, Lab, Member};
pub use workloads::{client_pod, deployment, named, namespace, on, service, stateful_set};
