//! The kinds that go both ways, alike.

use std::collections::BTreeMap;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use subm_api::Items;
use subm_api::names::MEMBER_SINCE;
use subm_api::submariner::{Cluster, ClusterSpec, Endpoint, EndpointSpec};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Cluster,
    Endpoint,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Object {
    Cluster(Cluster),
    Endpoint(Endpoint),
}

pub(super) trait Synced: Clone + Into<Object> {
    type Spec: Clone + PartialEq;
    const KIND: Kind;

    fn build(metadata: ObjectMeta, spec: Self::Spec) -> Self;
    fn metadata(&self) -> &ObjectMeta;
    fn metadata_mut(&mut self) -> &mut ObjectMeta;
    fn spec(&self) -> &Self::Spec;
    fn cluster_id(&self) -> &str;
    /// Without what could not be read: it cannot be written, and would be a difference for ever.
    fn plain(spec: Self::Spec) -> Self::Spec;

    /// As it shall be where `observed` is now; other labels and all annotations stay.
    fn new(namespace: &str, name: &str, spec: Self::Spec, observed: Option<&Self>) -> Self {
        let mut metadata = observed
            .map(|observed| observed.metadata().clone())
            .unwrap_or_default();
        metadata.name = Some(name.to_owned());
        metadata.namespace = Some(namespace.to_owned());
        Self::build(metadata, Self::plain(spec))
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.metadata()
            .labels
            .as_ref()?
            .get(key)
            .map(String::as_str)
    }

    fn set_label(&mut self, key: &str, value: Option<&str>) {
        let labels: &mut BTreeMap<_, _> = self.metadata_mut().labels.get_or_insert_default();
        match value {
            Some(value) => labels.insert(key.to_owned(), value.to_owned()),
            None => labels.remove(key),
        };
        if labels.is_empty() {
            self.metadata_mut().labels = None;
        }
    }

    fn annotation(&self, key: &str) -> Option<&str> {
        let annotations = self.metadata().annotations.as_ref()?;
        annotations.get(key).map(String::as_str)
    }

    /// Says since when a copied object is there. Copies are made anew, and with each the order in which clusters became members would change.
    fn set_since(&mut self, original: &Self) {
        if let Some(created) = &original.metadata().creation_timestamp {
            let annotations = self.metadata_mut().annotations.get_or_insert_default();
            annotations.insert(MEMBER_SINCE.to_owned(), created.0.to_string());
        }
    }

    /// In all that we write.
    fn same_as(&self, observed: &Self) -> bool {
        let labels = |object: &Self| object.metadata().labels.clone().unwrap_or_default();
        labels(self) == labels(observed)
            && self.annotation(MEMBER_SINCE) == observed.annotation(MEMBER_SINCE)
            && *self.spec() == *observed.spec()
    }
}

fn readable(items: &Items<String>) -> Items<String> {
    items.iter().cloned().collect()
}

impl Synced for Cluster {
    type Spec = ClusterSpec;
    const KIND: Kind = Kind::Cluster;

    fn build(metadata: ObjectMeta, spec: ClusterSpec) -> Self {
        Self { metadata, spec }
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn spec(&self) -> &ClusterSpec {
        &self.spec
    }

    fn cluster_id(&self) -> &str {
        &self.spec.cluster_id
    }

    fn plain(spec: ClusterSpec) -> ClusterSpec {
        ClusterSpec {
            cluster_cidr: readable(&spec.cluster_cidr),
            service_cidr: readable(&spec.service_cidr),
            global_cidr: readable(&spec.global_cidr),
            color_codes: readable(&spec.color_codes),
            ..spec
        }
    }
}

impl Synced for Endpoint {
    type Spec = EndpointSpec;
    const KIND: Kind = Kind::Endpoint;

    fn build(metadata: ObjectMeta, spec: EndpointSpec) -> Self {
        Self { metadata, spec }
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn spec(&self) -> &EndpointSpec {
        &self.spec
    }

    fn cluster_id(&self) -> &str {
        &self.spec.cluster_id
    }

    fn plain(spec: EndpointSpec) -> EndpointSpec {
        EndpointSpec {
            subnets: readable(&spec.subnets),
            ..spec
        }
    }
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Cluster(_) => Kind::Cluster,
            Self::Endpoint(_) => Kind::Endpoint,
        }
    }

    pub fn metadata(&self) -> &ObjectMeta {
        match self {
            Self::Cluster(object) => &object.metadata,
            Self::Endpoint(object) => &object.metadata,
        }
    }
}

impl From<Cluster> for Object {
    fn from(object: Cluster) -> Self {
        Self::Cluster(object)
    }
}

impl From<Endpoint> for Object {
    fn from(object: Endpoint) -> Self {
        Self::Endpoint(object)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Cluster => "Cluster",
            Self::Endpoint => "Endpoint",
        })
    }
}
