//! A node's RouteAgent object: which paths are checked, what is told of them, and when it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use subm_api::submariner::{Endpoint, EndpointSpec, RemoteEndpoint, RouteAgent, RouteAgentStatus};
use subm_tunnel::ConnectionStatus;
use subm_tunnel::health::{Health, PathStatus, Rtt};

use super::{Trouble, View};
use crate::remotes::{Refusal, Remote, Why};
use crate::status::{RENEWAL, Stale, is_recent, latency, readable, stamp, without_times};

/// Whether this node asks the gateways of other clusters whether they answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checks {
    /// It is told not to.
    Off,
    /// The gateway process on this node does, for all.
    OnGateway,
    /// There is no way that could be checked, and why: what answers all the same is not what is asked.
    NoWay(String),
    /// By way of the cluster's gateway.
    ThroughGateway,
}

impl Checks {
    pub fn of(view: &View, enabled: bool) -> Self {
        let Some(gateway) = view.gateway.as_ref().filter(|_| enabled) else {
            return if enabled {
                Self::NoWay("this cluster has no active gateway".to_owned())
            } else {
                Self::Off
            };
        };
        if view.is_on(gateway) {
            Self::OnGateway
        } else if view.address_of(gateway).is_some() {
            Self::ThroughGateway
        } else {
            Self::NoWay(Trouble::GatewayElsewhere(gateway.private_ip).to_string())
        }
    }

    /// Whom to ask, by [`path`].
    pub fn targets(&self, remotes: &[Remote]) -> BTreeMap<String, IpAddr> {
        let target = |remote: &Remote| Some((path(remote)?, remote.target()?));
        match self {
            Self::ThroughGateway => remotes.iter().filter_map(target).collect(),
            Self::Off | Self::OnGateway | Self::NoWay(_) => BTreeMap::new(),
        }
    }
}

/// What the path to a remote is called, if there is something to ask. With another address it is another path, and nothing that was known of the old one is told of it.
pub fn path(remote: &Remote) -> Option<String> {
    Some(format!("{} at {}", remote.endpoint, remote.target()?))
}

/// What is known of the other clusters.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub checks: &'a Checks,
    pub endpoints: &'a [Endpoint],
    /// Who of them is believed, and what is not.
    pub remotes: &'a [Remote],
    pub refusals: &'a [Refusal],
    /// By [`path`].
    pub healths: &'a BTreeMap<String, Health>,
}

/// The gateway of another cluster, and how it is reached from here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub spec: EndpointSpec,
    pub status: ConnectionStatus,
    /// Empty where there is nothing to say.
    pub message: String,
    pub rtt: Option<Rtt>,
}

/// One for each other cluster, of its Endpoint that counts. Those that count no more have left (defect 11).
pub fn rows(known: &Known<'_>) -> Vec<Row> {
    let by_name: BTreeMap<&str, &Endpoint> = known
        .endpoints
        .iter()
        .filter_map(|endpoint| Some((endpoint.metadata.name.as_deref()?, endpoint)))
        .collect();
    let believed = known.remotes.iter().filter_map(|remote| {
        let endpoint = by_name.get(remote.endpoint.as_str())?;
        Some(row(known, remote, endpoint))
    });
    let mut rows: Vec<Row> = believed.chain(refused(known, &by_name)).collect();
    // Always in the same order: another one would be news.
    rows.sort_by(|a, b| place(a).cmp(&place(b)));
    rows
}

fn place(row: &Row) -> (&str, &str) {
    (&row.spec.cluster_id, &row.spec.cable_name)
}

fn row(known: &Known<'_>, remote: &Remote, endpoint: &Endpoint) -> Row {
    let asked = *known.checks == Checks::ThroughGateway;
    let path = path(remote).filter(|_| asked);
    let health = path.and_then(|path| known.healths.get(&path));
    let (status, mut message) = judged(known.checks, remote, health);
    let theirs = known.refusals.iter().filter(|refusal| {
        refusal.endpoint == remote.endpoint && !matches!(refusal.why, Why::Superseded { .. })
    });
    for refusal in theirs {
        if !message.is_empty() {
            message.push_str("; ");
        }
        message.push_str(&refusal.why.to_string());
    }
    Row {
        spec: readable(&endpoint.spec),
        status,
        message,
        rtt: health.and_then(|health| health.rtt),
    }
}

/// The sentences for `none` are Submariner's.
fn judged(checks: &Checks, remote: &Remote, health: Option<&Health>) -> (ConnectionStatus, String) {
    use ConnectionStatus::{Connected, Error, None as Unchecked};
    let unchecked = |why: &str| (Unchecked, why.to_owned());
    match checks {
        Checks::Off => return unchecked("Health check is not enabled"),
        Checks::OnGateway => return unchecked("Health check is not performed on gateway nodes"),
        Checks::NoWay(why) => return (Error, why.clone()),
        Checks::ThroughGateway => {}
    }
    let Some(target) = remote.target() else {
        return match remote.health_check_ip {
            None => unchecked("Health checker IP is not configured"),
            Some(ip) => unchecked(&format!(
                "Health checker IP {ip} is in none of the networks that it is believed to reach"
            )),
        };
    };
    match health {
        Some(health) => match health.status {
            PathStatus::Connected => (Connected, health.message.clone()),
            PathStatus::Unknown if health.message.is_empty() => waiting(target),
            // What is not asked cannot be trusted to work either, and says why.
            PathStatus::Unknown | PathStatus::Error => (Error, health.message.clone()),
        },
        None => waiting(target),
    }
}

