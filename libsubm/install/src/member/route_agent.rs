//! The route agent: on every node, brings traffic for the other clusters to the active gateway.

use serde_json::{Value, json};

use super::connectivity::{Connectivity, NodeProgram, SharedVariables};
use super::{Settings, account, role};
use crate::Object;
use crate::images;
use crate::names::ROUTE_AGENT;
use crate::rbac::{KEEP, READ};

/// Metrics, health and readiness, on every address of the node; upstream's agent has the port for profiles.
const ADMIN_PORT: u16 = 32782;

pub(super) fn objects(settings: &Settings, connectivity: &Connectivity) -> Vec<Object> {
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": READ}]);
    let mut objects = account(ROUTE_AGENT, &nodes).to_vec();
    objects.extend(role(ROUTE_AGENT, &rights()));
    objects.push(daemon_set(settings, connectivity));
    objects
}

/// In its own namespace.
fn rights() -> Value {
    json!([
        {"apiGroups": ["submariner.io"], "resources": ["clusters", "endpoints"], "verbs": READ},
        {"apiGroups": ["submariner.io"], "resources": ["routeagents"], "verbs": KEEP},
    ])
}

fn daemon_set(settings: &Settings, connectivity: &Connectivity) -> Object {
    let shared = SharedVariables::of(settings, connectivity);
    let debug = if settings.debug { "true" } else { "false" };
    let mut variables = shared.cluster().to_vec();
    variables.extend([
        ("SUBMARINER_NETWORKPLUGIN", &*settings.network_plugin),
        ("SUBMARINER_DEBUG", debug),
        ("SUBMARINER_METRICSPORT", "32782"),
    ]);
    variables.extend(shared.checks());
    NodeProgram {
        name: ROUTE_AGENT,
        component: "routeagent",
        image: settings.images.of(images::ROUTE_AGENT),
        variables,
        node_selector: json!({"kubernetes.io/os": "linux"}),
        // What it made stays while it is replaced.
        max_unavailable: json!("100%"),
        ports: json!([{"name": "metrics", "containerPort": ADMIN_PORT, "hostPort": ADMIN_PORT, "protocol": "TCP"}]),
        probes: ("/healthz", "/readyz", ADMIN_PORT),
        secrets: Vec::new(),
    }
    .daemon_set(settings)
}
