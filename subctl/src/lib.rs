//! `subctl`: sets up a cluster set and says how it is.
//!
//! ```text
//!  cli ──▶ commands ──▶ subm-install: settings -> objects ──▶ cluster: apply, read, delete ──▶ API servers
//!              │                                              contexts: which clusters a kubeconfig leads to
//!              ├──▶ status: progress on standard error
//!              └──▶ table, output: answers on standard output, for people or as JSON and YAML
//! ```
//!
//! What it is not: it runs nothing in a cluster that goes on after it has ended. What is to be installed is decided in
//! `subm-install`, whose functions are pure; here is the shell around them.
//!
//! Start with [`commands::run`]; exit codes are in [`error`].

// Those macros panic where nobody reads, in the middle of a change: `status::tell` and `output::print` do not.
#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod broker;
pub mod claims;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod contexts;
pub mod error;
pub mod facts;
pub mod output;
pub mod prompt;
pub mod status;
pub mod table;
