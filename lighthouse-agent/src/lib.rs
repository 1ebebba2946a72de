//! lighthouse-agent, the Multi-Cluster Services controller (KEP-1645) of a cluster set.
//!
//! Each cluster of the set runs one. What its users export goes to the broker, what all clusters export comes back as
//! ServiceImports and EndpointSlices, from which the DNS server answers. Objects are those of Submariner's Lighthouse, so that
//! both kinds of agent share a broker.
//!
//! ```text
//!   this cluster               broker
//!   watches ----+       +---- watches
//!               v       v
//!              core::World            all that is known, by service
//!                  |
//!              core::plan             what should be of one service
//!                  |
//!              core::diff             the least that has to be written
//!                  v
//!               shell                 writes, retries, elects, reports
//! ```
//!
//! Start reading at [`core`].

pub mod core;
pub mod shell;
