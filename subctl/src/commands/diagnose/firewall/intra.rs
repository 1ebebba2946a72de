//! Within a cluster: from each node to the gateway's node by VXLAN.

use std::net::SocketAddr;

use serde_json::Value;

use super::{Passage, Sender, observe, passage};
use crate::cluster::name;
use crate::commands::diagnose::nodes::gateway_address;
use crate::commands::diagnose::seen::Seen;
use crate::commands::finding::Part;
use crate::commands::nettest::{Pods, Site, nodes, remedy};
use crate::error::Error;
use subm_nettest::report;
use subm_tunnel::vxlan::nodes::{DEVICE, PORT as VXLAN_PORT, VTEPS};

pub(in crate::commands::diagnose) const TITLE: &str =
    "Checking that firewall configuration allows intra-cluster VXLAN traffic";
/// Discard (RFC 863): nobody has to listen there.
const INSIDE_PORT: u16 = 9;
/// So many nodes at once: what is seen of each is up to four lines in one answer.
const AT_ONCE: usize = 6;

pub(in crate::commands::diagnose) async fn check(
    seen: &Seen,
    site: &Site,
    pods: &Pods,
) -> Result<Part, Error> {
    let mut part = Part::new(TITLE);
    if seen.nodes.len() < 2 {
        part.good("Skipping this check as it's a single node cluster");
        return Ok(part);
    }
    let gateway = nodes::gateway(&seen.pods);
    let address = gateway.and_then(|gateway| gateway_address(seen, gateway));
    let (Some(gateway), Some(address)) = (gateway, address) else {
        part.unknown(
            "No gateway leads in this cluster, so nodes have nobody to send to",
            "`subctl diagnose connections` says why",
        );
        return Ok(part);
    };
    let to = SocketAddr::new(VTEPS.of(address).into(), INSIDE_PORT);
    let others: Vec<&Value> = nodes::ready(&seen.nodes)
        .into_iter()
        .filter(|node| name(node) != gateway)
        .collect();
    for some in others.chunks(AT_ONCE) {
        let senders: Vec<Sender<'_>> = some
            .iter()
            .map(|node| Sender {
                site,
                node: name(node),
                to,
            })
            .collect();
        let ports = format!("{VXLAN_PORT},{INSIDE_PORT}");
        let observed = observe(pods, (site, gateway), &ports, 4 * some.len(), &senders).await;
        let (arrived, troubles) = match observed {
            Ok(observed) => observed,
            Err(error) => {
                part.unknown(
                    format!("It could not be tried: {}", error.with_causes()),
                    remedy(&error),
                );
                return Ok(part);
            }
        };
        super::seen(&mut part, pods, gateway, &arrived);
        for (at, (node, trouble)) in some.iter().zip(troubles).enumerate() {
            let tag = 2 * u16::try_from(at).unwrap_or_default();
            judge(&mut part, (name(node), gateway), &arrived, tag, trouble);
        }
    }
    if part.is_good() {
        part.good(format!(
            "UDP port {VXLAN_PORT} is open from {} nodes to gateway node {gateway}",
            others.len()
        ));
    }
    Ok(part)
}

fn judge(
    part: &mut Part,
    (node, gateway): (&str, &str),
    arrived: &report::Seen,
    tag: u16,
    trouble: Option<String>,
) {
    let (outside, inside) = (
        passage(arrived, VXLAN_PORT, tag),
        passage(arrived, INSIDE_PORT, tag),
    );
    match (outside, inside) {
        (_, Passage::Whole) => {}
        (Passage::Nothing, Passage::Nothing) => match trouble {
            Some(why) => part.broken(
                format!("Node {node} cannot send to gateway node {gateway} by {DEVICE}: {why}"),
                "`subctl diagnose nodes` says what is missing there",
            ),
            None => part.broken(
                format!(
                    "UDP port {VXLAN_PORT} is blocked from node {node} to gateway node {gateway}: nothing arrives there"
                ),
                format!(
                    "Let UDP port {VXLAN_PORT} pass between all nodes of the cluster: security groups, firewalls between them, and that of node {node}"
                ),
            ),
        },
        (_, Passage::Nothing) => part.broken(
            format!(
                "UDP port {VXLAN_PORT} from node {node} arrives at gateway node {gateway}, and its device {DEVICE} does not get it"
            ),
            format!(
                "Let that node's own packet filter accept UDP port {VXLAN_PORT}; `subctl diagnose nodes` says whether the device is as it should be"
            ),
        ),
        (_, Passage::SmallOnly | Passage::Cut(_)) => part.broken(
            format!(
                "Large packets from node {node} do not arrive at gateway node {gateway} through {DEVICE}, small ones do: its MTU is too large for the way"
            ),
            format!(
                "Give the nodes' network devices the MTU that the network between them has, and restart the route agents; `subctl diagnose nodes` shows what {DEVICE} has"
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::sighting;
    use super::*;
    use crate::commands::finding::faults;

    fn told(sightings: &[(u16, u16)], trouble: Option<&str>) -> Vec<String> {
        let arrived = report::Seen {
            sightings: sightings
                .iter()
                .map(|(tag, port)| sighting(*tag, *port, 100, false))
                .collect(),
        };
        let mut part = Part::new(TITLE);
        judge(
            &mut part,
            ("w2", "w1"),
            &arrived,
            0,
            trouble.map(str::to_owned),
        );
        faults(&[part])
    }

    #[test]
    fn the_hop_is_named_on_which_packets_are_lost() {
        let all = [(0, 4800), (1, 4800), (0, 9), (1, 9)];
        assert!(told(&all, None).is_empty());
        for (sightings, trouble, words) in [
            (
                &[][..],
                None,
                "UDP port 4800 is blocked from node w2 to gateway node w1",
            ),
            (
                &[][..],
                Some("no route to 240.20.8.11"),
                "Node w2 cannot send to gateway node w1 by vx-submariner: no route",
            ),
            (
                &all[..2],
                None,
                "UDP port 4800 from node w2 arrives at gateway node w1, and its device",
            ),
            (&all[..3], None, "Large packets from node w2 do not arrive"),
            // Those of another node.
            (
                &[(2, 4800), (3, 4800), (2, 9), (3, 9)][..],
                None,
                "UDP port 4800 is blocked",
            ),
        ] {
            let told = told(sightings, trouble);
            assert!(
                matches!(&told[..], [one] if one.starts_with(words)),
                "{sightings:?}: {told:?}"
            );
        }
    }
}
