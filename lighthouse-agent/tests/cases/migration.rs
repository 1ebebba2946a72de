//! Side by side with Lighthouse's agents, and in their place: A78 to A84, X19, X22, X27.

use serde_json::json;

use super::*;
use crate::model::{BROKER, OPERATOR};

/// What Lighthouse's agent (0.15 to 0.20) of a cluster writes to the broker for nginx.
fn lighthouse_exports(
    set: &mut ClusterSet,
    cluster: &str,
    ip: &str,
    ns_since_epoch: &str,
    ports: &Value,
) {
    set.broker.put(json!({
        "kind": "EndpointSlice",
        "metadata": {
            "name": format!("nginx-{cluster}xyz"), "namespace": BROKER, "generateName": "nginx-",
            "labels": {
                "app": "nginx",
                "endpointslice.kubernetes.io/managed-by": "lighthouse-agent.submariner.io",
                "lighthouse.submariner.io/is-headless": "false",
                "lighthouse.submariner.io/sourceNamespace": NS,
                "multicluster.kubernetes.io/service-name": NAME,
                "multicluster.kubernetes.io/source-cluster": cluster,
                "submariner-io/clusterID": cluster,
                "submariner-io/originatingNamespace": NS,
            },
            "annotations": {
                "lighthouse.submariner.io/globalnet-enabled": "false",
                "lighthouse.submariner.io/publish-not-ready-addresses": "false",
            },
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [ip], "conditions": {"ready": true}}],
        "ports": ports,
    }));
    let mut aggregated = aggregate(set).unwrap_or_else(|| {
        json!({
            "kind": "ServiceImport",
            "metadata": {"name": "nginx-service-ns", "namespace": BROKER, "annotations": {
                "lighthouse.submariner.io/sourceNamespace": NS,
                "multicluster.kubernetes.io/service-name": NAME,
                "lighthouse.submariner.io/use-clusterset-ip": "false",
            }},
            "spec": {"type": "ClusterSetIP", "sessionAffinity": "None", "ports": ports},
            "status": {"clusters": []},
        })
    });
    aggregated["metadata"]["annotations"][format!("timestamp.submariner.io/{cluster}")] =
        json!(ns_since_epoch);
    aggregated["status"]["clusters"]
        .as_array_mut()
        .unwrap()
        .push(json!({"cluster": cluster}));
    set.broker.put(aggregated);
}

fn web_ports() -> Value {
    json!([{"name": "http", "protocol": "TCP", "port": 80}, {"name": "metrics", "protocol": "TCP", "port": 9100}])
}

#[test]
fn an_export_of_lighthouse_is_imported() {
    let mut set = ClusterSet::of(1);
    lighthouse_exports(
        &mut set,
        "go",
        "10.109.0.1",
        "1795466000000000000",
        &web_ports(),
    );
    set.settle();
    let import = import(&mut set, "c1").unwrap();
    assert_eq!(clusters(&import), ["go"]);
    assert_eq!(ports(&import["spec"]["ports"]), ["http:80", "metrics:9100"]);
    assert_eq!(
        import["metadata"]["annotations"]["timestamp.submariner.io/go"],
        "1795466000000000000"
    );
    let slice = &set.server("c1").slices(NAME, "go")[0];
    assert_eq!(slice["metadata"]["name"], "nginx-goxyz");
    assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.109.0.1"]));
    // The view of release 0.14 is made for it, too.
    let view = set
        .server("c1")
        .get("ServiceImport", OPERATOR, "nginx-service-ns-go")
        .unwrap();
    assert_eq!(view["spec"]["ips"], json!(["10.109.0.1"]));
}

