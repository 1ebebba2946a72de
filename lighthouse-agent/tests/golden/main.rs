//! What a running Go Lighthouse wrote, step by step (`data/`, recorded from API servers), beside what this agent makes of the
//! same objects of users. All that Lighthouse wrote is there, alike; what is there beside it is said here.

#[path = "../model/mod.rs"]
mod model;

use std::collections::{BTreeMap, BTreeSet};

use model::{BROKER, ClusterSet, OPERATOR, Server, settings};
use serde_json::{Value, json};
use subm_lighthouse_agent::core::settings::{ClusterSetIps, IpSource};

/// The recorded set, run until it rests.
fn run(data: &Value, cluster_set_ips: bool) -> ClusterSet {
    let settings = (1..=2).map(|i| {
        let mut settings = settings(&format!("cluster{i}"));
        // Recorded before there were rules for namespaces.
        settings.namespaces.allow = vec!["default".to_owned()];
        if cluster_set_ips {
            settings.cluster_set_ips = ClusterSetIps {
                by_default: true,
                from: IpSource::Pool(format!("243.{i}.0.0/20").parse().ok()),
            };
        }
        settings
    });
    let mut set = ClusterSet::new(settings);
    for cluster in ["cluster1", "cluster2"] {
        for namespace in ["default", "nginx-test"] {
            set.server(cluster).put(model::build::namespace(namespace));
        }
    }
    // In the order in which they were exported: who came first gives the cluster set IP.
    let mut objects: Vec<(&str, &Value)> = Vec::new();
    for cluster in ["cluster1", "cluster2"] {
        let users = data[cluster]["users"].as_array().expect("users' objects");
        objects.extend(users.iter().map(|object| (cluster, object)));
    }
    objects.sort_by_key(|(_, object)| {
        (
            object["kind"] == "ServiceExport",
            object["metadata"]["creationTimestamp"].to_string(),
        )
    });
    for (cluster, object) in objects {
        set.server(cluster).put(object.clone());
        if object["kind"] == "ServiceExport" {
            set.settle();
        }
    }
    set.settle();
    set
}

/// What tells slices apart, whatever their names.
fn identity(slice: &Value) -> String {
    let labels = &slice["metadata"]["labels"];
    json!([
        slice["metadata"]["namespace"],
        labels["multicluster.kubernetes.io/service-name"],
        labels["multicluster.kubernetes.io/source-cluster"],
        labels["lighthouse.submariner.io/source-name"],
        slice["addressType"],
    ])
    .to_string()
}

fn is_ours(slice: &Value) -> bool {
    slice["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"]
        == "lighthouse-agent.submariner.io"
}

fn compare_slices(step: &str, place: &str, golden: &[&Value], server: &Server) {
    let ours: BTreeMap<String, &Value> = server
        .all("EndpointSlice")
        .filter(|slice| is_ours(slice))
        .map(|slice| (identity(slice), slice))
        .collect();
    let theirs: BTreeMap<String, &&Value> = golden
        .iter()
        .filter(|object| object["kind"] == "EndpointSlice")
        .map(|slice| (identity(slice), slice))
        .collect();
    assert_eq!(
        ours.keys().collect::<Vec<_>>(),
        theirs.keys().collect::<Vec<_>>(),
        "{step}: slices in {place}"
    );
    for (identity, slice) in ours {
        let theirs = theirs[&identity];
        for part in ["endpoints", "ports", "addressType"] {
            assert_eq!(
                slice[part], theirs[part],
                "{step}: {part} of {identity} in {place}"
            );
        }
        for part in ["labels", "annotations"] {
            assert_eq!(
                slice["metadata"][part], theirs["metadata"][part],
                "{step}: {part} of {identity} in {place}"
            );
        }
    }
}

fn compare_imports(step: &str, place: &str, golden: &[&Value], server: &Server) {
    let name = |import: &Value| {
        json!([import["metadata"]["namespace"], import["metadata"]["name"]]).to_string()
    };
    let ours: BTreeMap<String, &Value> = server
        .all("ServiceImport")
        .map(|import| (name(import), import))
        .collect();
    let theirs: BTreeMap<String, &&Value> = golden
        .iter()
        .filter(|object| object["kind"] == "ServiceImport")
        .map(|import| (name(import), import))
        .collect();
    for (name, theirs) in &theirs {
        let import = ours
            .get(name)
            .unwrap_or_else(|| panic!("{step}: no import {name} in {place}"));
        for field in [
            "type",
            "ports",
            "sessionAffinity",
            "sessionAffinityConfig",
            "ips",
        ] {
            assert_eq!(
                import["spec"][field], theirs["spec"][field],
                "{step}: {field} of {name} in {place}"
            );
        }
        assert_eq!(
            clusters(import),
            clusters(theirs),
            "{step}: clusters of {name} in {place}"
        );
        let mut annotations = import["metadata"]["annotations"].clone();
        // Of a headless service Lighthouse says it at its second look only.
        if theirs["metadata"]["annotations"]
            .get("lighthouse.submariner.io/use-clusterset-ip")
            .is_none()
            && import["spec"]["type"] == "Headless"
        {
            annotations
                .as_object_mut()
                .expect("annotations")
                .remove("lighthouse.submariner.io/use-clusterset-ip");
        }
        assert_eq!(
            annotations, theirs["metadata"]["annotations"],
            "{step}: annotations of {name} in {place}"
        );
        let labels = |import: &Value| {
            import["metadata"]["labels"]
                .as_object()
                .cloned()
                .unwrap_or_default()
        };
        assert_eq!(
            labels(import),
            labels(theirs),
            "{step}: labels of {name} in {place}"
        );
    }
    // Beside them: what each cluster exports, on the broker and in the operator's namespace of every cluster.
    for (name, import) in ours.iter().filter(|(name, _)| !theirs.contains_key(*name)) {
        let namespace = &import["metadata"]["namespace"];
        let per_cluster =
            import["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"].is_string();
        assert!(
            per_cluster && (namespace == BROKER || namespace == OPERATOR),
            "{step}: {name} is too much in {place}"
        );
    }
}

