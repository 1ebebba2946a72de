//! Globalnet: A49 to A56.

use serde_json::json;

use super::*;
use crate::model::settings;
use model::build::{global_ip, headless};

fn globalnet() -> ClusterSet {
    ClusterSet::new((1..=2).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        settings.globalnet = true;
        settings
    }))
}

fn addresses(set: &mut ClusterSet, cluster: &str) -> Vec<String> {
    let slices = set.server(cluster).slices(NAME, "c1");
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().unwrap());
    endpoints
        .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a49_a_service_with_a_global_ip() {
    let mut set = globalnet();
    set.server("c1").put(global_ip(
        NAME,
        "ClusterIPService",
        Some(("serviceRef", NAME)),
        "242.254.1.1",
    ));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(addresses(&mut set, "c2"), ["242.254.1.1"]);
}

#[test]
fn a50_a51_a52_the_global_ip_comes_later() {
    let mut set = globalnet();
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    let valid = |set: &mut ClusterSet| set.condition("c1", NAME, "Valid").unwrap();
    assert_eq!(valid(&mut set).1, "ServiceGlobalIPUnavailable");
    assert_eq!(valid(&mut set).2, "Service doesn't have a global IP yet");
    let mut ip = global_ip(NAME, "ClusterIPService", Some(("serviceRef", NAME)), "");
    set.server("c1").put(ip.clone());
    set.settle();
    assert_eq!(valid(&mut set).1, "ServiceGlobalIPUnavailable");
    ip["status"]["conditions"] = json!([
        {"type": "Allocated", "status": "False", "reason": "IPPoolAllocationFailed", "message": "the pool is empty"},
    ]);
    set.server("c1").put(ip.clone());
    set.settle();
    assert_eq!(valid(&mut set).1, "IPPoolAllocationFailed");
    assert_eq!(
        valid(&mut set).2,
        "Unable to obtain global IP: the pool is empty"
    );
    ip["status"] = json!({"allocatedIP": "242.254.1.1"});
    set.server("c1").put(ip);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a53_a54_x23_pods_of_a_headless_service() {
    let mut set = globalnet();
    set.server("c1").put(headless(NAME, &[port("http", 80)]));
    set.server("c1")
        .put(backends("k8s-1", NAME, &["10.1.0.5", "10.1.0.6"], &[]));
    set.server("c1").put(export(NAME, 1));
    set.server("c1").put(global_ip(
        "one",
        "HeadlessServicePod",
        Some(("podRef", "pod-10-1-0-5")),
        "242.254.1.1",
    ));
    set.settle();
    // X23: Lighthouse would hold the whole slice back.
    assert_eq!(addresses(&mut set, "c2"), ["242.254.1.1"]);
    set.server("c1").put(global_ip(
        "two",
        "HeadlessServicePod",
        Some(("podRef", "pod-10-1-0-6")),
        "242.254.1.2",
    ));
    set.settle();
    assert_eq!(addresses(&mut set, "c2"), ["242.254.1.1", "242.254.1.2"]);
    assert_exported_by(&mut set, &["c1"]);
    let slice = &set.broker.slices(NAME, "c1")[0];
    assert_eq!(
        slice["metadata"]["annotations"]["lighthouse.submariner.io/globalnet-enabled"],
        "true"
    );
    set.server("c1").delete("GlobalIngressIP", NS, "two");
    set.settle();
    assert_eq!(addresses(&mut set, "c2"), ["242.254.1.1"]);
}

#[test]
fn a55_a56_endpoints_without_pods() {
    let mut set = globalnet();
    set.server("c1").put(headless(NAME, &[port("http", 80)]));
    let mut slice = backends("k8s-1", NAME, &["172.16.0.5"], &[]);
    slice["endpoints"] = json!([{"addresses": ["172.16.0.5"], "hostname": "host1"}]);
    set.server("c1").put(slice);
    set.server("c1").put(export(NAME, 1));
    set.settle();
    assert!(addresses(&mut set, "c2").is_empty());
    let mut ip = global_ip("one", "HeadlessServiceEndpoints", None, "242.254.1.3");
    ip["metadata"]["annotations"] =
        json!({"submariner.io/headless-svc-endpoints-ip": "172.16.0.5"});
    set.server("c1").put(ip);
    set.settle();
    assert_eq!(addresses(&mut set, "c2"), ["242.254.1.3"]);
    assert_eq!(
        set.server("c2").slices(NAME, "c1")[0]["endpoints"][0]["hostname"],
        "host1"
    );
}
