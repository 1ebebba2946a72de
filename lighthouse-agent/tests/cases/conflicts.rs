//! Exporters that disagree: A21 to A36. The oldest export decides. KEP-1645 since then: every exporter is told.

use serde_json::json;

use super::*;

fn two() -> ClusterSet {
    let mut set = ClusterSet::of(3);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set
}

fn set_ports(set: &mut ClusterSet, cluster: &str, ports: &[Value]) {
    set.server(cluster).change("Service", NS, NAME, |service| {
        service["spec"]["ports"] = json!(ports);
    });
}

fn conflict(set: &mut ClusterSet, cluster: &str) -> Option<(String, String, String)> {
    set.condition(cluster, NAME, "Conflict")
}

fn assert_conflict(set: &mut ClusterSet, reason: &str) -> String {
    let mut messages = Vec::new();
    for cluster in ["c1", "c2"] {
        let (status, said, message) =
            conflict(set, cluster).unwrap_or_else(|| panic!("no condition in {cluster}"));
        assert_eq!(
            (status.as_str(), said.as_str()),
            ("True", reason),
            "in {cluster}"
        );
        messages.push(message);
    }
    messages.pop().expect("two messages")
}

fn assert_cleared(set: &mut ClusterSet, clusters: &[&str]) {
    for cluster in clusters {
        let (status, reason, message) = conflict(set, cluster).expect("it was there");
        assert_eq!(
            (status.as_str(), reason.as_str(), message.as_str()),
            ("False", "NoConflicts", "")
        );
    }
}

#[test]
fn a21_two_that_agree() {
    let mut set = two();
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    for cluster in ["c1", "c2"] {
        assert_eq!(conflict(&mut set, cluster), None);
    }
    assert_eq!(
        clusters(&import(&mut set, "c3").unwrap()),
        ["c1", "c2"],
        "oldest first"
    );
}

#[test]
fn a22_differing_ports_make_a_union() {
    let mut set = two();
    set_ports(&mut set, "c2", &[port("http", 80), port("admin", 9200)]);
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    let message = assert_conflict(&mut set, "PortConflict");
    assert!(
        message.contains("cluster \"c1\"") && message.ends_with("1/2 clusters disagree."),
        "{message}"
    );
    for import in [aggregate(&set).unwrap(), import(&mut set, "c3").unwrap()] {
        assert_eq!(
            ports(&import["spec"]["ports"]),
            ["http:80", "metrics:9100", "admin:9200"]
        );
    }
}

#[test]
fn a23_one_of_them_leaves() {
    let mut set = two();
    set_ports(&mut set, "c2", &[port("http", 80), port("admin", 9200)]);
    set.settle();
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_exported_by(&mut set, &["c2"]);
    assert_eq!(
        ports(&aggregate(&set).unwrap()["spec"]["ports"]),
        ["http:80", "admin:9200"]
    );
    assert!(
        aggregate(&set).unwrap()["metadata"]["annotations"]
            .get("timestamp.submariner.io/c1")
            .is_none()
    );
    assert_cleared(&mut set, &["c2"]);
}

#[test]
fn a24_ports_are_made_equal() {
    let mut set = two();
    set_ports(&mut set, "c2", &[port("http", 80), port("admin", 9200)]);
    set.settle();
    set_ports(&mut set, "c2", &[port("http", 80), port("metrics", 9100)]);
    set.settle();
    assert_eq!(
        ports(&aggregate(&set).unwrap()["spec"]["ports"]),
        ["http:80", "metrics:9100"]
    );
    assert_cleared(&mut set, &["c1", "c2"]);
}

/// And X26: the port that loses is not in the import, but it is said.
#[test]
fn a25_x26_the_same_name_with_another_number() {
    let mut set = two();
    set_ports(&mut set, "c2", &[port("http", 81), port("admin", 9200)]);
    set.settle();
    assert_conflict(&mut set, "PortConflict");
    assert_eq!(
        ports(&import(&mut set, "c3").unwrap()["spec"]["ports"]),
        ["http:80", "metrics:9100", "admin:9200"]
    );
    // Traffic to a port goes to those who expose it.
    assert_eq!(
        ports(&set.server("c3").slices(NAME, "c2")[0]["ports"]),
        ["http:81", "admin:9200"]
    );
}

/// mcs-api: names are unique, and so are protocol and number.
#[test]
fn the_same_number_under_two_names_is_one_port() {
    let mut set = two();
    set_ports(&mut set, "c2", &[port("web", 80)]);
    set.settle();
    assert_conflict(&mut set, "PortConflict");
    assert_eq!(
        ports(&import(&mut set, "c3").unwrap()["spec"]["ports"]),
        ["http:80", "metrics:9100"]
    );
}

fn make_headless(set: &mut ClusterSet, cluster: &str) {
    set.server(cluster).change("Service", NS, NAME, |service| {
        service["spec"]["clusterIP"] = json!("None");
        service["spec"]["clusterIPs"] = json!(["None"]);
    });
}

