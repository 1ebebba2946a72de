//! Tables of slices, as an API server would give them, and what they mean.

use serde_json::{Value, json};
use subm_dns_core::facts::Protocol;

use super::*;
use crate::sources::convert::tests::{fields, id, label_of, with};

fn read_slice(value: Value) -> Converted<Slice> {
    let object: EndpointSlice = serde_json::from_value(value).expect("shape of a slice");
    slice(&object, &"EndpointSlice x")
}

fn read_local(value: Value) -> Converted<LocalSlice> {
    let object: EndpointSlice = serde_json::from_value(value).expect("shape of a slice");
    local_slice(&object, &"EndpointSlice x")
}

fn web_slice() -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "web-n642g",
            "namespace": "shop",
            "labels": {
                "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
                "lighthouse.submariner.io/is-headless": "true",
                "lighthouse.submariner.io/sourceNamespace": "shop",
                "multicluster.kubernetes.io/service-name": "web",
                "multicluster.kubernetes.io/source-cluster": "west",
            },
            "annotations": {
                "lighthouse.submariner.io/globalnet-enabled": "false",
                "lighthouse.submariner.io/publish-not-ready-addresses": "false",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": ["10.2.0.12"],
            "conditions": {"ready": true},
            "hostname": "web-0",
            "targetRef": {"kind": "Pod", "name": "web-0"},
        }],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    })
}

const MANAGED_BY: &str = "/metadata/labels/endpointslice.kubernetes.io~1managed-by";
const IS_HEADLESS: &str = "/metadata/labels/lighthouse.submariner.io~1is-headless";
const SOURCE_NAMESPACE: &str = "/metadata/labels/lighthouse.submariner.io~1sourceNamespace";
const SERVICE_NAME: &str = "/metadata/labels/multicluster.kubernetes.io~1service-name";
const SOURCE_CLUSTER: &str = "/metadata/labels/multicluster.kubernetes.io~1source-cluster";

#[test]
fn a_slice_of_lighthouse() {
    let (slice, problems) = read_slice(web_slice());
    assert_eq!(problems, []);
    assert_eq!(
        slice,
        Some(Slice {
            service: ServiceKey::new("shop", "web").expect("labels"),
            cluster: id("west"),
            form: SliceForm::Backends,
            publish_not_ready: false,
            globalnet: false,
            ports: vec![Port {
                name: Some(label_of("http")),
                protocol: Protocol::Tcp,
                number: 80
            }],
            endpoints: vec![Endpoint {
                addresses: vec!["10.2.0.12".parse().expect("an address")],
                hostname: Some(label_of("web-0")),
                pod: Some(label_of("web-0")),
                ready: true,
            }],
            triggered_at: None,
        })
    );
}

#[test]
fn the_form_of_a_slice_follows_from_who_wrote_it() {
    let lighthouse = json!("lighthouse-agent.submariner.io");
    let other = json!("endpointslice-controller.mcs.example");
    let table = [
        (
            lighthouse.clone(),
            json!("false"),
            "web-n642g",
            SliceForm::ServiceIp,
        ),
        (
            lighthouse.clone(),
            json!("true"),
            "web-n642g",
            SliceForm::Backends,
        ),
        // Before 0.15, and 0.15.
        (
            lighthouse.clone(),
            Value::Null,
            "web-n642g",
            SliceForm::Legacy,
        ),
        (
            lighthouse.clone(),
            json!("false"),
            "web-west",
            SliceForm::Legacy,
        ),
        (
            lighthouse.clone(),
            json!("true"),
            "web-west",
            SliceForm::Legacy,
        ),
        (lighthouse, json!("true"), "webwest", SliceForm::Backends),
        (other.clone(), Value::Null, "web-west", SliceForm::Backends),
        (other, json!("false"), "web-n642g", SliceForm::ServiceIp),
        (Value::Null, Value::Null, "web-n642g", SliceForm::Backends),
    ];
    for (manager, headless, name, form) in table {
        let object = with(web_slice(), MANAGED_BY, manager.clone());
        let object = with(object, IS_HEADLESS, headless.clone());
        let (slice, _) = read_slice(with(object, "/metadata/name", json!(name)));
        assert_eq!(
            slice.expect("a slice").form,
            form,
            "{manager} {headless} {name}"
        );
    }
}

#[test]
fn slices_that_are_not_of_the_cluster_set_say_nothing() {
    assert_eq!(
        read_slice(with(web_slice(), SERVICE_NAME, Value::Null)),
        (None, vec![])
    );
    // R56, R61: the broker's copy.
    assert_eq!(
        read_slice(with(web_slice(), "/metadata/namespace", json!("broker"))),
        (None, vec![])
    );
    // Other implementations do not know this label.
    assert!(
        read_slice(with(web_slice(), SOURCE_NAMESPACE, Value::Null))
            .0
            .is_some()
    );
}

