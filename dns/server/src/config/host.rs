//! What this machine says: its name, environment and addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::corefile::Problem;

/// Read once per load, so that a configuration is a function of its text and this.
#[derive(Clone, Debug, Default)]
pub struct Host {
    pub name: String,
    /// Variables that are valid UTF-8.
    pub env: BTreeMap<String, String>,
    /// Name and address, an entry for each address.
    pub interfaces: Vec<(String, IpAddr)>,
}

impl Host {
    pub fn this_machine() -> Self {
        let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list network interfaces; bind takes addresses only");
            Vec::new()
        });
        Self {
            name: hostname::get().map_or_else(
                |_| "localhost".to_owned(),
                |name| name.to_string_lossy().into_owned(),
            ),
            env: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .collect(),
            interfaces: interfaces
                .into_iter()
                .map(|interface| (interface.name.clone(), interface.ip()))
                .collect(),
        }
    }

    pub(crate) fn interface_names(&self) -> String {
        let mut names: Vec<&str> = self.interfaces.iter().map(|(name, _)| &**name).collect();
        names.dedup();
        names.join(", ")
    }

    /// All addresses of this machine: `[::]`, which takes IPv4 too, or `0.0.0.0` where there is no IPv6.
    pub(crate) fn wildcard(&self) -> IpAddr {
        if self.interfaces.iter().any(|(_, addr)| addr.is_ipv6()) {
            Ipv6Addr::UNSPECIFIED.into()
        } else {
            Ipv4Addr::UNSPECIFIED.into()
        }
    }

    /// `ADDR:PORT`, `:PORT` for all addresses, or `localhost:PORT`.
    pub(crate) fn listen_addr(&self, text: &str) -> Result<SocketAddr, Problem> {
        let split = || {
            let (addr, port) = text.rsplit_once(':')?;
            let addr = match addr {
                "" => self.wildcard(),
                "localhost" => Ipv4Addr::LOCALHOST.into(),
                _ => return text.parse().ok(),
            };
            Some(SocketAddr::new(addr, port.parse().ok()?))
        };
        split().ok_or_else(|| Problem::ListenAddress(text.to_owned()))
    }

    /// Addresses for `ns.dns.<zone>` of a server that is bound to `bind`: those, else the pod's, else the
    /// machine's first of each family that others can reach, else loopback.
    pub(crate) fn name_server(&self, bind: &[IpAddr]) -> Vec<IpAddr> {
        let bound: Vec<IpAddr> = bind
            .iter()
            .copied()
            .filter(|addr| !addr.is_unspecified())
            .collect();
        if !bound.is_empty() {
            return bound;
        }
        if let Some(pod) = self.env.get("POD_IP").and_then(|addr| addr.parse().ok()) {
            return vec![pod];
        }
        let first = |ipv4: bool| {
            let mut addrs = self.interfaces.iter().map(|&(_, addr)| addr);
            addrs.find(|addr| addr.is_ipv4() == ipv4 && is_global_unicast(*addr))
        };
        let own: Vec<IpAddr> = [first(true), first(false)].into_iter().flatten().collect();
        if own.is_empty() {
            vec![Ipv4Addr::LOCALHOST.into()]
        } else {
            own
        }
    }
}

/// Neither loopback, link-local, multicast nor unspecified; private addresses are what clusters use.
fn is_global_unicast(addr: IpAddr) -> bool {
    let link_local = match addr {
        IpAddr::V4(addr) => addr.is_link_local() || addr.is_broadcast(),
        IpAddr::V6(addr) => addr.is_unicast_link_local(),
    };
    !link_local && !addr.is_loopback() && !addr.is_multicast() && !addr.is_unspecified()
}
