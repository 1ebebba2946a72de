//! Which service of the cluster set an object belongs to.

use std::fmt;

use subm_api::names::is_label;

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
