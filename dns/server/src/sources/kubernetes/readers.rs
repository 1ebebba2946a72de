//! The kinds of object that are watched, and how each becomes a fact.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use subm_api::{
    ClusterProperty, EndpointSlice, Gateway, Namespace, ResourceKind, ServiceImport, names,
};
use subm_dns_core::facts::{ClusterId, Fact, ObjectKey, ObjectKind, Problem};
use subm_dns_core::name::Label;
use subm_kube::Watched;

use crate::sources::convert;

/// Object of one kind to fact.
pub(super) trait Reader: Send {
    type Object: Watched;
    /// As health events and messages call it.
    const NAME: &'static str;
    const KIND: ResourceKind;
    const SELECTOR: Option<&'static str> = None;

    fn read(
        &mut self,
        key: ObjectKey,
        object: &Self::Object,
        name: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>);
    /// The fact that takes back what an object said.
    fn gone(&mut self, key: ObjectKey) -> Option<Fact>;
    /// The fact that takes back what all other objects said.
    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact;
}

pub(super) struct Imports;

impl Reader for Imports {
    type Object = ServiceImport;
    const NAME: &'static str = "ServiceImport";
    const KIND: ResourceKind = ServiceImport::KIND;

    fn read(
        &mut self,
        key: ObjectKey,
        object: &ServiceImport,
        name: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>) {
        let (import, problems) = convert::import(object, name);
        (Some(Fact::Import(key, import)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::Import(key, None))
    }

    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact {
        Fact::Only(ObjectKind::Import, keys)
    }
}

pub(super) struct Slices;

impl Reader for Slices {
    type Object = EndpointSlice;
    const NAME: &'static str = "EndpointSlice";
    const KIND: ResourceKind = EndpointSlice::KIND;
    const SELECTOR: Option<&'static str> = Some(names::SERVICE_NAME);

    fn read(
        &mut self,
        key: ObjectKey,
        object: &EndpointSlice,
        name: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>) {
        let (slice, problems) = convert::slice(object, name);
        (Some(Fact::Slice(key, slice)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::Slice(key, None))
    }

    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact {
        Fact::Only(ObjectKind::Slice, keys)
    }
}

pub(super) struct LocalSlices;

impl Reader for LocalSlices {
    type Object = EndpointSlice;
    const NAME: &'static str = "local EndpointSlice";
    const KIND: ResourceKind = EndpointSlice::KIND;
    const SELECTOR: Option<&'static str> = Some(names::LOCAL_SERVICE_NAME);

    fn read(
        &mut self,
        key: ObjectKey,
        object: &EndpointSlice,
        name: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>) {
        let (slice, problems) = convert::local_slice(object, name);
        (Some(Fact::LocalSlice(key, slice)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::LocalSlice(key, None))
    }

    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact {
        Fact::Only(ObjectKind::LocalSlice, keys)
    }
}

pub(super) struct Gateways;

impl Reader for Gateways {
    type Object = Gateway;
    const NAME: &'static str = "Gateway";
    const KIND: ResourceKind = Gateway::KIND;

    fn read(
        &mut self,
        key: ObjectKey,
        object: &Gateway,
        name: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>) {
        let (gateway, problems) = convert::gateway(object, name);
        (Some(Fact::Gateway(key, gateway)), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        Some(Fact::Gateway(key, None))
    }

    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact {
        Fact::Only(ObjectKind::Gateway, keys)
    }
}

pub(super) struct Namespaces;

impl Reader for Namespaces {
    type Object = Namespace;
    const NAME: &'static str = "Namespace";
    const KIND: ResourceKind = Namespace::KIND;

    fn read(
        &mut self,
        key: ObjectKey,
        _: &Namespace,
        _: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>) {
        (namespace_fact(&key, true), Vec::new())
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        namespace_fact(&key, false)
    }

    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact {
        Fact::Only(ObjectKind::Namespace, keys)
    }
}

/// A namespace exists until it is deleted, a terminating one too.
fn namespace_fact(key: &ObjectKey, exists: bool) -> Option<Fact> {
    Label::new(&key.name).map(|name| Fact::Namespace(name, exists))
}

/// Two properties can hold the cluster's id; the newer name goes before the older.
#[derive(Default)]
pub(super) struct Properties(BTreeMap<Arc<str>, ClusterId>);

impl Properties {
    fn fact(&self) -> Fact {
        let id = [
            names::CLUSTER_ID_PROPERTY,
            names::LEGACY_CLUSTER_ID_PROPERTY,
        ]
        .iter()
        .find_map(|name| self.0.get(*name));
        Fact::ClusterProperty(id.cloned())
    }
}

impl Reader for Properties {
    type Object = ClusterProperty;
    const NAME: &'static str = "ClusterProperty";
    const KIND: ResourceKind = ClusterProperty::KIND;

    fn read(
        &mut self,
        key: ObjectKey,
        object: &ClusterProperty,
        name: &dyn Display,
    ) -> (Option<Fact>, Vec<Problem>) {
        let (id, problems) = convert::cluster_property(object, name);
        match id {
            Some(id) => self.0.insert(key.name, id),
            None => self.0.remove(&key.name),
        };
        (Some(self.fact()), problems)
    }

    fn gone(&mut self, key: ObjectKey) -> Option<Fact> {
        self.0.remove(&key.name);
        Some(self.fact())
    }

    fn only(&mut self, keys: HashSet<ObjectKey>) -> Fact {
        self.0
            .retain(|name, _| keys.iter().any(|key| key.name == *name));
        self.fact()
    }
}
