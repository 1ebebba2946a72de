//! What a node of a cluster needs, so that its pods and processes reach the other clusters and are reached: a pure function of
//! what its route agent knows.
//!
//! ```text
//!   worker                        gateway node
//!   pod -> main table             vx-submariner (VXLAN, id 100, UDP 4800)
//!          10.9/16 via 240.x.y.z    floods to every node    -> table 150 -> the cable's device, or the cable's own table
//!          dev vx-submariner -->  ------------------------->
//!                          <-- plain, by the CNI's routes --
//! ```
//!
//! Every node has a VTEP in 240.0.0.0/8 made of its address, the last three octets of that where it is IPv4, and one for IPv6 that holds that ([`VTEPS`]). Traffic to other clusters goes from a worker to the gateway by the device; what comes from there to a worker's pods
//! goes as the CNI routes it.

mod gateway;
pub mod status;
mod underlay;
mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use subm_nat::node as filter;
use subm_routing::{Address, Family, Forward, Link, Network, Route, Rule, Sysctl, Vxlan};
use subm_tunnel::vxlan::{nodes::PORT, overhead};

pub use gateway::Gateway;
pub use subm_tunnel::vxlan::nodes::{DEVICE, VTEPS};
pub use underlay::Underlay;
pub use view::{Cni, Uplink, View, Way};

use crate::remotes::Remote;

/// Its VXLAN network identifier.
const VNI: u32 = 100;
/// Table, and priority of the rule that leads to it, of a gateway's routes to the other clusters.
pub const TABLE: u32 = 150;

/// What a node needs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub network: Network,
    pub filter: filter::Node,
    pub troubles: Vec<Trouble>,
}

/// Something that a person has to mend.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No other node can be told from this one by the last three octets of its address.
    SameVtep {
        node: String,
        other: String,
        vtep: Ipv4Addr,
    },
    /// The gateway is not reached by the family in which the nodes reach each other.
    GatewayElsewhere(IpAddr),
    /// The CNI put no address of the pod CIDR on this node.
    NoCni,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SameVtep { node, other, vtep } => write!(
                f,
                "nodes {node:?} and {other:?} have the same last three octets of their addresses, so both would be {vtep}: give one \
                 of them another address"
            ),
            Self::GatewayElsewhere(address) => write!(
                f,
                "the gateway's address {address} is not of the family by which this cluster's nodes reach each other, and its Node \
                 tells no other: give that an InternalIP of both families"
            ),
            Self::NoCni => f.write_str(
                "no device of this node has an address of the pod CIDR: pods reach other clusters, processes of the node do not",
            ),
        }
    }
}

/// All of it. Without a gateway in this cluster there is nothing to reach anybody by, and so nothing is needed.
pub fn plan(view: &View, remotes: &[Remote]) -> Plan {
    let mut plan = Plan::default();
    let Some(gateway) = &view.gateway else {
        return plan;
    };
    plan.troubles = same_vteps(view);
    if view.cni.is_none() {
        plan.troubles.push(Trouble::NoCni);
    }
    filter(&mut plan.filter, view, gateway, remotes);
    if view.is_on(gateway) {
        on_gateway(&mut plan.network, view, gateway, remotes);
    } else if let Some(address) = view.address_of(gateway) {
        on_worker(&mut plan.network, view, address, remotes);
    } else {
        plan.troubles
            .push(Trouble::GatewayElsewhere(gateway.private_ip));
    }
    if let Some(cni) = &view.cni {
        // Answers to this node's own processes come by the CNI, requests left by another device.
        plan.network.insert(Sysctl::rp_filter(cni.link, 2));
    }
    plan
}

fn same_vteps(view: &View) -> Vec<Trouble> {
    let mut seen: BTreeMap<Ipv4Addr, &str> = BTreeMap::new();
    let mut troubles = Vec::new();
    for (node, address) in &view.nodes {
        let vtep = VTEPS.of(*address);
        if let Some(other) = seen.insert(vtep, node) {
            troubles.push(Trouble::SameVtep {
                node: node.clone(),
                other: other.to_owned(),
                vtep,
            });
        }
    }
    troubles
}

