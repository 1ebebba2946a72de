//! Cluster set IPs: A12 to A16, A37 to A41, and the derived Service.

use serde_json::json;
use subm_lighthouse_agent::core::settings::{ClusterSetIps, IpSource};

use super::*;
use crate::model::settings;

const ANNOTATION: &str = "lighthouse.submariner.io/use-clusterset-ip";
const ALLOCATED_BY: &str = "lighthouse.submariner.io/clusterset-ip-allocated-by";

fn with_pools(by_default: bool) -> ClusterSet {
    ClusterSet::new((1..=3).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        let range = format!("243.{i}.0.0/29").parse().expect("a range");
        settings.cluster_set_ips = ClusterSetIps {
            by_default,
            from: IpSource::Pool(Some(range)),
        };
        settings
    }))
}

fn ask(set: &mut ClusterSet, cluster: &str, wanted: bool) {
    set.server(cluster)
        .change("ServiceExport", NS, NAME, |export| {
            export["metadata"]["annotations"] = json!({ANNOTATION: wanted.to_string()});
        });
}

fn ip(set: &mut ClusterSet, cluster: &str) -> Value {
    import(set, cluster).expect("an import")["spec"]["ips"].clone()
}

#[test]
fn a12_a_service_asks_and_gives_back() {
    let mut set = with_pools(false);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    ask(&mut set, "c1", true);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(ip(&mut set, "c2"), json!(["243.1.0.6"]));
    let import = import(&mut set, "c2").unwrap();
    assert_eq!(import["metadata"]["annotations"][ALLOCATED_BY], "c1");
    assert_eq!(import["metadata"]["annotations"][ANNOTATION], "true");
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_not_exported(&mut set);
    let other = ServiceKey::new(NS, "other").unwrap();
    assert_eq!(
        set.agent("c1").pool.take(&other),
        "243.1.0.6".parse().ok(),
        "it is free again"
    );
}

#[test]
fn a13_without_a_range_there_is_none() {
    let mut set = ClusterSet::of(2);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    ask(&mut set, "c1", true);
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(ip(&mut set, "c2"), Value::Null);
    assert_eq!(
        import(&mut set, "c2").unwrap()["metadata"]["annotations"][ANNOTATION],
        "false"
    );
}

#[test]
fn a14_an_exhausted_range() {
    let mut set = with_pools(false);
    let others: Vec<ServiceKey> = (0..6)
        .map(|i| ServiceKey::new(NS, &format!("other-{i}")).unwrap())
        .collect();
    for other in &others {
        assert!(set.agent("c1").pool.take(other).is_some());
    }
    export_from(&mut set, "c1", "10.101.0.1", 1);
    ask(&mut set, "c1", true);
    set.settle();
    let (status, reason, message) = set.condition("c1", NAME, "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Failed"));
    assert!(message.contains("no cluster set IP is left"), "{message}");
    set.agent("c1").pool.release(&others[2]);
    set.agent("c1").world.mark_all();
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    assert!(ip(&mut set, "c2").is_array());
}

#[test]
fn a15_a16_for_all_services_but_those_that_say_no() {
    let mut set = with_pools(true);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_eq!(ip(&mut set, "c2"), json!(["243.1.0.6"]));
    let mut set = with_pools(true);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    ask(&mut set, "c1", false);
    set.settle();
    assert_eq!(ip(&mut set, "c2"), Value::Null);
}

fn enablement_conflict(set: &mut ClusterSet, cluster: &str) -> bool {
    set.condition(cluster, NAME, "Conflict")
        .is_some_and(|condition| {
            condition.0 == "True" && condition.1 == "ClusterSetIPEnablementConflict"
        })
}

#[test]
fn a37_a38_the_first_has_one_and_the_second_wants_none() {
    let mut set = with_pools(false);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    ask(&mut set, "c1", true);
    set.settle();
    export_from(&mut set, "c2", "10.102.0.1", 2);
    ask(&mut set, "c2", false);
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    assert!(enablement_conflict(&mut set, "c2") && !enablement_conflict(&mut set, "c1"));
    // A38: it lives as long as anybody exports.
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_eq!(
        ip(&mut set, "c3"),
        Value::Null,
        "the one that is left wants none, and is alone now"
    );
}

