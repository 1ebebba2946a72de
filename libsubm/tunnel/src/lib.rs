//! Cables between the gateways of clusters, and whether they work.
//!
//! ```text
//!                      +--> plan:   Network (links, addresses, forwarding entries, routes, rules) --> subm-routing
//!   cables --> driver -+--> refusals: what cannot be, by cable, for people to read
//!                      +--> ensure: what a device needs besides (keys, peers)
//!                      +--> observe: connections --+
//!   health-check addresses --> Monitor: healths ---+--> status of each cable
//! ```
//!
//! A cable leads to one gateway of another cluster. A driver takes all cables together and says, as a pure function, what the kernel
//! needs; [`subm_routing`] brings the kernel there. So a cable that changes is changed, one that goes is removed, and the others are not
//! touched. Two gateways that claim what only one can have do not break each other: the later one is refused, and its status says why.
//!
//! | driver | encrypts | runs in | peers with Submariner's |
//! |---|---|---|---|
//! | [`vxlan`] | no | kernel | `vxlan` |
//! | [`wireguard`] | yes | kernel, or this process where the kernel has none | `wireguard` |
//!
//! The [`health`] of a path is what an echo through the cable says. It is merged with the driver's word by
//! [`Connection::with_health`].
//!
//! What is not here: which gateway leads, where the other's address is found out, who may claim which network, and objects of
//! Kubernetes.
//!
//! # Where to start
//!
//! With [`Cable`] and [`CableDriver`]. `examples/encrypted_cable.rs` joins two network namespaces.
//!
//! # Features
//!
//! `userspace` (default): WireGuard by [gotatun](https://docs.rs/gotatun), which is MPL-2.0.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cable;
mod connection;
mod driver;
mod error;
pub mod health;
mod key;
mod refusal;
pub mod vxlan;
pub mod wireguard;

pub use cable::{Cable, Local};
pub use connection::{Connection, ConnectionStatus, Traffic};
pub use driver::{Applied, CableDriver, Capabilities};
pub use error::Error;
pub use key::{InvalidKey, PresharedKey, PrivateKey, PublicKey};
pub use refusal::{Refusal, Refusals};
