//! The VXLAN between the nodes of one cluster: not cables, but what leads to the gateway that has them.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use subm_routing::LinkName;

use super::Vteps;

/// The device.
pub const DEVICE: LinkName = LinkName::from_static("vx-submariner");
/// Its UDP port.
pub const PORT: u16 = 4800;
/// The VTEPs of a cluster's nodes (RFC 4193 for IPv6).
pub const VTEPS: Vteps = Vteps::new(
    Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 8),
    Ipv6Net::new_assert(
        Ipv6Addr::new(0xfd53, 0x7562, 0x6d00, 0x0064, 0, 0, 0, 0),
        96,
    ),
);
