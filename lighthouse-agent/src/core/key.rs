//! Which service of the cluster set an object belongs to.

use std::fmt;

/// A service of the cluster set: the same namespace and name in every cluster (namespace sameness, KEP-1645).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    pub namespace: String,
    pub name: String,
}

impl ServiceKey {
    /// `None` where either is no name that Kubernetes gives to namespaces and Services (RFC 1123 label).
    pub fn new(namespace: &str, name: &str) -> Option<Self> {
        (is_label(namespace) && is_label(name)).then(|| Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// RFC 1123: 1 to 63 of `a-z`, `0-9` and `-`, neither first nor last a `-`.
pub fn is_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    matches!(bytes, [first, .., last] if inner(*first) && inner(*last))
        && bytes.len() <= 63
        && bytes.iter().all(|byte| inner(*byte) || *byte == b'-')
        || matches!(bytes, [only] if inner(*only))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_names() {
        for good in ["a", "web", "a-b", "0", "9to5", &"x".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-", "a-", "-a", "A", "a.b", "a_b", "ä", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
