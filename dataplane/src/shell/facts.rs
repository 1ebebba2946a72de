//! What a node's kernel says of itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use subm_routing::{Family, Kernel, LinkName, interface_within};

use crate::node::{Cni, Uplink};

/// By which device this node reaches others, which is the CNI's, and all addresses.
pub(super) struct Facts {
    pub(super) uplink: Uplink,
    pub(super) cni: Option<Cni>,
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// `family`: that in which the cluster's nodes reach each other.
pub(super) async fn ask(kernel: &Kernel, family: Family, pods: &[IpNet]) -> Result<Facts> {
    let route = kernel.default_route(family).await?;
    let route = route.with_context(|| format!("this node has no default route for {family}"))?;
    let address = route.address.with_context(|| {
        format!(
            "the device of the default route, {}, has no {family} address",
            route.link
        )
    })?;
    let uplink = Uplink {
        link: route.link,
        address,
        gateway: route.gateway,
        mtu: route.mtu,
    };
    let interfaces = kernel.interfaces().await?;
    let within = |family| {
        let nets = pods.iter().copied();
        let nets: Vec<IpNet> = nets.filter(|net| Family::of_net(net) == family).collect();
        let (interface, address) = interface_within(&interfaces, &nets)?;
        Some((interface.name, address))
    };
    let addresses = interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .map(IpNet::addr)
        .collect();
    Ok(Facts {
        uplink,
        cni: cni(within(Family::V4), within(Family::V6)),
        addresses,
    })
}

/// What is within the pod networks of each family. A device with both families has both on it.
fn cni(of4: Option<(LinkName, IpAddr)>, of6: Option<(LinkName, IpAddr)>) -> Option<Cni> {
    let (link, _) = of4.or(of6)?;
    Some(Cni {
        link,
        address: of4.and_then(|(_, address)| match address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        }),
        address6: of6.and_then(|(_, address)| match address {
            IpAddr::V6(address) => Some(address),
            IpAddr::V4(_) => None,
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Before, a node without IPv4 in the pod network had no CNI device.
    #[test]
    fn a_pod_network_of_either_family_shows_the_device() {
        let found = |address: &str| {
            let address = address.parse().expect("an address");
            (LinkName::from_static("cni0"), address)
        };
        let told = |v4: Option<&str>, v6: Option<&str>| {
            let cni = cni(v4.map(found), v6.map(found))?;
            Some((cni.link.to_string(), cni.first()?.to_string()))
        };
        let expected = |first: &str| Some(("cni0".to_owned(), first.to_owned()));
        assert_eq!(told(Some("10.8.1.1"), None), expected("10.8.1.1"));
        assert_eq!(told(None, Some("fd08:1::1")), expected("fd08:1::1"));
        assert_eq!(
            told(Some("10.8.1.1"), Some("fd08:1::1")),
            expected("10.8.1.1")
        );
        assert_eq!(told(None, None), None);
    }
}
