//! The two ends of a cable, once parsed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use subm_routing::MacAddr;

use crate::key::PublicKey;

/// The far end: a gateway of another cluster, and what is reached by it.
///
/// Drivers take all cables at once, the most senior first: where two claim what only one can have, the one that comes first keeps
/// it. A caller that puts clusters in the order in which they were first seen lets no newcomer take what another has. That goes for names,
/// too: what has the name of an earlier one is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cable {
    /// `cable_name` of its Endpoint, such as `submariner-cable-c2-172-31-2-11`. One for each gateway of a cluster set.
    pub name: String,
    /// `cluster_id` of its Endpoint.
    pub cluster: String,
    /// The address that the gateway has in its own network.
    pub private_ip: IpAddr,
    /// Where packets are sent to: the private address, or the public one.
    pub using: IpAddr,
    /// Whether addresses or ports are translated on the way.
    pub nat: bool,
    /// UDP port of its tunnel (`udp-port`).
    pub port: u16,
    /// Networks that are reached by it, of both families.
    pub subnets: BTreeSet<IpNet>,
    /// WireGuard's key (`publicKey`).
    pub public_key: Option<PublicKey>,
    /// The hardware address of its VXLAN device, if it publishes one (`vtep-mac`).
    pub vtep_mac: Option<MacAddr>,
}

impl Cable {
    /// To a gateway that is reached at its private address.
    ///
    /// ```
    /// use subm_tunnel::Cable;
    ///
    /// let cable = Cable::new("submariner-cable-c2-172-31-2-11", "c2", "172.31.2.11".parse()?, 4500)
    ///     .subnets(["10.9.0.0/16".parse()?, "10.99.0.0/16".parse()?]);
    /// assert_eq!(cable.endpoint().to_string(), "172.31.2.11:4500");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(
        name: impl Into<String>,
        cluster: impl Into<String>,
        private_ip: IpAddr,
        port: u16,
    ) -> Self {
        Self {
            name: name.into(),
            cluster: cluster.into(),
            private_ip,
            using: private_ip,
            nat: false,
            port,
            subnets: BTreeSet::new(),
            public_key: None,
            vtep_mac: None,
        }
    }

    /// Reached at this address, with or without translation on the way.
    #[must_use]
    pub fn using(mut self, address: IpAddr, nat: bool) -> Self {
        self.using = address;
        self.nat = nat;
        self
    }

    /// With these subnets instead of those it has. Host bits are cut off.
    #[must_use]
    pub fn subnets(mut self, subnets: impl IntoIterator<Item = IpNet>) -> Self {
        self.subnets = subnets.into_iter().map(|net| net.trunc()).collect();
        self
    }

    /// With another port.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// With WireGuard's key.
    #[must_use]
    pub fn public_key(mut self, key: PublicKey) -> Self {
        self.public_key = Some(key);
        self
    }

    /// With the hardware address that its gateway publishes.
    #[must_use]
    pub fn vtep_mac(mut self, mac: MacAddr) -> Self {
        self.vtep_mac = Some(mac);
        self
    }

    /// Where packets are sent to.
    pub fn endpoint(&self) -> SocketAddr {
        SocketAddr::new(self.using, self.port)
    }
}

/// Those whose name no earlier one has.
pub(crate) fn distinct(cables: &[Cable]) -> impl Iterator<Item = &Cable> {
    let mut names = BTreeSet::new();
    cables
        .iter()
        .filter(move |cable| names.insert(cable.name.as_str()))
}

/// The near end: this gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Its address in its own network.
    pub private_ip: IpAddr,
    /// UDP port of its tunnel.
    pub port: u16,
    /// MTU of the device by which the others are reached, in bytes.
    pub mtu: u32,
    /// This node's address in the pod network: the source of what its own processes send into a cable.
    pub source: Option<Ipv4Addr>,
    /// The same of IPv6.
    pub source6: Option<Ipv6Addr>,
}
