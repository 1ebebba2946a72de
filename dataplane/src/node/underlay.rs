//! By which addresses the nodes of a cluster reach each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::Node;
use subm_routing::Family;
use subm_tunnel::vxlan::nodes::family;

/// The nodes' addresses, as their objects tell.
///
/// All nodes use one [`family`]. A node of a cluster with both that tells its IPv6 address first moves nobody, and one that is unlike the
/// others leaves only itself out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    pub family: Family,
    /// The first InternalIP of that family of every node that has one.
    pub nodes: BTreeMap<String, IpAddr>,
    /// The InternalIPs of all nodes, of both families.
    pub all: BTreeSet<IpAddr>,
    /// Nodes with addresses of the other family only.
    pub left_out: BTreeSet<String>,
}

impl Underlay {
    pub fn of<'a>(nodes: impl Iterator<Item = &'a Node>) -> Self {
        let named: Vec<(String, Vec<IpAddr>)> = nodes
            .filter_map(|node| Some((node.metadata.name.clone()?, internal_ips(node))))
            .collect();
        let all: BTreeSet<IpAddr> = named.iter().flat_map(|(_, ips)| ips).copied().collect();
        let told = named.iter().filter(|(_, ips)| !ips.is_empty());
        let family = family(named.iter().map(|(_, ips)| ips.as_slice()));
        let first = |ips: &[IpAddr]| ips.iter().copied().find(|ip| Family::of(ip) == family);
        let mut left_out: BTreeSet<String> = told.map(|(name, _)| name.clone()).collect();
        let nodes: BTreeMap<String, IpAddr> = named
            .iter()
            .filter_map(|(name, ips)| Some((name.clone(), first(ips)?)))
            .collect();
        left_out.retain(|name| !nodes.contains_key(name));
        Self {
            family,
            nodes,
            all,
            left_out,
        }
    }

    /// What a person has to mend.
    pub fn troubles(&self) -> impl Iterator<Item = String> + '_ {
        let family = self.family;
        self.left_out.iter().map(move |node| {
            format!("node {node:?} tells no InternalIP of {family}, by which the other nodes reach each other: its pods are not reached from other clusters")
        })
    }
}

fn internal_ips(node: &Node) -> Vec<IpAddr> {
    let status = node.status.as_ref();
    let addresses = status.and_then(|status| status.addresses.as_ref());
    addresses
        .into_iter()
        .flatten()
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, addresses: &[&str]) -> Node {
        let addresses: Vec<_> = addresses
            .iter()
            .map(|address| json!({"type": "InternalIP", "address": address}))
            .chain([json!({"type": "Hostname", "address": name})])
            .collect();
        serde_json::from_value(
            json!({"metadata": {"name": name}, "status": {"addresses": addresses}}),
        )
        .expect("a Node")
    }

    fn told(nodes: &[Node]) -> (Family, Vec<String>) {
        let underlay = Underlay::of(nodes.iter());
        let words = underlay.nodes.iter();
        let words = words.map(|(name, ip)| format!("{name} {ip}")).collect();
        (underlay.family, words)
    }

    #[test]
    fn ipv4_where_half_of_the_nodes_have_it() {
        let both = node("n1", &["fd00::11", "172.31.1.11", "172.31.1.12"]);
        let new = node("n2", &["fd00::12"]);
        let expected = (Family::V4, vec!["n1 172.31.1.11".to_owned()]);
        assert_eq!(told(&[both.clone(), new.clone()]), expected);
        let all = Underlay::of([both, new].iter()).all;
        assert_eq!(all.len(), 4, "of both families: {all:?}");
    }

    #[test]
    fn ipv6_where_no_node_has_anything_else() {
        let nodes = [node("n1", &["fd00::11"]), node("n2", &["fd00::12"])];
        let expected = ["n1 fd00::11", "n2 fd00::12"].map(str::to_owned);
        assert_eq!(told(&nodes), (Family::V6, expected.into()));
    }

    /// Before, one such node left every node of the cluster as it was.
    #[test]
    fn a_node_unlike_the_others_is_left_out_alone_and_told() {
        let odd = node("odd", &["172.31.1.11"]);
        let silent = node("silent", &[]);
        let nodes = [
            odd,
            silent,
            node("n1", &["fd00::11"]),
            node("n2", &["fd00::12"]),
        ];
        let expected = ["n1 fd00::11", "n2 fd00::12"].map(str::to_owned);
        assert_eq!(told(&nodes), (Family::V6, expected.into()));
        let troubles: Vec<String> = Underlay::of(nodes.iter()).troubles().collect();
        let [trouble] = &troubles[..] else {
            panic!("{troubles:?}");
        };
        assert!(
            trouble.contains("\"odd\"") && trouble.contains("IPv6"),
            "{trouble}"
        );
    }

    #[test]
    fn before_anything_is_known_it_is_ipv4() {
        assert_eq!(told(&[]), (Family::V4, vec![]));
        assert_eq!(
            told(&[node("n1", &[]), node("n2", &["none"])]),
            (Family::V4, vec![])
        );
    }
}
