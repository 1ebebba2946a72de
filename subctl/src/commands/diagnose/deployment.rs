//! `diagnose deployment`: whether all that was installed runs, and whether the members' networks fit together.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::Value;
use subm_api::names::{GATEWAY_LABEL, HA_ACTIVE};
use subm_install::names::{AGENT, CONNECTIVITY, DNS, GATEWAY, ROUTE_AGENT, SERVICE_DISCOVERY};
use subm_install::{network, overlap};

use super::seen::Seen;
use crate::claims;
use crate::cluster::{condition, label, list_at, name, str_at};
use crate::commands::finding::Part;
use crate::commands::{MEMBER, wait};

/// As in upstream.
const MANY_RESTARTS: u64 = 5;

pub(super) fn check(seen: &Seen) -> Vec<Part> {
    let mut parts = vec![broker(seen)];
    parts.extend(globalnet(seen));
    if seen.has(CONNECTIVITY) {
        parts.extend([networks(seen), own_network(seen), gateway_nodes(seen)]);
        for name in [GATEWAY, ROUTE_AGENT] {
            parts.push(workload("DaemonSet", name, &seen.daemon_sets));
        }
    }
    if seen.has(SERVICE_DISCOVERY) {
        for name in [AGENT, DNS] {
            parts.push(workload("Deployment", name, &seen.deployments));
        }
    }
    parts.push(pods(seen));
    parts
}

fn broker(seen: &Seen) -> Part {
    let mut part = Part::new("Checking the way to the broker");
    match &seen.broker.trouble {
        Some(trouble) => part.broken(
            format!("The broker cannot be asked with this cluster's account: {trouble}"),
            "If it has moved, or the account was removed there, run `subctl join` with a new broker-info.subm; what is connected stays so meanwhile",
        ),
        None => part.good("The broker answers"),
    }
    part
}

/// The others are told of global IPs alone, and nothing gives any.
fn globalnet(seen: &Seen) -> Option<Part> {
    let cidr = seen.setting("globalCIDR");
    if cidr.is_empty() {
        return None;
    }
    let mut part =
        Part::new("Checking that Services can have the addresses that others reach them by");
    part.broken(
        format!(
            "The cluster joined with Globalnet (global CIDR {cidr}), and this version gives no global IPs: exports fail, and no other cluster \
             reaches anything in it"
        ),
        "Where its networks are no other's, run `subctl join` again with --globalnet=false; else it needs other networks",
    );
    Some(part)
}

/// Of all members, as the broker knows them.
fn networks(seen: &Seen) -> Part {
    let globalnet = !seen.setting("globalCIDR").is_empty();
    let mut part = Part::new(if globalnet {
        "Globalnet deployment detected - checking that globalnet CIDRs do not overlap"
    } else {
        "Non-Globalnet deployment detected - checking that cluster CIDRs do not overlap"
    });
    let mut by_cluster: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for endpoint in &seen.broker.endpoints {
        by_cluster
            .entry(str_at(endpoint, "/spec/cluster_id"))
            .or_default()
            .push(name(endpoint));
    }
    for (cluster, endpoints) in by_cluster {
        if let [first, second, ..] = &endpoints[..] {
            part.doubtful(
                format!("Found multiple Submariner endpoints ({first:?} and {second:?}) in cluster {cluster:?}"),
                "For a moment that is so when another gateway takes over; if it stays, delete on the broker the one of the gateway that is gone",
            );
        }
    }
    let all = claims::read(&seen.broker.clusters, &seen.broker.endpoints);
    for (at, claim) in all.iter().enumerate() {
        for found in overlap::find(claim, &all[at + 1..]) {
            part.broken(
                format!(
                    "CIDR {:?} in cluster {:?} overlaps with cluster {:?} (CIDR {:?})",
                    found.ours.to_string(),
                    claim.cluster,
                    found.cluster,
                    found.theirs.to_string()
                ),
                "One of them has to have other networks: until then one is not reached",
            );
        }
    }
    part
}