#[test]
fn both_export_the_same() {
    let mut set = ClusterSet::of(1);
    lighthouse_exports(
        &mut set,
        "go",
        "10.109.0.1",
        "1795466000000000000",
        &web_ports(),
    );
    export_from(&mut set, "c1", "10.101.0.1", 600);
    set.settle();
    let aggregated = aggregate(&set).unwrap();
    assert_eq!(clusters(&aggregated), ["go", "c1"]);
    assert_eq!(
        aggregated["metadata"]["annotations"]["timestamp.submariner.io/go"],
        "1795466000000000000"
    );
    assert_eq!(set.condition("c1", NAME, "Ready").unwrap().0, "True");
    assert_eq!(set.condition("c1", NAME, "Conflict"), None);
    // And it goes alone.
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_eq!(clusters(&aggregate(&set).unwrap()), ["go"]);
    assert_eq!(set.broker.all("ServiceImport").count(), 1);
    assert_eq!(set.broker.all("EndpointSlice").count(), 1);
    assert_eq!(set.left_to_do(), []);
}

/// Lighthouse's agent would not know how to give way.
#[test]
fn a_type_that_lighthouse_settled_on_stays() {
    let mut set = ClusterSet::of(1);
    lighthouse_exports(
        &mut set,
        "go",
        "10.109.0.1",
        "1795466000000000000",
        &web_ports(),
    );
    set.server("c1")
        .put(model::build::headless(NAME, &[port("http", 80)]));
    set.server("c1").put(export(NAME, 1));
    set.settle();
    assert_eq!(set.condition("c1", NAME, "Ready").unwrap().1, "Failed");
    assert_eq!(
        set.condition("c1", NAME, "Conflict").unwrap().1,
        "TypeConflict"
    );
    assert_eq!(aggregate(&set).unwrap()["spec"]["type"], "ClusterSetIP");
    assert_eq!(clusters(&aggregate(&set).unwrap()), ["go"]);
}

#[test]
fn a78_to_a80_in_the_place_of_lighthouse_nothing_blinks() {
    let mut set = exported(2);
    // As Lighthouse left it: slices named by the API server, and no record.
    for place in [NS, BROKER] {
        let server = if place == BROKER {
            &mut set.broker
        } else {
            set.server("c1")
        };
        let ours = server
            .slices(NAME, "c1")
            .into_iter()
            .find(|slice| slice["metadata"]["namespace"] == place)
            .unwrap();
        let name = ours["metadata"]["name"].as_str().unwrap().to_owned();
        let mut theirs = ours;
        theirs["metadata"]["name"] = json!("nginx-m24jj");
        server.delete("EndpointSlice", place, &name);
        server.put(theirs);
    }
    set.broker
        .delete("ServiceImport", BROKER, "nginx-service-ns-c1");
    set.restart("c1");
    let (before, server) = (set.broker.history.len(), set.server("c1").history.len());
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    let gone =
        |history: &[model::server::Event]| history.iter().any(|event| event.object.is_none());
    assert!(
        !gone(&set.broker.history[before..]),
        "nothing is deleted on the broker"
    );
    assert!(
        !gone(&set.server("c1").history[server..]),
        "nothing is deleted here"
    );
    assert_eq!(
        set.broker.slices(NAME, "c1")[0]["metadata"]["name"],
        "nginx-m24jj",
        "a name is kept"
    );
}

/// A81 to A83: imports of releases before 0.15 on the broker are their writers' business.
#[test]
fn a81_to_a83_imports_of_old_releases_are_left_alone() {
    let mut set = exported(2);
    let legacy = json!({
        "kind": "ServiceImport",
        "metadata": {"name": "nginx-service-ns-region1", "namespace": BROKER,
            "labels": {"lighthouse.submariner.io/sourceName": NAME, "lighthouse.submariner.io/sourceNamespace": NS,
                "lighthouse.submariner.io/sourceCluster": "region1"},
            "annotations": {"origin-name": NAME, "origin-namespace": NS}},
        "spec": {"type": "ClusterSetIP", "ips": ["10.105.0.1"], "ports": []},
    });
    set.broker.put(legacy);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert!(
        set.broker
            .get("ServiceImport", BROKER, "nginx-service-ns-region1")
            .is_some()
    );
}

