//! ClusterIP services: A01 to A11, A17 to A20, A42.

use serde_json::json;

use super::*;
use crate::model::{BROKER, OPERATOR};

#[test]
fn a01_an_export_of_a_service_that_exists() {
    let mut set = exported(2);
    assert_exported_by(&mut set, &["c1"]);
    let aggregated = aggregate(&set).unwrap();
    let annotations = &aggregated["metadata"]["annotations"];
    assert_eq!(annotations["multicluster.kubernetes.io/service-name"], NAME);
    assert_eq!(annotations["lighthouse.submariner.io/sourceNamespace"], NS);
    assert_eq!(
        annotations["timestamp.submariner.io/c1"],
        "1795464001000000000"
    );
    assert_eq!(
        annotations["lighthouse.submariner.io/use-clusterset-ip"],
        "false"
    );
    assert_eq!(
        ports(&aggregated["spec"]["ports"]),
        ["http:80", "metrics:9100"]
    );

    let import = import(&mut set, "c2").unwrap();
    assert_eq!(import["spec"]["type"], "ClusterSetIP");
    assert!(
        import["metadata"]["annotations"]
            .get("multicluster.kubernetes.io/service-name")
            .is_none()
    );

    let slice = &set.broker.slices(NAME, "c1")[0];
    assert_eq!(slice["metadata"]["namespace"], BROKER);
    assert_eq!(slice["metadata"]["labels"]["submariner-io/clusterID"], "c1");
    assert_eq!(
        slice["metadata"]["labels"]["submariner-io/originatingNamespace"],
        NS
    );
    assert_eq!(
        slice["endpoints"],
        json!([{"addresses": ["10.101.0.1"], "conditions": {"ready": true}}])
    );
    // Service ports, not the pods'.
    assert_eq!(ports(&slice["ports"]), ["http:80", "metrics:9100"]);

    let own = set
        .server("c1")
        .get("ServiceImport", OPERATOR, "nginx-service-ns-c1")
        .unwrap();
    assert_eq!(own["spec"]["ips"], json!(["10.101.0.1"]));
    assert_eq!(clusters(&own), ["c1"]);
}

#[test]
fn a02_the_service_comes_after_the_export() {
    let mut set = ClusterSet::of(2);
    set.server("c1").put(export(NAME, 1));
    set.settle();
    let (status, reason, message) = set.condition("c1", NAME, "Valid").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "NoService"));
    assert_eq!(message, "Service to be exported doesn't exist");
    assert_eq!(set.condition("c1", NAME, "Ready"), None);
    assert_not_exported(&mut set);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a03_the_export_is_deleted() {
    let mut set = exported(2);
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_not_exported(&mut set);
}

#[test]
fn a04_the_service_is_deleted_and_comes_back() {
    let mut set = exported(2);
    set.server("c1").delete("Service", NS, NAME);
    set.settle();
    assert_eq!(set.condition("c1", NAME, "Valid").unwrap().0, "False");
    let (status, _, message) = set.condition("c1", NAME, "Ready").unwrap();
    assert_eq!(
        (status.as_str(), message.as_str()),
        ("False", "ServiceImport was deleted")
    );
    assert_not_exported(&mut set);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

/// A05 to A07: for Lighthouse NodePort and LoadBalancer are unsupported; MCS exports them as ClusterSetIP, and refuses
/// ExternalName.
#[test]
fn a05_a06_a07_a_type_that_cannot_be_exported() {
    let mut set = exported(2);
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"] = json!({"type": "ExternalName", "externalName": "example.org"});
    });
    set.settle();
    let (status, reason, _) = set.condition("c1", NAME, "Valid").unwrap();
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "InvalidServiceType")
    );
    assert_not_exported(&mut set);
    for r#type in ["NodePort", "LoadBalancer"] {
        export_from(&mut set, "c1", "10.101.0.1", 1);
        set.server("c1").change("Service", NS, NAME, |service| {
            service["spec"]["type"] = json!(r#type);
        });
        set.settle();
        assert_exported_by(&mut set, &["c1"]);
        assert_eq!(
            import(&mut set, "c2").unwrap()["spec"]["type"],
            "ClusterSetIP"
        );
    }
}

#[test]
fn a06_an_unsupported_service_was_never_ready() {
    let mut set = ClusterSet::of(1);
    set.server("c1").put(export(NAME, 1));
    set.server("c1").put(json!({
        "kind": "Service", "metadata": {"name": NAME, "namespace": NS},
        "spec": {"type": "ExternalName", "externalName": "example.org"},
    }));
    set.settle();
    assert_eq!(set.condition("c1", NAME, "Valid").unwrap().0, "False");
    assert_eq!(set.condition("c1", NAME, "Ready"), None);
}

#[test]
fn a08_no_backend_is_ready() {
    let mut set = exported(2);
    set.server("c1")
        .put(backends("nginx-k8s", NAME, &[], &["10.1.0.5"]));
    set.settle();
    for cluster in ["c1", "c2"] {
        assert_eq!(
            set.server(cluster).slices(NAME, "c1")[0]["endpoints"][0]["conditions"]["ready"],
            false
        );
    }
}

#[test]
fn a09_ports_change() {
    let mut set = exported(2);
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["ports"]
            .as_array_mut()
            .unwrap()
            .push(port("admin", 9200));
    });
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(
        ports(&import(&mut set, "c2").unwrap()["spec"]["ports"]),
        ["http:80", "metrics:9100", "admin:9200"]
    );
    assert_eq!(
        ports(&set.server("c2").slices(NAME, "c1")[0]["ports"]).len(),
        3
    );
}

