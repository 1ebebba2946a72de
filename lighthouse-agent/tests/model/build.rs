//! Objects as users and Kubernetes write them.

use serde_json::{Value, json};

/// The namespace of most tests.
pub(crate) const NS: &str = "service-ns";

pub(crate) fn namespace(name: &str) -> Value {
    json!({"kind": "Namespace", "metadata": {"name": name}})
}

/// An export created at second `age` of some hour.
pub(crate) fn export(name: &str, age: u32) -> Value {
    json!({
        "kind": "ServiceExport",
        "metadata": {
            "name": name, "namespace": NS, "generation": 1,
            "creationTimestamp": format!("2026-11-23T20:{:02}:{:02}Z", age / 60, age % 60),
        },
    })
}

pub(crate) fn port(name: &str, number: u16) -> Value {
    json!({"name": name, "protocol": "TCP", "port": number, "targetPort": number + 8000})
}

pub(crate) fn service(name: &str, ip: &str, ports: &[Value]) -> Value {
    let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
    json!({
        "kind": "Service",
        "metadata": {"name": name, "namespace": NS, "labels": {"app": name}},
        "spec": {
            "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "ipFamilies": [family],
            "ports": ports, "sessionAffinity": "None", "selector": {"app": name}, "internalTrafficPolicy": "Cluster",
        },
    })
}

pub(crate) fn headless(name: &str, ports: &[Value]) -> Value {
    let mut service = service(name, "None", ports);
    service["spec"]["ipFamilies"] = json!(["IPv4"]);
    service
}

/// A slice of Kubernetes' own with pods at `ready` and `unready` addresses.
pub(crate) fn backends(name: &str, service: &str, ready: &[&str], unready: &[&str]) -> Value {
    let endpoint = |address: &&str, ready: bool| {
        json!({
            "addresses": [address],
            "conditions": {"ready": ready, "serving": ready, "terminating": false},
            "nodeName": "node",
            "targetRef": {"kind": "Pod", "name": format!("pod-{}", address.replace(['.', ':'], "-")), "namespace": NS},
        })
    };
    let family = ready
        .iter()
        .chain(unready)
        .next()
        .map_or("IPv4", |address| {
            if address.contains(':') {
                "IPv6"
            } else {
                "IPv4"
            }
        });
    let endpoints: Vec<Value> = ready
        .iter()
        .map(|address| endpoint(address, true))
        .chain(unready.iter().map(|address| endpoint(address, false)))
        .collect();
    json!({
        "kind": "EndpointSlice",
        "metadata": {
            "name": name, "namespace": NS,
            "labels": {
                "app": service,
                "kubernetes.io/service-name": service,
                "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
            },
        },
        "addressType": family,
        "endpoints": endpoints,
        "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
    })
}

/// A global IP; `allocated` may be empty.
pub(crate) fn global_ip(
    name: &str,
    target: &str,
    reference: Option<(&str, &str)>,
    allocated: &str,
) -> Value {
    let mut ip = json!({
        "kind": "GlobalIngressIP",
        "metadata": {"name": name, "namespace": NS},
        "spec": {"target": target},
        "status": {"allocatedIP": allocated},
    });
    if let Some((field, to)) = reference {
        ip["spec"][field] = json!({"name": to});
    }
    ip
}
