//! Addresses of VXLAN devices, as Submariner makes them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use subm_routing::MacAddr;

/// The networks in which the devices of one VXLAN have their addresses (VTEPs). Both are made of the node's own address, so nobody has
/// to ask.
///
/// ```
/// use subm_tunnel::vxlan::VTEPS;
///
/// let gateway = "172.31.2.11".parse()?;
/// assert_eq!(VTEPS.of(gateway).to_string(), "241.31.2.11");
/// assert_eq!(VTEPS.of6(gateway).to_string(), "fd53:7562:6d03:3e8::f11f:20b");
/// // A node with addresses of IPv6 only.
/// assert_eq!(VTEPS.of("fd00:20:9::2:b".parse()?).to_string(), "241.2.0.11");
/// // Submariner's scheme has no room for the first octet.
/// assert_eq!(VTEPS.of(gateway), VTEPS.of("10.31.2.11".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vteps {
    v4: Ipv4Net,
    v6: Ipv6Net,
}

impl Vteps {
    /// In an IPv4 network with a prefix of 8 and an IPv6 network with one of 96.
    ///
    /// # Panics
    /// If the prefixes are others.
    pub const fn new(v4: Ipv4Net, v6: Ipv6Net) -> Self {
        assert!(v4.prefix_len() == 8 && v6.prefix_len() == 96);
        Self { v4, v6 }
    }

    /// The network of the IPv4 ones.
    pub const fn v4(&self) -> Ipv4Net {
        self.v4
    }

    /// The network of the IPv6 ones. Submariner has none.
    pub const fn v6(&self) -> Ipv6Net {
        self.v6
    }

    /// The VTEP of the node with this address: the last three octets of it. Nodes that share those cannot be told apart.
    pub fn of(&self, node: IpAddr) -> Ipv4Addr {
        let last = match node {
            IpAddr::V4(node) => node.to_bits().to_be_bytes(),
            IpAddr::V6(node) => {
                let [.., a, b, c, d] = node.octets();
                [a, b, c, d]
            }
        };
        let [first, ..] = self.v4.network().octets();
        let [_, b, c, d] = last;
        Ipv4Addr::new(first, b, c, d)
    }

    /// The VTEP for IPv6: the last 32 bits are those of the IPv4 one.
    pub fn of6(&self, node: IpAddr) -> Ipv6Addr {
        (self.v6.network().to_bits() | u128::from(self.of(node).to_bits())).into()
    }

    /// What a node's device has, with the networks in which the others are.
    pub fn addresses(&self, node: IpAddr) -> [IpNet; 2] {
        [
            IpNet::V4(Ipv4Net::new_assert(self.of(node), self.v4.prefix_len())),
            IpNet::V6(Ipv6Net::new_assert(self.of6(node), self.v6.prefix_len())),
        ]
    }

    /// The hardware address of a node's device: a device that is made anew is the neighbour that the others remember.
    pub fn mac(&self, node: IpAddr) -> MacAddr {
        MacAddr::for_vtep(self.of(node).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vxlan::VTEPS;

    /// vxlan: "GetVtepIPAddressFrom › should return the correct IP". One that is invalid is no [`IpAddr`].
    #[test]
    fn vxlan_99_105_a_vtep_has_the_last_three_octets_of_its_node() {
        let cluster = Vteps::new(
            "240.0.0.0/8".parse().unwrap(),
            "fd53:7562:6d00:64::/96".parse().unwrap(),
        );
        let node = IpAddr::from([192, 168, 1, 2]);
        assert_eq!(cluster.of(node), Ipv4Addr::new(240, 168, 1, 2));
        assert_eq!(VTEPS.of(node), Ipv4Addr::new(241, 168, 1, 2));
        assert_eq!(
            cluster.addresses(node).map(|net| net.to_string()),
            ["240.168.1.2/8", "fd53:7562:6d00:64::f0a8:102/96"]
        );
        assert_ne!(cluster.mac(node), VTEPS.mac(node));
    }
}
