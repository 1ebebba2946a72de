//! subctl against real API servers.

mod chain;
mod common;
mod connectivity;
mod policy;
mod questions;
mod walk;
