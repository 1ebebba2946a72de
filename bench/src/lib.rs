//! Measures lighthouse-dns beside other servers. `bench/README.md` says how to run it and how to read it.

pub mod cpu;
pub mod data;
pub mod report;
pub mod server;
pub mod streams;
pub mod tables;
