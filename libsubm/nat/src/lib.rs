//! A packet filter as values, and the kernel's nftables brought to equal them; and a pool of addresses.
//!
//! Submariner joins the networks of Kubernetes clusters. On each node that takes some packet filtering: sources of traffic between
//! clusters that a CNI would masquerade must stay, TCP must know what fits a tunnel, Globalnet translates addresses. This crate says
//! such things as a [`Ruleset`], which can be compared, printed, merged and tested without a kernel, and loads it.
//!
//! ```text
//!  facts ──▶ node::Node ──▶ Ruleset ─┐                        chains, rules, sets, maps
//!                                    ├─▶ Plan::new ──▶ Plan   nothing, elements, or the whole table
//!  kernel ──▶ Nft::observe ─▶ Observed┘                  │
//!     ▲                                                  │
//!     └───────────── one transaction ◀── Nft::apply ◀────┘
//! ```
//!
//! * One table, `inet submariner`. Nothing else is read, changed or removed, whoever made it. An empty ruleset is no table.
//! * *Structure* (chains, rules, the declarations of sets) is replaced whole, in one transaction, if it differs. A hash of it, kept
//!   as a comment in a chain that nobody calls, tells; so do hashes in the rules' comments when a person changed some.
//! * *Elements* of sets and maps, which grow with clusters, services and pods, are compared one by one, and only those that differ
//!   are written: of 10,000 networks, 431 kB as a whole, one more is 141 bytes (`examples/scale.rs` prints it, and times). Nothing to
//!   do means that nothing is written.
//! * Rulesets are checked before nft sees them ([`Ruleset::check`]), and errors name the place.
//!
//! What it is not: a firewall for people's rules, or a library for all of nft. It knows no Kubernetes, no routes and no devices, and
//! its public types are its own: how nft is spoken to (today the program `nft`, 1.0.6 or later, in JSON) can change beneath.
//!
//! Start with [`node::Node`] for what a node needs, [`Ruleset`] for other rules, [`Nft`] for the kernel, [`pool::Pool`] for
//! addresses.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod check;
mod error;
mod mss;
mod name;
mod nft;
pub mod node;
mod observed;
mod plan;
pub mod pool;
mod render;
mod rule;
mod ruleset;
mod set;

pub use error::Error;
pub use mss::mss;
pub use name::{Interface, Name};
pub use nft::{Nft, TABLE, Version};
pub use observed::Observed;
pub use plan::Plan;
pub use rule::{
    AddressType, Addresses, ConnectionState, Family, Mark, Match, Mss, NatTo, Ports, Protocol,
    Rule, Selector, Statement, Test, Transport, Verdict,
};
pub use ruleset::{Base, Chain, Hook, Kind, Policy, Ruleset, priority};
pub use set::{DataType, Key, KeyType, Set, Value};