#[test]
fn a38_the_address_stays_while_others_export() {
    let mut set = with_pools(true);
    for (cluster, age) in [("c1", 1), ("c2", 2), ("c3", 3)] {
        export_from(&mut set, cluster, &format!("10.10{age}.0.1"), age);
        set.settle();
    }
    assert_eq!(ip(&mut set, "c2"), json!(["243.1.0.6"]));
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_exported_by(&mut set, &["c2", "c3"]);
    assert_eq!(
        ip(&mut set, "c2"),
        json!(["243.1.0.6"]),
        "two are left: who gave it does not matter"
    );
}

#[test]
fn a39_the_first_has_none_and_the_second_wants_one() {
    let mut set = with_pools(false);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    export_from(&mut set, "c2", "10.102.0.1", 2);
    ask(&mut set, "c2", true);
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    assert!(enablement_conflict(&mut set, "c2") && !enablement_conflict(&mut set, "c1"));
    assert_eq!(ip(&mut set, "c3"), Value::Null);
}

#[test]
fn a40_a41_both_want_one_and_the_first_gives_it() {
    let mut set = with_pools(true);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.server("c2").change("Service", NS, NAME, |service| {
        service["spec"]["ports"] = json!([port("admin", 9200)]);
    });
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    assert_eq!(ip(&mut set, "c3"), json!(["243.1.0.6"]));
    assert_eq!(
        set.condition("c1", NAME, "Conflict").unwrap().1,
        "PortConflict"
    );
    assert!(
        set.condition("c1", NAME, "Conflict")
            .unwrap()
            .2
            .contains("union")
    );
}

/// X21: who lost the race for the aggregate keeps no address.
#[test]
fn x21_a_lost_race_leaks_nothing() {
    let mut set = with_pools(true);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    for cluster in ["c1", "c2"] {
        set.read_all(cluster);
    }
    // Neither has seen the other.
    assert!(set.act("c1", &key()) && set.act("c2", &key()));
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    assert_eq!(ip(&mut set, "c3"), json!(["243.1.0.6"]));
    let other = ServiceKey::new(NS, "other").unwrap();
    assert_eq!(set.agent("c2").pool.take(&other), "243.2.0.6".parse().ok());
}

/// After a restart the addresses in use are not given again.
#[test]
fn a66_a_restart_keeps_the_address() {
    let mut set = with_pools(true);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    set.restart("c1");
    set.agent("c1").writes = 0;
    set.settle();
    assert_eq!(set.agent("c1").writes, 0);
    assert_eq!(ip(&mut set, "c2"), json!(["243.1.0.6"]));
}

/// A member that only writes the aggregate redirects nobody.
#[test]
fn x24_an_address_is_exporters_to_give() {
    let mut set = with_pools(false);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.settle();
    let forged = |aggregate: &mut Value| {
        aggregate["spec"]["ips"] = json!(["10.66.0.1"]);
        aggregate["metadata"]["annotations"][ANNOTATION] = json!("true");
        aggregate["metadata"]["annotations"][ALLOCATED_BY] = json!("c1");
    };
    let name = aggregate(&set).unwrap()["metadata"]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    set.broker
        .change("ServiceImport", model::BROKER, &name, forged);
    set.settle();
    for cluster in ["c1", "c2", "c3"] {
        assert_eq!(ip(&mut set, cluster), Value::Null, "{cluster}");
    }
    assert_eq!(
        aggregate(&set).unwrap()["spec"].get("ips"),
        None,
        "it is mended"
    );
}

/// Two replicas that took turns may have given an address twice: one of the services gets another.
#[test]
fn an_address_that_was_given_twice_is_given_once() {
    let mut set = with_pools(true);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    let other = ServiceKey::new(NS, "other").unwrap();
    set.restart("c1");
    assert!(
        set.agent("c1")
            .pool
            .reserve(&other, "243.1.0.6".parse().unwrap())
    );
    set.settle();
    for cluster in ["c1", "c2", "c3"] {
        assert_eq!(ip(&mut set, cluster), json!(["243.1.0.5"]), "{cluster}");
    }
}

