//! Which cables a gateway wants, whose paths are checked, and what is said of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use subm_api::submariner::{Endpoint, EndpointSpec};
use subm_tunnel::{Cable, Connection, ConnectionStatus};

use super::settings::Driver;
use crate::remotes::{Refusal, Remote, Why};
use crate::status::readable;

/// What leads to the other clusters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cables {
    /// The most senior first: where two exclude each other, a driver makes that one.
    pub cables: Vec<Cable>,
    /// Where echo requests go, by the name of the cable.
    pub targets: BTreeMap<String, IpAddr>,
    /// Those that no driver is asked for.
    pub impossible: Vec<Connection>,
    /// Whose each of them is, by the name of the cable.
    pub clusters: BTreeMap<String, String>,
    /// What is not even told as a connection, in sentences.
    pub left_out: Vec<String>,
}

/// Whether this gateway's cables carry the traffic of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// We lead.
    Active,
    /// Another gateway's Endpoint stands where ours was: nobody sends here any more.
    Replaced,
    /// We do not lead, and nobody took over: the others still send here, so what is there stays as it is.
    // A Submariner that lost its lease keeps everything, also after another took over (defect 17, surprise 22).
    Waiting,
}

impl Part {
    /// `leading`: the node of this cluster's youngest Endpoint.
    pub fn of(active: bool, node: &str, leading: Option<&str>) -> Self {
        match leading {
            _ if active => Self::Active,
            Some(other) if other != node => Self::Replaced,
            _ => Self::Waiting,
        }
    }
}

/// A cable for each remote.
pub fn cables(remotes: &[Remote], driver: Driver) -> Cables {
    let mut wanted = Cables::default();
    for remote in remotes {
        let cable = cable(remote);
        // Else who comes last could hide how another's cable is.
        if let Some(other) = wanted.clusters.get(&cable.name) {
            wanted.left_out.push(format!(
                "cluster {:?} calls its cable {:?}, as cluster {other:?} does, which was first: it is left out",
                remote.cluster, cable.name
            ));
            continue;
        }
        let cluster = remote.cluster.clone();
        wanted.clusters.insert(cable.name.clone(), cluster);
        if remote.backend != driver.as_str() {
            let message = format!(
                "its cluster's cable driver is {:?} and ours is {driver}: all clusters need the same one",
                remote.backend
            );
            let status = ConnectionStatus::Error;
            wanted
                .impossible
                .push(Connection::new(&cable, status, message));
            continue;
        }
        if let Some(target) = remote.target() {
            wanted.targets.insert(cable.name.clone(), target);
        }
        wanted.cables.push(cable);
    }
    wanted
}

fn cable(remote: &Remote) -> Cable {
    let (using, nat) = way(remote);
    let mut cable = Cable::new(
        &remote.cable,
        &remote.cluster,
        remote.private_ip,
        remote.port,
    )
    .using(using, nat)
    .subnets(remote.networks.iter().copied());
    // A driver that needs the key says that it is missing.
    if let Some(key) = remote
        .public_key
        .as_ref()
        .and_then(|text| text.parse().ok())
    {
        cable = cable.public_key(key);
    }
    if let Some(mac) = remote.vtep_mac.as_ref().and_then(|text| text.parse().ok()) {
        cable = cable.vtep_mac(mac);
    }
    cable
}

/// By which address a gateway is reached: what Submariner chooses where NAT discovery is not to be had.
fn way(remote: &Remote) -> (IpAddr, bool) {
    match remote.public_ip {
        Some(public) if remote.nat_enabled || remote.load_balancer => (public, true),
        _ => (remote.private_ip, false),
    }
}

/// The connections with the Endpoints of the clusters that they lead to, and what is refused of an Endpoint in the message of its connection. What
/// has no connection is told apart.
pub fn told(
    connections: Vec<Connection>,
    clusters: &BTreeMap<String, String>,
    endpoints: &[Endpoint],
    refusals: &[Refusal],
) -> (Vec<(EndpointSpec, Connection)>, Vec<String>) {
    let mut told = Vec::new();
    for connection in connections {
        let spec = endpoints
            .iter()
            .map(|endpoint| &endpoint.spec)
            .find(|spec| {
                spec.cable_name == connection.cable
                    && clusters.get(&spec.cable_name) == Some(&spec.cluster_id)
            });
        if let Some(spec) = spec {
            told.push((readable(spec), connection));
        }
    }
    let mut problems = Vec::new();
    for refusal in refusals {
        // So it is after each fail-over, for a moment.
        if matches!(refusal.why, Why::Superseded { .. }) {
            continue;
        }
        let with = told.iter_mut().find(|(spec, _)| {
            spec.cluster_id == refusal.cluster
                && super::endpoint_name(spec).as_deref() == Some(&refusal.endpoint)
        });
        match with {
            Some((_, connection)) => {
                if !connection.message.is_empty() {
                    connection.message.push_str("; ");
                }
                connection.message.push_str(&refusal.why.to_string());
            }
            None => problems.push(refusal.to_string()),
        }
    }
    (told, problems)
}

#[cfg(test)]
mod tests;
