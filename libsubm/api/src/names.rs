//! Labels, annotations and well-known names, with where they come from.

/// KEP-1645.
pub const MCS_GROUP: &str = "multicluster.x-k8s.io";
/// KEP-2149.
pub const ABOUT_GROUP: &str = "about.k8s.io";
/// Submariner's own objects.
pub const SUBMARINER_GROUP: &str = "submariner.io";

/// Label of a slice: the service it belongs to (KEP-1645). Lighthouse puts it on a cluster's own
/// import too, and, as an annotation, on the broker's copy of the aggregated import.
pub const SERVICE_NAME: &str = "multicluster.kubernetes.io/service-name";
/// Label of a slice: id of the exporting cluster (KEP-1645).
pub const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";
/// Label of a slice: who wrote it (discovery/v1).
pub const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
/// Value of [`MANAGED_BY`] in slices of Lighthouse's agent.
pub const LIGHTHOUSE_AGENT: &str = "lighthouse-agent.submariner.io";
/// Label of Kubernetes' own slices: the local service (discovery/v1).
pub const LOCAL_SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Annotation of a slice: when the change that it carries happened, RFC 3339 (core/v1).
pub const LAST_CHANGE_TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Label: namespace of the exported service; differs from the object's own on the broker.
pub const SOURCE_NAMESPACE: &str = "lighthouse.submariner.io/sourceNamespace";
/// Label: name of the exported service (Lighthouse up to 0.14).
pub const LEGACY_SOURCE_NAME: &str = "lighthouse.submariner.io/sourceName";
/// Label: id of the exporting cluster (Lighthouse up to 0.14).
pub const LEGACY_SOURCE_CLUSTER: &str = "lighthouse.submariner.io/sourceCluster";
/// Annotation of an import per cluster: name of the service (Lighthouse up to 0.14).
pub const LEGACY_ORIGIN_NAME: &str = "origin-name";
/// Annotation of an import per cluster: namespace of the service (Lighthouse up to 0.14).
pub const LEGACY_ORIGIN_NAMESPACE: &str = "origin-namespace";
/// Label of a slice, `"true"` or `"false"` (Lighthouse since 0.15).
pub const IS_HEADLESS: &str = "lighthouse.submariner.io/is-headless";
/// Annotation of a slice, `"true"` or `"false"`.
pub const PUBLISH_NOT_READY: &str = "lighthouse.submariner.io/publish-not-ready-addresses";
/// Annotation of a slice, `"true"` where its addresses are global IPs.
pub const GLOBALNET_ENABLED: &str = "lighthouse.submariner.io/globalnet-enabled";
/// Annotation of an export and of imports, `"true"` or `"false"`: the service shall have a cluster set IP.
pub const USE_CLUSTERSET_IP: &str = "lighthouse.submariner.io/use-clusterset-ip";
/// Annotation of an import: the cluster from whose pool its cluster set IP is.
pub const CLUSTERSET_IP_ALLOCATED_BY: &str = "lighthouse.submariner.io/clusterset-ip-allocated-by";
/// Label of a slice: the Kubernetes slice that it copies (headless services).
pub const SOURCE_SLICE: &str = "lighthouse.submariner.io/source-name";
/// Annotation of an import: `timestamp.submariner.io/<cluster>`, when that cluster's export was created, ns since the epoch.
pub const TIMESTAMP_PREFIX: &str = "timestamp.submariner.io/";
/// Before a cluster's id: the name of its account on the broker, and of its Lease there.
pub const MEMBER_PREFIX: &str = "cluster-";
/// Conditions that Lighthouse's agent, or ours, writes to an export; others keep their own beside them. `Synced` is of releases up
/// to 0.14, which said so what `Ready` says since.
pub const EXPORT_CONDITIONS: [&str; 4] = ["Valid", "Ready", "Synced", "Conflict"];
/// Label that objects carry on the broker: the cluster that wrote them.
pub const BROKER_CLUSTER_ID: &str = "submariner-io/clusterID";
/// Annotation of a Cluster and of an account on the broker: uid of the cluster's namespace kube-system, by which it is known whatever
/// it is called.
pub const CLUSTER_UID: &str = "submariner.io/cluster-uid";
/// Label that objects carry on the broker: their namespace at home.
pub const BROKER_NAMESPACE: &str = "submariner-io/originatingNamespace";
/// Annotation of a GlobalIngressIP: the address of the endpoint that it is for.
pub const GLOBAL_IP_OF_ENDPOINT: &str = "submariner.io/headless-svc-endpoints-ip";
/// Label of a Service that carries a cluster set IP, and of its slices: the exported service, in the same namespace.
pub const DERIVED_FROM: &str = "lighthouse.submariner.io/derived-from";
/// Value of [`MANAGED_BY`] in those slices. Not [`LIGHTHOUSE_AGENT`]: DNS servers must not take these for slices of the cluster set.
pub const DERIVED_SERVICE_MANAGER: &str = "derived-service.lighthouse.submariner.io";
/// Annotation of an import: the Service that carries its cluster set IP (mcs-api's reference controller, Cilium).
pub const DERIVED_SERVICE: &str = "multicluster.kubernetes.io/derived-service";