#[test]
fn a_slice_of_an_unknown_cluster_is_said() {
    for cluster in [Value::Null, json!(""), json!("a..b")] {
        let (slice, problems) = read_slice(with(web_slice(), SOURCE_CLUSTER, cluster));
        assert_eq!(slice, None);
        let field = "metadata.labels[multicluster.kubernetes.io/source-cluster]";
        assert_eq!(fields(&problems), [field]);
    }
    let old = with(web_slice(), SOURCE_CLUSTER, Value::Null);
    let old = with(
        old,
        "/metadata/labels/lighthouse.submariner.io~1sourceCluster",
        json!("West.Side"),
    );
    assert_eq!(read_slice(old).0.expect("a slice").cluster, id("west.side"));
}

#[test]
fn bad_parts_of_a_slice_are_left_out() {
    let endpoint =
        |addresses: Value| json!([{"addresses": addresses}, {"addresses": ["10.2.0.13"]}]);
    let table = [
        ("/endpoints", Value::Null, vec![], vec![]),
        ("/endpoints", json!({}), vec![], vec!["endpoints"]),
        (
            "/endpoints",
            endpoint(Value::Null),
            vec!["10.2.0.13"],
            vec![],
        ),
        (
            "/endpoints",
            json!([7, {"addresses": ["10.2.0.13"]}]),
            vec!["10.2.0.13"],
            vec!["endpoints[0]"],
        ),
        (
            "/endpoints",
            endpoint(json!(["nonsense", "10.2.0.12"])),
            vec!["10.2.0.12", "10.2.0.13"],
            vec!["endpoints[0].addresses[0]"],
        ),
        (
            "/endpoints",
            endpoint(json!(["fd00::1"])),
            vec!["10.2.0.13"],
            vec!["endpoints[0].addresses[0]"],
        ),
        (
            "/endpoints",
            endpoint(json!(["0.0.0.0"])),
            vec!["10.2.0.13"],
            vec!["endpoints[0].addresses[0]"],
        ),
        (
            "/endpoints",
            endpoint(json!(["127.0.0.1"])),
            vec!["10.2.0.13"],
            vec!["endpoints[0].addresses[0]"],
        ),
        (
            "/endpoints",
            endpoint(json!(["169.254.1.1"])),
            vec!["10.2.0.13"],
            vec!["endpoints[0].addresses[0]"],
        ),
        (
            "/endpoints",
            endpoint(json!(["224.0.0.1"])),
            vec!["10.2.0.13"],
            vec!["endpoints[0].addresses[0]"],
        ),
        ("/addressType", json!("FQDN"), vec![], vec!["addressType"]),
        ("/addressType", Value::Null, vec![], vec!["addressType"]),
        (
            "/addressType",
            json!("IPv6"),
            vec![],
            vec!["endpoints[0].addresses[0]"],
        ),
    ];
    for (pointer, value, left, complaints) in table {
        let (slice, problems) = read_slice(with(web_slice(), pointer, value.clone()));
        let endpoints = slice.expect("the good part is served").endpoints;
        let addresses: Vec<_> = endpoints
            .iter()
            .flat_map(|it| &it.addresses)
            .map(ToString::to_string)
            .collect();
        assert_eq!(addresses, left, "{pointer} {value}");
        assert_eq!(fields(&problems), complaints, "{pointer} {value}");
    }
}

#[test]
fn ipv6_addresses_that_lead_nowhere() {
    for address in [
        "::",
        "::1",
        "fe80::1",
        "ff02::1",
        "::ffff:10.0.0.1",
        "fd00::1%eth0",
    ] {
        let object = with(web_slice(), "/addressType", json!("IPv6"));
        let (slice, problems) = read_slice(with(
            object,
            "/endpoints",
            json!([{"addresses": [address]}]),
        ));
        assert_eq!(slice.expect("a slice").endpoints, [], "{address}");
        assert_eq!(problems.len(), 1, "{address}");
    }
}