/// Who gave an address does not give it to another service while the first is still reached by it.
#[test]
fn an_address_in_use_elsewhere_is_not_given_again() {
    let mut set = with_pools(true);
    for (cluster, age) in [("c1", 1), ("c2", 2), ("c3", 3)] {
        export_from(&mut set, cluster, &format!("10.10{age}.0.1"), age);
        set.settle();
    }
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    let other = ServiceKey::new(NS, "other").unwrap();
    assert_eq!(set.agent("c1").pool.take(&other), "243.1.0.5".parse().ok());
}

fn derived() -> ClusterSet {
    let mut set = ClusterSet::new((1..=3).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        settings.cluster_set_ips.from = IpSource::DerivedService;
        settings
    }));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    ask(&mut set, "c1", true);
    set.settle();
    set
}

fn derived_endpoints(set: &mut ClusterSet, cluster: &str) -> Vec<String> {
    let slices: Vec<Value> = set
        .server(cluster)
        .all("EndpointSlice")
        .filter(|slice| {
            slice["metadata"]["labels"]["kubernetes.io/service-name"]
                .as_str()
                .is_some_and(|name| name.starts_with("derived-"))
        })
        .cloned()
        .collect();
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice["endpoints"].as_array().unwrap());
    let ready = endpoints.filter(|endpoint| endpoint["conditions"]["ready"] == true);
    let mut addresses: Vec<String> = ready
        .map(|endpoint| endpoint["addresses"][0].as_str().unwrap().to_owned())
        .collect();
    addresses.sort();
    addresses
}

#[test]
fn a_derived_service_carries_the_address() {
    let mut set = derived();
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.server("c2")
        .put(backends("nginx-k8s", NAME, &["10.2.0.5"], &[]));
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    let import = import(&mut set, "c2").unwrap();
    assert_eq!(import["spec"]["ips"], json!(["10.96.9.9"]));
    let name = import["metadata"]["annotations"]["multicluster.kubernetes.io/derived-service"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(name.starts_with("derived-"));
    let service = set.server("c2").get("Service", NS, &name).unwrap();
    assert_eq!(
        ports(&service["spec"]["ports"]),
        ["http:80", "metrics:9100"]
    );
    assert!(service["spec"].get("selector").is_none());
    // Own pods, and the other's ClusterIP.
    assert_eq!(
        derived_endpoints(&mut set, "c2"),
        ["10.101.0.1", "10.2.0.5"]
    );
    assert_eq!(
        derived_endpoints(&mut set, "c3"),
        ["10.101.0.1", "10.102.0.1"]
    );
    // Lighthouse's agents must not look for an address that the broker does not have.
    assert_eq!(
        aggregate(&set).unwrap()["metadata"]["annotations"][ANNOTATION],
        "false"
    );
}

#[test]
fn a_derived_service_fails_over() {
    let mut set = derived();
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.settle();
    set.server("c1")
        .put(backends("nginx-k8s", NAME, &[], &["10.1.0.5"]));
    set.settle();
    assert_eq!(derived_endpoints(&mut set, "c3"), ["10.102.0.1"]);
}

#[test]
fn traffic_distribution_keeps_traffic_near() {
    let mut set = derived();
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["trafficDistribution"] = json!("PreferClose");
    });
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.server("c2")
        .put(backends("nginx-k8s", NAME, &["10.2.0.5"], &[]));
    set.server("c2").change("Service", NS, NAME, |service| {
        service["spec"]["trafficDistribution"] = json!("PreferClose");
    });
    set.settle();
    assert_eq!(derived_endpoints(&mut set, "c2"), ["10.2.0.5"]);
    set.server("c2")
        .put(backends("nginx-k8s", NAME, &[], &["10.2.0.5"]));
    set.settle();
    assert_eq!(
        derived_endpoints(&mut set, "c2"),
        ["10.101.0.1"],
        "none is ready here"
    );
}

