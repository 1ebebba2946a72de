//! The zone `clusterset.local` as values.

pub mod authority;
mod build;
pub mod catalog;
pub mod edns;
pub mod explain;
pub mod facts;
pub mod ledger;
mod message;
pub mod name;
pub mod respond;
mod select;
pub mod snapshot;
pub mod status;
mod targets;
pub mod transfer;
mod writer;
