//! A Kubernetes object as a manifest has it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::names::{INSTALLER, MANAGED_BY, PART_OF, PART_OF_SUBMARINER};

/// An object to apply: only the fields that we own.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Object(Value);

impl Object {
    /// `manifest` has `apiVersion`, `kind` and `metadata.name`. It gets the labels by which we know our own again.
    pub(crate) fn ours(mut manifest: Value) -> Self {
        let labels = &mut manifest["metadata"]["labels"];
        labels[MANAGED_BY] = json!(INSTALLER);
        labels[PART_OF] = json!(PART_OF_SUBMARINER);
        Self(manifest)
    }

    /// As it stands, for objects whose labels others read.
    pub(crate) fn plain(manifest: Value) -> Self {
        Self(manifest)
    }

    pub fn api_version(&self) -> &str {
        self.text("/apiVersion")
    }

    pub fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// `None` for objects of the whole cluster.
    pub fn namespace(&self) -> Option<&str> {
        self.0
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
    }

    pub fn value(&self) -> &Value {
        &self.0
    }

    pub fn into_value(self) -> Value {
        self.0
    }

    fn text(&self, pointer: &str) -> &str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    }
}
