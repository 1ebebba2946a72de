//! What Multi-Cluster Services ask for beyond Lighthouse: the MCS API's own fields.

use serde_json::json;

use super::*;

fn two() -> ClusterSet {
    let mut set = ClusterSet::of(3);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set
}

fn conflict(set: &mut ClusterSet, cluster: &str) -> String {
    set.condition(cluster, NAME, "Conflict")
        .map(|condition| condition.1)
        .unwrap_or_default()
}

#[test]
fn only_exported_labels_and_annotations_travel() {
    let mut set = ClusterSet::of(2);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.server("c1").change("ServiceExport", NS, NAME, |export| {
        export["metadata"]["labels"] = json!({"mine": "alone"});
        export["spec"] = json!({
            "exportedLabels": {"team": "shop", "multicluster.kubernetes.io/source-cluster": "c9"},
            "exportedAnnotations": {"note": "hello", "timestamp.submariner.io/c9": "1"},
        });
    });
    set.settle();
    let imported = import(&mut set, "c2").unwrap();
    assert_eq!(
        imported["metadata"]["labels"],
        json!({"team": "shop"}),
        "neither the Service's nor reserved ones"
    );
    assert_eq!(imported["metadata"]["annotations"]["note"], "hello");
    assert!(
        imported["metadata"]["annotations"]
            .get("timestamp.submariner.io/c9")
            .is_none()
    );
    set.server("c1")
        .change("ServiceExport", NS, NAME, |export| {
            export["spec"] = json!({});
        });
    set.settle();
    let imported = import(&mut set, "c2").unwrap();
    assert_eq!(imported["metadata"]["labels"], json!({}));
    assert!(imported["metadata"]["annotations"].get("note").is_none());
}

#[test]
fn the_oldest_labels_win_and_all_are_told() {
    let mut set = two();
    for (cluster, team) in [("c1", "shop"), ("c2", "bank")] {
        set.server(cluster)
            .change("ServiceExport", NS, NAME, |export| {
                export["spec"] =
                    json!({"exportedLabels": {"team": team}, "exportedAnnotations": {"of": team}});
            });
    }
    set.settle();
    assert_eq!(
        import(&mut set, "c3").unwrap()["metadata"]["labels"],
        json!({"team": "shop"})
    );
    for cluster in ["c1", "c2"] {
        assert_eq!(
            conflict(&mut set, cluster),
            "AnnotationsConflict,LabelsConflict"
        );
    }
}

#[test]
fn traffic_policies_are_the_oldests() {
    let mut set = two();
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["internalTrafficPolicy"] = json!("Local");
        service["spec"]["trafficDistribution"] = json!("PreferClose");
    });
    set.settle();
    let import = import(&mut set, "c3").unwrap();
    assert_eq!(
        (
            &import["spec"]["internalTrafficPolicy"],
            &import["spec"]["trafficDistribution"]
        ),
        (&json!("Local"), &json!("PreferClose"))
    );
    for cluster in ["c1", "c2"] {
        assert_eq!(
            conflict(&mut set, cluster),
            "InternalTrafficPolicyConflict,TrafficDistributionConflict"
        );
    }
}

#[test]
fn families_are_those_that_all_have() {
    let mut set = two();
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["clusterIPs"] = json!(["10.101.0.1", "fd01::1"]);
        service["spec"]["ipFamilies"] = json!(["IPv4", "IPv6"]);
    });
    set.settle();
    assert_eq!(
        import(&mut set, "c3").unwrap()["spec"]["ipFamilies"],
        json!(["IPv4"])
    );
    assert_eq!(conflict(&mut set, "c1"), "");
    // Nothing in common: some backends cannot be reached whatever is chosen.
    set.server("c2").change("Service", NS, NAME, |service| {
        service["spec"]["clusterIP"] = json!("fd02::1");
        service["spec"]["clusterIPs"] = json!(["fd02::1"]);
        service["spec"]["ipFamilies"] = json!(["IPv6"]);
    });
    set.server("c1").change("Service", NS, NAME, |service| {
        service["spec"]["clusterIPs"] = json!(["10.101.0.1"]);
        service["spec"]["ipFamilies"] = json!(["IPv4"]);
    });
    set.settle();
    assert_eq!(conflict(&mut set, "c2"), "IPFamilyConflict");
}

#[test]
fn a_headless_import_has_families_too() {
    let mut set = ClusterSet::of(2);
    set.server("c1")
        .put(model::build::headless(NAME, &[port("http", 80)]));
    set.server("c1").put(export(NAME, 1));
    set.settle();
    assert_eq!(
        import(&mut set, "c2").unwrap()["spec"]["ipFamilies"],
        json!(["IPv4"])
    );
}

/// `reason` is required and not empty in today's CRDs.
#[test]
fn conditions_are_of_the_strict_form() {
    let mut set = exported(2);
    let export = set.server("c1").get("ServiceExport", NS, NAME).unwrap();
    let import = import(&mut set, "c2").unwrap();
    let conditions = [&export, &import]
        .into_iter()
        .flat_map(|object| object["status"]["conditions"].as_array().unwrap());
    let mut types = Vec::new();
    for condition in conditions {
        for field in ["type", "status", "reason", "lastTransitionTime"] {
            assert!(
                condition[field]
                    .as_str()
                    .is_some_and(|text| !text.is_empty()),
                "{field} of {condition}"
            );
        }
        assert!(condition["message"].is_string());
        types.push(condition["type"].as_str().unwrap());
    }
    assert_eq!(types, ["Valid", "Ready", "Synced", "Ready"]);
    assert_eq!(export["status"]["conditions"][0]["observedGeneration"], 1);
}

#[test]
fn unnamed_ports_of_services_stay_unnamed() {
    let mut set = ClusterSet::of(2);
    set.server("c1").put(service(
        NAME,
        "10.101.0.1",
        &[json!({"protocol": "TCP", "port": 8080, "targetPort": 8080})],
    ));
    set.server("c1").put(export(NAME, 1));
    set.settle();
    assert_eq!(
        import(&mut set, "c2").unwrap()["spec"]["ports"],
        json!([{"port": 8080, "protocol": "TCP"}])
    );
    assert_eq!(
        set.server("c2").slices(NAME, "c1")[0]["ports"],
        json!([{"name": "", "port": 8080, "protocol": "TCP"}])
    );
}

/// What cannot stand on an import is said where it was asked for.
#[test]
fn exported_labels_that_are_none_make_an_export_invalid() {
    let mut set = ClusterSet::of(2);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.server("c1")
        .change("ServiceExport", NS, NAME, |export| {
            export["spec"] = json!({"exportedLabels": {"team": "a b"}});
        });
    set.settle();
    let (status, reason, message) = set.condition("c1", NAME, "Valid").unwrap();
    assert_eq!(
        (status.as_str(), reason.as_str()),
        ("False", "InvalidExportedMetadata")
    );
    assert!(
        message.contains("spec.exportedLabels") && message.contains("\"a b\""),
        "{message}"
    );
}
