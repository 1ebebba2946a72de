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
    /// The InternalIP of every node, this one's too.
    pub nodes: BTreeMap<String, Ipv4Addr>,
}

impl View {
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
    pub address: Ipv4Addr,
    /// Next hop of the default route.
    pub gateway: Option<IpAddr>,
    pub mtu: u32,
}

/// This node in the pod network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cni {
    pub link: LinkName,
    pub address: Ipv4Addr,
    pub address6: Option<Ipv6Addr>,
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

impl Way {
    /// The cables' device.
    pub fn device(self) -> Option<LinkName> {
        match self {
            Self::Device(device) | Self::Own(device) => Some(device),
            Self::Uplink => None,
        }
    }
}