#[test]
fn a84_an_aggregate_of_before_cluster_set_ips() {
    let mut set = ClusterSet::of(1);
    lighthouse_exports(
        &mut set,
        "go",
        "10.109.0.1",
        "1795466000000000000",
        &web_ports(),
    );
    set.broker
        .change("ServiceImport", BROKER, "nginx-service-ns", |import| {
            import["metadata"]["annotations"]
                .as_object_mut()
                .unwrap()
                .remove("lighthouse.submariner.io/use-clusterset-ip");
        });
    export_from(&mut set, "c1", "10.101.0.1", 600);
    set.settle();
    assert_eq!(
        aggregate(&set).unwrap()["metadata"]["annotations"]["lighthouse.submariner.io/use-clusterset-ip"],
        "false"
    );
    assert_eq!(set.condition("c1", NAME, "Conflict"), None);
}

/// X19: two services whose name and namespace join to the same.
#[test]
fn x19_ambiguous_names() {
    let mut set = ClusterSet::of(2);
    for (namespace, name, ip) in [("c", "a-b", "10.101.0.1"), ("b-c", "a", "10.101.0.2")] {
        for cluster in ["c1", "c2"] {
            set.server(cluster).put(model::build::namespace(namespace));
        }
        for mut object in [service(name, ip, &[port("http", 80)]), export(name, 1)] {
            object["metadata"]["namespace"] = json!(namespace);
            set.server("c1").put(object);
        }
    }
    set.settle();
    for (namespace, name, ip) in [("c", "a-b", "10.101.0.1"), ("b-c", "a", "10.101.0.2")] {
        assert!(
            set.server("c2")
                .get("ServiceImport", namespace, name)
                .is_some(),
            "{namespace}/{name}"
        );
        assert_eq!(
            set.server("c2").slices(name, "c1")[0]["endpoints"][0]["addresses"],
            json!([ip])
        );
    }
    assert_eq!(
        set.broker.all("ServiceImport").count(),
        4,
        "an aggregate and a record each"
    );
    assert_eq!(set.left_to_do(), []);
}

/// X22: one slice for each family.
#[test]
fn x22_dual_stack() {
    let mut set = exported(2);
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["clusterIPs"] = json!(["10.101.0.1", "fd01::1"]);
        service["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
    });
    set.server("c1")
        .put(backends("nginx-k8s-6", NAME, &[], &["fd01:1::5"]));
    set.settle();
    let slices = set.server("c2").slices(NAME, "c1");
    let mut told: Vec<(String, String, bool)> = slices
        .iter()
        .map(|slice| {
            let endpoint = &slice["endpoints"][0];
            (
                slice["addressType"].as_str().unwrap().into(),
                endpoint["addresses"][0].as_str().unwrap().into(),
                endpoint["conditions"]["ready"] == true,
            )
        })
        .collect();
    told.sort();
    assert_eq!(
        told,
        [
            ("IPv4".into(), "10.101.0.1".into(), true),
            ("IPv6".into(), "fd01::1".into(), false)
        ]
    );
    assert_eq!(
        import(&mut set, "c2").unwrap()["spec"]["ipFamilies"],
        json!(["IPv4", "IPv6"])
    );
    assert_eq!(set.left_to_do(), []);
}

/// The broker is one of the clusters: its copies are not imports of that cluster.
#[test]
fn a_broker_in_a_member_cluster() {
    let mut set = exported(2);
    let on_broker: Vec<Value> = set
        .broker
        .all("ServiceImport")
        .chain(set.broker.all("EndpointSlice"))
        .cloned()
        .collect();
    for object in on_broker {
        set.server("c2").put(object);
    }
    set.settle();
    assert_eq!(set.left_to_do(), []);
    assert_eq!(
        set.server("c2")
            .all("ServiceImport")
            .filter(|import| import["metadata"]["namespace"] == BROKER)
            .count(),
        2,
        "they are the broker's"
    );
}
