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

/// A label of Kubernetes' own on the broker's slice would put its endpoints into any Service of the namespace, one of ours would
/// hand it to another part of the agent.
#[test]
fn labels_of_another_cluster_mean_nothing_here() {
    let mut set = ClusterSet::of(1);
    forge(&mut set, NS, "10.66.0.1");
    set.broker
        .change("EndpointSlice", BROKER, "nginx-evil1", |slice| {
            let metadata = &mut slice["metadata"];
            metadata["labels"]["kubernetes.io/service-name"] = json!("payments");
            metadata["labels"]["service.kubernetes.io/headless"] = json!("");
            metadata["labels"]["lighthouse.submariner.io/derived-from"] = json!("payments");
            metadata["labels"]["team"] = json!("blue");
            metadata["annotations"] = json!({"x.k8s.io/y": "z", "note": "hello"});
        });
    set.settle();
    let slices = set.server("c1").slices(NAME, "evil");
    let metadata = &slices[0]["metadata"];
    let labels: Vec<&String> = metadata["labels"].as_object().unwrap().keys().collect();
    assert_eq!(
        labels,
        [
            "endpointslice.kubernetes.io/managed-by",
            "lighthouse.submariner.io/is-headless",
            "lighthouse.submariner.io/sourceNamespace",
            "multicluster.kubernetes.io/service-name",
            "multicluster.kubernetes.io/source-cluster",
            "team",
        ]
    );
    assert_eq!(metadata["annotations"], json!({"note": "hello"}));
}

/// Other controllers of the MCS API, and people, keep imports of their own.
#[test]
fn imports_of_others_stay() {
    let mut set = ClusterSet::of(2);
    for (name, labels) in [
        ("theirs", json!({"made-by": "somebody"})),
        (NAME, json!({})),
    ] {
        set.server("c2").put(json!({
            "kind": "ServiceImport",
            "metadata": {"name": name, "namespace": NS, "labels": labels},
            "spec": {"type": "ClusterSetIP", "ips": ["10.9.9.9"], "ports": []},
        }));
    }
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    for name in ["theirs", NAME] {
        let import = set.server("c2").get("ServiceImport", NS, name).unwrap();
        assert_eq!(import["spec"]["ips"], json!(["10.9.9.9"]), "{name}");
    }
    let refusals = set.plan("c2", &key()).refusals;
    assert!(
        matches!(&refusals[..], [refusal] if refusal.to_string().contains("is not this agent's")),
        "{refusals:?}"
    );
    // It makes way.
    set.server("c2").delete("ServiceImport", NS, NAME);
    set.settle();
    assert_eq!(import(&mut set, "c2").unwrap()["spec"]["ips"], Value::Null);
    assert!(set.plan("c2", &key()).refusals.is_empty());
    set.agent("c2").world.settings.uninstalling = true;
    set.agent("c2").world.mark_all();
    set.settle();
    assert!(
        set.server("c2")
            .get("ServiceImport", NS, "theirs")
            .is_some()
    );
}

/// Who names an aggregate otherwise than exporters do does not move theirs.
#[test]
fn an_aggregate_of_another_name_is_nothing() {
    let mut set = ClusterSet::of(2);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.broker.put(json!({
        "kind": "ServiceImport",
        "metadata": {"name": "0", "namespace": BROKER, "annotations": {
            "multicluster.kubernetes.io/service-name": NAME,
            "lighthouse.submariner.io/sourceNamespace": NS,
        }},
        "spec": {"type": "Headless"},
        "status": {"clusters": [{"cluster": "evil"}]},
    }));
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert!(aggregate(&set).is_some());
}

#[test]
fn addresses_of_our_own_services_and_pods_are_not_for_others() {
    let mut set = ClusterSet::of(1);
    set.broker.put(json!({
        "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": BROKER},
        "spec": {"cluster_id": "c1", "service_cidr": ["10.96.0.0/16"], "cluster_cidr": ["10.244.0.0/16"], "global_cidr": []},
    }));
    for address in ["10.96.0.1", "10.244.3.4"] {
        forge(&mut set, NS, address);
        set.settle();
        let slice = &set.server("c1").slices(NAME, "evil")[0];
        assert_eq!(slice["endpoints"].as_array().unwrap().len(), 1, "{address}");
    }
}

