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
//! ```
//! use subm_tunnel::{Cable, Local, vxlan};
//!
//! let local = Local {
//!     private_ip: [172, 31, 1, 11].into(),
//!     port: 4500,
//!     mtu: 1500,
//!     source: Some([10, 8, 1, 1].into()),
//!     source6: None,
//! };
//! let to_c2 = Cable::new("submariner-cable-c2-172-31-2-11", "c2", "172.31.2.11".parse()?, 4500)
//!     .subnets(["10.9.0.0/16".parse()?]);
//! // Its gateway's address ends with the same three octets, of which the address in the tunnel is made.
//! let to_c3 = Cable::new("submariner-cable-c3-10-31-2-11", "c3", "10.31.2.11".parse()?, 4500)
//!     .subnets(["10.10.0.0/16".parse()?]);
//!
//! let (network, refusals) = vxlan::plan(&local, &[to_c2, to_c3]);
//! let route = network.routes().next().expect("one");
//! assert!(route.to_string().starts_with("route 10.9.0.0/16 via 241.31.2.11 dev vxlan-tunnel"));
//! assert!(refusals["submariner-cable-c3-10-31-2-11"].to_string().contains("give one of the gateways another address"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Drivers
//!
//! | driver | encrypts | passes address translation | runs in | peers with Submariner's |
//! |---|---|---|---|---|
//! | [`vxlan`] | no | no | kernel | `vxlan` |
//! | [`wireguard`] | yes | yes | kernel, or this process where the kernel has none | `wireguard` |
//!
//! # Status
//!
//! A driver says what it knows: [`vxlan`] that a cable is made, [`wireguard`] by handshakes and bytes whether the other side is there. The
//! [`health`] of a path is what an echo through the cable says; with an echo each second a cut is known within six. Both together are the
//! status of a cable: [`Connection::with_health`].
//!
//! What is not here: which gateway leads, where the other's address is found out, who may claim which network, and objects of
//! Kubernetes.
//!
//! # Where to start
//!
//! With [`Cable`], and with [`CableDriver`], which says how a program uses all this. `examples/encrypted_cable.rs` joins two network
//! namespaces. What decides has no clock and no sockets: it is given the time, and tests give it any.
//!
//! # Features
//!
//! `userspace` (default): WireGuard by [gotatun](https://docs.rs/gotatun), which is MPL-2.0.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod cable;
mod claims;
mod connection;
mod driver;
mod error;
pub mod health;
mod key;
mod refusal;
pub mod vxlan;
pub mod wireguard;

pub use cable::{Cable, Local};
pub use claims::Claims;
pub use connection::{Connection, ConnectionStatus, Traffic};
pub use driver::{Applied, CableDriver, Capabilities};
pub use error::Error;
pub use key::{InvalidKey, PresharedKey, PrivateKey, PublicKey};
pub use refusal::{Refusal, Refusals};
