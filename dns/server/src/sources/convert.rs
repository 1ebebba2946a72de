//! Objects to facts: pure functions that serve an object's good part and name the rest.
//!
//! Each gives the fact, `None` for an object that says nothing to DNS, and what is wrong with it.

mod fields;
mod import;
mod slice;

use std::fmt::{self, Display};

use subm_api::names;
use subm_api::{ClusterProperty, Gateway};
use subm_dns_core::facts::{self, ClusterId, Fact, ObjectKey, Problem};

pub use fields::Problems;
pub use import::import;
pub use slice::{local_slice, slice};

/// What an object says, and what is wrong with it.
pub type Converted<T> = (Option<T>, Vec<Problem>);

/// Namespace and name; `default` where a manifest names no namespace, as kubectl has it.
pub fn key(metadata: &kube::core::ObjectMeta) -> ObjectKey {
    ObjectKey::new(
        namespace_of(metadata),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

fn namespace_of(metadata: &kube::core::ObjectMeta) -> &str {
    metadata
        .namespace
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
}

fn label<'a>(metadata: &'a kube::core::ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.labels.as_ref()?.get(key).map(String::as_str)
}

fn annotation<'a>(metadata: &'a kube::core::ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

/// A Gateway. Its own cluster counts as connected whatever its state.
pub fn gateway(object: &Gateway, name: &dyn Display) -> Converted<facts::Gateway> {
    let mut problems = Problems::new(name);
    let mut id = |text: &str, field: String| {
        let id = ClusterId::new(text);
        if id.is_none() {
            problems.add(field, format!("{text:?} is no cluster id; left out"));
        }
        id
    };
    let mut result = facts::Gateway {
        local_cluster: None,
        active: false,
        updated_at: annotation(&object.metadata, names::UPDATE_TIMESTAMP)
            .and_then(|seconds| seconds.parse().ok()),
        connections: Vec::new(),
    };
    if let Some(status) = &object.status {
        result.active = status.ha_status == names::HA_ACTIVE;
        result.local_cluster = status.local_endpoint.as_ref().and_then(|end| {
            id(
                &end.cluster_id,
                "status.localEndpoint.cluster_id".to_owned(),
            )
        });
        for (index, connection) in &status.connections.good {
            let field = format!("status.connections[{index}].endpoint.cluster_id");
            if let Some(remote) = id(&connection.endpoint.cluster_id, field) {
                result
                    .connections
                    .push((remote, connection.status == names::CONNECTED));
            }
        }
        problems.malformed(&"status.connections", &status.connections);
    }
    (Some(result), problems.finish())
}

/// The cluster's own id; `None` for any other property.
pub fn cluster_property(object: &ClusterProperty, name: &dyn Display) -> Converted<ClusterId> {
    let mut problems = Problems::new(name);
    let property = object.metadata.name.as_deref();
    if property != Some(names::CLUSTER_ID_PROPERTY)
        && property != Some(names::LEGACY_CLUSTER_ID_PROPERTY)
    {
        return (None, problems.finish());
    }
    let value = object.spec.value.trim();
    let id = ClusterId::new(value);
    if id.is_none() {
        let shown: String = value.chars().take(80).collect();
        problems.add(
            "spec.value",
            format!("{shown:?} is no cluster id (DNS labels joined by dots); set one, or start with --cluster-id"),
        );
    }
    (id, problems.finish())
}

/// `ServiceImport shop/web`, or `Namespace shop` for an object without namespace. Written out only where it is needed:
/// few objects have problems.
pub struct ObjectName<'a> {
    pub kind: &'a str,
    pub key: &'a ObjectKey,
}

impl Display for ObjectName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, key } = self;
        if key.namespace.is_empty() {
            write!(f, "{kind} {}", key.name)
        } else {
            write!(f, "{kind} {key}")
        }
    }
}

/// Whether a fact tells of something that is, not of something that is not.
pub fn says_something(fact: &Fact) -> bool {
    match fact {
        Fact::Import(_, import) => import.is_some(),
        Fact::Slice(_, slice) => slice.is_some(),
        Fact::LocalSlice(_, slice) => slice.is_some(),
        Fact::Gateway(_, gateway) => gateway.is_some(),
        Fact::ClusterProperty(id) => id.is_some(),
        Fact::Namespace(_, exists) => *exists,
        Fact::Only(_, keys) => !keys.is_empty(),
    }
}

#[cfg(test)]
mod tests;
