//! `multicluster.x-k8s.io`: KEP-1645, <https://github.com/kubernetes-sigs/mcs-api>.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::Items;
use crate::names::MCS_GROUP;
use crate::resource::resource;

/// The asker of an export: a Service of the same name becomes known to the cluster set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ServiceExport {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ServiceExportStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ServiceExportStatus {
    #[serde(default)]
    pub conditions: Items<Condition>,
}

/// The part of `meta/v1` Condition that tells whether an export is fine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Condition {
    pub r#type: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    #[serde(default)]
    pub reason: String,
    #[serde(default)]
    pub message: String,
}

/// A service of the cluster set, as one cluster sees it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ServiceImport {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ServiceImportSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<ServiceImportStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ServiceImportSpec {
    /// `ClusterSetIP` or `Headless`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#type: Option<String>,
    #[serde(default)]
    pub ips: Items<String>,
    #[serde(default)]
    pub ports: Items<ServicePort>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ServicePort {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `TCP` where not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// 1 to 65535 in a valid object; wider here so that readers can say what is wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<i64>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ServiceImportStatus {
    #[serde(default)]
    pub clusters: Items<ClusterStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ClusterStatus {
    /// Id of an exporting cluster.
    pub cluster: String,
}

// Either version has all we read (their v0.5.0 schemas are the same); v1beta1 is the one that stays.
resource!(ServiceExport, group: MCS_GROUP, plural: "serviceexports", versions: ["v1beta1", "v1alpha1"], custom: true);
resource!(ServiceImport, group: MCS_GROUP, plural: "serviceimports", versions: ["v1beta1", "v1alpha1"], custom: true);
