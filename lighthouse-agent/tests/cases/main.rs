//! The cases of Lighthouse's own agent tests by their ids (A01 to A84, with what MCS asks for since), the defects of its agent
//! that this one must not have (X…), and what Multi-Cluster Services ask for beyond it.

#[path = "../model/mod.rs"]
mod model;

mod cluster_ip;
mod cluster_set_ip;
mod conflicts;
mod failures;
mod globalnet;
mod headless;
mod lost;
mod mcs;
mod migration;
mod restarts;
mod speaker;
mod trust;

use model::ClusterSet;
use model::build::{NS, backends, export, port, service};
use serde_json::Value;
use subm_lighthouse_agent::core::ServiceKey;

pub(crate) const NAME: &str = "nginx";

pub(crate) fn key() -> ServiceKey {
    ServiceKey::new(NS, NAME).expect("names")
}

/// A cluster exports nginx, reached by `ip`, with a ready backend.
pub(crate) fn export_from(set: &mut ClusterSet, cluster: &str, ip: &str, age: u32) {
    let ports = [port("http", 80), port("metrics", 9100)];
    set.server(cluster).put(service(NAME, ip, &ports));
    set.server(cluster)
        .put(backends("nginx-k8s", NAME, &["10.1.0.5"], &[]));
    set.server(cluster).put(export(NAME, age));
}

/// `n` clusters in which the first exports nginx.
pub(crate) fn exported(n: usize) -> ClusterSet {
    let mut set = ClusterSet::of(n);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    set
}

pub(crate) fn import(set: &mut ClusterSet, cluster: &str) -> Option<Value> {
    set.server(cluster).get("ServiceImport", NS, NAME)
}

pub(crate) fn aggregate(set: &ClusterSet) -> Option<Value> {
    set.broker
        .get("ServiceImport", model::BROKER, "nginx-service-ns")
}

/// Exporters as an import names them.
pub(crate) fn clusters(import: &Value) -> Vec<&str> {
    let clusters = import["status"]["clusters"].as_array().expect("clusters");
    clusters
        .iter()
        .map(|cluster| cluster["cluster"].as_str().expect("a name"))
        .collect()
}

/// Ports as `name:number`.
pub(crate) fn ports(object: &Value) -> Vec<String> {
    let ports = object.as_array().into_iter().flatten();
    ports
        .map(|port| {
            format!(
                "{}:{}",
                port["name"].as_str().unwrap_or_default(),
                port["port"]
            )
        })
        .collect()
}

/// nginx is exported by exactly these, everywhere and with everything.
pub(crate) fn assert_exported_by(set: &mut ClusterSet, exporters: &[&str]) {
    let aggregated = aggregate(set).expect("an aggregate on the broker");
    let mut named = clusters(&aggregated);
    named.sort_unstable();
    assert_eq!(named, exporters);
    let all: Vec<String> = set.clusters.keys().cloned().collect();
    for cluster in &all {
        let import = import(set, cluster).unwrap_or_else(|| panic!("no import in {cluster}"));
        let mut named = clusters(&import);
        named.sort_unstable();
        assert_eq!(named, exporters, "import in {cluster}");
        for exporter in &all {
            let slices = set.server(cluster).slices(NAME, exporter).len();
            let expected = usize::from(exporters.contains(&exporter.as_str()));
            assert_eq!(slices, expected, "slices of {exporter} in {cluster}");
        }
    }
    for exporter in exporters {
        assert_eq!(
            set.condition(exporter, NAME, "Valid")
                .map(|condition| condition.0)
                .as_deref(),
            Some("True")
        );
        assert_eq!(
            set.condition(exporter, NAME, "Ready")
                .map(|condition| condition.0)
                .as_deref(),
            Some("True")
        );
    }
    assert_eq!(set.left_to_do(), [], "settled");
}

/// Nothing is left of nginx anywhere but what users wrote.
pub(crate) fn assert_not_exported(set: &mut ClusterSet) {
    assert_eq!(
        set.broker.all("ServiceImport").count(),
        0,
        "imports on the broker"
    );
    assert_eq!(
        set.broker.all("EndpointSlice").count(),
        0,
        "slices on the broker"
    );
    let all: Vec<String> = set.clusters.keys().cloned().collect();
    for cluster in all {
        assert_eq!(
            set.server(&cluster).all("ServiceImport").count(),
            0,
            "imports in {cluster}"
        );
        for exporter in ["c1", "c2", "c3"] {
            assert!(
                set.server(&cluster).slices(NAME, exporter).is_empty(),
                "slices in {cluster}"
            );
        }
    }
}
