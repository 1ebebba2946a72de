//! Tables of imports, as an API server would give them, and what they mean.

use serde_json::{Value, json};
use subm_dns_core::facts::{Port, Protocol};

use super::*;
use crate::sources::convert::tests::{fields, id, label_of, with};

fn read_import(value: Value) -> Converted<Import> {
    let object: ServiceImport = serde_json::from_value(value).expect("shape of an import");
    import(&object, &"ServiceImport x")
}

fn web() -> Value {
    json!({
        "apiVersion": "multicluster.x-k8s.io/v1beta1",
        "kind": "ServiceImport",
        "metadata": {"name": "web", "namespace": "shop", "labels": {}, "annotations": {}},
        "spec": {
            "type": "ClusterSetIP",
            "ips": ["243.0.0.7"],
            "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        },
    })
}

#[test]
fn an_import_in_todays_form() {
    let (import, problems) = read_import(web());
    assert_eq!(problems, []);
    assert_eq!(
        import,
        Some(Import {
            service: ServiceKey::new("shop", "web").expect("labels"),
            form: ImportForm::Aggregated,
            kind: ServiceType::ClusterSetIp,
            ips: vec!["243.0.0.7".parse().expect("an address")],
            ports: vec![Port {
                name: Some(label_of("http")),
                protocol: Protocol::Tcp,
                number: 80
            }],
            weights: vec![],
        })
    );
}

#[test]
fn copies_that_lighthouse_keeps_for_itself_say_nothing() {
    for place in ["labels", "annotations"] {
        let pointer = format!("/metadata/{place}/multicluster.kubernetes.io~1service-name");
        assert_eq!(
            read_import(with(web(), &pointer, json!("web"))),
            (None, vec![]),
            "{place}"
        );
    }
}

#[test]
fn an_import_of_lighthouse_014_takes_its_name_from_annotations_or_labels() {
    let expected = ServiceKey::new("shop", "web");
    let metadata = [
        json!({"labels": {"lighthouse.submariner.io/sourceCluster": "west"},
               "annotations": {"origin-name": "web", "origin-namespace": "shop"}}),
        json!({"labels": {"lighthouse.submariner.io/sourceCluster": "west",
                          "lighthouse.submariner.io/sourceName": "web",
                          "lighthouse.submariner.io/sourceNamespace": "shop"}}),
    ];
    for mut metadata in metadata {
        metadata["name"] = json!("web-shop-west");
        metadata["namespace"] = json!("submariner-operator");
        let (import, problems) = read_import(with(web(), "/metadata", metadata));
        assert_eq!(problems, []);
        let import = import.expect("an import");
        assert_eq!(Some(import.service), expected);
        assert_eq!(import.form, ImportForm::PerCluster(id("west")));
    }
}

#[test]
fn an_import_per_cluster_without_origin_is_not_served() {
    let object = with(
        web(),
        "/metadata/labels",
        json!({"lighthouse.submariner.io/sourceCluster": "west"}),
    );
    let (import, problems) = read_import(object);
    assert_eq!(
        (import, fields(&problems)),
        (None, vec!["metadata.annotations"])
    );
}

#[test]
fn weights_are_numbers_and_a_bad_one_is_said() {
    let annotations = json!({
        "lighthouse-lb-weight.submariner.io/east": "0",
        "lighthouse-lb-weight.submariner.io/north": "-1",
        "lighthouse-lb-weight.submariner.io/south": "65536",
        "lighthouse-lb-weight.submariner.io/up.there": "65535",
        "lighthouse-lb-weight.submariner.io/west": "7",
        "timestamp.submariner.io/east": "1795467040000000000",
    });
    let (import, problems) = read_import(with(web(), "/metadata/annotations", annotations));
    let weights = import.expect("an import").weights;
    assert_eq!(
        weights,
        [(id("east"), 0), (id("up.there"), 65535), (id("west"), 7)]
    );
    assert_eq!(
        fields(&problems),
        [
            "metadata.annotations[lighthouse-lb-weight.submariner.io/north]",
            "metadata.annotations[lighthouse-lb-weight.submariner.io/south]"
        ]
    );
}

#[test]
fn bad_parts_of_an_import_are_left_out() {
    // What is changed, addresses and ports left, fields complained of.
    let table = [
        (
            "/spec/ips",
            json!(["243.0.0.7", "nonsense", 7, "fd00::7"]),
            2,
            1,
            vec!["spec.ips[2]", "spec.ips[1]"],
        ),
        ("/spec/ips", json!("243.0.0.7"), 0, 1, vec!["spec.ips"]),
        ("/spec/ips", Value::Null, 0, 1, vec![]),
        (
            "/spec/ips",
            json!(["0.0.0.0", "127.0.0.1", "224.0.0.1"]),
            0,
            1,
            vec!["spec.ips[0]", "spec.ips[1]", "spec.ips[2]"],
        ),
        ("/spec/ports", Value::Null, 1, 0, vec![]),
        (
            "/spec/ports",
            json!([{"name": "a"}, {"port": 80}]),
            1,
            1,
            vec!["spec.ports[0].port"],
        ),
        (
            "/spec/ports",
            json!([{"port": 0}, {"port": 65536}, {"port": -1}, {"port": 65535}]),
            1,
            1,
            vec![
                "spec.ports[0].port",
                "spec.ports[1].port",
                "spec.ports[2].port",
            ],
        ),
        (
            "/spec/ports",
            json!([{"port": "http"}, {"port": 80}]),
            1,
            1,
            vec!["spec.ports[0]"],
        ),
        (
            "/spec/ports",
            json!([{"port": 80, "protocol": "ICMP"}]),
            1,
            0,
            vec!["spec.ports[0].protocol"],
        ),
        (
            "/spec/ports",
            json!([{"port": 80, "name": "a.b"}]),
            1,
            1,
            vec!["spec.ports[0].name"],
        ),
        (
            "/spec/ports",
            json!([{"port": 80, "name": "x".repeat(64)}]),
            1,
            1,
            vec!["spec.ports[0].name"],
        ),
    ];
    for (pointer, value, ips, ports, complaints) in table {
        let (import, problems) = read_import(with(web(), pointer, value.clone()));
        let import = import.expect("the good part is served");
        assert_eq!(
            (import.ips.len(), import.ports.len()),
            (ips, ports),
            "{pointer} {value}"
        );
        assert_eq!(fields(&problems), complaints, "{pointer} {value}");
    }
}

#[test]
fn names_and_protocols_of_ports() {
    let ports = json!([
        {"name": "HTTP", "port": 80},
        {"name": "", "port": 81, "protocol": "udp"},
        {"port": 82, "protocol": "SCTP"},
    ]);
    let (import, problems) = read_import(with(web(), "/spec/ports", ports));
    assert_eq!(problems, []);
    assert_eq!(
        import.expect("an import").ports,
        [
            Port {
                name: Some(label_of("http")),
                protocol: Protocol::Tcp,
                number: 80
            },
            Port {
                name: None,
                protocol: Protocol::Udp,
                number: 81
            },
            Port {
                name: None,
                protocol: Protocol::Sctp,
                number: 82
            },
        ]
    );
}

#[test]
fn a_headless_import_has_no_ips_and_an_unknown_type_is_not_served() {
    let headless = with(web(), "/spec/type", json!("Headless"));
    let (import, problems) = read_import(with(headless, "/spec/ips", json!(["None"])));
    let import = import.expect("an import");
    assert_eq!((import.kind, import.ips.len()), (ServiceType::Headless, 0));
    assert_eq!(problems, []);

    for kind in [json!("ClusterIP"), Value::Null] {
        let (import, problems) = read_import(with(web(), "/spec/type", kind));
        assert_eq!((import, fields(&problems)), (None, vec!["spec.type"]));
    }
}

#[test]
fn a_name_that_is_no_label_is_not_served() {
    let long = "x".repeat(64);
    for name in ["a.b", &long, ""] {
        let (import, problems) = read_import(with(web(), "/metadata/name", json!(name)));
        assert_eq!(
            (import, fields(&problems)),
            (None, vec!["metadata.name"]),
            "{name}"
        );
    }
}
