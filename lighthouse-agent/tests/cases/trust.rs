//! X24: a member of the cluster set is trusted with its own services, nothing else.

use serde_json::json;
use subm_lighthouse_agent::core::Source;
use subm_lighthouse_agent::core::clusters::Declared;
use subm_lighthouse_agent::core::trust::Why;

use super::*;
use crate::model::BROKER;
use model::build::namespace;

/// Writes on the broker what an agent of `evil` would for a service of its own.
fn forge(set: &mut ClusterSet, service_namespace: &str, address: &str) {
    let labels = json!({
        "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
        "lighthouse.submariner.io/is-headless": "false",
        "lighthouse.submariner.io/sourceNamespace": service_namespace,
        "multicluster.kubernetes.io/service-name": NAME,
        "multicluster.kubernetes.io/source-cluster": "evil",
    });
    set.broker.put(json!({
        "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": "nginx-evil1", "namespace": BROKER, "labels": labels},
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}, {"addresses": ["10.66.0.2"], "conditions": {"ready": true}}],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
    }));
    set.broker.put(json!({
        "kind": "ServiceImport",
        "metadata": {"name": format!("nginx-{service_namespace}-evil"), "namespace": BROKER, "labels": {
            "lighthouse.submariner.io/sourceNamespace": service_namespace,
            "multicluster.kubernetes.io/service-name": NAME,
            "multicluster.kubernetes.io/source-cluster": "evil",
        }},
        "spec": {"type": "ClusterSetIP", "ips": ["10.66.0.2"], "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    }));
}

#[test]
fn x24_system_namespaces_take_no_imports() {
    for forbidden in [
        "kube-system",
        "openshift-dns",
        "default",
        "submariner-operator",
        BROKER,
    ] {
        let mut set = ClusterSet::of(1);
        set.server("c1").put(namespace(forbidden));
        forge(&mut set, forbidden, "10.66.0.1");
        set.settle();
        assert_eq!(
            set.server("c1").all("ServiceImport").count(),
            0,
            "{forbidden}"
        );
        assert_eq!(
            set.server("c1").all("EndpointSlice").count(),
            0,
            "{forbidden}"
        );
        let key = ServiceKey::new(forbidden, NAME).unwrap();
        let refusals = set.plan("c1", &key).refusals;
        assert!(
            refusals
                .iter()
                .any(|refusal| refusal.cluster == "evil" && refusal.why == Why::Namespace),
            "{refusals:?}"
        );
    }
}

#[test]
fn the_default_namespace_by_choice() {
    let mut set = ClusterSet::of(1);
    set.agent("c1").world.settings.namespaces.allow = vec!["default".into()];
    set.server("c1").put(namespace("default"));
    forge(&mut set, "default", "10.66.0.1");
    set.settle();
    assert!(
        set.server("c1")
            .get("ServiceImport", "default", NAME)
            .is_some()
    );
}

#[test]
fn addresses_that_are_no_services_are_left_out() {
    for address in [
        "127.0.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "not-an-ip",
        "10.1.0.99",
    ] {
        let mut set = ClusterSet::of(1);
        set.agent("c1")
            .world
            .clusters
            .nodes
            .insert("node".into(), vec!["10.1.0.99".parse().unwrap()]);
        forge(&mut set, NS, address);
        set.settle();
        let slice = &set.server("c1").slices(NAME, "evil")[0];
        assert_eq!(slice["endpoints"].as_array().unwrap().len(), 1, "{address}");
        assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.66.0.2"]));
        let refusals = set.plan("c1", &key()).refusals;
        assert!(
            refusals
                .iter()
                .any(|refusal| matches!(refusal.why, Why::Address(_))),
            "{address}: {refusals:?}"
        );
    }
}

#[test]
fn a_cluster_stays_inside_what_it_declared() {
    let mut set = ClusterSet::of(1);
    let networks = vec!["10.66.0.2/32".parse().unwrap()];
    set.agent("c1")
        .world
        .clusters
        .declare("evil", Some(Declared { networks }));
    forge(&mut set, NS, "10.77.0.1");
    set.settle();
    assert_eq!(
        set.server("c1").slices(NAME, "evil")[0]["endpoints"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// A list tells what is gone as well as a watch does: of nodes and of declarations, too.
#[test]
fn what_went_while_nobody_watched_is_forgotten() {
    let mut set = ClusterSet::of(1);
    let world = &mut set.agent("c1").world;
    let node = json!({
        "metadata": {"name": "node"},
        "status": {"addresses": [{"type": "InternalIP", "address": "10.1.0.99"}]},
    });
    let declaration = json!({
        "metadata": {"name": "evil"},
        "spec": {"cluster_id": "evil", "cluster_cidr": ["10.66.0.0/16"], "service_cidr": ["10.67.0.0/16"]},
    });
    for source in [Source::Nodes, Source::BrokerClusters] {
        world.started(source);
    }
    world.node(&serde_json::from_value(node).unwrap());
    world.cluster(&serde_json::from_value(declaration).unwrap());
    let ours = "10.1.0.99".parse().unwrap();
    assert!(world.clusters.is_ours(ours) && world.clusters.declared("evil").is_some());
    for source in [Source::Nodes, Source::BrokerClusters] {
        world.listed(source);
        assert!(world.clusters.is_ours(ours));
    }
    for source in [Source::Nodes, Source::BrokerClusters] {
        world.started(source);
        world.listed(source);
    }
    assert!(!world.clusters.is_ours(ours) && world.clusters.declared("evil").is_none());
}

#[test]
fn names_that_are_none_are_ignored() {
    let mut set = ClusterSet::of(1);
    forge(&mut set, "../kube-system", "10.66.0.1");
    forge(&mut set, "UPPER", "10.66.0.1");
    set.settle();
    assert_eq!(set.server("c1").all("ServiceImport").count(), 0);
}

#[test]
fn a_slice_that_names_two_clusters_is_refused() {
    let mut set = ClusterSet::of(1);
    forge(&mut set, NS, "10.66.0.1");
    set.broker
        .change("EndpointSlice", BROKER, "nginx-evil1", |slice| {
            slice["metadata"]["labels"]["submariner-io/clusterID"] = json!("c1");
        });
    set.settle();
    assert!(set.server("c1").slices(NAME, "evil").is_empty());
    assert!(
        set.plan("c1", &key())
            .refusals
            .iter()
            .any(|refusal| matches!(refusal.why, Why::Object(_)))
    );
}

/// Our own services are not exported from there either.
#[test]
fn restricted_namespaces_export_nothing() {
    let mut set = ClusterSet::of(1);
    for mut object in [
        service(NAME, "10.101.0.1", &[port("http", 80)]),
        export(NAME, 1),
    ] {
        object["metadata"]["namespace"] = json!("kube-system");
        set.server("c1").put(object);
    }
    set.settle();
    let export = set
        .server("c1")
        .get("ServiceExport", "kube-system", NAME)
        .unwrap();
    assert_eq!(
        export["status"]["conditions"][0]["reason"],
        "RestrictedNamespace"
    );
    assert_eq!(set.broker.all("ServiceImport").count(), 0);
}
