//! subctl against real API servers.

mod chain;
mod common;
mod connectivity;
mod moves;
mod policy;
mod questions;
mod walk;
