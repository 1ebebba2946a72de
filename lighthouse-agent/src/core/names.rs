//! Names of the objects that we write. Every cluster derives them alike, and an agent that forgot everything finds its own again.

use data_encoding::BASE32HEX_NOPAD;
use sha2::{Digest as _, Sha256};
use subm_api::names::MEMBER_PREFIX;

use super::ServiceKey;

/// The aggregated import on the broker. As Lighthouse has it, and so ambiguous: `a-b` of `c` and `a` of `b-c` share a name.
/// The later of two such gets [`aggregate_hashed`].
pub fn aggregate(key: &ServiceKey) -> String {
    format!("{}-{}", key.name, key.namespace)
}

/// What one cluster exports: on the broker, and in the agents' namespace of every cluster.
pub fn of_cluster(key: &ServiceKey, cluster: &str) -> String {
    format!("{}-{}-{cluster}", key.name, key.namespace)
}

/// [`aggregate`] where another service took that name.
pub fn aggregate_hashed(key: &ServiceKey) -> String {
    format!(
        "{}-{}",
        aggregate(key),
        digest(&[&key.namespace, &key.name])
    )
}

/// [`of_cluster`] where another service took that name. It ends with the cluster's id, as the broker's policy wants it.
pub fn of_cluster_hashed(key: &ServiceKey, cluster: &str) -> String {
    format!("{}-{cluster}", aggregate_hashed(key))
}

/// A slice. `of` tells those of one service and cluster apart: the address family, or the Kubernetes slice that it copies.
/// On the broker the slices of all clusters share a namespace. Must not end in the cluster's id: Lighthouse takes such a slice
/// for one of release 0.15 and deletes it.
pub fn slice(key: &ServiceKey, cluster: &str, of: &str) -> String {
    let mut digest = digest(&[cluster, &key.namespace, &key.name, of]);
    if digest == cluster {
        digest.push('0');
    }
    format!("{}-{digest}", key.name)
}

/// The Service that carries a cluster set IP, named as the reference controller of mcs-api does.
pub fn derived(key: &ServiceKey) -> String {
    let hash = Sha256::digest(key.to_string());
    let mut text = BASE32HEX_NOPAD.encode(&hash).to_lowercase();
    text.truncate(10);
    format!("derived-{text}")
}

/// Ten letters; each part is told from the next.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
        hash.update([0]);
    }
    let mut text = BASE32HEX_NOPAD.encode(&hash.finalize()).to_lowercase();
    text.truncate(10);
    text
}

/// A cluster's sign of life on the broker.
pub fn lease(cluster: &str) -> String {
    format!("{MEMBER_PREFIX}{cluster}")
}

/// Whose [`lease`] it is.
pub fn cluster_of_lease(name: &str) -> Option<&str> {
    name.strip_prefix(MEMBER_PREFIX)
}

/// The last part of the annotation key `timestamp.submariner.io/<cluster>`.
pub fn in_annotation(cluster: &str) -> &str {
    // Ids of clusters are RFC 1123 labels, which fit.
    cluster.get(..63).unwrap_or(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(namespace: &str, name: &str) -> ServiceKey {
        ServiceKey::new(namespace, name).expect("valid names")
    }

    #[test]
    fn names_are_lighthouses() {
        let key = key("sample", "whereami-cs");
        assert_eq!(aggregate(&key), "whereami-cs-sample");
        assert_eq!(of_cluster(&key, "c2"), "whereami-cs-sample-c2");
    }

    #[test]
    fn slices_of_two_clusters_services_or_families_differ() {
        let one = slice(&key("ns", "web"), "c1", "IPv4");
        assert_eq!(one, slice(&key("ns", "web"), "c1", "IPv4"));
        assert_ne!(one, slice(&key("ns", "web"), "c2", "IPv4"));
        assert_ne!(one, slice(&key("ns", "web"), "c1", "IPv6"));
        assert_ne!(one, slice(&key("ns2", "web"), "c1", "IPv4"));
        assert_ne!(
            slice(&key("b", "a"), "c", "d"),
            slice(&key("b", "a"), "cd", "")
        );
    }

    /// X19
    #[test]
    fn ambiguous_names_have_another() {
        let (one, other) = (key("c", "a-b"), key("b-c", "a"));
        assert_eq!(aggregate(&one), aggregate(&other));
        assert_ne!(aggregate_hashed(&one), aggregate_hashed(&other));
        assert!(of_cluster_hashed(&one, "c1").ends_with("-c1"));
    }
}
