//! The DNS server of a member, as `deploy/lighthouse-dns.yaml` has it.

use serde_json::json;

use super::{Settings, account, env, metrics_service};
use crate::Object;
use crate::images::LIGHTHOUSE_DNS;
use crate::names::{DNS, OPERATOR_NAMESPACE};

const METRICS_PORT: u16 = 9153;

pub(super) fn objects(settings: &Settings) -> Vec<Object> {
    let mut objects = account(DNS, &rules()).to_vec();
    objects.extend([
        Object::ours(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": DNS, "namespace": OPERATOR_NAMESPACE},
            "data": {"Corefile": corefile(&settings.domains())},
        })),
        deployment(settings),
        Object::ours(json!({
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": DNS, "namespace": OPERATOR_NAMESPACE},
            "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": DNS}}},
        })),
        Object::ours(json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": DNS, "namespace": OPERATOR_NAMESPACE, "labels": {"app": DNS, "component": "dns"}},
            "spec": {
                "selector": {"app": DNS},
                "ports": [
                    {"name": "udp", "port": 53, "protocol": "UDP", "targetPort": 53},
                    {"name": "tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                ],
            },
        })),
        metrics_service(DNS, METRICS_PORT),
    ]);
    objects
}

fn rules() -> serde_json::Value {
    let read = ["get", "list", "watch"];
    json!([
        {"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports"], "verbs": read},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": read},
        {"apiGroups": ["submariner.io"], "resources": ["gateways"], "verbs": read},
        {"apiGroups": ["about.k8s.io"], "resources": ["clusterproperties"], "verbs": read},
        {"apiGroups": [""], "resources": ["namespaces"], "verbs": read},
    ])
}

/// One block per domain.
fn corefile(domains: &[String]) -> String {
    let blocks = domains.iter().map(|domain| {
        format!(
            "{domain}:53 {{\n    lighthouse\n    errors\n    health {{\n        lameduck 5s\n    }}\n    ready\n    \
             prometheus :{METRICS_PORT}\n    reload\n}}\n"
        )
    });
    blocks.collect()
}

fn deployment(settings: &Settings) -> Object {
    let mut own = vec![("SUBMARINER_CLUSTERID", settings.cluster_id.as_str())];
    if settings.debug {
        own.push(("LOG_LEVEL", "debug"));
    }
    let mut variables = env(&own, &settings.proxies);
    variables
        .push(json!({"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}));
    Object::ours(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DNS, "namespace": OPERATOR_NAMESPACE, "labels": {"app": DNS, "component": "dns"}},
        "spec": {
            "replicas": settings.replicas.dns,
            "selector": {"matchLabels": {"app": DNS}},
            "template": {
                "metadata": {"labels": {"app": DNS}},
                "spec": {
                    "serviceAccountName": DNS,
                    "terminationGracePeriodSeconds": 15,
                    // Names should outlive a node.
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "kubernetes.io/hostname",
                        "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"app": DNS}},
                    }],
                    "containers": [{
                        "name": DNS,
                        "image": settings.images.of(LIGHTHOUSE_DNS),
                        "imagePullPolicy": settings.images.pull_policy(),
                        "args": ["-conf", "/etc/coredns/Corefile"],
                        "env": variables,
                        "ports": [
                            {"name": "dns", "containerPort": 53, "protocol": "UDP"},
                            {"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
                            {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
                        ],
                        "livenessProbe": {"httpGet": {"path": "/health", "port": 8080}},
                        "readinessProbe": {"httpGet": {"path": "/ready", "port": 8181}},
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "runAsNonRoot": true,
                            "runAsUser": 65532,
                            "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]},
                        },
                        "volumeMounts": [{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}],
                    }],
                    "volumes": [{"name": "config", "configMap": {"name": DNS}}],
                },
            },
        },
    }))
}