/// What the nodes have is what the others were told.
fn own_network(seen: &Seen) -> Part {
    let mut part = Part::new("Checking that the cluster's networks are those that it joined with");
    let nets = |key| network::parse(seen.setting(key)).unwrap_or_default();
    let (told, told_services): (Vec<IpNet>, Vec<IpNet>) =
        (nets("clusterCIDR"), nets("serviceCIDR"));
    for clash in network::clashes(&told, &told_services) {
        part.broken(
            format!("What it joined with cannot be: {clash}"),
            "Run `subctl join` again with --clustercidr and --servicecidr, each as it is",
        );
    }
    if let Some(unreached) = seen.services.outside(&told_services) {
        part.broken(
            format!("{unreached} that the cluster joined with ({})", seen.setting("serviceCIDR")),
            "Run `subctl join` again with --servicecidr and all networks of Services: the other clusters reach none outside",
        );
    }
    for node in &seen.nodes {
        for text in list_at(node, "/spec/podCIDRs")
            .iter()
            .filter_map(Value::as_str)
        {
            let Ok(net) = text.parse::<IpNet>() else {
                continue;
            };
            let family = |told: &&IpNet| told.addr().is_ipv4() == net.addr().is_ipv4();
            // A family that it did not join with is not reached at all, and that is said nowhere.
            let mut same = told.iter().filter(family).peekable();
            if same.peek().is_some() && !same.any(|told| told.contains(&net)) {
                part.broken(
                    format!(
                        "Pods of node {} have addresses of {net}, which is outside of the pod CIDR that the cluster joined with ({})",
                        name(node),
                        seen.setting("clusterCIDR")
                    ),
                    "Run `subctl join` again with --clustercidr and all networks of pods",
                );
            }
        }
    }
    part
}

fn gateway_nodes(seen: &Seen) -> Part {
    let mut part = Part::new("Checking the gateway nodes");
    let labelled: Vec<&Value> = seen
        .nodes
        .iter()
        .filter(|node| label(node, GATEWAY_LABEL) == "true")
        .collect();
    if labelled.is_empty() {
        part.broken(
            format!("No node has the label {GATEWAY_LABEL}=true, so no gateway runs"),
            format!("`kubectl label node NODE {GATEWAY_LABEL}=true`, or `subctl join` with --gateway NODE"),
        );
        return part;
    }
    let ready = |node: &&&Value| condition(node, "Ready") == Some("True");
    if !labelled.iter().any(|node| ready(&node)) {
        let names: Vec<&str> = labelled.iter().map(|node| name(node)).collect();
        part.broken(
            format!("No gateway node is ready: {}", names.join(", ")),
            "Bring one back, or label another node",
        );
    }
    let active: Vec<&str> = seen
        .pods
        .iter()
        .filter(|pod| label(pod, "gateway.submariner.io/status") == HA_ACTIVE)
        .map(|pod| str_at(pod, "/spec/nodeName"))
        .collect();
    if active.len() > 1 {
        part.doubtful(
            format!(
                "Expected one Gateway pod to be labeled as active. Found {} on nodes {}",
                active.len(),
                active.join(", ")
            ),
            "For a moment that is so when another gateway takes over; if it stays, look at the log of both",
        );
    }
    part
}

fn workload(kind: &str, wanted: &str, have: &[Value]) -> Part {
    let mut part = Part::new(format!("Checking {kind} {wanted:?}"));
    let namespace = MEMBER.unwrap_or_default();
    let Some(workload) = have.iter().find(|workload| name(workload) == wanted) else {
        part.broken(
            format!("{kind} {wanted:?} does not exist"),
            "Run `subctl join` again",
        );
        return part;
    };
    let (available, all) = wait::availability(workload);
    if available < all {
        part.broken(
            format!(
                "The desired number of running pods for {kind} {wanted:?} ({all}) does not match the actual number ({available})"
            ),
            format!(
                "`kubectl -n {namespace} describe {} {wanted}` and the pods below say why",
                kind.to_lowercase()
            ),
        );
    }
    part
}

fn pods(seen: &Seen) -> Part {
    let namespace = MEMBER.unwrap_or_default();
    let mut part = Part::new("Checking the status of all Submariner pods");
    for pod in &seen.pods {
        let describe = format!(
            "`kubectl -n {namespace} describe pod {}` says why",
            name(pod)
        );
        let phase = str_at(pod, "/status/phase");
        if phase != "Running" && phase != "Succeeded" {
            part.broken(
                format!(
                    "Pod {:?} is not running. (current state is {}{})",
                    name(pod),
                    phase,
                    waiting(pod)
                ),
                describe,
            );
            continue;
        }
        let restarts = list_at(pod, "/status/containerStatuses")
            .iter()
            .filter_map(|container| container["restartCount"].as_u64())
            .max()
            .unwrap_or(0);
        if restarts >= MANY_RESTARTS {
            part.doubtful(
                format!("Pod {:?} has restarted {restarts} times", name(pod)),
                format!(
                    "`kubectl -n {namespace} logs --previous {}` says what it ended with",
                    name(pod)
                ),
            );
        }
    }
    part
}

/// What a container waits for, such as its image.
fn waiting(pod: &Value) -> String {
    let mut statuses = list_at(pod, "/status/containerStatuses").iter();
    statuses
        .find_map(|container| {
            let reason = str_at(container, "/state/waiting/reason");
            (!reason.is_empty()).then(|| format!(": {reason}"))
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
