//! One file: YAML documents or JSON values, and the objects in them.

use std::path::Path;

use kube::core::ObjectMeta;
use serde::de::DeserializeOwned;
use serde_json::Value;
use subm_api::{
    ClusterProperty, EndpointSlice, Gateway, Namespace, ResourceKind, ServiceImport, names,
};
use subm_dns_core::facts::{Fact, ObjectKey, Problem};
use subm_dns_core::name::Label;

use crate::sources::convert;

/// A file with more broken documents than these is no manifest.
const MOST_BROKEN: usize = 20;

/// What a fact is about: of two facts on one slot, one replaces the other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Slot {
    Namespace(Label),
    Import(ObjectKey),
    Slice(ObjectKey),
    LocalSlice(ObjectKey),
    Gateway(ObjectKey),
    /// The older name gives way to the newer.
    ClusterProperty {
        old_name: bool,
    },
}

impl Slot {
    /// The fact that takes back what was said.
    pub(super) fn gone(self) -> Fact {
        match self {
            Self::Namespace(name) => Fact::Namespace(name, false),
            Self::Import(key) => Fact::Import(key, None),
            Self::Slice(key) => Fact::Slice(key, None),
            Self::LocalSlice(key) => Fact::LocalSlice(key, None),
            Self::Gateway(key) => Fact::Gateway(key, None),
            Self::ClusterProperty { .. } => Fact::ClusterProperty(None),
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Content {
    pub facts: Vec<Said>,
    /// What is wrong with objects; their good part is in `facts`.
    pub problems: Vec<Problem>,
    /// What could not be read at all: the file may be half-written.
    pub broken: Vec<Problem>,
}

/// A fact, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub slot: Slot,
    pub fact: Fact,
    /// `shop.yaml document 2: ServiceImport shop/web`.
    pub place: String,
}

/// Reads a file's text; `shown` is the file's name for messages.
pub(super) fn parse(path: &Path, shown: &str, text: &str) -> Content {
    let mut content = Content::default();
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        json(shown, text, &mut content);
    } else {
        yaml(shown, text, &mut content);
    }
    content
}

fn json(shown: &str, text: &str, content: &mut Content) {
    let values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    for (index, value) in values.enumerate() {
        let place = format!("{shown} document {}", index + 1);
        match value {
            Ok(value) => content.document(value, &place),
            Err(error) => {
                let field = format!("line {}, column {}", error.line(), error.column());
                content.broken(&place, field, error.to_string());
                return;
            }
        }
    }
}

fn yaml(shown: &str, text: &str, content: &mut Content) {
    let mut number = 0;
    for (first_line, document) in documents(text) {
        if document.lines().all(is_empty_line) {
            continue;
        }
        number += 1;
        let place = format!("{shown} document {number}");
        match serde_saphyr::from_str::<Value>(document) {
            Ok(value) => content.document(value, &place),
            Err(_) if content.broken.len() >= MOST_BROKEN => break,
            Err(error) => {
                // Once more with the lines before it, for messages that count from the file's begin.
                let padded = "\n".repeat(first_line - 1) + document;
                let error = serde_saphyr::from_str::<Value>(&padded)
                    .err()
                    .unwrap_or(error);
                let field = error.location().map_or_else(
                    || format!("line {first_line}"),
                    |at| format!("line {}, column {}", at.line(), at.column()),
                );
                content.broken(&place, field, error.without_snippet().to_string());
            }
        }
    }
}

/// The documents of a YAML stream with the number of their first line. A line that begins with
/// `---` ends a document wherever it stands (YAML 1.2, 9.1.2), so each can be read, and fail, alone.
fn documents(text: &str) -> Vec<(usize, &str)> {
    let mut result = Vec::new();
    let (mut start, mut first_line, mut at) = (0, 1, 0);
    for (line, number) in text.split_inclusive('\n').zip(1..) {
        let marker = line
            .strip_prefix("---")
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
        if marker && at > start {
            result.push((first_line, &text[start..at]));
            (start, first_line) = (at, number);
        }
        at += line.len();
    }
    result.push((first_line, &text[start..]));
    result
}

fn is_empty_line(line: &str) -> bool {
    let line = line.trim();
    // A directive belongs to the document after it, whose parser does well without.
    line.is_empty() || line == "---" || line == "..." || line.starts_with(['#', '%'])
}

/// The kind that is read of a group which has no others, but for ServiceExport.
fn closed_group(group: &str) -> Option<&'static str> {
    [ServiceImport::KIND, ClusterProperty::KIND]
        .into_iter()
        .find(|kind| kind.group == group)
        .map(|kind| kind.kind)
}

impl Content {
    fn broken(&mut self, place: &str, field: String, message: String) {
        self.broken.push(Problem {
            object: place.to_owned(),
            field,
            message,
        });
    }

    fn document(&mut self, value: Value, place: &str) {
        match value {
            Value::Null => {}
            Value::Object(_) => self.object(value, None, place),
            _ => self.broken(
                place,
                "document".to_owned(),
                "is no Kubernetes object".to_owned(),
            ),
        }
    }