#[test]
fn a10_labels_change_without_a_second_slice() {
    let mut set = exported(2);
    let before = set.broker.slices(NAME, "c1")[0]["metadata"]["name"].clone();
    for name in ["nginx", "nginx-k8s"] {
        let kind = if name == NAME {
            "Service"
        } else {
            "EndpointSlice"
        };
        set.server("c1").change(kind, NS, name, |object| {
            object["metadata"]["labels"] = {
                let mut labels = object["metadata"]["labels"].clone();
                labels["new-label"] = json!("new-value");
                labels.as_object_mut().unwrap().remove("app");
                labels
            }
        });
    }
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    let slice = &set.server("c2").slices(NAME, "c1")[0];
    assert_eq!(slice["metadata"]["labels"]["new-label"], "new-value");
    assert!(slice["metadata"]["labels"].get("app").is_none());
    assert_eq!(slice["metadata"]["name"], before);
}

#[test]
fn a11_session_affinity_is_told() {
    let mut set = exported(2);
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["sessionAffinity"] = json!("ClientIP");
        service["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 10}});
    });
    set.settle();
    for import in [aggregate(&set).unwrap(), import(&mut set, "c2").unwrap()] {
        assert_eq!(import["spec"]["sessionAffinity"], "ClientIP");
        assert_eq!(
            import["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
            10
        );
    }
}

#[test]
fn a17_the_same_name_in_two_namespaces() {
    let mut set = exported(2);
    for cluster in ["c1", "c2"] {
        set.server(cluster).put(model::build::namespace("other-ns"));
    }
    for mut object in [
        service(NAME, "10.101.0.2", &[port("http", 80)]),
        export(NAME, 2),
    ] {
        object["metadata"]["namespace"] = json!("other-ns");
        set.server("c1").put(object);
    }
    set.settle();
    for namespace in [NS, "other-ns"] {
        assert!(
            set.server("c2")
                .get("ServiceImport", namespace, NAME)
                .is_some(),
            "{namespace}"
        );
    }
    let slices = set.server("c2").slices(NAME, "c1");
    let mut addresses: Vec<_> = slices
        .iter()
        .map(|slice| slice["endpoints"][0]["addresses"][0].clone())
        .collect();
    addresses.sort_by_key(ToString::to_string);
    assert_eq!(addresses, ["10.101.0.1", "10.101.0.2"]);
}

#[test]
fn a18_foreign_slices_stay_at_home() {
    let mut set = exported(2);
    let mut foreign = backends("other-eps", NAME, &["10.1.0.9"], &[]);
    foreign["metadata"]["labels"] = json!({"endpointslice.kubernetes.io/managed-by": "other"});
    set.server("c1").put(foreign);
    set.settle();
    assert_eq!(set.broker.all("EndpointSlice").count(), 1);
    assert!(
        set.server("c1")
            .get("EndpointSlice", NS, "other-eps")
            .is_some()
    );
}

#[test]
fn a19_the_namespace_comes_later_to_the_importing_cluster() {
    let mut set = ClusterSet::of(2);
    set.server("c2").delete("Namespace", "", NS);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_eq!(import(&mut set, "c2"), None);
    assert!(set.plan("c2", &key()).missing_namespace);
    assert!(set.server("c2").slices(NAME, "c1").is_empty());
    set.server("c2").put(model::build::namespace(NS));
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

/// Lighthouse turns an old `Synced` into `Ready`. Here both are kept, for scripts that wait for `Synced`.
#[test]
fn a20_an_old_synced_condition_gets_company() {
    let mut set = ClusterSet::of(1);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.server("c1").change("ServiceExport", NS, NAME, |export| {
        export["status"] = json!({"conditions": [
            {"type": "Synced", "status": "True", "reason": "", "message": "Service was successfully synced to the broker"},
        ]});
    });
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(
        set.condition("c1", NAME, "Synced").unwrap().1,
        "Synced",
        "the reason is not empty any more"
    );
}

#[test]
fn a42_readiness_is_that_of_all_kubernetes_slices() {
    let mut set = exported(2);
    let ready = |set: &mut ClusterSet| {
        set.server("c2").slices(NAME, "c1")[0]["endpoints"][0]["conditions"]["ready"].clone()
    };
    set.server("c1")
        .put(backends("nginx-k8s", NAME, &[], &["10.1.0.5"]));
    set.settle();
    assert_eq!(ready(&mut set), false);
    set.server("c1")
        .put(backends("nginx-k8s-2", NAME, &["10.1.0.6"], &[]));
    set.settle();
    assert_eq!(ready(&mut set), true);
    assert_eq!(set.server("c2").slices(NAME, "c1").len(), 1);
    set.server("c1").delete("EndpointSlice", NS, "nginx-k8s-2");
    set.settle();
    assert_eq!(ready(&mut set), false);
    set.server("c1").delete("EndpointSlice", NS, "nginx-k8s");
    set.settle();
    assert_eq!(ready(&mut set), false, "the slice stays");
}

/// Lighthouse never exports a Service without any slice of Kubernetes.
#[test]
fn a_service_without_backends_is_exported_not_ready() {
    let mut set = ClusterSet::of(2);
    set.server("c1")
        .put(service(NAME, "10.101.0.1", &[port("http", 80)]));
    set.server("c1").put(export(NAME, 1));
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(
        set.server("c2").slices(NAME, "c1")[0]["endpoints"][0]["conditions"]["ready"],
        false
    );
}