#[test]
fn readiness_hostnames_and_pods() {
    let long = "x".repeat(64);
    // Endpoint, ready, hostname, pod, complaints.
    let table = [
        (json!({}), true, None, None, 0),
        (json!({"conditions": {}}), true, None, None, 0),
        (json!({"conditions": {"ready": null}}), true, None, None, 0),
        (
            json!({"conditions": {"ready": false}}),
            false,
            None,
            None,
            0,
        ),
        (json!({"hostname": ""}), true, None, None, 0),
        (json!({"hostname": "Web-0"}), true, Some("web-0"), None, 0),
        (json!({"hostname": "web.0"}), true, None, None, 1),
        (json!({"hostname": long}), true, None, None, 1),
        (
            json!({"targetRef": {"kind": "pod", "name": "web-1"}}),
            true,
            None,
            Some("web-1"),
            0,
        ),
        (
            json!({"targetRef": {"kind": "Node", "name": "web-1"}}),
            true,
            None,
            None,
            0,
        ),
        (
            json!({"targetRef": {"kind": "Pod", "name": "web.1"}}),
            true,
            None,
            None,
            0,
        ),
        (
            json!({"targetRef": {"kind": "Pod", "name": long}}),
            true,
            None,
            None,
            0,
        ),
    ];
    for (mut endpoint, ready, hostname, pod, complaints) in table {
        endpoint["addresses"] = json!(["10.2.0.12"]);
        let (slice, problems) =
            read_slice(with(web_slice(), "/endpoints", json!([endpoint.clone()])));
        let [found] = &slice.expect("a slice").endpoints[..] else {
            panic!("one endpoint: {endpoint}")
        };
        assert_eq!(found.ready, ready, "{endpoint}");
        assert_eq!(
            found.hostname.as_ref().map(Label::as_str),
            hostname,
            "{endpoint}"
        );
        assert_eq!(found.pod.as_ref().map(Label::as_str), pod, "{endpoint}");
        assert_eq!(problems.len(), complaints, "{endpoint}");
    }
}

#[test]
fn x03_ports_without_number_protocol_or_name() {
    let ports = json!([{"name": "all"}, {"port": 80, "name": null, "protocol": null}, {"port": 81, "name": ""}]);
    let (slice, problems) = read_slice(with(web_slice(), "/ports", ports));
    assert_eq!(problems, []);
    let unnamed = |number| Port {
        name: None,
        protocol: Protocol::Tcp,
        number,
    };
    assert_eq!(slice.expect("a slice").ports, [unnamed(80), unnamed(81)]);
}

#[test]
fn annotations_of_a_slice() {
    let annotations = json!({
        "endpoints.kubernetes.io/last-change-trigger-time": "2026-11-23T20:48:12.5Z",
        "lighthouse.submariner.io/globalnet-enabled": "true",
        "lighthouse.submariner.io/publish-not-ready-addresses": "true",
    });
    let slice = read_slice(with(web_slice(), "/metadata/annotations", annotations))
        .0
        .expect("a slice");
    assert!(slice.globalnet && slice.publish_not_ready);
    assert_eq!(slice.triggered_at, Some(1_795_466_892_500_000_000));

    for time in ["yesterday", "1969-12-31T23:59:59Z"] {
        let annotations = json!({"endpoints.kubernetes.io/last-change-trigger-time": time});
        let slice = read_slice(with(web_slice(), "/metadata/annotations", annotations))
            .0
            .expect("a slice");
        assert_eq!(slice.triggered_at, None, "{time}");
    }
}

#[test]
fn local_slices_are_those_of_kubernetes_only() {
    assert_eq!(read_local(web_slice()), (None, vec![]));
    let local = with(
        web_slice(),
        "/metadata/labels",
        json!({"kubernetes.io/service-name": "web"}),
    );
    let (slice, problems) = read_local(local.clone());
    assert_eq!(problems, []);
    let slice = slice.expect("a local slice");
    assert_eq!(Some(slice.service), ServiceKey::new("shop", "web"));
    assert_eq!((slice.endpoints.len(), slice.ports.len()), (1, 1));
    assert_eq!(read_slice(local).0, None);
    // A slice of a derived service.
    let derived = with(
        web_slice(),
        "/metadata/labels/kubernetes.io~1service-name",
        json!("derived-1"),
    );
    assert_eq!(read_local(derived).0, None);
}

#[test]
fn thousands_of_faults_are_told_in_a_few_words() {
    let endpoints: Vec<_> = (0..10_000)
        .map(|_| json!({"addresses": ["x".repeat(1000)]}))
        .collect();
    let (slice, problems) = read_slice(with(web_slice(), "/endpoints", json!(endpoints)));
    assert_eq!(slice.expect("a slice").endpoints, []);
    assert!(problems.len() < 30);
    assert!(problems.iter().all(|problem| problem.message.len() < 200));
    assert!(
        problems
            .last()
            .is_some_and(|last| last.message.starts_with("9980 more"))
    );
}
