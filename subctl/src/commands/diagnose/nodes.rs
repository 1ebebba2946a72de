//! `diagnose nodes`: whether each node's kernel has what leads to the other clusters.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::Value;
use subm_api::names::INTERFACE_NAME;
use subm_install::member::nettest::Stand;
use subm_nettest::report::{Link, Node, Way};
use subm_tunnel::vxlan::nodes::{DEVICE, VTEPS, family};
use subm_tunnel::{vxlan, wireguard};

use super::seen::Seen;
use crate::cluster::{list_at, name, str_at};
use crate::commands::MEMBER;
use crate::commands::finding::Part;
use crate::commands::nettest::{Pods, Site, nodes, remedy};
use crate::error::Error;

pub(super) const TITLE: &str = "Checking routes and devices of the nodes";
/// So many pods at once.
const AT_ONCE: usize = 8;

/// Looks at every node that runs pods.
pub(super) async fn check(seen: &Seen, site: &Site, pods: &Pods) -> Result<Part, Error> {
    let mut part = Part::new(TITLE);
    let Some(wanted) = Wanted::of(seen) else {
        part.unknown(
            "No gateway leads in this cluster, so nodes have no way to the others",
            "`subctl diagnose connections` says why",
        );
        return Ok(part);
    };
    let mut words = vec![
        "look".to_owned(),
        format!(
            "--links={DEVICE},{}",
            wanted.cable.as_deref().unwrap_or(DEVICE.as_str())
        ),
    ];
    if wanted.address.is_ipv6() {
        words.push("--ipv6".to_owned());
    }
    words.extend(wanted.networks.iter().map(|(net, _)| net.to_string()));
    let all = nodes::ready(&seen.nodes);
    for some in all.chunks(AT_ONCE) {
        let mut started = Vec::new();
        for node in some {
            match pods.start(site, name(node), Stand::Node, &words).await {
                Ok(pod) => started.push((node, pod)),
                Err(error) => return Ok(not_looked_at(part, name(node), &error)),
            }
        }
        for (node, pod) in started {
            match pods.answer::<Node>(&pod).await {
                Ok(Ok(found)) => wanted.judge(&mut part, name(node), &found),
                Ok(Err(why)) => part.unknown(
                    format!("Node {} could not be looked at: {why}", name(node)),
                    "Look with `ip route` and `ip link` on the node",
                ),
                Err(error) => return Ok(not_looked_at(part, name(node), &error)),
            }
        }
        pods.remove().await;
    }
    if part.findings.is_empty() {
        part.good(format!(
            "All {} nodes send to the {} networks of the other clusters by way of the gateway",
            all.len(),
            wanted.networks.len()
        ));
    }
    Ok(part)
}

fn not_looked_at(mut part: Part, node: &str, error: &Error) -> Part {
    part.unknown(
        format!(
            "Node {node} could not be looked at: {}",
            error.with_causes()
        ),
        remedy(error),
    );
    part
}

/// What nodes should have. Pure.
#[derive(Debug, PartialEq)]
struct Wanted {
    /// Where the cables are.
    gateway: String,
    /// By which the other nodes reach it.
    address: IpAddr,
    /// The cables' device, where they have one, and what it adds to packets.
    cable: Option<String>,
    overhead: u32,
    /// Of the other clusters, with their ids.
    networks: Vec<(IpNet, String)>,
}

/// The address of the gateway's node by which the others reach it, of which its VTEPs are made: the one that it has published, if it is of
/// the nodes' family.
pub(super) fn gateway_address(seen: &Seen, gateway: &str) -> Option<IpAddr> {
    let internal = |node: &Value| -> Vec<IpAddr> {
        let all = list_at(node, "/status/addresses").iter();
        all.filter(|address| str_at(address, "/type") == "InternalIP")
            .filter_map(|address| str_at(address, "/address").parse().ok())
            .collect()
    };
    let all: Vec<Vec<IpAddr>> = seen.nodes.iter().map(internal).collect();
    let ours = family(all.iter().map(Vec::as_slice));
    let published = str_at(own_endpoint(seen)?, "/spec/private_ip").parse();
    let own = seen.nodes.iter().find(|node| name(node) == gateway);
    let own = own.map(internal).unwrap_or_default();
    let mut candidates = published.into_iter().chain(own);
    candidates.find(|address| family([std::slice::from_ref(address)]) == ours)
}

/// The Endpoint of a cluster's own gateway: of several the youngest.
pub(super) fn own_endpoint(seen: &Seen) -> Option<&Value> {
    let ours = seen
        .endpoints
        .iter()
        .filter(|endpoint| str_at(endpoint, "/spec/cluster_id") == seen.id());
    ours.max_by_key(|endpoint| {
        (
            str_at(endpoint, "/metadata/creationTimestamp"),
            name(endpoint),
        )
    })
}

