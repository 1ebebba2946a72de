//! What a node's kernel says of itself.

use std::collections::BTreeSet;
use std::net::IpAddr;

use anyhow::{Context as _, Result};
use ipnet::IpNet;
use subm_routing::{Family, Kernel, interface_within};

use crate::node::{Cni, Uplink};

/// By which device this node reaches others, which is the CNI's, and all addresses.
pub(super) struct Facts {
    pub(super) uplink: Uplink,
    pub(super) cni: Option<Cni>,
    pub(super) addresses: BTreeSet<IpAddr>,
}

pub(super) async fn ask(kernel: &Kernel, pods: &[IpNet]) -> Result<Facts> {
    let route = kernel.default_route(Family::V4).await?;
    let route = route.context("this node has no default route for IPv4")?;
    let Some(IpAddr::V4(address)) = route.address else {
        anyhow::bail!(
            "the device of the default route, {}, has no IPv4 address",
            route.link
        );
    };
    let uplink = Uplink {
        link: route.link,
        address,
        gateway: route.gateway,
        mtu: route.mtu,
    };
    let interfaces = kernel.interfaces().await?;
    let of_family = |v4: bool| -> Vec<IpNet> {
        let nets = pods.iter().copied();
        nets.filter(|net| net.addr().is_ipv4() == v4).collect()
    };
    let cni = interface_within(&interfaces, &of_family(true));
    let cni6 = interface_within(&interfaces, &of_family(false));
    let cni = cni.and_then(|(interface, address)| {
        let IpAddr::V4(address) = address else {
            return None;
        };
        Some(Cni {
            link: interface.name,
            address,
            address6: cni6.and_then(|(_, address)| match address {
                IpAddr::V6(address) => Some(address),
                IpAddr::V4(_) => None,
            }),
        })
    });
    let addresses = interfaces
        .iter()
        .flat_map(|interface| &interface.addresses)
        .map(IpNet::addr)
        .collect();
    Ok(Facts {
        uplink,
        cni,
        addresses,
    })
}