/// What no API server accepts does not keep the import from being written.
#[test]
fn what_an_api_server_would_refuse_is_left_out() {
    let mut set = ClusterSet::of(1);
    forge(&mut set, NS, "10.66.0.1");
    let record = format!("{NAME}-{NS}-evil");
    set.broker
        .change("ServiceImport", BROKER, &record, |record| {
            let details = json!({
                "labels": {"team": "a b", "ok": "yes"},
                "annotations": {"a b": "c"},
                "ipFamilies": ["IPv4", "IPv4", "IPv5"],
                "internalTrafficPolicy": "Sometimes",
            });
            record["metadata"]["annotations"] = json!({
                "lighthouse.submariner.io/export-details": details.to_string(),
                "timestamp.submariner.io/evil": "-1",
            });
            record["spec"]["sessionAffinity"] = json!("Sticky");
            record["spec"]["ports"] = json!([
                {"name": "No Name", "port": 80, "protocol": "TCP"},
                {"name": "b", "port": 81, "protocol": "tcp"},
                {"name": "http", "port": 80, "protocol": "TCP"},
            ]);
        });
    set.settle();
    let import = import(&mut set, "c1").unwrap();
    assert_eq!(import["metadata"]["labels"], json!({"ok": "yes"}));
    assert_eq!(ports(&import["spec"]["ports"]), ["http:80"]);
    assert_eq!(import["spec"]["ipFamilies"], json!(["IPv4"]));
    assert_eq!(import["spec"]["sessionAffinity"], "None");
    assert_eq!(import["spec"].get("internalTrafficPolicy"), None);
    assert_ne!(
        import["metadata"]["annotations"]["timestamp.submariner.io/evil"],
        "-1"
    );
}

/// Two clusters with one id would take each other's objects for their own.
#[test]
fn who_has_anothers_id_does_nothing() {
    let mut set = ClusterSet::of(2);
    let claim = |uid: &str| {
        json!({
            "kind": "Cluster",
            "metadata": {"name": "c1", "namespace": BROKER, "annotations": {"submariner.io/cluster-uid": uid}},
            "spec": {"cluster_id": "c1"},
        })
    };
    set.server("c1").put(namespace("kube-system"));
    let kube_system = set
        .server("c1")
        .get("Namespace", "", "kube-system")
        .unwrap();
    let uid = kube_system["metadata"]["uid"].as_str().unwrap().to_owned();
    set.broker.put(claim("another"));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_eq!(set.broker.all("ServiceImport").count(), 0);
    assert!(set.agent("c1").world.id_is_anothers());
    set.broker.put(claim(&uid));
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
}

/// What the log tells an administrator to do helps at once.
#[test]
fn an_id_that_comes_free_is_ours_again() {
    let mut set = ClusterSet::of(1);
    set.server("c1").put(namespace("kube-system"));
    set.broker.put(json!({
        "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": BROKER, "annotations": {"submariner.io/cluster-uid": "another"}},
        "spec": {"cluster_id": "c1"},
    }));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    let world = &mut set.agent("c1").world;
    assert!(world.id_is_anothers());
    world.take_dirty();
    set.broker.delete("Cluster", BROKER, "c1");
    set.read_all("c1");
    let world = &mut set.agent("c1").world;
    assert!(!world.id_is_anothers());
    assert!(
        world.take_dirty().contains(&key()),
        "its services are planned anew"
    );
}

