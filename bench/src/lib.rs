//! Measures lighthouse-dns. `bench/README.md` says how to run it and how to read it.

pub mod cpu;
pub mod data;