/// The device of this node, and its addresses, which follow from `own`.
fn device(network: &mut Network, view: &View, own: IpAddr, remote: Option<IpAddr>) {
    let mut vxlan = Vxlan::new(VNI, PORT);
    if let Some(remote) = remote {
        vxlan = vxlan.remote(remote);
    } else if own.is_ipv6() {
        // Without an address of IPv6 the device would be one of IPv4.
        vxlan = vxlan.local(own);
    }
    let link = Link::vxlan(DEVICE, vxlan)
        .mtu(view.uplink.mtu.saturating_sub(overhead(own)))
        .mac(VTEPS.mac(own));
    network.insert(link);
    for net in VTEPS.addresses(own) {
        network.insert(Address::new(DEVICE, net));
    }
    for family in Family::BOTH {
        network.insert(Sysctl::forwarding(family, DEVICE, true));
    }
}

fn on_worker(network: &mut Network, view: &View, gateway: IpAddr, remotes: &[Remote]) {
    device(network, view, view.uplink.address, Some(gateway));
    for net in remotes.iter().flat_map(|remote| &remote.networks) {
        let via = match net {
            IpNet::V4(_) => IpAddr::V4(VTEPS.of(gateway)),
            IpNet::V6(_) => IpAddr::V6(VTEPS.of6(gateway)),
        };
        network.insert(Route::via(*net, via, DEVICE));
    }
}

fn on_gateway(network: &mut Network, view: &View, gateway: &Gateway, remotes: &[Remote]) {
    // By this workers find it.
    let own = view.address_of(gateway).unwrap_or(view.uplink.address);
    device(network, view, own, None);
    network.insert(Sysctl::rp_filter(DEVICE, 2));
    for address in view
        .nodes
        .iter()
        .filter(|(node, _)| **node != view.node)
        .map(|(_, address)| *address)
    {
        network.insert(Forward::flood(DEVICE, address));
    }
    let out = match gateway.way {
        Way::Device(device) => device,
        Way::Uplink => view.uplink.link,
        Way::Own(_) => return,
    };
    for family in Family::BOTH {
        network.insert(Rule::new(family, TABLE, TABLE));
    }
    let source = |net: &IpNet| {
        let cni = view.cni.as_ref()?;
        match net {
            IpNet::V4(_) => cni.address.map(IpAddr::V4),
            IpNet::V6(_) => cni.address6.map(IpAddr::V6),
        }
    };
    for remote in remotes {
        for net in &remote.networks {
            let mut route = Route::dev(*net, out).table(TABLE);
            if let Some(source) = source(net) {
                route = route.source(source);
            }
            network.insert(route);
        }
        // The tunnel's own packets must not go into the tunnel, even if the gateway's address is in its cluster's network.
        for address in remote.public_ip.into_iter().chain([remote.private_ip]) {
            let inside = remotes
                .iter()
                .flat_map(|remote| &remote.networks)
                .any(|net| net.contains(&address));
            let hop = view
                .uplink
                .gateway
                .filter(|hop| hop.is_ipv4() == address.is_ipv4());
            if let Some(hop) = hop.filter(|_| inside) {
                network.insert(Route::via(address.into(), hop, view.uplink.link).table(TABLE));
            }
        }
    }
}

fn filter(filter: &mut filter::Node, view: &View, gateway: &Gateway, remotes: &[Remote]) {
    filter.local = view.pods.iter().copied().collect();
    for net in remotes.iter().flat_map(|remote| &remote.networks) {
        filter.remote.insert(*net, gateway.mtu);
    }
    if let Some(cni) = &view.cni {
        if let Some(address) = cni.address {
            filter.translate_host_network(address);
        }
        if let Some(address) = cni.address6 {
            filter
                .host_network
                .insert(VTEPS.v6().into(), address.into());
        }
    }
}

#[cfg(test)]
mod tests;
