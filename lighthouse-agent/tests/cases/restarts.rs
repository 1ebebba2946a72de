//! What happened while an agent was away: A66 to A77.

use serde_json::json;

use super::*;
use crate::model::{BROKER, OPERATOR};

#[test]
fn a66_nothing_happened_and_nothing_is_written() {
    let mut set = exported(2);
    for cluster in ["c1", "c2"] {
        set.restart(cluster);
    }
    set.settle();
    assert_eq!((set.agent("c1").writes, set.agent("c2").writes), (0, 0));
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a67_a68_a_missed_deletion_of_export_or_service() {
    for kind in ["ServiceExport", "Service"] {
        let mut set = exported(2);
        set.server("c1").delete(kind, NS, NAME);
        set.restart("c1");
        set.settle();
        assert_not_exported(&mut set);
    }
}

#[test]
fn a69_the_aggregate_is_gone_from_the_broker() {
    let mut set = exported(2);
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.read_all("c1");
    while set.act("c1", &key()) {
        set.read_all("c1");
    }
    set.restart("c2");
    set.settle();
    assert_not_exported(&mut set);
}

#[test]
fn a70_a71_the_broker_names_us_without_reason() {
    let mut set = exported(2);
    for (kind, name) in [("ServiceExport", NAME), ("Service", NAME)] {
        set.server("c1").delete(kind, NS, name);
    }
    // Nothing at home tells of it any more.
    let slices: Vec<String> = set
        .server("c1")
        .slices(NAME, "c1")
        .iter()
        .map(|slice| slice["metadata"]["name"].as_str().unwrap().to_owned())
        .collect();
    for name in slices {
        set.server("c1").delete("EndpointSlice", NS, &name);
    }
    set.server("c1")
        .delete("ServiceImport", OPERATOR, "nginx-service-ns-c1");
    set.server("c1").delete("ServiceImport", NS, NAME);
    set.restart("c1");
    set.settle();
    assert_not_exported(&mut set);
}

#[test]
fn a72_a73_slices_here_without_reason() {
    let mut set = exported(2);
    let mut stale = set.server("c2").slices(NAME, "c1")[0].clone();
    stale["metadata"]["name"] = json!("nginx-stale");
    set.server("c2").put(stale.clone());
    stale["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"] = json!("c2");
    stale["metadata"]["name"] = json!("nginx-own");
    set.server("c2").put(stale);
    set.restart("c2");
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a74_kubernetes_slice_of_a_headless_service_is_gone() {
    let mut set = ClusterSet::of(2);
    set.server("c1")
        .put(model::build::headless(NAME, &[port("http", 80)]));
    set.server("c1")
        .put(backends("k8s-1", NAME, &["10.1.0.5"], &[]));
    set.server("c1").put(export(NAME, 1));
    set.settle();
    set.server("c1").delete("EndpointSlice", NS, "k8s-1");
    set.restart("c1");
    set.settle();
    assert!(set.server("c1").slices(NAME, "c1").is_empty());
    assert!(set.server("c2").slices(NAME, "c1").is_empty());
}

/// A75, A76: names that end in the cluster's id are of releases before 0.16.
#[test]
fn a75_a76_slices_of_old_releases_go() {
    let mut set = exported(2);
    let mut old = set.server("c1").slices(NAME, "c1")[0].clone();
    old["metadata"]["name"] = json!("nginx-c1");
    set.server("c1").put(old.clone());
    old["metadata"]["namespace"] = json!(BROKER);
    set.broker.put(old);
    set.restart("c1");
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(set.server("c1").get("EndpointSlice", NS, "nginx-c1"), None);
    assert_eq!(set.broker.get("EndpointSlice", BROKER, "nginx-c1"), None);
}

/// Lighthouse repairs nothing by itself: it has no resync.
#[test]
fn what_users_break_is_mended() {
    let mut set = exported(2);
    for cluster in ["c1", "c2"] {
        let name = set.server(cluster).slices(NAME, "c1")[0]["metadata"]["name"]
            .as_str()
            .unwrap()
            .to_owned();
        set.server(cluster).delete("EndpointSlice", NS, &name);
        set.server(cluster).delete("ServiceImport", NS, NAME);
    }
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    set.server("c2")
        .change("ServiceImport", NS, NAME, |import| {
            import["spec"]["type"] = json!("Headless");
            import["metadata"]["labels"] = json!({"mine": "yes"});
            import["status"] = json!({"clusters": [{"cluster": "c9"}]});
        });
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    let import = import(&mut set, "c2").unwrap();
    assert_eq!(import["spec"]["type"], "ClusterSetIP");
    assert_eq!(import["metadata"]["labels"]["mine"], Value::Null);
    set.broker
        .delete("ServiceImport", BROKER, "nginx-service-ns");
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

/// A broker from a backup: versions go back, and objects that were deleted since are there again.
#[test]
fn a_broker_restored_from_a_backup() {
    let mut set = exported(3);
    let backup = set.broker.clone();
    set.server("c1").delete("ServiceExport", NS, NAME);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.settle();
    set.broker = backup;
    for cluster in ["c1", "c2", "c3"] {
        set.restart(cluster);
    }
    set.settle();
    assert_exported_by(&mut set, &["c2"]);
}
