//! What the article's user deploys.

use serde_json::{Value, json};

pub fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

fn pods(app: &str) -> Value {
    json!({
        "metadata": {"labels": {"app": app}},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "whereami", "image": "whereami", "ports": [{"containerPort": 80}]}],
        },
    })
}

pub fn deployment(namespace: &str, name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": pods(name)},
    })
}

/// `service`: the headless Service of the set, whose pods carry its name as their label.
pub fn stateful_set(namespace: &str, name: &str, service: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "serviceName": service, "replicas": replicas, "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {"app": service}}, "template": pods(service),
        },
    })
}

pub fn service(namespace: &str, name: &str, app: &str, headless: bool) -> Value {
    let mut service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": 80, "protocol": "TCP"}]},
    });
    if headless {
        service["spec"]["clusterIP"] = json!("None");
    }
    service
}

/// `kubectl run client --image=nettool`.
pub fn client_pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "client", "namespace": "default", "labels": {"run": "client"}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": [{"name": "client", "image": "nettool"}]},
    })
}

/// A pod, or the pods of a template, on this node.
pub fn on(node: &str, mut object: Value) -> Value {
    let pods = match object.pointer_mut("/spec/template") {
        Some(template) => template,
        None => &mut object,
    };
    pods["spec"]["nodeName"] = json!(node);
    object
}

/// Pods of a template that know where they are.
pub fn named(mut object: Value) -> Value {
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    object["spec"]["template"]["spec"]["containers"][0]["env"] = json!([
        {"name": "NODE_NAME", "valueFrom": field("spec.nodeName")},
        {"name": "POD_NAME", "valueFrom": field("metadata.name")},
    ]);
    object
}
