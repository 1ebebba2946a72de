//! From what should be and what is there to the least that has to be written.

use serde_json::{Map, Value, json};

use super::objects::{ObjectId, ObjectKind, Observed, Unwanted, Urgency, Wanted};
use super::plan::Plan;

/// One request to an API server.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Write {
    pub id: ObjectId,
    pub urgency: Urgency,
    pub action: Action,
}

#[derive(Clone, Debug, PartialEq, Hash)]
pub enum Action {
    /// The object without apiVersion, kind, name and namespace.
    Create(Value),
    /// A JSON merge patch (RFC 7396).
    Patch(Value),
    /// A JSON merge patch of the status.
    PatchStatus(Value),
    /// Only this very object, in this version if that is said.
    Delete {
        uid: Option<String>,
        version: Option<String>,
    },
}

impl Action {
    pub fn verb(&self) -> &'static str {
        match self {
            Self::Create(_) => "create",
            Self::Patch(_) => "update",
            Self::PatchStatus(_) => "update status",
            Self::Delete { .. } => "delete",
        }
    }
}

/// Nothing where all is as it should be. New objects come before old ones go, so that a name always resolves.
pub fn diff(plan: &Plan) -> Vec<Write> {
    let mut writes: Vec<Write> = plan.wanted.iter().filter_map(write).collect();
    writes.extend(plan.unwanted.iter().map(delete));
    writes
}

fn write(wanted: &Wanted) -> Option<Write> {
    let make = |action| {
        Some(Write {
            id: wanted.id.clone(),
            urgency: wanted.urgency,
            action,
        })
    };
    let Some(observed) = &wanted.observed else {
        return make(Action::Create(with_status(wanted)));
    };
    if immutable_differs(wanted, observed) {
        // It comes back right after.
        return Some(delete(&Unwanted {
            id: wanted.id.clone(),
            observed: observed.clone(),
            shared: false,
        }));
    }
    let as_seen = |mut patch: Value| {
        if let Some(version) = observed.version.as_ref().filter(|_| wanted.shared) {
            patch["metadata"]["resourceVersion"] = json!(version);
        }
        patch
    };
    if let Some(patch) = merge_patch(&wanted.body, &observed.body, wanted.id.kind) {
        return make(Action::Patch(as_seen(patch)));
    }
    let status = wanted.status.as_ref()?;
    let before = observed.body.get("status").cloned().unwrap_or(Value::Null);
    if contains(&before, status) {
        return None;
    }
    // Names resolve without it.
    Some(Write {
        id: wanted.id.clone(),
        urgency: Urgency::Report,
        action: Action::PatchStatus(as_seen(json!({"status": status}))),
    })
}

/// API servers without the status subresource take it at once; the others leave it out, and it follows.
fn with_status(wanted: &Wanted) -> Value {
    let mut body = wanted.body.clone();
    if let (Some(status), Value::Object(map)) = (&wanted.status, &mut body) {
        map.insert("status".to_owned(), status.clone());
    }
    body
}

fn delete(unwanted: &Unwanted) -> Write {
    Write {
        id: unwanted.id.clone(),
        urgency: Urgency::Resolve,
        action: Action::Delete {
            uid: unwanted.observed.uid.clone(),
            version: unwanted
                .observed
                .version
                .clone()
                .filter(|_| unwanted.shared),
        },
    }
}

/// A slice keeps its address type for life.
fn immutable_differs(wanted: &Wanted, observed: &Observed) -> bool {
    wanted.id.kind == ObjectKind::EndpointSlice
        && wanted.body["addressType"] != observed.body["addressType"]
}

fn merge_patch(wanted: &Value, observed: &Value, kind: ObjectKind) -> Option<Value> {
    let Value::Object(wanted) = wanted else {
        return None;
    };
    let mut patch = Map::new();
    for (key, value) in wanted {
        let before = observed.get(key).unwrap_or(&Value::Null);
        let change = match key.as_str() {
            "metadata" => metadata_patch(value, before),
            // The API server fills in what a Service does not say; of an import all is ours.
            "spec" => difference(value, before, kind == ObjectKind::ServiceImport),
            _ => (!same(value, before)).then(|| value.clone()),
        };
        if let Some(change) = change {
            patch.insert(key.clone(), change);
        }
    }
    // A slice without ports has none.
    if kind == ObjectKind::EndpointSlice
        && !wanted.contains_key("ports")
        && !is_nothing(&observed["ports"])
    {
        patch.insert("ports".to_owned(), Value::Null);
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Labels and annotations, where wanted at all, are wanted to the last one.
fn metadata_patch(wanted: &Value, observed: &Value) -> Option<Value> {
    let mut patch = Map::new();
    for part in ["labels", "annotations"] {
        if let Some(value) = wanted.get(part)
            && let Some(change) =
                difference(value, observed.get(part).unwrap_or(&Value::Null), true)
        {
            patch.insert(part.to_owned(), change);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// What makes `wanted` of `observed`; `None` if nothing has to. `all`: what is not wanted goes.
fn difference(wanted: &Value, observed: &Value, all: bool) -> Option<Value> {
    match (wanted, observed) {
        (Value::Object(wanted), Value::Object(observed)) => {
            let mut patch = Map::new();
            for (key, value) in wanted {
                let before = observed.get(key).unwrap_or(&Value::Null);
                if let Some(change) = difference(value, before, all) {
                    patch.insert(key.clone(), change);
                }
            }
            for (key, before) in observed.iter().filter(|_| all) {
                if !wanted.contains_key(key) && !is_nothing(before) {
                    patch.insert(key.clone(), Value::Null);
                }
            }
            (!patch.is_empty()).then_some(Value::Object(patch))
        }
        _ => (!same(wanted, observed)).then(|| wanted.clone()),
    }
}

/// Nothing said, said as null, and an empty list or map are one to the API.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

fn same(one: &Value, other: &Value) -> bool {
    one == other || is_nothing(one) && is_nothing(other)
}

/// Whether all of `wanted` is in `have`. A condition whose time is not said may have any.
fn contains(have: &Value, wanted: &Value) -> bool {
    match (have, wanted) {
        (Value::Object(have), Value::Object(wanted)) => wanted
            .iter()
            .all(|(key, value)| contains(have.get(key).unwrap_or(&Value::Null), value)),
        (Value::Array(have), Value::Array(wanted)) => {
            have.len() == wanted.len()
                && have
                    .iter()
                    .zip(wanted)
                    .all(|(have, wanted)| contains(have, wanted))
        }
        _ => same(have, wanted),
    }
}
