//! Cables that cannot be, and what their status says then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::Cable;
use crate::key::PublicKey;

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
    /// WireGuard without a key.
    #[error(
        "its Endpoint has no publicKey in backend_config: is {0} the cable driver of its cluster?"
    )]
    NoKey(&'static str),
    /// Two gateways with one key: at least one of them did not make it.
    #[error("its key {key} is that of {of}")]
    SameKey {
        /// The key that both have.
        key: PublicKey,
        /// Name of the other cable, or `this gateway`.
        of: String,
    },
}

/// What cannot be, by the names of cables.
pub type Refusals = BTreeMap<String, Refusal>;

/// Subnets, and who has them.
#[derive(Debug, Default)]
pub(crate) struct Claims<'a>(Vec<(&'a IpNet, &'a str)>);

impl<'a> Claims<'a> {
    /// Whether another cable has one of the subnets, or a part.
    pub(crate) fn clash(&self, subnets: &BTreeSet<IpNet>) -> Option<Refusal> {
        subnets.iter().find_map(|subnet| {
            let overlap =
                |(other, _): &&(&IpNet, &str)| other.contains(subnet) || subnet.contains(*other);
            let (_, by) = self.0.iter().find(overlap)?;
            Some(Refusal::Taken {
                subnet: *subnet,
                by: (*by).to_owned(),
            })
        })
    }

    pub(crate) fn take(&mut self, cable: &'a Cable) {
        let subnets = cable.subnets.iter();
        self.0
            .extend(subnets.map(|subnet| (subnet, cable.name.as_str())));
    }
}