fn clusters(import: &Value) -> BTreeSet<&str> {
    let clusters = import["status"]["clusters"]
        .as_array()
        .into_iter()
        .flatten();
    clusters
        .filter_map(|cluster| cluster["cluster"].as_str())
        .collect()
}

/// Where Lighthouse says True or False of `Valid`, `Ready` or a conflict, so does this agent. MCS asks for more than it: a
/// conflict is told to all exporters.
fn compare_conditions(step: &str, cluster: &str, golden: &[&Value], server: &Server) {
    for theirs in golden
        .iter()
        .filter(|object| object["kind"] == "Conditions")
    {
        let (namespace, name) = (
            theirs["metadata"]["namespace"]
                .as_str()
                .expect("a namespace"),
            theirs["metadata"]["name"].as_str().expect("a name"),
        );
        let export = server
            .get("ServiceExport", namespace, name)
            .expect("the export");
        let status_of = |r#type: &Value| {
            export["status"]["conditions"]
                .as_array()
                .into_iter()
                .flatten()
                .find(|condition| condition["type"] == *r#type)
                .map(|condition| condition["status"].clone())
        };
        for condition in theirs["conditions"].as_array().expect("conditions") {
            // A history: Lighthouse keeps what was; in one of two recordings even a conflict of a Service that is gone.
            if condition["type"] == "Conflict" && condition["status"] == "False"
                || status_of(&json!("Valid")) == Some(json!("False"))
                    && condition["type"] != "Valid"
            {
                continue;
            }
            assert_eq!(
                status_of(&condition["type"]),
                Some(condition["status"].clone()),
                "{step}: {condition} of {namespace}/{name} in {cluster}"
            );
        }
    }
}

fn compare(step: &str, text: &str, cluster_set_ips: bool) {
    let data: Value = serde_json::from_str(text).expect("recorded JSON");
    compare_with(step, &data, &mut run(&data, cluster_set_ips));
}

fn compare_with(step: &str, data: &Value, set: &mut ClusterSet) {
    for place in ["cluster1", "cluster2", "broker"] {
        let golden: Vec<&Value> = data[place]["lighthouse"]
            .as_array()
            .expect("objects")
            .iter()
            .collect();
        let server = if place == "broker" {
            set.broker.clone()
        } else {
            set.server(place).clone()
        };
        compare_slices(step, place, &golden, &server);
        compare_imports(step, place, &golden, &server);
        compare_conditions(step, place, &golden, &server);
    }
}

macro_rules! steps {
    ($($test:ident: $file:literal, $ips:literal;)*) => {
        $(
            #[test]
            fn $test() {
                compare($file, include_str!(concat!("data/", $file, ".json")), $ips);
            }
        )*
    };
}

steps! {
    step_02: "02-export-nginx-from-cluster2", false;
    step_03: "03-export-headless-statefulset-from-cluster2", false;
    step_05: "05-export-same-headless-from-both", false;
    step_06: "06-conflicts-and-invalid-exports", false;
    step_07: "07-cluster2-nginx-scaled-to-zero-and-web-1-not-ready", false;
    step_08: "08-cluster2-nginx-back-with-2-replicas", false;
    step_09: "09-unexport-from-cluster2", false;
    step_10: "10-unexport-everything", false;
    step_21: "21-clustersetip-export-same-from-both", true;
    step_22: "22-clustersetip-port-and-affinity-conflict", true;
}

/// Not from scratch: the cluster that un-exports here gave the address that stays.
#[test]
fn step_23() {
    let read = |text| serde_json::from_str::<Value>(text).expect("recorded JSON");
    let before = read(include_str!(
        "data/22-clustersetip-port-and-affinity-conflict.json"
    ));
    let after = read(include_str!(
        "data/23-clustersetip-unexport-from-cluster2.json"
    ));
    let mut set = run(&before, true);
    let exports: Vec<Value> = set
        .server("cluster2")
        .all("ServiceExport")
        .cloned()
        .collect();
    for export in exports {
        let name = |part: &str| {
            export["metadata"][part]
                .as_str()
                .expect("a name")
                .to_owned()
        };
        set.server("cluster2")
            .delete("ServiceExport", &name("namespace"), &name("name"));
    }
    set.settle();
    compare_with("23", &after, &mut set);
}
