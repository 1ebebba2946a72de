//! Cables of VXLAN (RFC 7348): nothing is encrypted, for networks that are trusted.
//!
//! ```text
//!   rule 100 -> table 100: 10.9.0.0/16 via 241.31.2.11 dev vxlan-tunnel src <CNI address>
//!             neighbour 241.31.2.11 lladdr 0a:53:f1:1f:02:0b    | from Submariner: ARP by flooding
//!             fdb       0a:53:f1:1f:02:0b dst 172.31.2.11       | fdb 00:00:00:00:00:00 dst 172.31.2.11
//!                                              |
//!                                              +--> UDP 4500 of the other gateway
//! ```
//!
//! Device, identifier, table, rule and VTEP addresses are Submariner's, so that the other end may be a Go Submariner. A VTEP is
//! 241.0.0.0/8 with the last three octets of the gateway's private address. Two gateways that share those cannot both be reached:
//! the later one is [refused](Refusal), the others work.
//!
//! For IPv6 there are VTEPs with the IPv4 one in the last 32 bits ([`VTEPS`]). Go Submariner has none: its gateways do not answer
//! for such an address, and IPv6 subnets behind them are not reached.
//!
//! Between the gateways all cables are of one family, that of this gateway's own address: the device has one socket. The VTEP of a
//! gateway whose address is IPv6 is made of all of that ([`Vteps::of`]).
//!
//! A device with a random hardware address is another neighbour after each restart, and the other side keeps the old entry until it is
//! probed: nine seconds without traffic. Ours is derived from the VTEP, and published; gateways that both do so never ask.

pub mod nodes;
mod vteps;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use subm_routing::{
    Address, Family, Forward, Link, LinkName, MacAddr, Neighbour, Network, Object, Route, Rule,
    Sysctl,
};

use crate::cable::distinct;
use crate::connection::{Connection, ConnectionStatus};
use crate::driver::{Applied, CableDriver, Capabilities};
use crate::refusal::{clash, take};
use crate::{Cable, Claims, Error, Local, Refusal, Refusals};

pub use vteps::Vteps;

/// The device of all VXLAN cables.
pub const DEVICE: LinkName = LinkName::from_static("vxlan-tunnel");
/// Its VXLAN network identifier.
pub const VNI: u32 = 1000;
/// Table of its routes, and priority of the rule that leads there.
pub const TABLE: u32 = 100;
/// Bytes that VXLAN over IPv4 adds to a packet: outer Ethernet, IPv4, UDP and VXLAN headers.
pub const OVERHEAD: u32 = 50;
/// The same over IPv6.
pub const OVERHEAD6: u32 = 70;
/// VTEPs of gateways (RFC 4193 for IPv6).
pub const VTEPS: Vteps = Vteps::new(
    Ipv4Net::new_assert(Ipv4Addr::new(241, 0, 0, 0), 8),
    Ipv6Net::new_assert(
        Ipv6Addr::new(0xfd53, 0x7562, 0x6d03, 0x03e8, 0, 0, 0, 0),
        96,
    ),
);
/// What its gateway's Endpoint publishes the hardware address of the device by, in `backend_config`.
pub const VTEP_MAC: &str = "vtep-mac";
/// Metric of its routes, as Submariner's.
const METRIC: u32 = 100;

/// Bytes that VXLAN adds to a packet between nodes with such addresses.
pub const fn overhead(node: IpAddr) -> u32 {
    match node {
        IpAddr::V4(_) => OVERHEAD,
        IpAddr::V6(_) => OVERHEAD6,
    }
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
/// let cable = Cable::new("submariner-cable-c2-172-31-2-11", "c2", "172.31.2.11".parse()?, 4500)
///     .subnets(["10.9.0.0/16".parse()?]);
/// let (network, refusals) = vxlan::plan(&local, &[cable]);
/// assert_eq!(network.routes().count(), 1);
/// assert!(refusals.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn plan(local: &Local, cables: &[Cable]) -> (Network, Refusals) {
    let mut network = device(local);
    let mut refusals = Refusals::new();
    let mut vteps = BTreeMap::from([(VTEPS.of(local.private_ip), "this gateway")]);
    let mut claims = Claims::default();
    for cable in distinct(cables) {
        let vtep = VTEPS.of(cable.private_ip);
        let family = (Family::of(&cable.using) != Family::of(&local.private_ip)).then_some(
            Refusal::OtherFamily {
                here: local.private_ip,
                there: cable.using,
            },
        );
        let same = || {
            vteps.get(&vtep).map(|of| Refusal::SameVtep {
                vtep,
                of: (*of).to_owned(),
            })
        };
        let refusal = family
            .or_else(same)
            .or_else(|| clash(&claims, &cable.subnets));
        if let Some(refusal) = refusal {
            refusals.insert(cable.name.clone(), refusal);
            continue;
        }
        vteps.insert(vtep, &cable.name);
        take(&mut claims, cable);
        network.extend(ways(local, cable));
        network.extend(routes(local, cable));
    }
    (network, refusals)
}

