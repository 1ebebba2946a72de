//! `lighthouse-dns`: the authoritative DNS server for `clusterset.local`.
//!
//! ```text
//!  cli, corefile, plugins --> config ------------------+
//!                                                      v
//!  sources --events--> ingest --publications--> shared --> front: UDP, TCP, DoT, DoH, DoQ
//!  (API server, files)   |                                   |
//!                        +--> stats, readiness <-------------+--> admin: health, ready, metrics
//! ```
//!
//! The rules of answers are not here but in [`subm_dns_core`]. Start reading at [`run`], which puts the parts together.

pub mod admin;
pub mod cli;
pub mod commands;
pub mod config;
pub mod corefile;
pub mod front;
pub mod ingest;
mod notify;
pub mod plugins;
pub mod querylog;
pub mod run;
pub mod shared;
pub mod sources;
pub mod stats;
