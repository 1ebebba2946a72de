//! What a route agent knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use subm_routing::LinkName;

use super::gateway::Gateway;

/// A node and its cluster, beside the other clusters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// This node's name.
    pub node: String,
    /// All of this node's own addresses.
    pub addresses: BTreeSet<IpAddr>,
    pub uplink: Uplink,
    /// The device of the CNI, if it put an address of the pod CIDR on the node.
    pub cni: Option<Cni>,
    /// This cluster's pod networks.
    pub pods: Vec<IpNet>,
    /// This cluster's active gateway.
    pub gateway: Option<Gateway>,
    /// The InternalIP of every node, this one's too; all of one family, that of the uplink ([`super::Underlay`]).
    pub nodes: BTreeMap<String, IpAddr>,
}

impl View {
    /// The gateway's address in the family of the nodes. What its Endpoint says is what the others take it for; where that is of the
    /// other family, its Node knows better.
    pub(super) fn address_of(&self, gateway: &Gateway) -> Option<IpAddr> {
        let of_family = |address: &IpAddr| address.is_ipv4() == self.uplink.address.is_ipv4();
        Some(gateway.private_ip)
            .filter(of_family)
            .or_else(|| self.nodes.get(&gateway.node).copied().filter(of_family))
    }

    /// Whether the gateway is on this node. An Endpoint has the host's name, which need not be the node's; the address decides then. That need
    /// not be the one by which this node reaches others: a host with several may have changed its default route since, or told its gateway another.
    pub fn is_on(&self, gateway: &Gateway) -> bool {
        gateway.node == self.node
            || gateway.private_ip == self.uplink.address
            || self.addresses.contains(&gateway.private_ip)
    }
}

/// The device of the default route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    pub link: LinkName,
    /// Of the family in which nodes reach each other.
    pub address: IpAddr,
    /// Next hop of the default route.
    pub gateway: Option<IpAddr>,
    pub mtu: u32,
}

/// This node in the pod network: an address of either family, or of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    pub link: LinkName,
    pub address: Option<Ipv4Addr>,
    pub address6: Option<Ipv6Addr>,
}

impl Cni {
    /// That which others send echo requests to.
    pub fn first(&self) -> Option<IpAddr> {
        let v6 = || self.address6.map(IpAddr::V6);
        self.address.map(IpAddr::V4).or_else(v6)
    }
}

/// How packets get from the gateway node's routing into a cable; its driver decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a device for all cables, as WireGuard's (`interface-name` of the Endpoint's `backend_config`).
    Device(LinkName),
    /// By the default route's device: the kernel's IPsec policies take them there.
    Uplink,
    /// The gateway process has routes of its own to this device, as for VXLAN.
    Own(LinkName),
}