/// How frames get to the far VTEPs.
///
/// Where the other side publishes the hardware address that its VTEP has by rule, frames go there and nowhere else, and nobody is asked
/// for it. Any other claim is not believed: it could be another gateway's. Else it is found by ARP, and as the device does not learn,
/// each frame to such a gateway goes to all of its like; so it is with Submariner.
fn ways(local: &Local, cable: &Cable) -> Vec<Object> {
    let far = cable.private_ip;
    let mac = VTEPS.mac(far);
    let to = |mac| {
        let forward = Forward::new(DEVICE, mac, cable.using);
        if cable.port == local.port {
            forward
        } else {
            forward.port(cable.port)
        }
    };
    if cable.vtep_mac != Some(mac) {
        return vec![to(MacAddr::ZERO).into()];
    }
    vec![
        to(mac).into(),
        Neighbour::new(DEVICE, VTEPS.of(far).into(), mac).into(),
        Neighbour::new(DEVICE, VTEPS.of6(far).into(), mac).into(),
    ]
}

fn device(local: &Local) -> Network {
    let mut vxlan = subm_routing::Vxlan::new(VNI, local.port);
    if local.private_ip.is_ipv6() {
        // Without an address of IPv6 the device would be one of IPv4.
        vxlan = vxlan.local(local.private_ip);
    }
    let link = Link::vxlan(DEVICE, vxlan)
        .mtu(local.mtu.saturating_sub(overhead(local.private_ip)))
        .mac(VTEPS.mac(local.private_ip));
    let mut network = Network::new()
        .with(link)
        // What comes through it may be answered by another way.
        .with(Sysctl::rp_filter(DEVICE, 2));
    for net in VTEPS.addresses(local.private_ip) {
        network.insert(Address::new(DEVICE, net));
    }
    for family in Family::BOTH {
        network.insert(Sysctl::forwarding(family, DEVICE, true));
        network.insert(Rule::new(family, TABLE, TABLE));
    }
    network
}

fn routes(local: &Local, cable: &Cable) -> Vec<Route> {
    let far = cable.private_ip;
    let route = |net: &IpNet| {
        let (via, source) = match net {
            IpNet::V4(_) => (VTEPS.of(far).into(), local.source.map(IpAddr::V4)),
            IpNet::V6(_) => (VTEPS.of6(far).into(), local.source6.map(IpAddr::V6)),
        };
        let route = Route::via(*net, via, DEVICE).table(TABLE).metric(METRIC);
        match source {
            Some(source) => route.source(source),
            None => route,
        }
    };
    cable.subnets.iter().map(route).collect()
}

/// The driver of VXLAN cables: [`plan`] is all of it.
#[derive(Clone, Debug, Default)]
pub struct Vxlan {
    cables: Vec<Cable>,
    refusals: Refusals,
}

impl Vxlan {
    /// Nothing to set.
    pub fn new() -> Self {
        Self::default()
    }
}

impl CableDriver for Vxlan {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            name: "vxlan",
            implementation: "kernel",
            device: DEVICE,
            encrypts: false,
            nat: false,
            routes: true,
            sees_traffic: false,
        }
    }

    fn backend_config(&self, local: &Local) -> BTreeMap<String, String> {
        let mac = VTEPS.mac(local.private_ip);
        [
            ("udp-port", local.port.to_string()),
            (VTEP_MAC, mac.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    fn plan(&self, local: &Local, cables: &[Cable]) -> (Network, Refusals) {
        plan(local, cables)
    }

    async fn prepare(&mut self, _: &Local) -> Result<(), Error> {
        Ok(())
    }

    async fn ensure(&mut self, local: &Local, cables: &[Cable]) -> Result<Applied, Error> {
        self.cables = distinct(cables).cloned().collect();
        self.refusals = plan(local, cables).1;
        Ok(Applied::default())
    }

    /// VXLAN has no handshake: a cable that is made is connected, unless the health check knows better.
    async fn observe(&mut self, _: Instant) -> Result<Vec<Connection>, Error> {
        let state = |cable: &Cable| {
            let (status, message) = match self.refusals.get(&cable.name) {
                Some(refusal) => (ConnectionStatus::Error, refusal.to_string()),
                None if cable.nat => (
                    ConnectionStatus::Connected,
                    "VXLAN may not pass the address translation before its gateway".to_owned(),
                ),
                None => (ConnectionStatus::Connected, String::new()),
            };
            Connection::new(cable, status, message)
        };
        Ok(self.cables.iter().map(state).collect())
    }

    async fn teardown(&mut self) -> Result<(), Error> {
        *self = Self::new();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
