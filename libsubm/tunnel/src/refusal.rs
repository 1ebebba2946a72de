//! Cables that cannot be, and what their status says then.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::key::PublicKey;
use crate::{Cable, Claims};

/// Why a cable is not made. Its text is for the cable's status.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Of the two gateways' addresses one is IPv4 and one is IPv6.
    #[error(
        "its gateway's address {there} and this one's {here} are not of one family, which VXLAN cables need: give both gateways \
         addresses of one, or use another cable driver"
    )]
    OtherFamily {
        /// This gateway's address.
        here: IpAddr,
        /// Where the other one is to be reached.
        there: IpAddr,
    },
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

/// Whether another cable has one of the subnets, or a part.
pub(crate) fn clash(claims: &Claims<'_>, subnets: &BTreeSet<IpNet>) -> Option<Refusal> {
    subnets.iter().find_map(|subnet| {
        Some(Refusal::Taken {
            subnet: *subnet,
            by: claims.holder(*subnet)?.to_owned(),
        })
    })
}

pub(crate) fn take<'a>(claims: &mut Claims<'a>, cable: &'a Cable) {
    for subnet in &cable.subnets {
        claims.take(*subnet, &cable.name);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_net() -> impl Strategy<Value = IpNet> {
        let v4 = (any::<u8>(), 0_u8..=8).prop_map(|(octet, length)| {
            IpNet::new_assert(Ipv4Addr::new(10, 9, 8, octet).into(), 24 + length)
        });
        let v6 = (any::<u8>(), 0_u8..=8).prop_map(|(octet, length)| {
            let address = std::net::Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, octet.into());
            IpNet::new_assert(address.into(), 120 + length)
        });
        prop_oneof![
            v4.prop_map(|net| net.trunc()),
            v6.prop_map(|net| net.trunc()),
            prop::sample::select(vec!["0.0.0.0/0", "::/0", "10.0.0.0/8"])
                .prop_map(|text| text.parse().unwrap()),
        ]
    }

    proptest! {
        /// As if each were compared with each.
        #[test]
        fn overlaps_are_found(taken in prop::collection::btree_set(any_net(), 0..6), wanted in any_net()) {
            let mut claims = Claims::default();
            let cable = Cable::new("c2", "c2", [10, 0, 0, 1].into(), 4500).subnets(taken.clone());
            take(&mut claims, &cable);
            let expected = taken.iter().any(|net| net.contains(&wanted) || wanted.contains(net));
            prop_assert_eq!(clash(&claims, &[wanted].into()).is_some(), expected);
        }
    }
}
