//! Objects as agents of the cluster set write them.

use serde_json::{Value, json};
pub(crate) use subm_test_support::objects::{delete, place, put};

/// An import with a cluster set IP, as plain MCS implementations write it.
pub(crate) fn vip_import(version: &str, namespace: &str, name: &str, ip: &str) -> Value {
    json!({
        "apiVersion": format!("multicluster.x-k8s.io/{version}"),
        "kind": "ServiceImport",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": "ClusterSetIP", "ips": [ip], "ports": [{"port": 80}]},
    })
}

/// Lighthouse's aggregated import: it has no address of its own.
pub(crate) fn lighthouse_import(namespace: &str, name: &str, service_type: &str) -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1",
        "kind": "ServiceImport",
        "metadata": {"namespace": namespace, "name": name},
        "spec": {"type": service_type, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    })
}

/// Lighthouse's slice of a ClusterSetIP service: the cluster's one address, and whether it is healthy.
pub(crate) fn service_slice(
    namespace: &str,
    service: &str,
    cluster: &str,
    ip: &str,
    ready: bool,
) -> Value {
    slice(namespace, service, cluster, false, &[(ip, ready)])
}

/// Lighthouse's slice of a headless service: addresses of pods, and whether they are ready.
pub(crate) fn pods_slice(
    namespace: &str,
    service: &str,
    cluster: &str,
    pods: &[(&str, bool)],
) -> Value {
    slice(namespace, service, cluster, true, pods)
}

fn slice(
    namespace: &str,
    service: &str,
    cluster: &str,
    headless: bool,
    ips: &[(&str, bool)],
) -> Value {
    let endpoints: Vec<Value> = ips
        .iter()
        .map(|(ip, ready)| json!({"addresses": [ip], "conditions": {"ready": ready}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "namespace": namespace,
            "name": format!("{service}-{cluster}-n642g"),
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
                "lighthouse.submariner.io/is-headless": headless.to_string(),
                "lighthouse.submariner.io/sourceNamespace": namespace,
                "multicluster.kubernetes.io/service-name": service,
                "multicluster.kubernetes.io/source-cluster": cluster,
            },
        },
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

/// What the gateway of cluster `home` says of its tunnels: other clusters, and `connected`, `connecting` or `error`.
pub(crate) fn gateway(namespace: &str, tunnels: &[(&str, &str)]) -> Value {
    let connections: Vec<Value> = tunnels
        .iter()
        .map(
            |(cluster, status)| json!({"status": status, "endpoint": endpoint_of_cluster(cluster)}),
        )
        .collect();
    json!({
        "apiVersion": "submariner.io/v1",
        "kind": "Gateway",
        "metadata": {"namespace": namespace, "name": "gateway-node"},
        "status": {
            "haStatus": "active",
            "localEndpoint": endpoint_of_cluster("home"),
            "connections": connections,
        },
    })
}

fn endpoint_of_cluster(cluster: &str) -> Value {
    json!({
        "cluster_id": cluster,
        "cable_name": format!("submariner-cable-{cluster}-198-51-100-11"),
        "hostname": "gateway-node",
        "backend": "libreswan",
    })
}

/// What says which cluster this one is.
pub(crate) fn cluster_property(cluster: &str) -> Value {
    json!({
        "apiVersion": "about.k8s.io/v1beta1",
        "kind": "ClusterProperty",
        "metadata": {"name": "cluster.clusterset.k8s.io"},
        "spec": {"value": cluster},
    })
}
