//! Cables of VXLAN (RFC 7348): nothing is encrypted, for networks that are trusted.
//!
//! ```text
//!   rule 100 -> table 100: 10.9.0.0/16 via 241.31.2.11 dev vxlan-tunnel src <CNI address>
//!                                              |  ARP by flooding, hardware address derived from the VTEP
//!   fdb 00:00:00:00:00:00 dst 172.31.2.11 -----+--> UDP 4500 of the other gateway
//! ```
//!
//! Device, identifier, table, rule and VTEP addresses are Submariner's, so that the other end may be a Go Submariner. A VTEP is
//! 241.0.0.0/8 with the last three octets of the gateway's private address. Two gateways that share those cannot both be reached:
//! the later one is [refused](Refusal), the others work.
//!
//! For IPv6 the VTEPs are in [`VTEP6`], with the IPv4 one in the last 32 bits. Go Submariner has none: its gateways do not answer
//! for such an address, and IPv6 subnets behind them are not reached.
//!
//! A device with a random hardware address is another neighbour after each restart, and the other side keeps the old entry until it is
//! probed: nine seconds without traffic. Ours is derived from the VTEP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use subm_routing::{
    Address, Family, Forward, Link, LinkName, MacAddr, Network, Route, Rule, Sysctl, Vxlan,
};

use crate::{Cable, Local};

/// The device of all VXLAN cables.
pub const DEVICE: LinkName = LinkName::from_static("vxlan-tunnel");
/// Its VXLAN network identifier.
pub const VNI: u32 = 1000;
/// Table of its routes, and priority of the rule that leads there.
pub const TABLE: u32 = 100;
/// Bytes that VXLAN over IPv4 adds to a packet: outer Ethernet, IPv4, UDP and VXLAN headers.
pub const OVERHEAD: u32 = 50;
/// VTEPs of gateways.
pub const VTEP4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(241, 0, 0, 0), 8);
/// VTEPs of gateways for IPv6 (RFC 4193).
pub const VTEP6: Ipv6Net = Ipv6Net::new_assert(
    Ipv6Addr::new(0xfd53, 0x7562, 0x6d03, 0x03e8, 0, 0, 0, 0),
    96,
);
/// Metric of its routes, as Submariner's.
const METRIC: u32 = 100;

/// Why a cable is not made. Its text is for the cable's status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Its gateway's address is IPv6.
    #[error("its gateway's address {0} is IPv6: VXLAN cables need IPv4 between the gateways")]
    NotV4(IpAddr),
    /// Two gateways have one VTEP.
    #[error(
        "its VTEP {vtep}, made of the last three octets of its gateway's private address, is that of {of}: give one of the \
         gateways another address, or use another cable driver"
    )]
    SameVtep {
        /// The VTEP that both have.
        vtep: Ipv4Addr,
        /// Name of the other cable, or `this gateway`.
        of: String,
    },
    /// Another cable leads to the same network.
    #[error("its subnet {subnet} is reached by {by} already")]
    Taken {
        /// What both claim.
        subnet: IpNet,
        /// Name of the other cable.
        by: String,
    },
}

/// The VTEP of the gateway with this private address.
pub fn vtep(gateway: Ipv4Addr) -> Ipv4Addr {
    let [first, ..] = VTEP4.network().octets();
    let [_, b, c, d] = gateway.octets();
    Ipv4Addr::new(first, b, c, d)
}

fn vtep6(vtep: Ipv4Addr) -> Ipv6Addr {
    (VTEP6.network().to_bits() | u128::from(vtep.to_bits())).into()
}