    /// An object, or a list of objects. Members of a `ServiceImportList` may leave their own kind to it (`of_list`).
    fn object(&mut self, mut value: Value, of_list: Option<(&str, &str)>, place: &str) {
        let text = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
        let version = text("apiVersion").or_else(|| of_list.map(|(version, _)| version.to_owned()));
        let kind = text("kind").or_else(|| of_list.map(|(_, kind)| kind.to_owned()));
        let (Some(version), Some(kind)) = (version, kind) else {
            let message = "an object needs apiVersion and kind".to_owned();
            return self.broken(place, "kind".to_owned(), message);
        };
        if let Some(member) = kind.strip_suffix("List")
            && let Some(items) = value.get_mut("items").map(Value::take)
        {
            let Value::Array(items) = items else {
                return self.broken(place, "items".to_owned(), "is not a list".to_owned());
            };
            let inherited = (!member.is_empty()).then_some((version.as_str(), member));
            for (index, item) in items.into_iter().enumerate() {
                let place = format!("{place} items[{index}]");
                // A list in a list is nothing that kubectl prints.
                if item.get("items").is_none() {
                    self.object(item, inherited, &place);
                }
            }
            return;
        }
        let group = version.rsplit_once('/').map_or("", |(group, _)| group);
        let is = |wanted: ResourceKind| wanted.group == group && wanted.kind == kind;
        if is(ServiceImport::KIND) {
            self.import(value, place);
        } else if is(EndpointSlice::KIND) {
            self.slice(value, place);
        } else if is(Gateway::KIND) {
            self.gateway(value, place);
        } else if is(ClusterProperty::KIND) {
            self.cluster_property(value, place);
        } else if is(Namespace::KIND) {
            if let Some((object, name)) = self.typed::<Namespace>(value, Namespace::KIND, place) {
                self.namespace(object.metadata.name.as_deref().unwrap_or_default(), &name);
            }
        } else {
            if let Some(meant) = closed_group(group)
                && kind != "ServiceExport"
            {
                self.problems.push(Problem {
                    object: place.to_owned(),
                    field: "kind".to_owned(),
                    message: format!(
                        "{group} has no kind {kind:?}, so the object is passed over; is {meant} meant?"
                    ),
                });
            }
            if let Some(namespace) = value.pointer("/metadata/namespace").and_then(Value::as_str) {
                self.namespace(namespace, place);
            }
        }
    }

    fn import(&mut self, value: Value, place: &str) {
        if let Some((object, name)) = self.typed::<ServiceImport>(value, ServiceImport::KIND, place)
        {
            let key = convert::key(&object.metadata);
            let (import, problems) = convert::import(&object, &name);
            self.problems.extend(problems);
            self.namespace(&key.namespace, &name);
            if import.is_some() {
                self.say(Slot::Import(key.clone()), Fact::Import(key, import), name);
            }
        }
    }

    fn slice(&mut self, value: Value, place: &str) {
        if let Some((object, name)) = self.typed::<EndpointSlice>(value, EndpointSlice::KIND, place)
        {
            let key = convert::key(&object.metadata);
            self.namespace(&key.namespace, &name);
            let (slice, problems) = convert::slice(&object, &name);
            self.problems.extend(problems);
            if slice.is_some() {
                self.say(
                    Slot::Slice(key.clone()),
                    Fact::Slice(key.clone(), slice),
                    name.clone(),
                );
            }
            let (slice, problems) = convert::local_slice(&object, &name);
            self.problems.extend(problems);
            if slice.is_some() {
                self.say(
                    Slot::LocalSlice(key.clone()),
                    Fact::LocalSlice(key, slice),
                    name,
                );
            }
        }
    }

    fn gateway(&mut self, value: Value, place: &str) {
        if let Some((object, name)) = self.typed::<Gateway>(value, Gateway::KIND, place) {
            let key = convert::key(&object.metadata);
            self.namespace(&key.namespace, &name);
            let (gateway, problems) = convert::gateway(&object, &name);
            self.problems.extend(problems);
            self.say(
                Slot::Gateway(key.clone()),
                Fact::Gateway(key, gateway),
                name,
            );
        }
    }

    fn cluster_property(&mut self, value: Value, place: &str) {
        if let Some((object, name)) =
            self.typed::<ClusterProperty>(value, ClusterProperty::KIND, place)
        {
            let (id, problems) = convert::cluster_property(&object, &name);
            self.problems.extend(problems);
            if id.is_some() {
                let old_name =
                    object.metadata.name.as_deref() == Some(names::LEGACY_CLUSTER_ID_PROPERTY);
                self.say(
                    Slot::ClusterProperty { old_name },
                    Fact::ClusterProperty(id),
                    name,
                );
            }
        }
    }

    fn namespace(&mut self, name: &str, place: &str) {
        if let Some(label) = Label::new(name) {
            let fact = Fact::Namespace(label.clone(), true);
            self.say(Slot::Namespace(label), fact, place.to_owned());
        }
    }

    fn say(&mut self, slot: Slot, fact: Fact, place: String) {
        self.facts.push(Said { slot, fact, place });
    }

    /// The object, and what messages call it.
    fn typed<T>(&mut self, value: Value, kind: ResourceKind, place: &str) -> Option<(T, String)>
    where
        T: DeserializeOwned + kube::Resource,
    {
        let object: T = match serde_json::from_value(value) {
            Ok(object) => object,
            Err(error) => {
                self.broken(
                    &format!("{place}: {}", kind.kind),
                    "object".to_owned(),
                    error.to_string(),
                );
                return None;
            }
        };
        let ObjectMeta {
            name, namespace, ..
        } = object.meta();
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else {
            let message = "an object needs a name".to_owned();
            self.broken(
                &format!("{place}: {}", kind.kind),
                "metadata.name".to_owned(),
                message,
            );
            return None;
        };
        let key = ObjectKey::new(namespace.as_deref().unwrap_or_default(), name);
        let shown = format!(
            "{place}: {}",
            convert::ObjectName {
                kind: kind.kind,
                key: &key
            }
        );
        Some((object, shown))
    }
}

#[cfg(test)]
mod tests;
