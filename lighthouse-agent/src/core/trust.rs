//! What another cluster may say. A member of the cluster set is trusted with its own services, nothing else.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::Clusters;

/// Why an address of another cluster is not taken over.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BadAddress {
    NotOne(String),
    /// Loopback, link-local (metadata services live there), multicast, unspecified, broadcast.
    Special(IpAddr),
    /// One of our own nodes, API servers, pods or Services.
    Ours(IpAddr),
    /// Outside of what the cluster declared in its Cluster object.
    Undeclared(IpAddr),
}

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOne(text) => write!(f, "{text:?} is no address"),
            Self::Special(address) => write!(f, "{address} is no address of a service"),
            Self::Ours(address) => {
                write!(
                    f,
                    "{address} is this cluster's own: a node, API server, pod or Service"
                )
            }
            Self::Undeclared(address) => write!(
                f,
                "{address} is outside the CIDRs that the cluster declared in its Cluster object"
            ),
        }
    }
}

/// Reads an address that `cluster` gives for one of its services.
pub fn address(text: &str, cluster: &str, clusters: &Clusters) -> Result<IpAddr, BadAddress> {
    let address: IpAddr = text
        .parse()
        .map_err(|_| BadAddress::NotOne(text.chars().take(64).collect()))?;
    // An IPv4 address in IPv6 clothes is judged as what it is.
    let real = address.to_canonical();
    if is_special(real) {
        return Err(BadAddress::Special(address));
    }
    if clusters.is_ours(real) {
        return Err(BadAddress::Ours(address));
    }
    match clusters.declared(cluster) {
        Some(declared) if !declared.has(real) => Err(BadAddress::Undeclared(address)),
        _ => Ok(address),
    }
}

fn is_special(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_broadcast()
                || v4.is_unspecified()
                // "This network" (RFC 1122); a system may take it for itself.
                || v4.octets()[0] == 0
        }
        IpAddr::V6(v6) => {
            v6.is_loopback()
                || v6.is_unspecified()
                || v6.is_multicast()
                || v6.is_unicast_link_local()
                // Deprecated IPv4-compatible form, ::127.0.0.1 for one.
                || matches!(v6.segments(), [0, 0, 0, 0, 0, 0, high, low]
                    if is_special(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)).into()))
        }
    }
}

/// Something that another cluster exports and we do not take over. Said once while it lasts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    pub cluster: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The namespace is not for other clusters to write to.
    Namespace,
    Address(BadAddress),
    /// An object that says of itself what cannot be.
    Object(String),
}

impl Why {
    /// For a metric's label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Address(_) => "address",
            Self::Object(_) => "object",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused from cluster {:?}: ", self.cluster)?;
        match &self.why {
            Why::Namespace => f.write_str(
                "its namespace takes no imports here; SUBMARINER_IMPORT_NAMESPACE_ALLOW_LIST makes an exception",
            ),
            Why::Address(bad) => bad.fmt(f),
            Why::Object(what) => f.write_str(what),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::clusters::Declared;

    #[test]
    fn special_addresses_are_refused() {
        let clusters = Clusters::default();
        for good in [
            "10.0.0.1",
            "172.16.5.4",
            "192.168.1.1",
            "203.0.113.7",
            "fd00::1",
            "2001:db8::1",
        ] {
            assert!(address(good, "c2", &clusters).is_ok(), "{good}");
        }
        for bad in [
            "",
            "not-an-ip",
            "0.0.0.0",
            "::",
            "127.0.0.1",
            "::1",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "0.1.2.3",
        ] {
            assert!(address(bad, "c2", &clusters).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_cluster_stays_inside_what_it_declared() {
        let mut clusters = Clusters::default();
        let networks = vec!["10.2.0.0/16".parse().unwrap(), "fd02::/48".parse().unwrap()];
        clusters.declare("c2", Some(Declared { networks }));
        assert!(address("10.2.3.4", "c2", &clusters).is_ok());
        assert!(address("fd02::9", "c2", &clusters).is_ok());
        assert!(matches!(
            address("10.3.0.1", "c2", &clusters),
            Err(BadAddress::Undeclared(_))
        ));
        // Another cluster's declaration says nothing about this one.
        assert!(address("10.3.0.1", "c3", &clusters).is_ok());
    }

    #[test]
    fn our_own_nodes_are_not_for_others() {
        let mut clusters = Clusters::default();
        clusters
            .nodes
            .insert("n1".into(), vec!["10.1.0.9".parse().unwrap()]);
        assert!(matches!(
            address("::ffff:10.1.0.9", "c2", &clusters),
            Err(BadAddress::Ours(_))
        ));
    }
}
