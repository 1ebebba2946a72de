//! Routes.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::LinkName;
use crate::mark::PROTOCOL;

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub fn of(address: &IpAddr) -> Self {
        if address.is_ipv4() {
            Self::V4
        } else {
            Self::V6
        }
    }

    pub fn of_net(net: &IpNet) -> Self {
        Self::of(&net.addr())
    }

    /// All addresses.
    pub fn everything(self) -> IpNet {
        match self {
            Self::V4 => ipnet::Ipv4Net::default().into(),
            Self::V6 => ipnet::Ipv6Net::default().into(),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

/// The number of the main routing table.
pub const MAIN_TABLE: u32 = 254;

/// The metric that the kernel gives an IPv6 route that has none.
pub(crate) const V6_METRIC: u32 = 1024;

/// A route. In the kernel it is known by destination, table and metric.
///
/// ```
/// use subm_routing::{LinkName, Route};
///
/// let device = LinkName::from_static("vxlan-tunnel");
/// let route = Route::via("10.9.0.0/16".parse()?, "241.31.2.11".parse()?, device)
///     .table(100)
///     .metric(100)
///     .source("10.8.1.1".parse()?);
/// assert_eq!(
///     route.to_string(),
///     "route 10.9.0.0/16 via 241.31.2.11 dev vxlan-tunnel table 100 metric 100 src 10.8.1.1"
/// );
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Route {
    /// Without host bits.
    pub destination: IpNet,
    /// Not 0.
    pub table: u32,
    /// Smaller ones win. The kernel makes 1024 of 0 for IPv6, and so does [`Network`](super::Network).
    pub metric: u32,
    pub target: Target,
    /// The source address of packets that this node sends by it. `None`: the kernel's choice.
    pub source: Option<IpAddr>,
    /// For IPv4; IPv6 routes have [`Scope::Universe`].
    pub scope: Scope,
    /// The path MTU of the route, in bytes.
    pub mtu: Option<u32>,
    /// The mark of who owns it. The backend sets it to its own.
    pub protocol: u8,
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Target {
    /// To one next hop, or by a hash of the flow to one of several. Their order means nothing; [`Network`](super::Network) sorts them.
    Unicast(Vec<NextHop>),
    /// Packets are dropped silently.
    Blackhole,
    /// Packets are dropped and the sender is told "host unreachable".
    Unreachable,
    /// Packets are dropped and the sender is told "administratively prohibited".
    Prohibit,
}

/// One way to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct NextHop {
    pub link: LinkName,
    /// `None`: the destination itself is reached through the link. An IPv6 gateway for an IPv4 destination works.
    pub gateway: Option<IpAddr>,
    /// The share of flows relative to other next hops, from 1 to 256.
    pub weight: u16,
    /// The gateway is on the link although no address of the link says so.
    pub onlink: bool,
}

/// How far the destination of an IPv4 route is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// Behind a gateway.
    Universe,
    /// On the link.
    Link,
    /// This host.
    Host,
    /// Another number; see `/etc/iproute2/rt_scopes`.
    Other(u8),
}

impl Route {
    /// In the main table, with metric 0, and for IPv4 with the scope that fits the target.
    pub fn new(destination: IpNet, target: Target) -> Self {
        let scope = match &target {
            Target::Unicast(hops)
                if destination.addr().is_ipv4()
                    && !hops.is_empty()
                    && hops.iter().all(|hop| hop.gateway.is_none()) =>
            {
                Scope::Link
            }
            _ => Scope::Universe,
        };
        Self {
            destination: destination.trunc(),
            table: MAIN_TABLE,
            metric: 0,
            target,
            source: None,
            scope,
            mtu: None,
            protocol: PROTOCOL,
        }
    }

    /// Through a gateway.
    pub fn via(destination: IpNet, gateway: IpAddr, link: LinkName) -> Self {
        Self::new(
            destination,
            Target::Unicast(vec![NextHop::via(gateway, link)]),
        )
    }

    /// Straight through a device.
    pub fn dev(destination: IpNet, link: LinkName) -> Self {
        Self::new(destination, Target::Unicast(vec![NextHop::dev(link)]))
    }

    /// Through several gateways, each flow through one of them.
    pub fn multipath(destination: IpNet, hops: impl IntoIterator<Item = NextHop>) -> Self {
        Self::new(destination, Target::Unicast(hops.into_iter().collect()))
    }

    pub fn unreachable(destination: IpNet) -> Self {
        Self::new(destination, Target::Unreachable)
    }

    #[must_use]
    pub fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    #[must_use]
    pub fn metric(mut self, metric: u32) -> Self {
        self.metric = metric;
        self
    }

    #[must_use]
    pub fn source(mut self, source: IpAddr) -> Self {
        self.source = Some(source);
        self
    }

    #[must_use]
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = scope;
        self
    }

    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    pub fn family(&self) -> Family {
        Family::of_net(&self.destination)
    }

    /// The next hops; none for a route that drops.
    pub fn hops(&self) -> &[NextHop] {
        match &self.target {
            Target::Unicast(hops) => hops,
            Target::Blackhole | Target::Unreachable | Target::Prohibit => &[],
        }
    }

    /// The form in which the kernel gives it back, so that what is desired can be compared with what is observed.
    pub(crate) fn normalise(&mut self) {
        self.destination = self.destination.trunc();
        if let Target::Unicast(hops) = &mut self.target {
            hops.sort_unstable();
            hops.dedup();
            // The kernel does not keep the weight of a single one.
            if let [only] = hops.as_mut_slice() {
                only.weight = 1;
            }
        }
        if self.family() == Family::V6 {
            self.scope = Scope::Universe;
            if self.metric == 0 {
                self.metric = V6_METRIC;
            }
        }
    }
}

impl NextHop {
    pub fn via(gateway: IpAddr, link: LinkName) -> Self {
        Self {
            link,
            gateway: Some(gateway),
            weight: 1,
            onlink: false,
        }
    }

    pub fn dev(link: LinkName) -> Self {
        Self {
            link,
            gateway: None,
            weight: 1,
            onlink: false,
        }
    }

    #[must_use]
    pub fn weight(mut self, weight: u16) -> Self {
        self.weight = weight;
        self
    }

    #[must_use]
    pub fn onlink(mut self) -> Self {
        self.onlink = true;
        self
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("route ")?;
        match &self.target {
            Target::Unicast(_) => {}
            Target::Blackhole => f.write_str("blackhole ")?,
            Target::Unreachable => f.write_str("unreachable ")?,
            Target::Prohibit => f.write_str("prohibit ")?,
        }
        write!(f, "{}", self.destination)?;
        match self.hops() {
            [hop] => write!(f, "{hop}")?,
            hops => {
                for hop in hops {
                    write!(f, " nexthop{hop} weight {}", hop.weight)?;
                }
            }
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if let Some(source) = self.source {
            write!(f, " src {source}")?;
        }
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        Ok(())
    }
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {}", self.link)?;
        if self.onlink {
            f.write_str(" onlink")?;
        }
        Ok(())
    }
}
