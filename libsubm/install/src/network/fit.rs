//! Whether the networks that a member calls its own can be: the others reach nothing else of it.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::overlap::{overlaps, pairs};

/// Where the cluster's Services have their addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Services {
    /// Names and networks of ServiceCIDR objects; none where they are not served.
    pub objects: Vec<(String, IpNet)>,
    /// Cluster IPs of Services, by `namespace/name`.
    pub addresses: Vec<(String, IpAddr)>,
}

/// A network of pods and one of Services that have addresses in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clash {
    pub pods: IpNet,
    pub services: IpNet,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pods, services } = self;
        write!(
            f,
            "the cluster's own pod CIDR {pods} and service CIDR {services} overlap"
        )
    }
}

/// Services that lie outside of what the others are told, and so are not reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unreached {
    Object { name: String, has: IpNet },
    Service { name: String, has: IpAddr },
}

impl fmt::Display for Unreached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { name, has } => {
                write!(
                    f,
                    "Services have addresses of {has} (ServiceCIDR {name:?}), which is outside of the service CIDR"
                )
            }
            Self::Service { name, has } => {
                write!(
                    f,
                    "Service {name} has the address {has}, which is outside of the service CIDR"
                )
            }
        }
    }
}

/// Where a cluster's own networks overlap: an address of both leads to a pod or to a Service, and nothing tells which.
pub fn clashes(pods: &[IpNet], services: &[IpNet]) -> Vec<Clash> {
    pairs(pods, services)
        .filter(|(pods, services)| overlaps(pods, services))
        .map(|(pods, services)| Clash { pods, services })
        .collect()
}

impl Services {
    /// The first that lies outside of the service CIDR `told`, if it can be known. A family that `told` does not have is not reached on purpose.
    pub fn outside(&self, told: &[IpNet]) -> Option<Unreached> {
        let missed = |has: &IpNet| {
            let mut family = told.iter().filter(|told| is_v4(told) == is_v4(has));
            family.clone().next().is_some() && !family.any(|told| told.contains(has))
        };
        if !self.objects.is_empty() {
            let (name, has) = self.objects.iter().find(|(_, has)| missed(has))?;
            return Some(Unreached::Object {
                name: name.clone(),
                has: *has,
            });
        }
        let mut addresses = self.addresses.iter();
        let (name, has) = addresses.find(|(_, has)| missed(&IpNet::from(*has)))?;
        Some(Unreached::Service {
            name: name.clone(),
            has: *has,
        })
    }
}

fn is_v4(net: &IpNet) -> bool {
    net.addr().is_ipv4()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::parse;

    fn words(services: &Services, told: &str) -> Option<String> {
        services
            .outside(&parse(told).unwrap())
            .map(|unreached| unreached.to_string())
    }

    #[test]
    fn pods_and_services_of_one_cluster_are_apart() {
        let found = |pods: &str, services: &str| {
            let clashes = clashes(&parse(pods).unwrap(), &parse(services).unwrap());
            clashes.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert!(found("10.8.0.0/16,fd08::/48", "10.88.0.0/16,fd88::/112").is_empty());
        assert!(found("10.8.0.0/16", "").is_empty());
        for (services, want) in [
            (
                "10.8.0.0/16",
                "the cluster's own pod CIDR 10.8.0.0/16 and service CIDR 10.8.0.0/16 overlap",
            ),
            (
                "10.88.0.0/16,10.8.7.0/24",
                "the cluster's own pod CIDR 10.8.0.0/16 and service CIDR 10.8.7.0/24 overlap",
            ),
            (
                "10.0.0.0/9",
                "the cluster's own pod CIDR 10.8.0.0/16 and service CIDR 10.0.0.0/9 overlap",
            ),
        ] {
            assert_eq!(found("10.8.0.0/16,fd08::/48", services), [want]);
        }
    }

    #[test]
    fn services_lie_in_what_the_others_are_told() {
        let objects = Services {
            objects: vec![
                ("kubernetes".to_owned(), "10.88.0.0/16".parse().unwrap()),
                ("more".to_owned(), "10.89.0.0/24".parse().unwrap()),
            ],
            // What the objects say is enough: a Service may be older than they.
            addresses: vec![("a/old".to_owned(), "10.5.0.1".parse().unwrap())],
        };
        assert_eq!(words(&objects, "10.88.0.0/15"), None);
        assert_eq!(words(&objects, "10.88.0.0/16,10.89.0.0/16"), None);
        assert_eq!(
            words(&objects, "10.77.0.0/16").as_deref(),
            Some(
                "Services have addresses of 10.88.0.0/16 (ServiceCIDR \"kubernetes\"), which is outside of the service CIDR"
            )
        );
        assert_eq!(
            words(&objects, "10.88.0.0/16").as_deref(),
            Some(
                "Services have addresses of 10.89.0.0/24 (ServiceCIDR \"more\"), which is outside of the service CIDR"
            )
        );
        // A part is not all.
        assert!(words(&objects, "10.88.0.0/20,10.89.0.0/16").is_some());
        // Nothing is known, or the family is not there on purpose.
        assert_eq!(words(&objects, ""), None);
        assert_eq!(words(&objects, "fd88::/112"), None);
    }

    #[test]
    fn without_objects_the_services_themselves_tell() {
        let services = Services {
            objects: Vec::new(),
            addresses: vec![
                (
                    "default/kubernetes".to_owned(),
                    "10.88.0.1".parse().unwrap(),
                ),
                ("a/six".to_owned(), "fd88::7".parse().unwrap()),
            ],
        };
        assert_eq!(words(&services, "10.88.0.0/16"), None);
        assert_eq!(
            words(&services, "10.77.0.0/16").as_deref(),
            Some(
                "Service default/kubernetes has the address 10.88.0.1, which is outside of the service CIDR"
            )
        );
        assert!(words(&services, "10.88.0.0/16,fd99::/112").is_some());
        assert_eq!(words(&Services::default(), "10.77.0.0/16"), None);
    }
}
