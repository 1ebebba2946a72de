//! `diagnose cni`: whether the network plugin leaves traffic between clusters alone.

use ipnet::IpNet;
use serde_json::Value;

use super::seen::Seen;
use crate::claims;
use crate::cluster::str_at;
use crate::commands::finding::Part;

/// Upstream's list, but for OVN-Kubernetes, which needs a route agent that knows its databases.
const SUPPORTED: [&str; 6] = [
    "canal-flannel",
    "flannel",
    "weave-net",
    "OpenShiftSDN",
    "kindnet",
    "calico",
];

pub(super) fn check(seen: &Seen) -> Vec<Part> {
    let plugin = &*seen.plugin;
    let mut part = Part::new("Checking Submariner support for the CNI network plugin");
    let joined_with = seen.setting("networkPlugin");
    if plugin == "generic" {
        part.doubtful(
            "The detected CNI network plugin (\"generic\") may or may not work: nothing tells which it is",
            format!(
                "If pods of other clusters are not reached, compare with one of {}",
                SUPPORTED.join(", ")
            ),
        );
    } else if SUPPORTED.contains(&plugin) {
        part.good(format!(
            "The detected CNI network plugin ({plugin:?}) is supported"
        ));
    } else {
        part.broken(
            format!(
                "The detected CNI plugin ({plugin:?}) is not supported by Submariner. Supported plugins: {}",
                SUPPORTED.join(", ")
            ),
            "Use --components service-discovery where another network connects the clusters, or another CNI plugin",
        );
    }
    if !joined_with.is_empty() && joined_with != plugin {
        part.doubtful(
            format!("The cluster joined with CNI network plugin {joined_with:?}"),
            "Run `subctl join` again, so that its programs know",
        );
    }
    let mut parts = vec![part];
    if plugin == "calico" {
        parts.push(pools(seen));
    }
    parts
}

/// Calico takes addresses outside of its pools for the Internet's: it masquerades what goes there.
fn pools(seen: &Seen) -> Part {
    let mut part = Part::new("Checking Calico's IPPools for the networks of other clusters");
    for claim in claims::read(&[], &seen.endpoints) {
        if claim.cluster == seen.id() {
            continue;
        }
        for net in &claim.inside {
            let pool = seen.ip_pools.iter().find(|pool| covers(pool, net));
            let Some(pool) = pool else {
                part.doubtful(
                    format!(
                        "No Calico IPPool has {net} of cluster {:?}",
                        claim.cluster
                    ),
                    format!(
                        "Create an IPPool with cidr: {net}, natOutgoing: false, disabled: true, so that Calico leaves addresses as they are"
                    ),
                );
                continue;
            };
            if pool["spec"]["natOutgoing"] == true || pool["spec"]["disabled"] != true {
                part.broken(
                    format!(
                        "Calico's IPPool {} gives pods addresses of {net}, or masquerades them, which are those of cluster {:?}",
                        crate::cluster::name(pool),
                        claim.cluster
                    ),
                    "Set natOutgoing: false and disabled: true in its spec",
                );
            }
        }
    }
    part
}

fn covers(pool: &Value, net: &IpNet) -> bool {
    let cidr = str_at(pool, "/spec/cidr").parse::<IpNet>();
    cidr.is_ok_and(|cidr| cidr.contains(net))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::finding::faults;
    use serde_json::json;

    fn seen(plugin: &str) -> Seen {
        Seen {
            settings: json!({"clusterID": "c1", "networkPlugin": plugin}),
            plugin: plugin.to_owned(),
            endpoints: vec![
                json!({"spec": {"cluster_id": "c1", "subnets": ["10.8.0.0/16"]}}),
                json!({"spec": {"cluster_id": "c2", "subnets": ["10.9.0.0/16"]}}),
            ],
            ..Seen::default()
        }
    }

    #[test]
    fn plugins_are_known_doubted_or_refused() {
        for plugin in ["kindnet", "flannel", "canal-flannel", "weave-net"] {
            assert!(faults(&check(&seen(plugin))).is_empty(), "{plugin}");
        }
        for (plugin, fault) in [
            ("generic", "? The detected CNI network plugin (\"generic\")"),
            (
                "OVNKubernetes",
                "The detected CNI plugin (\"OVNKubernetes\") is not supported",
            ),
            (
                "cilium",
                "The detected CNI plugin (\"cilium\") is not supported",
            ),
        ] {
            let faults = faults(&check(&seen(plugin)));
            assert!(
                matches!(&faults[..], [one] if one.starts_with(fault)),
                "{faults:?}"
            );
        }
        let mut moved = seen("kindnet");
        moved.settings["networkPlugin"] = json!("flannel");
        assert_eq!(
            faults(&check(&moved)),
            ["? The cluster joined with CNI network plugin \"flannel\""]
        );
    }

    #[test]
    fn calico_has_a_pool_for_each_network_of_the_others() {
        let with = |spec: Value| Seen {
            ip_pools: vec![json!({"metadata": {"name": "p"}, "spec": spec})],
            ..seen("calico")
        };
        assert_eq!(
            faults(&check(&seen("calico"))),
            ["? No Calico IPPool has 10.9.0.0/16 of cluster \"c2\""]
        );
        let good = json!({"cidr": "10.9.0.0/16", "natOutgoing": false, "disabled": true});
        assert!(faults(&check(&with(good))).is_empty());
        for bad in [
            json!({"cidr": "10.0.0.0/8", "natOutgoing": true, "disabled": true}),
            json!({"cidr": "10.9.0.0/16"}),
        ] {
            let faults = faults(&check(&with(bad)));
            assert!(
                matches!(&faults[..], [one] if one.starts_with("Calico's IPPool p gives pods")),
                "{faults:?}"
            );
        }
    }
}
