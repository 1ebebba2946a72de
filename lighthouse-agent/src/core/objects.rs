//! Objects as they should be, beside what is there.

use serde::Serialize;
use serde_json::{Map, Value};

use super::world::Source;

/// An API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Place {
    Home,
    Broker,
}

/// Kinds that we write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectKind {
    ServiceExport,
    ServiceImport,
    EndpointSlice,
    Service,
}

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId {
    pub place: Place,
    pub kind: ObjectKind,
    pub namespace: String,
    pub name: String,
}

pub(super) fn object_id(place: Place, kind: ObjectKind, namespace: &str, name: &str) -> ObjectId {
    ObjectId {
        place,
        kind,
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    }
}

impl ObjectId {
    /// The stream that tells of it.
    pub fn source(&self) -> Source {
        match (self.place, self.kind) {
            (Place::Home, ObjectKind::ServiceExport) => Source::Exports,
            (Place::Home, ObjectKind::ServiceImport) => Source::Imports,
            (Place::Home, ObjectKind::EndpointSlice) => Source::Slices,
            (_, ObjectKind::Service) => Source::Services,
            (Place::Broker, ObjectKind::EndpointSlice) => Source::BrokerSlices,
            (Place::Broker, _) => Source::BrokerImports,
        }
    }
}

/// What is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    pub uid: Option<String>,
    pub version: Option<String>,
    pub body: Value,
}

impl Observed {
    pub fn of<T: Serialize>(metadata: &kube::core::ObjectMeta, object: &T) -> Self {
        Self {
            uid: metadata.uid.clone(),
            version: metadata.resource_version.clone(),
            body: serde_json::to_value(object).unwrap_or_default(),
        }
    }
}

/// When a write is due: names must resolve before anybody is told that they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Urgency {
    Resolve,
    Report,
}

/// An object that should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    pub id: ObjectId,
    /// Without `status`. Where it says labels or annotations, those are all that it should have.
    pub body: Value,
    pub status: Option<Value>,
    pub observed: Option<Observed>,
    /// Others write it too: what we saw must still be so.
    pub shared: bool,
    pub urgency: Urgency,
}

/// An object that should not be.
#[derive(Clone, Debug, PartialEq)]
pub struct Unwanted {
    pub id: ObjectId,
    pub observed: Observed,
    /// As [`Wanted::shared`].
    pub shared: bool,
}

/// An object without the members that are null.
pub fn object(members: impl IntoIterator<Item = (&'static str, Value)>) -> Value {
    let map: Map<String, Value> = members
        .into_iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    Value::Object(map)
}