#[test]
fn an_unexported_service_leaves_no_derived_one() {
    let mut set = derived();
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_not_exported(&mut set);
    for cluster in ["c1", "c2", "c3"] {
        let left = set
            .server(cluster)
            .all("Service")
            .filter(|service| service["metadata"]["name"] != NAME)
            .count();
        assert_eq!((left, derived_endpoints(&mut set, cluster).len()), (0, 0));
    }
}

/// Several exporters' ports together need names, and a Service has the families of its exports.
#[test]
fn a_derived_service_is_one_that_api_servers_take() {
    let mut set = ClusterSet::new((1..=2).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        settings.cluster_set_ips = ClusterSetIps {
            by_default: true,
            from: IpSource::DerivedService,
        };
        settings
    }));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    let mut nameless = service(NAME, "10.101.0.1", &[port("", 80)]);
    nameless["spec"]["ports"][0]
        .as_object_mut()
        .unwrap()
        .remove("name");
    nameless["spec"]["ipFamilies"] = json!(["IPv4"]);
    set.server("c1").put(nameless);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    let mut named = service(NAME, "10.102.0.1", &[port("http", 8080)]);
    named["spec"]["ipFamilies"] = json!(["IPv4"]);
    set.server("c2").put(named);
    set.settle();
    let derived = |set: &mut ClusterSet| {
        let services = set.server("c2").all("Service");
        let mut derived = services.filter(|service| service["metadata"]["name"] != NAME);
        derived.next().expect("a derived Service").clone()
    };
    let there = derived(&mut set);
    assert_eq!(ports(&there["spec"]["ports"]), ["unnamed:80", "http:8080"]);
    assert_eq!(there["spec"]["ipFamilies"], json!(["IPv4"]));
    let name = there["metadata"]["name"].as_str().unwrap().to_owned();
    let slices = set.server("c2").all("EndpointSlice");
    let of_c1 = slices.filter(|slice| {
        slice["metadata"]["labels"]["kubernetes.io/service-name"] == name.as_str()
            && slice["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"] == "c1"
    });
    let names: Vec<&Value> = of_c1.map(|slice| &slice["ports"][0]["name"]).collect();
    assert_eq!(names, ["unnamed"]);

    // A Service keeps its first family for life: another one needs another Service.
    let uid = there["metadata"]["uid"].clone();
    for cluster in ["c1", "c2"] {
        set.server(cluster).change("Service", NS, NAME, |service| {
            service["spec"]["ipFamilies"] = json!(["IPv6"]);
            service["spec"]["clusterIP"] = json!("fd00::1");
            service["spec"]["clusterIPs"] = json!(["fd00::1"]);
        });
    }
    set.settle();
    let there = derived(&mut set);
    assert_eq!(there["spec"]["ipFamilies"], json!(["IPv6"]));
    assert_ne!(there["metadata"]["uid"], uid);
}

/// A member says of services that nobody here knows that this cluster gave them addresses.
#[test]
fn nobody_can_use_up_anothers_range() {
    let mut set = ClusterSet::new([{
        let mut settings = settings("c1");
        settings.cluster_set_ips = ClusterSetIps {
            by_default: true,
            from: IpSource::Pool("243.1.0.0/28".parse().ok()),
        };
        settings
    }]);
    for last in 1..=14 {
        let details =
            json!({"clusterSetIp": {"address": format!("243.1.0.{last}"), "allocatedBy": "c1"}});
        set.broker.put(json!({
            "kind": "ServiceImport",
            "metadata": {
                "name": format!("lie{last}-{NS}-evil"), "namespace": model::BROKER,
                "labels": {
                    "lighthouse.submariner.io/sourceNamespace": NS,
                    "multicluster.kubernetes.io/service-name": format!("lie{last}"),
                    "multicluster.kubernetes.io/source-cluster": "evil",
                },
                "annotations": {subm_lighthouse_agent::core::export::DETAILS: details.to_string()},
            },
            "spec": {"type": "ClusterSetIP", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }));
    }
    set.settle();
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    assert_eq!(ip(&mut set, "c1"), json!(["243.1.0.14"]));
}
