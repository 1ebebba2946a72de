//! `submariner.io/v1`: what gateways say about tunnels, what clusters declare, which global IPs they gave.

use std::collections::BTreeMap;

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
    /// Why the gateway does not work, or empty.
    #[serde(default)]
    pub status_failure: String,
    #[serde(default)]
    pub version: String,
}

/// A gateway node as the other clusters see it: on the broker, and copied into every cluster.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Endpoint {
    #[serde(default, deserialize_with = "crate::metadata::read")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: EndpointSpec,
}

/// One end of a tunnel.
// With underscores, but for one, as Submariner spells them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct EndpointSpec {
    #[serde(default)]
    pub cluster_id: String,
    /// `submariner-cable-<cluster>-<private IP with dashes>`.
    #[serde(default)]
    pub cable_name: String,
    /// Where the other clusters' gateways send their ICMP echo requests; empty where nothing answers.
    #[serde(
        rename = "healthCheckIP",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    pub health_check_ip: String,
    /// The gateway node's name.
    #[serde(default)]
    pub hostname: String,
    /// CIDRs that are reached by it.
    #[serde(default)]
    pub subnets: Items<String>,
    #[serde(default)]
    pub private_ip: String,
    #[serde(default)]
    pub public_ip: String,
    #[serde(default)]
    pub nat_enabled: bool,
    /// Name of the cable driver: `libreswan`, `wireguard` or `vxlan`.
    #[serde(default)]
    pub backend: String,
    /// What the driver of the other side needs to know; keys are in [`crate::names`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub backend_config: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Connection {
    /// `connected`, `connecting`, `error` or `none`.
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub status_message: String,
    #[serde(default)]
    pub endpoint: EndpointSpec,
    /// The address of the other side that is spoken to.
    #[serde(rename = "usingIP", default, skip_serializing_if = "String::is_empty")]
    pub using_ip: String,
    #[serde(
        rename = "usingNAT",
        default,
        skip_serializing_if = "std::ops::Not::not"
    )]
    pub using_nat: bool,
    #[serde(
        rename = "latencyRTT",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub latency_rtt: Option<LatencyRtt>,
}

/// Round-trip times as Go prints durations, such as `1.5ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LatencyRtt {
    #[serde(default)]
    pub last: String,
    #[serde(default)]
    pub min: String,
    #[serde(default)]
    pub average: String,
    #[serde(default)]
    pub max: String,
    #[serde(default)]
    pub std_dev: String,
}

/// What a node's route agent sees of the other clusters.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct RouteAgent {
    // It goes with its Node.
    #[serde(default, deserialize_with = "crate::metadata::read_owned")]
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub status: Option<RouteAgentStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteAgentStatus {
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub status_failure: String,
    #[serde(default)]
    pub remote_endpoints: Items<RemoteEndpoint>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RemoteEndpoint {
    /// `connected`, `connecting`, `error` or `none`.
    #[serde(default)]
    pub status: String,
    #[serde(default)]
    pub status_message: String,
    #[serde(default)]
    pub spec: EndpointSpec,
    #[serde(
        rename = "latencyRTT",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub latency_rtt: Option<LatencyRtt>,
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
    /// Of no use; kept, so that a copy is a whole one.
    #[serde(default, skip_serializing_if = "Items::is_empty")]
    pub color_codes: Items<String>,
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
resource!(Endpoint, group: SUBMARINER_GROUP, plural: "endpoints", versions: ["v1"], custom: true);
resource!(RouteAgent, group: SUBMARINER_GROUP, plural: "routeagents", versions: ["v1"], custom: true);
resource!(Gateway, group: SUBMARINER_GROUP, plural: "gateways", versions: ["v1"], custom: true);

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;
    use serde_json::{Value, json};

    use super::*;

    /// Nothing that Submariner wrote is lost or spelt otherwise.
    fn kept<T: DeserializeOwned + Serialize>(member: &str, recorded: &Value) {
        let object = json!({
            "metadata": {"name": "x", "namespace": "submariner-operator", "labels": {"submariner-io/clusterID": "c2"}},
            member: recorded,
        });
        let read: T = serde_json::from_value(object.clone()).expect("an object");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), object);
    }

    fn endpoint() -> Value {
        json!({
            "backend": "wireguard",
            "backend_config": {
                "interface-name": "submariner",
                "natt-discovery-port": "4490",
                "public-ip": "ipv4:198.51.100.21",
                "publicKey": "OkgXxslohUfJpfbk0lNGjgoFsvkz5gI6uOWJtArQ+y8=",
                "udp-port": "4500",
            },
            "cable_name": "submariner-cable-c2-172-31-2-11",
            "cluster_id": "c2",
            "healthCheckIP": "10.9.1.1",
            "hostname": "c2-gw1",
            "nat_enabled": true,
            "private_ip": "172.31.2.11",
            "public_ip": "198.51.100.21",
            "subnets": ["10.99.0.0/16", "10.9.0.0/16"],
        })
    }

    fn times() -> Value {
        json!({
            "average": "288.688\u{b5}s",
            "last": "231.624\u{b5}s",
            "max": "381.697\u{b5}s",
            "min": "197.323\u{b5}s",
            "stdDev": "56.011\u{b5}s",
        })
    }

    #[test]
    fn what_submariner_writes_is_read_and_written_alike() {
        kept::<Endpoint>("spec", &endpoint());
        let cluster = json!({
            "cluster_cidr": ["10.9.0.0/16"],
            "cluster_id": "c2",
            "color_codes": ["blue"],
            "global_cidr": [],
            "service_cidr": ["10.99.0.0/16"],
        });
        kept::<Cluster>("spec", &cluster);
        let gateway = json!({
            "connections": [
                {"endpoint": endpoint(), "latencyRTT": times(), "status": "connected", "statusMessage": "", "usingIP": "172.31.2.11"},
                {"endpoint": endpoint(), "status": "connecting", "statusMessage": "", "usingIP": "198.51.100.21", "usingNAT": true},
            ],
            "haStatus": "active",
            "localEndpoint": endpoint(),
            "statusFailure": "",
            "version": "devel",
        });
        kept::<Gateway>("status", &gateway);
        let agent = json!({
            "remoteEndpoints": [{"latencyRTT": times(), "spec": endpoint(), "status": "connected", "statusMessage": ""}],
            "statusFailure": "",
            "version": "devel",
        });
        kept::<RouteAgent>("status", &agent);
    }

    #[test]
    fn a_route_agents_owner_is_read() {
        let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "w1", "uid": "u1"});
        let object = json!({"metadata": {"name": "w1", "uid": "u2", "ownerReferences": [owner]}, "status": null});
        let read: RouteAgent = serde_json::from_value(object.clone()).expect("a RouteAgent");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), object);
    }

    /// The CRD requires the lists, also where they are empty.
    #[test]
    fn required_members_are_always_written() {
        let cluster = serde_json::to_value(ClusterSpec::default()).expect("JSON");
        assert_eq!(
            cluster,
            json!({"cluster_id": "", "cluster_cidr": [], "service_cidr": [], "global_cidr": []})
        );
        let status = serde_json::to_value(GatewayStatus {
            local_endpoint: Some(EndpointSpec::default()),
            ..GatewayStatus::default()
        })
        .expect("JSON");
        assert_eq!(status["connections"], json!([]));
        let required = [
            "cluster_id",
            "cable_name",
            "hostname",
            "subnets",
            "private_ip",
            "public_ip",
            "nat_enabled",
            "backend",
        ];
        for name in required {
            assert!(status["localEndpoint"].get(name).is_some(), "{name}");
        }
    }
}
