//! What waits, asks and applies.

pub mod agent;
mod facts;
mod filter;
pub mod gateway;
mod store;
