//! Kubernetes' core group.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::resource::resource;

/// A namespace, of which only the existence matters.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Namespace {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
}

resource!(Namespace, group: "", plural: "namespaces", versions: ["v1"], custom: false);
