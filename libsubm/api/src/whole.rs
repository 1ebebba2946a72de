//! Kubernetes' own objects with all that they hold, for programs that copy them.

use std::borrow::Cow;
use std::ops::Deref;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Resource;
use kube::core::{ApiResource, DynamicResourceScope, ObjectMeta};
use serde::{Deserialize, Deserializer, Serialize};

use crate::ResourceKind;

/// An object of `k8s_openapi`, which can be watched as the types of this crate are.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Whole<K>(pub K);

/// Which kind of object a type stands for.
pub trait Kind {
    const KIND: ResourceKind;
}

macro_rules! kind {
    ($type:ty, $group:literal, $name:literal, $plural:literal) => {
        impl Kind for Whole<$type> {
            const KIND: ResourceKind = ResourceKind {
                group: $group,
                kind: $name,
                plural: $plural,
                versions: &["v1"],
                custom: false,
            };
        }
    };
}

kind!(Service, "", "Service", "services");
kind!(Node, "", "Node", "nodes");
kind!(
    EndpointSlice,
    "discovery.k8s.io",
    "EndpointSlice",
    "endpointslices"
);
kind!(Lease, "coordination.k8s.io", "Lease", "leases");

impl<K> Deref for Whole<K> {
    type Target = K;

    fn deref(&self) -> &K {
        &self.0
    }
}

impl<'de, K> Deserialize<'de> for Whole<K>
where
    K: Deserialize<'de> + k8s_openapi::Metadata<Ty = ObjectMeta>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut object = K::deserialize(deserializer)?;
        // Often longer than the rest, and of no use to anyone here.
        object.metadata_mut().managed_fields = None;
        Ok(Self(object))
    }
}

impl<K> Resource for Whole<K>
where
    K: k8s_openapi::Metadata<Ty = ObjectMeta>,
{
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(at: &ApiResource) -> Cow<'_, str> {
        at.kind.as_str().into()
    }

    fn group(at: &ApiResource) -> Cow<'_, str> {
        at.group.as_str().into()
    }

    fn version(at: &ApiResource) -> Cow<'_, str> {
        at.version.as_str().into()
    }

    fn api_version(at: &ApiResource) -> Cow<'_, str> {
        at.api_version.as_str().into()
    }

    fn plural(at: &ApiResource) -> Cow<'_, str> {
        at.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.metadata()
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.metadata_mut()
    }
}
