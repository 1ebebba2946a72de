//! The part of an object's metadata that programs of this project read.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{OwnerReference, Time};
use kube::core::ObjectMeta;
use serde::{Deserialize, Deserializer};

/// Without `managedFields`, which are often longer than the rest of the object.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Read {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    generation: Option<i64>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
}

/// With its owners, for what we write with an owner.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadOwned {
    #[serde(flatten)]
    read: Read,
    owner_references: Option<Vec<OwnerReference>>,
}

impl From<Read> for ObjectMeta {
    fn from(read: Read) -> Self {
        Self {
            name: read.name,
            namespace: read.namespace,
            uid: read.uid,
            resource_version: read.resource_version,
            generation: read.generation,
            creation_timestamp: read.creation_timestamp,
            deletion_timestamp: read.deletion_timestamp,
            labels: read.labels,
            annotations: read.annotations,
            ..Self::default()
        }
    }
}

pub(crate) fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    Ok(Read::deserialize(deserializer)?.into())
}

pub(crate) fn read_owned<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<ObjectMeta, D::Error> {
    let ReadOwned {
        read,
        owner_references,
    } = ReadOwned::deserialize(deserializer)?;
    Ok(ObjectMeta {
        owner_references,
        ..read.into()
    })
}
