//! `submariner.io/v1`: what gateways say about tunnels, what clusters declare, which global IPs they gave.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::names::SUBMARINER_GROUP;
use crate::resource::resource;
use crate::{Condition, Items};

#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Gateway {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub status: Option<GatewayStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewayStatus {
    /// `active` or `passive`.
    #[serde(default)]
    pub ha_status: String,
    #[serde(default)]
    pub local_endpoint: Option<EndpointSpec>,
    #[serde(default)]
    pub connections: Items<Connection>,
}

/// One end of a tunnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndpointSpec {
    // Submariner spells it with an underscore, unlike its neighbours.
    #[serde(default)]
    pub cluster_id: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct Connection {
    /// `connected`, `connecting` or `error`.
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub endpoint: EndpointSpec,
}

/// What a cluster declares to the others, on the broker.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Cluster {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: ClusterSpec,
}

// With underscores, as Submariner spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ClusterSpec {
    #[serde(default)]
    pub cluster_id: String,
    #[serde(default)]
    pub service_cidr: Items<String>,
    #[serde(default)]
    pub cluster_cidr: Items<String>,
    /// Not empty under Globalnet; nothing else of the cluster is then reachable.
    #[serde(default)]
    pub global_cidr: Items<String>,
}

/// A global IP for a service, a pod of a headless service, or an endpoint without a pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct GlobalIngressIP {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: GlobalIngressIPSpec,
    #[serde(default)]
    pub status: Option<GlobalIngressIPStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GlobalIngressIPSpec {
    /// `ClusterIPService`, `HeadlessServicePod` or `HeadlessServiceEndpoints`.
    #[serde(default)]
    pub target: String,
    #[serde(default)]
    pub service_ref: Option<NameRef>,
    #[serde(default)]
    pub pod_ref: Option<NameRef>,
}

/// An object of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NameRef {
    #[serde(default)]
    pub name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct GlobalIngressIPStatus {
    #[serde(default, rename = "allocatedIP")]
    pub allocated_ip: String,
    #[serde(default)]
    pub conditions: Items<Condition>,
}

resource!(Cluster, group: SUBMARINER_GROUP, plural: "clusters", versions: ["v1"], custom: true);
resource!(GlobalIngressIP, group: SUBMARINER_GROUP, plural: "globalingressips", versions: ["v1"], custom: true);
resource!(Gateway, group: SUBMARINER_GROUP, plural: "gateways", versions: ["v1"], custom: true);
