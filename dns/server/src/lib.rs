//! `lighthouse-dns`: the authoritative DNS server for `clusterset.local`.

pub mod cli;
pub mod config;
pub mod corefile;
pub mod ingest;
pub mod plugins;
pub mod sources;
