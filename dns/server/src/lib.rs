//! `lighthouse-dns`: the authoritative DNS server for `clusterset.local`.

pub mod config;
pub mod front;
pub mod querylog;
pub mod shared;
pub mod sources;
pub mod stats;
