//! The zone `clusterset.local` as values.

pub mod authority;
pub mod catalog;
pub mod edns;
pub mod explain;
pub mod facts;
pub mod ledger;
pub mod name;
pub mod respond;
pub mod snapshot;
pub mod status;
pub mod transfer;
