//! What joins the networks of clusters, as pure functions of what is known.
//!
//! ```text
//!   Endpoints, Clusters, Nodes -> remotes (who is believed what) -> node:    links, routes and packet filter of a node
//!                                                                -> gateway: cables, and the objects that others read
//! ```
//!
//! Nothing here waits, sends or reads a clock, but for [`shell`], which observes, compares with what these functions say, and applies the
//! difference. Start with [`remotes`].

#![forbid(unsafe_code)]

pub mod gateway;
pub mod node;
pub mod remotes;
pub mod shell;
pub mod status;