/// Submariner's word for a path of which nothing is known yet is none at all.
fn waiting(target: IpAddr) -> (ConnectionStatus, String) {
    let message = format!("The remote endpoint IP \"{target}\" has not answered yet");
    (ConnectionStatus::Connecting, message)
}

/// A cluster of which no Endpoint is believed, with the first reason for it.
fn refused<'a>(
    known: &'a Known<'_>,
    by_name: &'a BTreeMap<&str, &Endpoint>,
) -> impl Iterator<Item = Row> + 'a {
    let clusters = known.remotes.iter().map(|remote| remote.cluster.as_str());
    let mut seen: BTreeSet<&str> = clusters.collect();
    known.refusals.iter().filter_map(move |refusal| {
        let endpoint = by_name.get(refusal.endpoint.as_str())?;
        seen.insert(&refusal.cluster).then(|| Row {
            spec: readable(&endpoint.spec),
            status: ConnectionStatus::Error,
            message: refusal.why.to_string(),
            rtt: None,
        })
    })
}

/// The status as it is now; `problems` are what does not work, in sentences.
pub fn status(rows: &[Row], problems: &[String], version: &str) -> RouteAgentStatus {
    let rows = rows.iter().map(|row| RemoteEndpoint {
        status: row.status.to_string(),
        status_message: row.message.clone(),
        spec: row.spec.clone(),
        latency_rtt: row.rtt.map(latency),
    });
    RouteAgentStatus {
        version: version.to_owned(),
        status_failure: problems.join("; "),
        remote_endpoints: rows.collect(),
    }
}

/// A Node: its name, and which of that name it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfNode<'a> {
    pub name: &'a str,
    pub uid: &'a str,
}

/// What is to be done about the RouteAgent object.
#[derive(Clone, Debug, PartialEq)]
pub enum Write {
    Put(Box<RouteAgent>),
    Delete(Stale),
}

/// `None` while what stands there is good enough. News are written at once, round-trip times alone once a minute; without either nothing
/// is. It is owned by the Node, so that it goes with it, by Kubernetes' own rule; where there is no Node, none is wanted. `epoch` is the
/// time since 1970.
pub fn publish(
    namespace: &str,
    node: Option<OfNode<'_>>,
    wanted: &RouteAgentStatus,
    observed: Option<&RouteAgent>,
    epoch: Duration,
) -> Option<Write> {
    let Some(node) = node else {
        return observed
            .and_then(|agent| Stale::of(&agent.metadata))
            .map(Write::Delete);
    };
    let mut agent = observed.cloned().unwrap_or_default();
    let owned = own(&mut agent, node);
    if let Some(there) = observed
        .and_then(|agent| agent.status.as_ref())
        .filter(|_| owned)
        && is_no_news(there, wanted)
        && (there == wanted || is_recent(&agent.metadata, epoch, RENEWAL))
    {
        return None;
    }
    agent.metadata.name = Some(node.name.to_owned());
    agent.metadata.namespace = Some(namespace.to_owned());
    agent.status = Some(wanted.clone());
    stamp(&mut agent.metadata, epoch);
    Some(Write::Put(Box::new(agent)))
}

/// Makes the Node its owner. Whether it was.
fn own(agent: &mut RouteAgent, node: OfNode<'_>) -> bool {
    let ours = OwnerReference {
        api_version: "v1".to_owned(),
        kind: "Node".to_owned(),
        name: node.name.to_owned(),
        uid: node.uid.to_owned(),
        ..OwnerReference::default()
    };
    let owners = agent.metadata.owner_references.get_or_insert_default();
    if owners.contains(&ours) {
        return true;
    }
    // A Node that had this name before.
    owners.retain(|owner| owner.kind != ours.kind);
    owners.push(ours);
    false
}

/// Whether a reader who does not look at round-trip times sees the same.
fn is_no_news(old: &RouteAgentStatus, new: &RouteAgentStatus) -> bool {
    let plain = |status: &RouteAgentStatus| {
        let rows = status.remote_endpoints.iter().cloned().map(|mut row| {
            without_times(&mut row.latency_rtt);
            row
        });
        let remote_endpoints = rows.collect();
        RouteAgentStatus {
            remote_endpoints,
            ..status.clone()
        }
    };
    old.remote_endpoints.bad.is_empty() && plain(old) == plain(new)
}

#[cfg(test)]
mod tests;
