//! Cables of WireGuard: encrypted, also through address translation.
//!
//! ```text
//!   10.9.0.0/16 --route of the caller--> dev submariner --+--> kernel: WireGuard, configured by generic netlink
//!                                                         +--> userspace: TUN, gotatun in this process
//!       peer: key, allowed IPs = subnets of the cable       \--> UDP 4500 of the other gateway
//! ```
//!
//! Device, port, keepalive and the making of the shared key are Submariner's, so that the other end may be a Go Submariner. Key and
//! port are published in the Endpoint.
//!
//! # What is better than there
//!
//! * The pre-shared key is of the secret that is mounted, and never of an empty text ([`PresharedKey`](crate::PresharedKey)).
//! * Address, port or subnets of a peer that change while its key stays are changed, and nothing else is.
//! * A subnet that another cluster has already is refused, instead of going to whoever came last.
//! * A gateway may keep its key: then peers need not learn anything when it starts again.
//! * Bytes that are only *sent* are no sign of a connection.
//!
//! # Endpoints that move
//!
//! WireGuard follows a peer that sends from another address (roaming; behind address translation it must). That is left alone while
//! the peer is alive: its address is set when a cable's address changed, and when there was no handshake for [`SESSION_LIMIT`].

#[cfg(feature = "userspace")]
mod account;
mod driver;
mod genl;
mod kernel;
mod liveness;
mod peers;
#[cfg(feature = "userspace")]
mod tun;
#[cfg(feature = "userspace")]
mod udp;
#[cfg(feature = "userspace")]
mod userspace;

use std::time::Duration;

use subm_routing::{Family, Link, LinkName, Network, Sysctl, SysctlKey};

pub use driver::{Implementation, Settings, WireGuard};
use liveness::Liveness;
use peers::{ObservedPeer, Peer};

use crate::Local;

/// The device of all WireGuard cables.
pub const DEVICE: LinkName = LinkName::from_static("submariner");
/// Seconds after which a peer that is not sent to is sent an empty packet, so that translators on the way do not forget.
pub const KEEPALIVE: u16 = 10;
/// A handshake takes a round trip. So long without the first one, a peer is not there.
pub const HANDSHAKE_LIMIT: Duration = Duration::from_secs(130);
/// No session is older (`REJECT_AFTER_TIME`).
pub const SESSION_LIMIT: Duration = Duration::from_secs(180);
/// Bytes that WireGuard adds to a packet: outer IPv6 header, UDP, header and tag.
pub const OVERHEAD: u32 = 80;

/// What the kernel's network needs: the device. Routes to the cables' subnets are the caller's, by table 150 for Submariner.
///
/// `userspace`: the device is made by this process, see [`WireGuard`].
pub fn plan(local: &Local, userspace: bool) -> Network {
    let mut network = Network::new();
    let link = if userspace {
        Link::external(DEVICE)
    } else {
        // The kernel's WireGuard turns this off when its device comes up; so it is known what it was before.
        network.insert(Sysctl::new(no_redirects(), 0));
        Link::wireguard(DEVICE)
    };
    network
        .with(link.mtu(local.mtu.saturating_sub(OVERHEAD)))
        // What comes through it may be answered by another way.
        .with(Sysctl::rp_filter(DEVICE, 2))
        .with(Sysctl::forwarding(Family::V4, DEVICE, true))
        .with(Sysctl::forwarding(Family::V6, DEVICE, true))
}

fn no_redirects() -> SysctlKey {
    SysctlKey::new("ipv4/conf/all/send_redirects").expect("a plain path")
}
