//! `about.k8s.io` ClusterProperty: KEP-2149, what a cluster says about itself.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::names::ABOUT_GROUP;
use crate::resource::resource;

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ClusterProperty {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ClusterPropertySpec,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ClusterPropertySpec {
    #[serde(default)]
    pub value: String,
}

// The KEP writes v1, its CRD serves v1beta1, older ones v1alpha1.
resource!(
    ClusterProperty, group: ABOUT_GROUP, plural: "clusterproperties", versions: ["v1", "v1beta1", "v1alpha1"], custom: true
);
