//! Cables between the gateways of clusters.
//!
//! ```text
//!   Cables of other clusters --> driver --> Network (links, addresses, forwarding entries, routes, rules) --> subm-routing
//!                                      \-> Refusals: what cannot be, by cable, for people to read
//! ```
//!
//! A cable leads to one gateway of another cluster. A driver says, as a pure function of all cables together, what the kernel needs;
//! [`subm_routing`] brings the kernel there. So a cable that changes is changed, one that goes is removed, and the others are not
//! touched.
//!
//! What is not here: which gateway leads, where the other's address is found out, who may claim which network. Today there is one
//! driver, [`vxlan`], which does not encrypt.
//!
//! Start with [`Cable`] and [`vxlan::plan`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cable;
pub mod vxlan;

pub use cable::{Cable, Local};
