//! lighthouse-dns between programs that others wrote: clients that ask it, a forwarder and a resolver in front of it,
//! secondaries that take its zone.

mod clients;
#[path = "../common/mod.rs"]
mod common;
mod coredns;
mod operator;
mod secondaries;
mod unbound;
