//! subctl against real API servers.

mod again;
mod chain;
mod common;
mod connectivity;
mod explain;
mod moves;
mod objects;
mod policy;
mod questions;
mod walk;
