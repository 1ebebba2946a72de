//! `diagnose connections`: hop by hop from another cluster's Endpoint on the broker to the nodes here.

use std::collections::BTreeMap;

use serde_json::Value;
use subm_api::names::{CONNECTED, HA_ACTIVE, PUBLIC_KEY, UDP_PORT, UPDATE_TIMESTAMP, VALID_FOR};

use super::seen::Seen;
use crate::cluster::{annotation, list_at, name, str_at};
use crate::commands::MEMBER;
use crate::commands::finding::Part;

/// Upstream's gateways write every few seconds, and count as gone after as many. Ours say themselves for how long nobody need worry.
const STALE_SECONDS: i64 = 15;

pub(super) fn check(seen: &Seen) -> Vec<Part> {
    let mut parts = vec![gateways(seen)];
    if !seen.route_agents.is_empty() {
        parts.push(route_agents(seen));
    }
    parts
}

fn gateways(seen: &Seen) -> Part {
    let mut part = Part::new("Checking gateway connections");
    let namespace = MEMBER.unwrap_or_default();
    if seen.gateways.is_empty() {
        part.broken(
            "no gateways were detected",
            format!(
                "Run `subctl diagnose deployment`; `kubectl -n {namespace} logs daemonset/submariner-gateway` says what stops it"
            ),
        );
        return part;
    }
    for gateway in &seen.gateways {
        let failure = str_at(gateway, "/status/statusFailure");
        if !failure.is_empty() {
            part.broken(
                format!("Gateway {} does not work: {failure}", name(gateway)),
                format!("`kubectl -n {namespace} logs daemonset/submariner-gateway` says more"),
            );
        }
    }
    let active = seen
        .gateways
        .iter()
        .find(|gateway| str_at(gateway, "/status/haStatus") == HA_ACTIVE);
    let Some(active) = active else {
        part.broken(
            "No active gateway was found",
            format!(
                "Look for the one that holds Lease {namespace}/submariner-gateway-lock; each gateway waits for it"
            ),
        );
        return part;
    };
    let valid = annotation(active, VALID_FOR).parse();
    let valid = valid.unwrap_or(STALE_SECONDS);
    if let Some(age) = age(active, seen.now).filter(|age| *age > valid) {
        part.broken(
            format!(
                "Gateway {} has said nothing for {age} s, so what it says is old",
                name(active)
            ),
            format!("Look whether its pod in {namespace} runs, and reaches the API server"),
        );
    }
    let connections: BTreeMap<&str, &Value> = list_at(active, "/status/connections")
        .iter()
        .map(|connection| (str_at(connection, "/endpoint/cluster_id"), connection))
        .collect();
    let local = &active["status"]["localEndpoint"];
    let remotes = remotes(seen);
    for (cluster, remote) in &remotes {
        if let Some(stale) = remote.stale_key() {
            part.broken(
                format!(
                    "The public key of cluster {cluster:?} in this cluster ({stale}) is not the one that it has published on the broker: nothing that is encrypted for it is understood there"
                ),
                format!(
                    "The active gateway copies the Endpoint from the broker: `kubectl -n {namespace} logs daemonset/submariner-gateway` says why it does not"
                ),
            );
        }
        if let Some(connection) = connections.get(cluster) {
            judge(&mut part, local, connection);
        } else if remote.here.is_none() {
            part.broken(
                format!(
                    "The Endpoint of cluster {cluster:?} is on the broker and not in this cluster"
                ),
                format!(
                    "The active gateway copies it: `kubectl -n {namespace} logs daemonset/submariner-gateway` says whether it reaches the broker, or refuses its networks"
                ),
            );
        } else {
            part.broken(
                format!(
                    "Gateway {} has not taken up the Endpoint of cluster {cluster:?}",
                    name(active)
                ),
                format!("`kubectl -n {namespace} logs daemonset/submariner-gateway` says why"),
            );
        }
    }
    // Endpoints that have gone, and their connections not.
    for (cluster, connection) in &connections {
        if !remotes.contains_key(cluster) {
            judge(&mut part, local, connection);
        }
    }
    if connections.is_empty() && remotes.is_empty() {
        part.doubtful(
            format!("There are no active connections on gateway {:?}", name(active)),
            "No other cluster has a gateway that is known on the broker: let another one join with connectivity, and look there if it has",
        );
    }
    if part.findings.is_empty() {
        part.good(format!(
            "All {} connections are established",
            connections.len()
        ));
    }
    part
}

/// The Endpoint of another cluster, where it is.
#[derive(Default)]
struct Remote<'a> {
    here: Option<&'a Value>,
    on_broker: Vec<&'a Value>,
}

