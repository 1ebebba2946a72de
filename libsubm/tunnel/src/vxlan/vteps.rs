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
/// assert_eq!(VTEPS.of("fd00:20:9::2:b".parse()?).to_string(), "241.115.246.241");
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

    /// The VTEP of the node with this address. Of IPv4 it has the last three octets; nodes that share those cannot be told apart.
    ///
    /// Submariner says nothing of nodes without IPv4. The last three octets alone will not do: administrators number the hosts of every
    /// network from one on. So they are mixed with a hash of the rest: two of one network always differ, two of different networks all
    /// but always.
    pub fn of(&self, node: IpAddr) -> Ipv4Addr {
        let [first, ..] = self.v4.network().octets();
        let [second, third, fourth] = match node {
            IpAddr::V4(node) => {
                let [_, last @ ..] = node.octets();
                last
            }
            IpAddr::V6(node) => {
                let [rest @ .., second, third, fourth] = node.octets();
                let [.., two, three, four] = hash(&rest).to_be_bytes();
                [second ^ two, third ^ three, fourth ^ four]
            }
        };
        Ipv4Addr::new(first, second, third, fourth)
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

/// FNV-1a, mixed once more. It must never change: both ends of a cable reckon with it.
fn hash(octets: &[u8]) -> u64 {
    let hash = octets
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
            (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
        });
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 33)
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

    /// Seen with two clusters whose gateways were `::b` of their networks: each took the other for itself.
    #[test]
    fn hosts_of_one_number_in_different_networks_of_ipv6_differ() {
        let vtep = |net: u16, host: u16| {
            let address = format!("fd00:20:{net:x}::{host:x}");
            VTEPS.of(address.parse().expect("IPv6"))
        };
        let all: std::collections::BTreeSet<Ipv4Addr> = (0..100)
            .flat_map(|net| (1..20).map(move |host| vtep(net, host)))
            .collect();
        assert_eq!(all.len(), 1900);
        assert_eq!(vtep(8, 11), Ipv4Addr::new(241, 16, 127, 227));
    }
}
