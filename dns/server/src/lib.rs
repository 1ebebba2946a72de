//! `lighthouse-dns`: the authoritative DNS server for `clusterset.local`.

pub mod config;
pub mod sources;
