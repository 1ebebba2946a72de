//! Which IP families a cluster has.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What a cluster's nodes, pods and Services have addresses of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Families {
    /// Kubernetes hears of IPv4 alone. Nodes and pods have IPv6 all the same.
    #[default]
    V4,
    /// IPv4 is the first family.
    Both,
    /// There is no IPv4 on any link.
    V6,
}

impl Families {
    pub fn has_v4(self) -> bool {
        self != Self::V6
    }

    pub fn has_v6(self) -> bool {
        self != Self::V4
    }

    /// What of this is of a family that there is, the first family's first.
    pub(crate) fn of<T>(self, v4: impl Into<T>, v6: impl Into<T>) -> Vec<T> {
        let v4 = self.has_v4().then(|| v4.into());
        v4.into_iter()
            .chain(self.has_v6().then(|| v6.into()))
            .collect()
    }

    /// Of two addresses that of the first family.
    pub(crate) fn first(self, v4: impl Into<IpAddr>, v6: impl Into<IpAddr>) -> IpAddr {
        if self.has_v4() { v4.into() } else { v6.into() }
    }

    /// As flags and configurations of Kubernetes have ranges: with commas.
    pub(crate) fn join(self, v4: Ipv4Net, v6: Ipv6Net) -> String {
        let nets: Vec<String> = self
            .of::<IpNet>(v4, v6)
            .iter()
            .map(ToString::to_string)
            .collect();
        nets.join(",")
    }
}

/// The `n`th address of a range.
pub(crate) fn nth6(range: Ipv6Net, n: u32) -> Result<std::net::Ipv6Addr> {
    let address = std::net::Ipv6Addr::from(range.network().to_bits() + u128::from(n));
    range
        .contains(&address)
        .then_some(address)
        .with_context(|| format!("{range} has no address {n}"))
}
