//! Headless services: A43 to A48, A74.

use serde_json::json;

use super::*;
use model::build::headless;

fn export_headless(set: &mut ClusterSet, cluster: &str, slices: &[(&str, &str)], age: u32) {
    set.server(cluster).put(headless(NAME, &[port("http", 80)]));
    for (name, address) in slices {
        set.server(cluster)
            .put(backends(name, NAME, &[address], &[]));
    }
    set.server(cluster).put(export(NAME, age));
}

#[test]
fn a43_pods_are_told_as_they_are() {
    let mut set = ClusterSet::of(2);
    export_headless(&mut set, "c1", &[("k8s-1", "10.1.0.5")], 1);
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["publishNotReadyAddresses"] = json!(true);
    });
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    let import = import(&mut set, "c2").unwrap();
    assert_eq!(
        (&import["spec"]["type"], &import["spec"]["ports"]),
        (&json!("Headless"), &json!([]))
    );
    assert!(import["spec"].get("ips").is_none());
    let slice = &set.server("c2").slices(NAME, "c1")[0];
    let original = set.server("c1").get("EndpointSlice", NS, "k8s-1").unwrap();
    assert_eq!(slice["endpoints"], original["endpoints"]);
    assert_eq!(slice["ports"], original["ports"], "the pods' ports");
    let labels = &slice["metadata"]["labels"];
    assert_eq!(labels["lighthouse.submariner.io/is-headless"], "true");
    assert_eq!(labels["lighthouse.submariner.io/source-name"], "k8s-1");
    assert_eq!(
        slice["metadata"]["annotations"]["lighthouse.submariner.io/publish-not-ready-addresses"],
        "true"
    );
    assert!(
        labels.get("kubernetes.io/service-name").is_none(),
        "or kube-proxy would take it for its own"
    );
}

#[test]
fn a44_pods_come_later() {
    let mut set = ClusterSet::of(2);
    export_headless(&mut set, "c1", &[], 1);
    set.settle();
    assert!(aggregate(&set).is_some());
    assert_eq!(set.condition("c1", NAME, "Ready").unwrap().0, "True");
    export_headless(&mut set, "c1", &[("k8s-1", "10.1.0.5")], 1);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a45_a48_slices_follow_kubernetes() {
    let mut set = ClusterSet::of(2);
    export_headless(&mut set, "c1", &[("k8s-1", "10.1.0.5")], 1);
    set.settle();
    set.server("c1").put(backends(
        "k8s-1",
        NAME,
        &["10.1.0.5", "10.1.0.6"],
        &["10.1.0.7"],
    ));
    set.server("c1")
        .put(backends("k8s-2", NAME, &["10.1.1.5"], &[]));
    set.settle();
    let counts = |set: &mut ClusterSet| {
        let mut counts: Vec<usize> = set
            .server("c2")
            .slices(NAME, "c1")
            .iter()
            .map(|slice| slice["endpoints"].as_array().unwrap().len())
            .collect();
        counts.sort_unstable();
        counts
    };
    assert_eq!(counts(&mut set), [1, 3]);
    set.server("c1").delete("EndpointSlice", NS, "k8s-2");
    set.settle();
    assert_eq!(counts(&mut set), [3]);
    set.server("c1").delete("EndpointSlice", NS, "k8s-1");
    set.settle();
    assert_eq!(counts(&mut set), [0; 0]);
    assert!(aggregate(&set).is_some(), "it is still exported");
}

#[test]
fn a46_the_export_is_deleted() {
    let mut set = ClusterSet::of(2);
    export_headless(
        &mut set,
        "c1",
        &[("k8s-1", "10.1.0.5"), ("k8s-2", "10.1.0.6")],
        1,
    );
    set.settle();
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_not_exported(&mut set);
}

#[test]
fn a47_two_clusters_export() {
    let mut set = ClusterSet::of(2);
    export_headless(&mut set, "c1", &[("k8s-1", "10.1.0.5")], 1);
    export_headless(&mut set, "c2", &[("k8s-1", "10.2.0.5")], 2);
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    for cluster in ["c1", "c2"] {
        assert_eq!(set.condition(cluster, NAME, "Conflict"), None);
    }
}

#[test]
fn slices_of_names_as_addresses_are_left_out() {
    let mut set = ClusterSet::of(2);
    export_headless(&mut set, "c1", &[("k8s-1", "10.1.0.5")], 1);
    let mut fqdn = backends("k8s-fqdn", NAME, &["10.1.0.9"], &[]);
    fqdn["addressType"] = json!("FQDN");
    set.server("c1").put(fqdn);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}