#[test]
fn a26_another_type_is_not_exported() {
    let mut set = two();
    make_headless(&mut set, "c2");
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    let (status, reason, message) = set.condition("c2", NAME, "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Failed"));
    assert_eq!(message, "Unable to export due to an irresolvable conflict");
    assert_conflict(&mut set, "TypeConflict");
    assert_eq!(set.condition("c2", NAME, "Valid").unwrap().0, "True");
}

#[test]
fn a27_types_are_made_equal() {
    let mut set = two();
    make_headless(&mut set, "c2");
    set.settle();
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.settle();
    assert_exported_by(&mut set, &["c1", "c2"]);
    // The export was put anew: the condition went with it. The other was told that it is over.
    assert_cleared(&mut set, &["c1"]);
}

/// X20: Lighthouse does not look at a type conflict again when the winner leaves.
#[test]
fn x20_the_winner_leaves() {
    let mut set = two();
    make_headless(&mut set, "c2");
    set.settle();
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_exported_by(&mut set, &["c2"]);
    assert_eq!(aggregate(&set).unwrap()["spec"]["type"], "Headless");
    assert_cleared(&mut set, &["c2"]);
}

/// The type of a service changes where it is the only one: its aggregate follows.
#[test]
fn a_lone_exporter_may_change_its_type() {
    let mut set = exported(2);
    make_headless(&mut set, "c1");
    set.settle();
    assert_exported_by(&mut set, &["c1"]);
    let import = import(&mut set, "c2").unwrap();
    assert_eq!(
        (&import["spec"]["type"], &import["spec"]["ports"]),
        (&json!("Headless"), &json!([]))
    );
}

fn set_affinity(set: &mut ClusterSet, cluster: &str, affinity: &str, timeout: Option<u32>) {
    set.server(cluster).change("Service", NS, NAME, |service| {
        service["spec"]["sessionAffinity"] = json!(affinity);
        service["spec"]["sessionAffinityConfig"] = timeout.map_or(
            Value::Null,
            |seconds| json!({"clientIP": {"timeoutSeconds": seconds}}),
        );
    });
}

#[test]
fn a28_a29_a30_session_affinity() {
    let mut set = two();
    set_affinity(&mut set, "c1", "ClientIP", None);
    set.settle();
    let message = assert_conflict(&mut set, "SessionAffinityConflict");
    assert!(
        message.contains("Using \"ClientIP\" from the oldest service export in cluster \"c1\""),
        "{message}"
    );
    assert_eq!(
        aggregate(&set).unwrap()["spec"]["sessionAffinity"],
        "ClientIP"
    );
    // A29: the other gives way.
    set_affinity(&mut set, "c2", "ClientIP", None);
    set.settle();
    assert_cleared(&mut set, &["c1", "c2"]);
    // A30: the oldest changes its mind.
    set_affinity(&mut set, "c2", "None", None);
    set.settle();
    set_affinity(&mut set, "c1", "None", None);
    set.settle();
    assert_cleared(&mut set, &["c1", "c2"]);
    assert_eq!(aggregate(&set).unwrap()["spec"]["sessionAffinity"], "None");
}

#[test]
fn a31_the_oldest_leaves() {
    let mut set = two();
    set_affinity(&mut set, "c1", "ClientIP", None);
    set.settle();
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_eq!(aggregate(&set).unwrap()["spec"]["sessionAffinity"], "None");
    assert_cleared(&mut set, &["c2"]);
}

#[test]
fn a32_a33_a34_a35_session_affinity_config() {
    let mut set = two();
    set_affinity(&mut set, "c1", "ClientIP", Some(10));
    set_affinity(&mut set, "c2", "ClientIP", Some(20));
    set.settle();
    let message = assert_conflict(&mut set, "SessionAffinityConfigConflict");
    assert!(message.contains("ClientIP TimeoutSeconds: 10"), "{message}");
    set_affinity(&mut set, "c2", "ClientIP", Some(10));
    set.settle();
    assert_cleared(&mut set, &["c1", "c2"]);
    set_affinity(&mut set, "c1", "ClientIP", Some(30));
    set.settle();
    assert_eq!(
        aggregate(&set).unwrap()["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        30
    );
    set.server("c1").delete("ServiceExport", NS, NAME);
    set.settle();
    assert_eq!(
        aggregate(&set).unwrap()["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"],
        10
    );
    assert_cleared(&mut set, &["c2"]);
}

#[test]
fn a36_several_conflicts_at_once() {
    let mut set = two();
    set_affinity(&mut set, "c1", "ClientIP", Some(10));
    set_ports(&mut set, "c2", &[port("http", 81)]);
    set.settle();
    let message = assert_conflict(
        &mut set,
        "PortConflict,SessionAffinityConflict,SessionAffinityConfigConflict",
    );
    assert_eq!(message.lines().count(), 3);
}

/// Timestamps have whole seconds: the cluster's id breaks the tie, everywhere alike.
#[test]
fn exports_of_one_second_have_an_order() {
    let mut set = ClusterSet::of(3);
    export_from(&mut set, "c2", "10.102.0.1", 1);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set_affinity(&mut set, "c2", "ClientIP", None);
    set.settle();
    assert_conflict(&mut set, "SessionAffinityConflict");
    assert_eq!(
        import(&mut set, "c3").unwrap()["spec"]["sessionAffinity"],
        "None"
    );
}
