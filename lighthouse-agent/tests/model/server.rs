//! What an API server does with the writes of an agent.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use subm_lighthouse_agent::core::{Action, Write};

use super::kind_name;

type Name = (String, String, String);

#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    objects: BTreeMap<Name, Value>,
    pub(crate) history: Vec<Event>,
    version: u64,
    pub(crate) fault: Option<Fault>,
}

/// What is wrong with a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It answers nothing.
    Down,
    /// It refuses one verb for one kind.
    Refuses(&'static str, &'static str),
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// `None`: it was deleted.
    pub(crate) object: Option<Value>,
}

impl Server {
    /// Creates or replaces an object, as a user does.
    pub(crate) fn put(&mut self, mut object: Value) {
        let name = name_of(&object);
        self.version += 1;
        let uid = self.objects.get(&name).map_or_else(
            || json!(format!("uid-{}", self.version)),
            |old| old["metadata"]["uid"].clone(),
        );
        object["metadata"]["uid"] = uid;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.tell(&name, Some(object.clone()));
        self.objects.insert(name, object);
    }

    /// Changes an object in place.
    pub(crate) fn change(
        &mut self,
        kind: &str,
        namespace: &str,
        name: &str,
        change: impl FnOnce(&mut Value),
    ) {
        let mut object = self
            .get(kind, namespace, name)
            .unwrap_or_else(|| panic!("no {kind} {namespace}/{name}"));
        change(&mut object);
        self.put(object);
    }

    pub(crate) fn delete(&mut self, kind: &str, namespace: &str, name: &str) {
        let name = (kind.to_owned(), namespace.to_owned(), name.to_owned());
        if self.objects.remove(&name).is_some() {
            self.version += 1;
            self.tell(&name, None);
        }
    }

    /// It loses an object, and nobody hears of it.
    pub(crate) fn lose(&mut self, kind: &str, namespace: &str, name: &str) {
        self.objects
            .remove(&(kind.to_owned(), namespace.to_owned(), name.to_owned()));
    }

    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        self.objects
            .get(&(kind.to_owned(), namespace.to_owned(), name.to_owned()))
            .cloned()
    }

    pub(crate) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Value> {
        self.objects
            .iter()
            .filter(move |(name, _)| name.0 == kind)
            .map(|(_, object)| object)
    }

    /// Slices of Lighthouse for a service and a cluster.
    pub(crate) fn slices(&self, service: &str, cluster: &str) -> Vec<Value> {
        let labelled = |slice: &&Value| {
            let labels = &slice["metadata"]["labels"];
            labels["multicluster.kubernetes.io/service-name"] == service
                && labels["multicluster.kubernetes.io/source-cluster"] == cluster
        };
        self.all("EndpointSlice")
            .filter(labelled)
            .cloned()
            .collect()
    }

    pub(crate) fn write(&mut self, write: &Write) -> Result<(), String> {
        let kind = kind_name(write.id.kind);
        match &self.fault {
            Some(Fault::Down) => return Err("connection refused".to_owned()),
            Some(Fault::Refuses(verb, of)) if *of == kind && *verb == write.action.verb() => {
                return Err(format!("mock {verb} error"));
            }
            _ => {}
        }
        let name = (
            kind.to_owned(),
            write.id.namespace.clone(),
            write.id.name.clone(),
        );
        let has_status = matches!(kind, "ServiceImport" | "ServiceExport");
        match &write.action {
            Action::Create(body) => {
                if self.objects.contains_key(&name) {
                    return Err("AlreadyExists".to_owned());
                }
                if self.get("Namespace", "", &name.1).is_none() {
                    return Err(format!("namespaces {:?} not found", name.1));
                }
                let mut object = body.clone();
                object["kind"] = json!(kind);
                object["metadata"]["name"] = json!(name.2);
                object["metadata"]["namespace"] = json!(name.1);
                if has_status {
                    object.as_object_mut().expect("an object").remove("status");
                }
                if kind == "Service" {
                    object["spec"]["clusterIP"] = json!("10.96.9.9");
                    object["spec"]["clusterIPs"] = json!(["10.96.9.9"]);
                }
                self.put(object);
            }
            Action::Patch(patch) | Action::PatchStatus(patch) => {
                let mut object = self.objects.get(&name).ok_or("NotFound")?.clone();
                let version = &patch["metadata"]["resourceVersion"];
                if !version.is_null() && *version != object["metadata"]["resourceVersion"] {
                    return Err("Conflict".to_owned());
                }
                let status = object["status"].clone();
                if matches!(write.action, Action::PatchStatus(_)) {
                    merge(&mut object["status"], &patch["status"]);
                } else {
                    merge(&mut object, patch);
                    if has_status {
                        object["status"] = status;
                    }
                }
                self.put(object);
            }
            Action::Delete { uid, version } => {
                let object = self.objects.get(&name).ok_or("NotFound")?;
                let other = |field: &str, said: &Option<String>| {
                    said.as_ref()
                        .is_some_and(|said| object["metadata"][field] != **said)
                };
                if other("uid", uid) || other("resourceVersion", version) {
                    return Err("Conflict".to_owned());
                }
                self.delete(&name.0, &name.1, &name.2);
            }
        }
        Ok(())
    }

    fn tell(&mut self, name: &Name, object: Option<Value>) {
        self.history.push(Event {
            kind: name.0.clone(),
            namespace: name.1.clone(),
            name: name.2.clone(),
            object,
        });
    }
}

fn name_of(object: &Value) -> Name {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    (
        text(&object["kind"]),
        text(&object["metadata"]["namespace"]),
        text(&object["metadata"]["name"]),
    )
}

/// RFC 7396.
fn merge(into: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (key, value) in patch {
        if value.is_null() {
            into.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut into[key], value);
        }
    }
}
