//! What API servers accept. One value that they refuse would keep a whole object from being written, in every cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use subm_api::ServicePort;
use subm_api::names::is_label;

/// Longest sum of an object's annotations that we take from an export; API servers allow 256 KiB for all of an object's.
const ANNOTATIONS_SIZE: usize = 64 * 1024;

/// What an export wants on imports: labels or annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Map {
    Labels,
    Annotations,
}

/// What is wrong with the first bad entry, if any is.
pub fn trouble(map: &BTreeMap<String, String>, of: Map) -> Option<String> {
    let bad = map.iter().find(|(key, value)| !is_good(key, value, of));
    if let Some((key, value)) = bad {
        return Some(if is_qualified(key) {
            format!("{value:?} of {key:?} is no value of a label")
        } else {
            format!("{key:?} is no name of a label or annotation")
        });
    }
    let size: usize = map.iter().map(|(key, value)| key.len() + value.len()).sum();
    (size > ANNOTATIONS_SIZE)
        .then(|| format!("they have {size} bytes, more than {ANNOTATIONS_SIZE}"))
}

/// The entries that may stand on objects of other clusters: sound ones, and none that mean something to Kubernetes or to us.
pub fn exportable(map: &BTreeMap<String, String>, of: Map) -> BTreeMap<String, String> {
    let mut room = ANNOTATIONS_SIZE;
    map.iter()
        .filter(|(key, value)| !is_reserved(key) && is_good(key, value, of))
        .take_while(|(key, value)| {
            let left = room.checked_sub(key.len() + value.len());
            room = left.unwrap_or_default();
            left.is_some()
        })
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Keys of labels and annotations that mean something to Kubernetes or to us.
pub fn is_reserved(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    ["submariner.io", "kubernetes.io", "k8s.io"]
        .iter()
        .any(|ours| domain == *ours || domain.ends_with(&format!(".{ours}")))
        || key.starts_with("submariner-io/")
}

fn is_good(key: &str, value: &str, of: Map) -> bool {
    is_qualified(key) && (of == Map::Annotations || value.is_empty() || is_name(value))
}

/// `name` or `domain.of.dns/name`.
fn is_qualified(key: &str) -> bool {
    match key.split_once('/') {
        Some((domain, name)) => {
            domain.len() <= 253 && domain.split('.').all(is_label) && is_name(name)
        }
        None => is_name(key),
    }
}

/// 1 to 63 letters, digits, `-`, `_` and `.`; letters or digits at the ends.
pub fn is_name(text: &str) -> bool {
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

/// A port that an import may have.
pub fn is_port(port: &ServicePort) -> bool {
    let number = port
        .port
        .is_some_and(|number| (1..=65_535).contains(&number));
    let protocol = matches!(port.protocol.as_deref(), Some("TCP" | "UDP" | "SCTP"));
    let name = port.name.as_deref().is_none_or(is_label);
    let app = port.app_protocol.as_deref().is_none_or(is_qualified);
    number && protocol && name && app
}

/// Of a list of address families those that there are, once each.
pub fn families(theirs: &[String]) -> Vec<String> {
    let mut good = Vec::new();
    for family in theirs {
        if matches!(family.as_str(), "IPv4" | "IPv6") && !good.contains(family) {
            good.push(family.clone());
        }
    }
    good
}

/// `sessionAffinity`, or what stands for none.
pub fn session_affinity(theirs: Option<&str>) -> String {
    match theirs {
        Some("ClientIP") => "ClientIP",
        _ => "None",
    }
    .to_owned()
}

/// A time to live of 1 s to a day (core/v1).
pub fn session_affinity_config(
    theirs: Option<SessionAffinityConfig>,
) -> Option<SessionAffinityConfig> {
    theirs.filter(|config| {
        let seconds = config
            .client_ip
            .as_ref()
            .and_then(|client| client.timeout_seconds);
        seconds.is_none_or(|seconds| (1..=86_400).contains(&seconds))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_as_kubernetes_wants_them() {
        for (key, value) in [("a", ""), ("team", "b_1.c"), ("x.example/Y", "z")] {
            assert!(is_good(key, value, Map::Labels), "{key}={value}");
        }
        let long = "x".repeat(64);
        for (key, value) in [
            ("", "a"),
            ("team", "a b"),
            ("team", "-a"),
            ("team", long.as_str()),
            (long.as_str(), "a"),
            ("UPPER.example/a", "b"),
            ("a/b/c", "d"),
            ("/a", "b"),
            ("x.example/", "b"),
        ] {
            assert!(!is_good(key, value, Map::Labels), "{key}={value}");
        }
        assert!(is_good("note", "anything, really", Map::Annotations));
    }

    #[test]
    fn there_is_an_end_to_annotations() {
        let map: BTreeMap<String, String> = (0..10)
            .map(|i| (format!("note{i}"), "x".repeat(10_000)))
            .collect();
        assert!(trouble(&map, Map::Annotations).is_some());
        assert_eq!(exportable(&map, Map::Annotations).len(), 6);
    }

    #[test]
    fn ports_are_as_kubernetes_wants_them() {
        let port = |name: Option<&str>, protocol: &str, number| ServicePort {
            name: name.map(str::to_owned),
            protocol: Some(protocol.to_owned()),
            port: Some(number),
            app_protocol: None,
        };
        assert!(is_port(&port(None, "TCP", 1)) && is_port(&port(Some("dns"), "UDP", 53)));
        for bad in [
            port(None, "tcp", 1),
            port(None, "TCP", 0),
            port(None, "TCP", 65_536),
            port(Some("No"), "TCP", 1),
        ] {
            assert!(!is_port(&bad), "{bad:?}");
        }
    }
}