impl Wanted {
    fn of(seen: &Seen) -> Option<Self> {
        let gateway = nodes::gateway(&seen.pods)?.to_owned();
        let address = gateway_address(seen, &gateway)?;
        let spec = &own_endpoint(seen)?["spec"];
        let (cable, overhead) = match (
            str_at(spec, "/backend"),
            spec["backend_config"][INTERFACE_NAME].as_str(),
        ) {
            ("vxlan", _) => {
                // Cables are of the family of the address that is published.
                let between = str_at(spec, "/private_ip").parse().unwrap_or(address);
                (Some(vxlan::DEVICE.as_str()), vxlan::overhead(between))
            }
            ("wireguard", device) => (
                Some(device.unwrap_or(wireguard::DEVICE.as_str())),
                wireguard::OVERHEAD,
            ),
            _ => (None, 0),
        };
        let parse = |key| subm_install::network::parse(seen.setting(key)).unwrap_or_default();
        let own: Vec<IpNet> = [parse("clusterCIDR"), parse("serviceCIDR")].concat();
        // What overlaps is refused, and `deployment` says so.
        let foreign = |net: &IpNet| !own.iter().any(|own| own.contains(net) || net.contains(own));
        let mut networks = Vec::new();
        for endpoint in &seen.endpoints {
            let cluster = str_at(endpoint, "/spec/cluster_id");
            let texts = list_at(endpoint, "/spec/subnets").iter();
            let nets = texts.filter_map(|text| text.as_str()?.parse::<IpNet>().ok());
            for net in nets.map(|net| net.trunc()).filter(foreign) {
                if cluster != seen.id() && !networks.iter().any(|(have, _)| *have == net) {
                    networks.push((net, cluster.to_owned()));
                }
            }
        }
        Some(Self {
            gateway,
            address,
            cable: cable.map(str::to_owned),
            overhead,
            networks,
        })
    }

    fn judge(&self, part: &mut Part, node: &str, found: &Node) {
        let namespace = MEMBER.unwrap_or_default();
        let agent = format!(
            "The route agent makes it: `kubectl -n {namespace} get pods -o wide` says whether one runs on the node, and its log what stops it"
        );
        let link = |name: &str| found.links.iter().find(|link| link.name == name);
        let on_gateway = node == self.gateway;
        let gateways = format!(
            "The gateway makes it: `kubectl -n {namespace} logs daemonset/submariner-gateway` says what stops it"
        );
        let cable = self.cable.as_deref().filter(|_| on_gateway);
        let cable = cable.map(|cable| (cable, self.overhead, &gateways));
        for (device, overhead, remedy) in [(DEVICE.as_str(), vxlan::overhead(self.address), &agent)]
            .into_iter()
            .chain(cable)
        {
            match link(device) {
                None => part.broken(format!("Node {node} has no device {device}"), remedy),
                Some(link) if !link.up => {
                    part.broken(
                        format!("On node {node} the device {device} is down"),
                        remedy,
                    );
                }
                Some(link) => mtu(part, node, link, found.uplink.as_ref(), overhead),
            }
        }
        let out = if on_gateway {
            self.cable.as_deref()
        } else {
            Some(DEVICE.as_str())
        };
        let Some(out) = out else { return };
        // Without the device there are no routes by it.
        if link(out).is_none() {
            return;
        }
        for way in &found.ways {
            let right_hop = match way.via {
                Some(IpAddr::V4(via)) if !on_gateway => via == VTEPS.of(self.address),
                Some(IpAddr::V6(via)) if !on_gateway => via == VTEPS.of6(self.address),
                _ => true,
            };
            if way.link.as_deref() == Some(out) && right_hop {
                continue;
            }
            let leaves = match (&way.link, way.via) {
                (None, _) => "nothing leads there".to_owned(),
                (Some(link), None) => format!("packets leave by {link}"),
                (Some(link), Some(via)) => format!("packets leave by {link} to {via}"),
            };
            part.broken(
                format!(
                    "Node {node} has no route by {out} to {}: {leaves}",
                    self.named(way)
                ),
                if on_gateway { &gateways } else { &agent },
            );
        }
    }

    /// Networks and whose they are.
    fn named(&self, way: &Way) -> String {
        let cluster = |net: &IpNet| {
            let found = self.networks.iter().find(|(have, _)| have == net);
            found.map_or("", |(_, cluster)| cluster)
        };
        let some = way
            .some
            .iter()
            .map(|net| format!("{net} of cluster {:?}", cluster(net)));
        let mut text = some.collect::<Vec<_>>().join(", ");
        let more = (way.networks as usize).saturating_sub(way.some.len());
        if more > 0 {
            text.push_str(&format!(" and {more} more"));
        }
        text
    }
}

/// Packets with what a tunnel adds to them have to fit into the device below it.
fn mtu(part: &mut Part, node: &str, link: &Link, uplink: Option<&Link>, overhead: u32) {
    let Some(uplink) = uplink else { return };
    let (device, have) = (&link.name, link.mtu);
    let best = uplink.mtu.saturating_sub(overhead);
    let remedy = format!(
        "`ip link set {device} mtu {best}` on the node; the program that makes the device keeps it so while it runs"
    );
    if have > best {
        part.broken(
            format!(
                "On node {node} the MTU of {device} is {have}: with {overhead} bytes around them large packets do not fit into {} with {}",
                uplink.name, uplink.mtu
            ),
            remedy,
        );
    } else if have < best {
        part.doubtful(
            format!(
                "On node {node} the MTU of {device} is {have}, and {best} would fit into {}",
                uplink.name
            ),
            remedy,
        );
    }
}

#[cfg(test)]
mod tests;