/// What the kernel needs for all cables together, and which of them cannot be. Of cables that exclude each other the one that comes
/// first in `cables` is made.
///
/// ```
/// use subm_tunnel::{Cable, Local, vxlan};
///
/// let local = Local {
///     private_ip: [172, 31, 1, 11].into(),
///     port: 4500,
///     mtu: 1500,
///     source: Some([10, 8, 1, 1].into()),
///     source6: None,
/// };
/// let cable = Cable {
///     name: "submariner-cable-c2-172-31-2-11".to_owned(),
///     private_ip: "172.31.2.11".parse()?,
///     using: "172.31.2.11".parse()?,
///     port: 4500,
///     subnets: ["10.9.0.0/16".parse()?].into(),
/// };
/// let (network, refusals) = vxlan::plan(&local, &[cable]);
/// assert_eq!(network.routes().count(), 1);
/// assert!(refusals.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(local: &Local, cables: &[Cable]) -> (Network, BTreeMap<String, Refusal>) {
    let own = vtep(local.private_ip);
    let mut network = device(local, own);
    let mut refusals = BTreeMap::new();
    let mut vteps = BTreeMap::from([(own, "this gateway")]);
    let mut taken: Vec<(&IpNet, &str)> = Vec::new();
    for cable in cables {
        let IpAddr::V4(private) = cable.private_ip else {
            refusals.insert(cable.name.clone(), Refusal::NotV4(cable.private_ip));
            continue;
        };
        let far = vtep(private);
        if let Some(of) = vteps.get(&far) {
            let of = (*of).to_owned();
            refusals.insert(cable.name.clone(), Refusal::SameVtep { vtep: far, of });
            continue;
        }
        let clash = cable.subnets.iter().find_map(|subnet| {
            let overlap =
                |(other, _): &&(&IpNet, &str)| other.contains(subnet) || subnet.contains(*other);
            let (_, by) = taken.iter().find(overlap)?;
            Some((*subnet, (*by).to_owned()))
        });
        if let Some((subnet, by)) = clash {
            refusals.insert(cable.name.clone(), Refusal::Taken { subnet, by });
            continue;
        }
        vteps.insert(far, &cable.name);
        taken.extend(
            cable
                .subnets
                .iter()
                .map(|subnet| (subnet, cable.name.as_str())),
        );
        let mut flood = Forward::flood(DEVICE, cable.using);
        if cable.port != local.port {
            flood = flood.port(cable.port);
        }
        network.insert(flood);
        for route in routes(local, far, &cable.subnets) {
            network.insert(route);
        }
    }
    (network, refusals)
}

fn device(local: &Local, own: Ipv4Addr) -> Network {
    let link = Link::vxlan(DEVICE, Vxlan::new(VNI, local.port))
        .mtu(local.mtu.saturating_sub(OVERHEAD))
        .mac(MacAddr::for_vtep(own.into()));
    let mut network = Network::new()
        .with(link)
        // What comes through it may be answered by another way.
        .with(Sysctl::rp_filter(DEVICE, 2));
    let nets = [
        IpNet::V4(Ipv4Net::new_assert(own, VTEP4.prefix_len())),
        IpNet::V6(Ipv6Net::new_assert(vtep6(own), VTEP6.prefix_len())),
    ];
    for (family, net) in Family::BOTH.into_iter().zip(nets) {
        network.insert(Address::new(DEVICE, net));
        network.insert(Sysctl::forwarding(family, DEVICE, true));
        network.insert(Rule::new(family, TABLE, TABLE));
    }
    network
}

fn routes(local: &Local, far: Ipv4Addr, subnets: &BTreeSet<IpNet>) -> Vec<Route> {
    let route = |net: &IpNet| {
        let (via, source) = match net {
            IpNet::V4(_) => (IpAddr::V4(far), local.source.map(IpAddr::V4)),
            IpNet::V6(_) => (IpAddr::V6(vtep6(far)), local.source6.map(IpAddr::V6)),
        };
        let route = Route::via(*net, via, DEVICE).table(TABLE).metric(METRIC);
        match source {
            Some(source) => route.source(source),
            None => route,
        }
    };
    subnets.iter().map(route).collect()
}

#[cfg(test)]
mod tests;
