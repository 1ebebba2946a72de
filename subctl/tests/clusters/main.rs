//! subctl against real API servers.

mod chain;
mod common;
mod policy;
mod questions;
mod walk;
