//! Gateways and properties; imports and slices have their own tests. What those share stands here.

use serde_json::{Value, json};
use subm_dns_core::name::Label;

use super::*;

/// Sets the value at a JSON pointer; the parent must exist. `null` leaves the field out.
pub(super) fn with(mut value: Value, pointer: &str, new: Value) -> Value {
    let (parent, field) = pointer.rsplit_once('/').expect("a pointer");
    let field = field.replace("~1", "/");
    let parent = value
        .pointer_mut(parent)
        .expect("the parent")
        .as_object_mut()
        .expect("an object");
    if new.is_null() {
        parent.remove(&field)
    } else {
        parent.insert(field, new)
    };
    value
}

pub(super) fn fields(problems: &[Problem]) -> Vec<&str> {
    problems
        .iter()
        .map(|problem| problem.field.as_str())
        .collect()
}

pub(super) fn id(text: &str) -> ClusterId {
    ClusterId::new(text).expect("a cluster id")
}

pub(super) fn label_of(text: &str) -> Label {
    Label::new(text).expect("a label")
}

fn read_gateway(value: Value) -> Converted<facts::Gateway> {
    let object: Gateway = serde_json::from_value(value).expect("shape of a gateway");
    gateway(&object, &"Gateway x")
}

#[test]
fn a_gateway_as_submariner_writes_it() {
    let (gateway, problems) = read_gateway(json!({
        "metadata": {"name": "gw1", "annotations": {"update-timestamp": "1795469969"}},
        "status": {
            "haStatus": "active",
            "localEndpoint": {"cluster_id": "east", "backend": "vxlan"},
            "connections": [
                {"status": "connected", "endpoint": {"cluster_id": "west", "subnets": ["10.9.0.0/16"]}},
                {"status": "error", "endpoint": {"cluster_id": "south"}},
                {"status": "connected", "endpoint": {"cluster_id": ""}},
                {"status": "connecting"},
                "nonsense",
            ],
        },
    }));
    assert_eq!(
        gateway,
        Some(facts::Gateway {
            local_cluster: Some(id("east")),
            active: true,
            updated_at: Some(1_795_469_969),
            connections: vec![(id("west"), true), (id("south"), false)],
        })
    );
    assert_eq!(
        fields(&problems),
        [
            "status.connections[2].endpoint.cluster_id",
            "status.connections[3].endpoint.cluster_id",
            "status.connections[4]"
        ]
    );
}

#[test]
fn a_gateway_without_status_is_passive() {
    let (gateway, problems) = read_gateway(json!({"metadata": {"name": "gw1"}, "status": null}));
    let gateway = gateway.expect("a gateway");
    assert_eq!(
        (
            gateway.active,
            gateway.local_cluster,
            gateway.connections.len()
        ),
        (false, None, 0)
    );
    assert_eq!(problems, []);
}

#[test]
fn the_property_that_names_the_cluster() {
    let table = [
        ("cluster.clusterset.k8s.io", "East-1", Some("east-1"), 0),
        ("id.k8s.io", "east.example\n", Some("east.example"), 0),
        ("clusterset.k8s.io", "my set", None, 0),
        ("cluster.clusterset.k8s.io", "not an id", None, 1),
        ("cluster.clusterset.k8s.io", "", None, 1),
    ];
    for (name, value, expected, complaints) in table {
        let object = json!({"metadata": {"name": name}, "spec": {"value": value}});
        let object: ClusterProperty = serde_json::from_value(object).expect("shape of a property");
        let (found, problems) = cluster_property(&object, &"ClusterProperty x");
        assert_eq!(
            found.as_ref().map(ClusterId::as_str),
            expected,
            "{name} {value}"
        );
        assert_eq!(problems.len(), complaints, "{name} {value}");
    }
}
