//! A look at the node's kernel: devices, and how it would send packets.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use subm_routing::{Error, Family, Kernel, Settings};

use crate::report::{Link, Node, Way};

/// So many networks of each way are named; all are counted.
const NAMED: usize = 8;
/// So many ways are told.
const WAYS: usize = 12;

/// Looks, and changes nothing; needs no right.
///
/// `family` is the one by which the nodes reach each other: the uplink is that of its default route.
pub async fn look(links: &[String], networks: &[IpNet], family: Family) -> Result<Node, Error> {
    let kernel = Kernel::open(Settings::new())?;
    let interfaces = kernel.interfaces().await?;
    let link = |name: &str| {
        let found = interfaces
            .iter()
            .find(|interface| interface.name.as_str() == name)?;
        Some(Link {
            name: name.to_owned(),
            mtu: found.mtu,
            up: found.up,
        })
    };
    let uplink = kernel.default_route(family).await?;
    let mut paths = Vec::new();
    for net in networks {
        let path = kernel.path_to(inside(net)).await?;
        let (link, via) = match path {
            Some(path) => (Some(path.link.as_str().to_owned()), path.gateway),
            None => (None, None),
        };
        paths.push((*net, link, via));
    }
    Ok(Node {
        uplink: uplink.and_then(|uplink| link(uplink.link.as_str())),
        links: links.iter().filter_map(|name| link(name)).collect(),
        ways: ways(paths),
    })
}

/// An address of a network that a host may have.
fn inside(net: &IpNet) -> IpAddr {
    net.hosts().next().unwrap_or(net.addr())
}

/// Those that are used least first: they are the ones that differ from the others.
fn ways(paths: Vec<(IpNet, Option<String>, Option<IpAddr>)>) -> Vec<Way> {
    let mut by_way: BTreeMap<_, Vec<IpNet>> = BTreeMap::new();
    for (net, link, via) in paths {
        by_way.entry((link, via)).or_default().push(net);
    }
    let ways = by_way.into_iter().map(|((link, via), nets)| Way {
        link,
        via,
        networks: u32::try_from(nets.len()).unwrap_or(u32::MAX),
        some: nets.into_iter().take(NAMED).collect(),
    });
    let mut ways: Vec<Way> = ways.collect();
    ways.sort_by_key(|way| way.networks);
    ways.truncate(WAYS);
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{LIMIT, encode};

    fn net(text: &str) -> IpNet {
        text.parse().unwrap()
    }

    #[test]
    fn networks_that_go_another_way_come_first() {
        let vx = || Some("vx-submariner".to_owned());
        let via = Some(IpAddr::from([240, 20, 8, 11]));
        let mut paths: Vec<_> = (0..200u8)
            .map(|n| (net(&format!("10.{n}.0.0/16")), vx(), via))
            .collect();
        paths.push((net("10.220.0.0/16"), Some("eth0".to_owned()), None));
        paths.push((net("10.221.0.0/16"), None, None));
        let ways = ways(paths);
        let short: Vec<_> = ways
            .iter()
            .map(|way| (way.link.as_deref(), way.networks, way.some.len()))
            .collect();
        assert_eq!(
            short,
            [
                (None, 1, 1),
                (Some("eth0"), 1, 1),
                (Some("vx-submariner"), 200, NAMED)
            ]
        );
    }

    #[test]
    fn however_many_ways_there_are_the_answer_fits() {
        let paths = (0..3000u32).map(|n| {
            let net = format!("fd00:1234:5678:{:x}::/64", n % 0xffff);
            let link = Some(format!("submariner-{:04}", n / 9));
            let via = format!("fd53:7562:6d00:64::{n:x}").parse().ok();
            (net.parse().unwrap(), link, via.filter(|_| n % 9 == 0))
        });
        let node = Node {
            ways: ways(paths.collect()),
            ..Node::default()
        };
        let text = encode(&Ok(node));
        assert!(text.len() < LIMIT && text.starts_with("{\"Ok\""), "{text}");
    }

    #[test]
    fn an_address_is_one_of_a_host() {
        assert_eq!(inside(&net("10.9.0.0/16")), IpAddr::from([10, 9, 0, 1]));
        assert_eq!(inside(&net("10.9.0.7/32")), IpAddr::from([10, 9, 0, 7]));
        assert!(net("fd00:9::/48").contains(&inside(&net("fd00:9::/48"))));
    }
}