/// Annotation of an import: `lighthouse-lb-weight.submariner.io/<cluster>`, a share in round robin.
pub const WEIGHT_PREFIX: &str = "lighthouse-lb-weight.submariner.io/";

/// Annotation of a Gateway: when its status was written, seconds since the epoch.
pub const UPDATE_TIMESTAMP: &str = "update-timestamp";
/// Annotation of our Gateways: for how many seconds after [`UPDATE_TIMESTAMP`] nobody need worry. Submariner's have none; for them it is 15.
pub const VALID_FOR: &str = "gateway.submariner.io/valid-for";
/// `status.haStatus` of the Gateway that carries the traffic.
pub const HA_ACTIVE: &str = "active";
/// `status.connections[].status` of a tunnel that works.
pub const CONNECTED: &str = "connected";

/// Key of an Endpoint's `backend_config`: UDP port of the tunnel.
pub const UDP_PORT: &str = "udp-port";
/// Key of an Endpoint's `backend_config`: UDP port of NAT discovery.
pub const NATT_DISCOVERY_PORT: &str = "natt-discovery-port";
/// Key of an Endpoint's `backend_config`: how the public address is found, as `method:value`.
pub const PUBLIC_IP: &str = "public-ip";
/// Key of an Endpoint's `backend_config`, `"true"`: the public address is a load balancer's.
pub const USING_LOAD_BALANCER: &str = "using-loadbalancer";
/// Key of an Endpoint's `backend_config`, `"true"`: this side waits for the others to connect.
pub const PREFERRED_SERVER: &str = "preferred-server";
/// Key of an Endpoint's `backend_config`: WireGuard's public key, base64.
pub const PUBLIC_KEY: &str = "publicKey";
/// Key of an Endpoint's `backend_config`: the device by which the tunnel is reached, where it has one.
pub const INTERFACE_NAME: &str = "interface-name";
/// Node label and annotation prefix: settings of a gateway for its `backend_config`.
pub const GATEWAY_PREFIX: &str = "gateway.submariner.io/";
/// Node label, `"true"`: the node may be a gateway.
pub const GATEWAY_LABEL: &str = "submariner.io/gateway";

/// Labels of a gateway's pod: its node, and `active` or `passive`; a Service of type LoadBalancer chooses by the latter.
pub const POD_NODE: &str = "gateway.submariner.io/node";
pub const POD_STATUS: &str = "gateway.submariner.io/status";
/// Annotation of a Gateway: the address that Globalnet gave it.
pub const GLOBAL_IP: &str = "submariner.io/globalIp";

/// ClusterProperty that holds the cluster's id (KEP-2149).
pub const CLUSTER_ID_PROPERTY: &str = "cluster.clusterset.k8s.io";
/// The same in early versions of the KEP.
pub const LEGACY_CLUSTER_ID_PROPERTY: &str = "id.k8s.io";

/// Whether the key of an annotation is one that an agent of Lighthouse, or ours, gives the imports that it writes for users: since when
/// clusters export, or whether there is a cluster set IP. Imports of other controllers of the MCS API, and of people, have none.
pub fn marks_lighthouses_import(key: &str) -> bool {
    key.starts_with(TIMESTAMP_PREFIX) || key.starts_with("lighthouse.submariner.io/")
}

/// Whether a text is an RFC 1123 label: 1 to 63 of `a-z`, `0-9` and `-`, neither first nor last a `-`. Names of namespaces and
/// Services are, and ids of clusters.
pub fn is_label(text: &str) -> bool {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(good)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_labels_are_names() {
        for good in ["a", "web", "a-b", "0", "9to5", &"x".repeat(63)] {
            assert!(is_label(good), "{good}");
        }
        for bad in ["", "-", "a-", "-a", "A", "a.b", "a_b", "ä", &"x".repeat(64)] {
            assert!(!is_label(bad), "{bad}");
        }
    }
}
