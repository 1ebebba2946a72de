//! `submariner.io/v1` Gateway: what a gateway node says about its tunnels.

use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};

use crate::Items;
use crate::names::SUBMARINER_GROUP;
use crate::resource::resource;

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

resource!(Gateway, group: SUBMARINER_GROUP, plural: "gateways", versions: ["v1"], custom: true);
