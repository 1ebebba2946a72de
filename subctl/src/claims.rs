//! Who says on the broker that which networks are its own.

use std::collections::BTreeMap;

use ipnet::IpNet;
use serde_json::Value;
use subm_install::overlap::Claim;

use crate::cluster::{list_at, str_at};

/// What Cluster and Endpoint objects claim, by cluster. A Cluster says what there is, an Endpoint what is reached; texts that are no
/// networks claim nothing.
pub fn read(clusters: &[Value], endpoints: &[Value]) -> Vec<Claim> {
    let mut claims: BTreeMap<&str, Claim> = BTreeMap::new();
    for cluster in clusters {
        let claim = of(&mut claims, cluster);
        for pointer in ["/spec/service_cidr", "/spec/cluster_cidr"] {
            add(&mut claim.inside, cluster, pointer);
        }
        add(&mut claim.global, cluster, "/spec/global_cidr");
    }
    for endpoint in endpoints {
        let claim = of(&mut claims, endpoint);
        // Under Globalnet these are the global CIDRs once more.
        if claim.global.is_empty() {
            add(&mut claim.inside, endpoint, "/spec/subnets");
        }
    }
    claims.into_values().collect()
}

fn of<'a, 'b>(claims: &'b mut BTreeMap<&'a str, Claim>, object: &'a Value) -> &'b mut Claim {
    let id = str_at(object, "/spec/cluster_id");
    claims.entry(id).or_insert_with(|| Claim {
        cluster: id.to_owned(),
        ..Claim::default()
    })
}

fn add(nets: &mut Vec<IpNet>, object: &Value, pointer: &str) {
    let texts = list_at(object, pointer).iter().filter_map(Value::as_str);
    for net in texts.filter_map(|text| text.parse::<IpNet>().ok()) {
        let net = net.trunc();
        if !nets.contains(&net) {
            nets.push(net);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn clusters_and_endpoints_claim_together() {
        let cluster = |id: &str, global: &[&str]| {
            json!({"spec": {
                "cluster_id": id, "service_cidr": ["10.88.0.0/16"], "cluster_cidr": ["10.8.1.0/16", "none"], "global_cidr": global,
            }})
        };
        let endpoint =
            |id: &str, subnets: &[&str]| json!({"spec": {"cluster_id": id, "subnets": subnets}});
        let claims = read(
            &[cluster("c1", &[]), cluster("g1", &["242.0.0.0/16"])],
            &[
                endpoint("c1", &["10.88.0.0/16", "10.8.0.0/16", "10.7.0.0/16"]),
                endpoint("g1", &["242.0.0.0/16"]),
                endpoint("go", &["10.5.0.0/16"]),
            ],
        );
        let words: Vec<String> = claims
            .iter()
            .map(|claim| format!("{} {:?} {:?}", claim.cluster, claim.inside, claim.global))
            .collect();
        assert_eq!(
            words,
            [
                "c1 [10.88.0.0/16, 10.8.0.0/16, 10.7.0.0/16] []",
                "g1 [10.88.0.0/16, 10.8.0.0/16] [242.0.0.0/16]",
                "go [10.5.0.0/16] []",
            ]
        );
    }
}
