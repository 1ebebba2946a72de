//! The VXLAN between the nodes of one cluster: not cables, but what leads to the gateway that has them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use subm_routing::{Family, LinkName};

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

/// The family by which the nodes of a cluster reach each other: IPv4, unless most of those that have an address have none of it. A device
/// has one socket, so there is one for all.
///
/// `nodes`: the InternalIPs of each.
///
/// ```
/// use std::net::IpAddr;
/// use subm_routing::Family;
/// use subm_tunnel::vxlan::nodes::family;
///
/// let [v4, v6]: [IpAddr; 2] = ["172.31.1.11".parse()?, "fd00::11".parse()?];
/// assert_eq!(family([&[v4][..], &[v6, v4], &[]]), Family::V4);
/// assert_eq!(family([&[v4][..], &[v6], &[v6]]), Family::V6);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
pub fn family<'a>(nodes: impl IntoIterator<Item = &'a [IpAddr]>) -> Family {
    let told = nodes.into_iter().filter(|addresses| !addresses.is_empty());
    let (with4, all) = told.fold((0_usize, 0_usize), |(with4, all), addresses| {
        let has4 = addresses.iter().any(IpAddr::is_ipv4);
        (with4 + usize::from(has4), all + 1)
    });
    if 2 * with4 >= all {
        Family::V4
    } else {
        Family::V6
    }
}
