//! The MCS controller of a member: exports to the broker, imports from it.

use serde_json::json;
use subm_api::NamespaceRules;

use super::{Settings, account, env, metrics_service, role};
use crate::Object;
use crate::images::LIGHTHOUSE_AGENT;
use crate::names::{AGENT, BROKER_SECRET, OPERATOR_NAMESPACE};
use crate::rbac::READ;

/// Metrics, health and readiness.
const PORT: u16 = 8082;

pub(super) fn objects(settings: &Settings) -> Vec<Object> {
    let mut objects = account(AGENT, &json!(rules(settings))).to_vec();
    objects.extend(lease_rights());
    objects.push(deployment(settings));
    objects.push(metrics_service(AGENT, PORT));
    objects
}

/// The agent reads by lists and watches, and writes by patches.
const WRITE: [&str; 6] = ["create", "get", "list", "watch", "patch", "delete"];

fn rules(settings: &Settings) -> Vec<serde_json::Value> {
    let mut rules = vec![
        json!({"apiGroups": [""], "resources": ["services", "namespaces", "nodes"], "verbs": READ}),
        json!({"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceexports"], "verbs": READ}),
        json!({
            "apiGroups": ["multicluster.x-k8s.io"],
            "resources": ["serviceexports/status", "serviceimports/status"],
            "verbs": ["patch"],
        }),
        json!({"apiGroups": ["multicluster.x-k8s.io"], "resources": ["serviceimports"], "verbs": WRITE}),
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": WRITE}),
        // OpenShift wants it of whoever sets addresses.
        json!({"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices/restricted"], "verbs": ["create"]}),
        json!({"apiGroups": ["submariner.io"], "resources": ["globalingressips"], "verbs": READ}),
        json!({"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]}),
    ];
    if settings.clusterset_ip.by_service {
        // Those that carry the cluster set IPs.
        rules.push(json!({"apiGroups": [""], "resources": ["services"], "verbs": ["create", "patch", "delete"]}));
    }
    rules
}

/// One of several replicas leads; its Lease is in its own namespace.
fn lease_rights() -> [Object; 2] {
    let rules = json!([{
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "verbs": ["create", "get", "update", "delete"],
    }]);
    role(AGENT, &rules)
}

fn deployment(settings: &Settings) -> Object {
    let flag = |on: bool| if on { "true" } else { "false" };
    let broker = &settings.broker;
    let mut variables = vec![
        ("SUBMARINER_CLUSTERID", settings.cluster_id.as_str()),
        ("SUBMARINER_NAMESPACE", OPERATOR_NAMESPACE),
        (
            "SUBMARINER_CLUSTERSET_IP_CIDR",
            settings.clusterset_ip.cidr.as_deref().unwrap_or_default(),
        ),
        (
            "SUBMARINER_CLUSTERSET_IP_ENABLED",
            flag(settings.clusterset_ip.enabled),
        ),
        ("SUBMARINER_GLOBALNET_ENABLED", flag(settings.globalnet)),
        (
            "SUBMARINER_HALT_ON_CERT_ERROR",
            flag(broker.halt_on_certificate_error),
        ),
        ("BROKER_K8S_APISERVER", broker.host()),
        ("BROKER_K8S_REMOTENAMESPACE", &broker.namespace),
        ("BROKER_K8S_SECRET", BROKER_SECRET),
        ("BROKER_K8S_INSECURE", flag(broker.insecure)),
    ];
    if settings.clusterset_ip.by_service {
        variables.push(("SUBMARINER_CLUSTERSET_IP_SOURCE", "service"));
    }
    let allowed = settings.namespaces_allowed.join(",");
    if !allowed.is_empty() {
        variables.push((NamespaceRules::ALLOW_VARIABLE, &allowed));
    }
    if settings.debug {
        variables.push(("LOG_LEVEL", "debug"));
    }
    let probe = |path: &str| json!({"httpGet": {"path": path, "port": PORT}});
    Object::ours(json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": AGENT, "namespace": OPERATOR_NAMESPACE, "labels": {"app": AGENT, "component": "agent"}},
        "spec": {
            "replicas": settings.replicas.agent,
            "selector": {"matchLabels": {"app": AGENT}},
            "template": {
                "metadata": {"labels": {"app": AGENT}},
                "spec": {
                    "serviceAccountName": AGENT,
                    "terminationGracePeriodSeconds": 10,
                    "containers": [{
                        "name": AGENT,
                        "image": settings.images.of(LIGHTHOUSE_AGENT),
                        "imagePullPolicy": settings.images.pull_policy(),
                        "env": env(&variables, &settings.proxies),
                        "ports": [{"name": "metrics", "containerPort": PORT, "protocol": "TCP"}],
                        "livenessProbe": probe("/healthz"),
                        "readinessProbe": probe("/readyz"),
                        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                        "securityContext": {
                            "allowPrivilegeEscalation": false,
                            "readOnlyRootFilesystem": true,
                            "runAsNonRoot": true,
                            "runAsUser": 65532,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "volumeMounts": [{
                            "name": "broker-secret",
                            "mountPath": format!("/run/secrets/submariner.io/{BROKER_SECRET}"),
                            "readOnly": true,
                        }],
                    }],
                    "volumes": [{"name": "broker-secret", "secret": {"secretName": BROKER_SECRET}}],
                },
            },
        },
    }))
}
