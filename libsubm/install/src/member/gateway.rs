//! The gateway: on nodes with its label, one of which is active and has the cables.

use serde_json::{Value, json};
use subm_api::names::{GATEWAY_LABEL, HA_ACTIVE};

use super::connectivity::{Connectivity, NodeProgram, SharedVariables};
use super::{Settings, account, metrics_service_to, role};
use crate::Object;
use crate::images;
use crate::names::{BROKER_SECRET, GATEWAY, IPSEC_PSK, OPERATOR_NAMESPACE};
use crate::rbac::{KEEP, READ};

/// Metrics, health and readiness, on every address of the node.
const ADMIN_PORT: u16 = 32780;
/// Upstream's proxy for metrics listens there; here the Service leads to the gateway itself.
const METRICS_PORT: u16 = 8080;
const NAT_DISCOVERY_PORT: u16 = 4490;
/// Label of a gateway's pod, by the gateway.
const STATUS_LABEL: &str = "gateway.submariner.io/status";

pub(super) fn objects(settings: &Settings, connectivity: &Connectivity) -> Vec<Object> {
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": READ}]);
    let mut objects = account(GATEWAY, &nodes).to_vec();
    objects.extend(role(GATEWAY, &rights(connectivity)));
    objects.push(daemon_set(settings, connectivity));
    objects.push(metrics_service_to(GATEWAY, METRICS_PORT, ADMIN_PORT));
    if connectivity.load_balancer {
        objects.push(load_balancer(connectivity));
    }
    objects
}

/// In its own namespace.
fn rights(connectivity: &Connectivity) -> Value {
    let mut rules = vec![
        json!({"apiGroups": ["submariner.io"], "resources": ["clusters", "endpoints", "gateways"], "verbs": KEEP}),
        json!({"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update", "delete"]}),
        // Of its own pod the labels, by which the Service for a load balancer chooses.
        json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["patch"]}),
        // A node's clean-up runs with the account of its first program.
        json!({"apiGroups": ["submariner.io"], "resources": ["routeagents"], "verbs": ["delete"]}),
    ];
    if connectivity.load_balancer {
        rules.push(json!({
            "apiGroups": [""],
            "resources": ["services"],
            "resourceNames": [GATEWAY],
            "verbs": ["get"],
        }));
    }
    json!(rules)
}

fn daemon_set(settings: &Settings, connectivity: &Connectivity) -> Object {
    let flag = |on: bool| if on { "true" } else { "false" };
    let broker = &settings.broker;
    let shared = SharedVariables::of(settings, connectivity);
    let port = connectivity.tunnel_port.to_string();
    let mut variables = shared.cluster().to_vec();
    variables.extend([
        ("SUBMARINER_CABLEDRIVER", connectivity.cable_driver.as_str()),
        ("SUBMARINER_NATENABLED", flag(connectivity.nat)),
        ("SUBMARINER_DEBUG", flag(settings.debug)),
        ("SUBMARINER_METRICSPORT", "32780"),
        (
            "SUBMARINER_HALT_ON_CERT_ERROR",
            flag(broker.halt_on_certificate_error),
        ),
        ("AIR_GAPPED_DEPLOYMENT", flag(connectivity.air_gapped)),
        ("CE_IPSEC_NATTPORT", &*port),
        ("CE_IPSEC_DEBUG", flag(connectivity.cable_debug)),
        (
            "CE_IPSEC_PREFERREDSERVER",
            flag(connectivity.preferred_server || connectivity.load_balancer),
        ),
        ("CE_IPSEC_FORCEENCAPS", flag(connectivity.force_udp_encaps)),
        ("SUBMARINER_BROKER", "k8s"),
        ("BROKER_K8S_APISERVER", broker.host()),
        ("BROKER_K8S_REMOTENAMESPACE", &*broker.namespace),
        ("BROKER_K8S_SECRET", BROKER_SECRET),
        ("BROKER_K8S_INSECURE", flag(broker.insecure)),
    ]);
    variables.extend(shared.checks());
    let mut secrets = vec![BROKER_SECRET];
    if connectivity.psk.is_some() {
        variables.push(("CE_IPSEC_PSKSECRET", IPSEC_PSK));
        secrets.push(IPSEC_PSK);
    }
    if connectivity.load_balancer {
        variables.push(("SUBMARINER_PUBLICIP", "lb:submariner-gateway"));
    }
    NodeProgram {
        name: GATEWAY,
        component: "gateway",
        image: settings.images.of(images::GATEWAY),
        variables,
        node_selector: json!({GATEWAY_LABEL: "true"}),
        // While one is replaced another can carry the traffic.
        max_unavailable: json!(1),
        ports: json!([
            {"name": "cable-encaps", "containerPort": connectivity.tunnel_port, "hostPort": connectivity.tunnel_port, "protocol": "UDP"},
            {"name": "natt-discovery", "containerPort": NAT_DISCOVERY_PORT, "hostPort": NAT_DISCOVERY_PORT, "protocol": "UDP"},
            {"name": "metrics", "containerPort": ADMIN_PORT, "hostPort": ADMIN_PORT, "protocol": "TCP"},
        ]),
        probes: ("/healthz", "/readyz", ADMIN_PORT),
        secrets,
    }
    .daemon_set(settings)
}

/// Leads to the active gateway; the clouds' notes are upstream's.
fn load_balancer(connectivity: &Connectivity) -> Object {
    let port = connectivity.tunnel_port;
    Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": GATEWAY,
            "namespace": OPERATOR_NAMESPACE,
            "annotations": {
                "service.beta.kubernetes.io/aws-load-balancer-type": "nlb",
                "service.kubernetes.io/ibm-load-balancer-cloud-provider-enable-features": "nlb",
            },
        },
        "spec": {
            "type": "LoadBalancer",
            // Gateways know each other by their addresses.
            "externalTrafficPolicy": "Local",
            "selector": {"app": GATEWAY, STATUS_LABEL: HA_ACTIVE},
            "ports": [
                {"name": "cable-encaps", "port": port, "targetPort": port, "protocol": "UDP"},
                {"name": "natt-discovery", "port": NAT_DISCOVERY_PORT, "targetPort": NAT_DISCOVERY_PORT, "protocol": "UDP"},
            ],
        },
    }))
}