/// The broker's schema has one entry per cluster: two would stop the import.
#[test]
fn a_member_with_two_records_counts_once() {
    let mut set = exported(1);
    forge(&mut set, NS, "10.66.0.1");
    for (name, since) in [("nginx-service-ns-evil", "1"), ("more-evil", "1795466999")] {
        let record = set
            .broker
            .get("ServiceImport", BROKER, "nginx-service-ns-evil");
        let mut record = record.unwrap();
        record["metadata"]["name"] = json!(name);
        record["metadata"]["annotations"] = json!({"timestamp.submariner.io/evil": since});
        set.broker.put(record);
    }
    set.settle();
    let import = import(&mut set, "c1").unwrap();
    assert_eq!(clusters(&import), ["evil", "c1"]);
    let refusals = set.plan("c1", &key()).refusals;
    assert!(
        refusals.iter().any(
            |refusal| matches!(&refusal.why, Why::Object(what) if what.contains("several records"))
        ),
        "{refusals:?}"
    );
}

/// What lies in our own networks is not believed, also when it became ours later.
#[test]
fn our_own_networks_may_change() {
    let mut set = exported(2);
    let declare = |set: &mut ClusterSet, net: &str| {
        set.broker.put(json!({
            "kind": "Cluster", "metadata": {"name": "c2", "namespace": BROKER},
            "spec": {"cluster_id": "c2", "cluster_cidr": [net], "service_cidr": [net]},
        }));
        set.settle();
    };
    declare(&mut set, "10.101.0.0/16");
    assert!(set.left_to_do().is_empty());
    let endpoints = |set: &mut ClusterSet| {
        let slices = set.server("c2").slices(NAME, "c1");
        slices[0]["endpoints"].as_array().map_or(0, Vec::len)
    };
    assert_eq!(endpoints(&mut set), 0);
    declare(&mut set, "10.102.0.0/16");
    assert!(set.left_to_do().is_empty());
    assert_eq!(endpoints(&mut set), 1);
}

/// `east` may end its records with `-east`, and so have the name that `us-east` wants.
#[test]
fn a_name_that_another_took_is_not_the_end() {
    let mut set = ClusterSet::new([model::settings("us-east"), model::settings("c2")]);
    let labels = json!({
        "lighthouse.submariner.io/sourceNamespace": NS,
        "multicluster.kubernetes.io/service-name": NAME,
        "multicluster.kubernetes.io/source-cluster": "east",
    });
    set.broker.put(json!({
        "kind": "ServiceImport",
        "metadata": {"name": "nginx-service-ns-us-east", "namespace": BROKER, "labels": labels},
        "spec": {"type": "ClusterSetIP", "ports": []},
    }));
    export_from(&mut set, "us-east", "10.101.0.1", 1);
    set.settle();
    let squatted = set
        .broker
        .get("ServiceImport", BROKER, "nginx-service-ns-us-east")
        .unwrap();
    assert_eq!(squatted["metadata"]["labels"], labels, "not ours to change");
    let exported = set.condition("us-east", NAME, "Ready").unwrap();
    assert_eq!(exported.0, "True", "{exported:?}");
    assert!(clusters(&import(&mut set, "c2").unwrap()).contains(&"us-east"));
}

/// Uninstalling in a cluster whose id is another's takes nothing from that other.
#[test]
fn what_is_on_the_broker_stays_where_the_id_is_anothers() {
    let mut set = exported(1);
    let on_broker = |set: &ClusterSet| {
        let objects = set
            .broker
            .all("ServiceImport")
            .chain(set.broker.all("EndpointSlice"));
        objects.cloned().collect::<Vec<_>>()
    };
    let before = on_broker(&set);
    let mut settings = model::settings("c1");
    settings.uninstalling = true;
    *set.agent("c1") = model::Agent::new(settings);
    let home = json!({"metadata": {"name": "kube-system", "uid": "home"}});
    set.agent("c1")
        .world
        .namespace(&serde_json::from_value(home).unwrap());
    set.broker.put(json!({
        "kind": "Cluster",
        "metadata": {"name": "c1", "namespace": BROKER, "annotations": {"submariner.io/cluster-uid": "other"}},
        "spec": {"cluster_id": "c1"},
    }));
    set.settle();
    assert!(set.agent("c1").world.id_is_anothers());
    assert_eq!(on_broker(&set), before);
    assert_eq!(set.server("c1").all("ServiceImport").count(), 0);
    let export = set.server("c1").get("ServiceExport", NS, NAME).unwrap();
    assert_eq!(export["status"]["conditions"], json!([]));
}
