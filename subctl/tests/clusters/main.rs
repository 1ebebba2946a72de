//! subctl against real API servers.

mod common;
mod policy;
mod questions;
mod walk;
