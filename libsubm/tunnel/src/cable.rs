//! The two ends of a cable, once parsed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

/// The far end: a gateway of another cluster, and what is reached by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// `cable_name` of its Endpoint, such as `submariner-cable-c2-172-31-2-11`. One for each gateway of a cluster set.
    pub name: String,
    /// The address that the gateway has in its own network.
    pub private_ip: IpAddr,
    /// Where packets are sent to: the private address, or the public one.
    pub using: IpAddr,
    /// UDP port of its tunnel.
    pub port: u16,
    /// Networks that are reached by it, of both families.
    pub subnets: BTreeSet<IpNet>,
}

/// The near end: this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its address in its own network.
    pub private_ip: Ipv4Addr,
    /// UDP port of its tunnel.
    pub port: u16,
    /// MTU of the device by which the others are reached, in bytes.
    pub mtu: u32,
    /// This node's address in the pod network: the source of what its own processes send into a cable.
    pub source: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub source6: Option<Ipv6Addr>,
}