impl Remote<'_> {
    /// The key that is known here, if the same gateway has published another one since.
    fn stale_key(&self) -> Option<&str> {
        let here = self.here?;
        let key = |endpoint: &'_ Value| endpoint["spec"]["backend_config"][PUBLIC_KEY].clone();
        let there = self
            .on_broker
            .iter()
            .find(|there| name(there) == name(here))?;
        let differs = key(there).is_string() && key(there) != key(here);
        differs.then(|| {
            here["spec"]["backend_config"][PUBLIC_KEY]
                .as_str()
                .unwrap_or("none")
        })
    }
}

fn remotes(seen: &Seen) -> BTreeMap<&str, Remote<'_>> {
    let mut remotes: BTreeMap<&str, Remote<'_>> = BTreeMap::new();
    let id = |endpoint: &'_ Value| -> bool { str_at(endpoint, "/spec/cluster_id") != seen.id() };
    for endpoint in seen.broker.endpoints.iter().filter(|endpoint| id(endpoint)) {
        remotes
            .entry(str_at(endpoint, "/spec/cluster_id"))
            .or_default()
            .on_broker
            .push(endpoint);
    }
    for endpoint in seen.endpoints.iter().filter(|endpoint| id(endpoint)) {
        remotes
            .entry(str_at(endpoint, "/spec/cluster_id"))
            .or_default()
            .here = Some(endpoint);
    }
    remotes
}

/// One connection, and between which addresses its packets have to pass.
fn judge(part: &mut Part, local: &Value, connection: &Value) {
    let remote = &connection["endpoint"];
    let cluster = str_at(remote, "/cluster_id");
    let status = str_at(connection, "/status");
    if status == CONNECTED {
        return;
    }
    let message = match str_at(connection, "/statusMessage") {
        "" => String::new(),
        message => format!(": {message}"),
    };
    let (ours, theirs) = (str_at(local, "/backend"), str_at(remote, "/backend"));
    if ours != theirs && !theirs.is_empty() {
        part.broken(
            format!("Cluster {cluster:?} has cables of {theirs}, this one of {ours}"),
            "Let both join with the same --cable-driver",
        );
        return;
    }
    if theirs == "wireguard" && remote["backend_config"].get(PUBLIC_KEY).is_none() {
        part.broken(
            format!("The Endpoint of cluster {cluster:?} has no public key"),
            "Its gateway writes one when it starts: look at its log there",
        );
        return;
    }
    let using = match str_at(connection, "/usingIP") {
        "" => str_at(remote, "/private_ip"),
        ip => ip,
    };
    let port = |endpoint: &Value| match endpoint["backend_config"][UDP_PORT].as_str() {
        Some(port) => port.to_owned(),
        None => "4500".to_owned(),
    };
    let remedy = format!(
        "Let UDP pass from {} to {using} port {}, and from there to port {} here; `subctl diagnose firewall inter-cluster` with --remotecontext tries it",
        str_at(local, "/private_ip"),
        port(remote),
        port(local)
    );
    if status == "connecting" {
        part.doubtful(
            format!("Connection to cluster {cluster:?} is in progress{message}"),
            remedy,
        );
    } else {
        part.broken(
            format!("Connection to cluster {cluster:?} is not established ({status}){message}"),
            remedy,
        );
    }
}

/// Seconds since a Gateway was written; unknown where it does not say.
fn age(gateway: &Value, now: i64) -> Option<i64> {
    let written: i64 = annotation(gateway, UPDATE_TIMESTAMP).parse().ok()?;
    Some(now - written)
}

/// From nodes to the gateways of other clusters, by way of the own one.
fn route_agents(seen: &Seen) -> Part {
    let mut part = Part::new("Checking route agent connections");
    for agent in &seen.route_agents {
        let node = name(agent);
        let failure = str_at(agent, "/status/statusFailure");
        if !failure.is_empty() {
            part.broken(
                format!("The route agent of node {node} does not work: {failure}"),
                "Look at the log of its pod",
            );
        }
        for remote in list_at(agent, "/status/remoteEndpoints") {
            let cluster = str_at(remote, "/spec/cluster_id");
            let status = str_at(remote, "/status");
            let message = str_at(remote, "/statusMessage");
            match status {
                // Nothing is checked on a gateway node, or where there is no address for it.
                CONNECTED | "none" => {}
                // Upstream's agents say nothing at all before the first answer.
                "connecting" | "" => part.doubtful(
                    format!("Node {node} has no answer from cluster {cluster:?} yet"),
                    "Look again in a minute; if it stays like that, whether the gateway is connected",
                ),
                _ => part.broken(
                    format!("Node {node} does not reach cluster {cluster:?} ({status}): {message}"),
                    "If the gateway is connected, the way from this node to the gateway is broken: `subctl diagnose nodes` and `subctl diagnose firewall intra-cluster` say where",
                ),
            }
        }
    }
    if part.findings.is_empty() {
        let agents = seen.route_agents.len();
        part.good(format!(
            "All {agents} route agents reach the other clusters, or leave that to the gateway"
        ));
    }
    part
}

#[cfg(test)]
mod tests;
