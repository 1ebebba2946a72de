//! API servers that refuse: A57 to A65. Nothing is given up, and users read why it takes so long.

use super::*;
use crate::model::Fault;

fn refuses_first(verb: &'static str, kind: &'static str, on_broker: bool) -> ClusterSet {
    let mut set = ClusterSet::of(2);
    export_from(&mut set, "c1", "10.101.0.1", 1);
    let server = if on_broker {
        &mut set.broker
    } else {
        set.server("c1")
    };
    server.fault = Some(Fault::Refuses(verb, kind));
    for _ in 0..4 {
        set.read_all("c1");
        set.act("c1", &key());
    }
    set
}

fn heal(set: &mut ClusterSet) {
    set.broker.fault = None;
    set.server("c1").fault = None;
    set.settle();
}

#[test]
fn a59_an_import_cannot_be_created_here() {
    let mut set = refuses_first("create", "ServiceImport", false);
    assert_eq!(set.condition("c1", NAME, "Valid").unwrap().0, "True");
    heal(&mut set);
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a60_the_aggregate_cannot_be_created() {
    let mut set = refuses_first("create", "ServiceImport", true);
    let (status, reason, message) = set.condition("c1", NAME, "Ready").unwrap();
    assert_eq!((status.as_str(), reason.as_str()), ("False", "Failed"));
    assert_eq!(message, "Unable to export: mock create error");
    heal(&mut set);
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a61_the_aggregate_cannot_be_updated() {
    let mut set = refuses_first("update status", "ServiceImport", true);
    assert_eq!(set.condition("c1", NAME, "Ready").unwrap().1, "Failed");
    heal(&mut set);
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn a62_a64_what_should_go_cannot_be_deleted() {
    for on_broker in [true, false] {
        for kind in ["ServiceImport", "EndpointSlice"] {
            let mut set = exported(2);
            set.server("c1").delete("ServiceExport", NS, NAME);
            let server = if on_broker {
                &mut set.broker
            } else {
                set.server("c1")
            };
            server.fault = Some(Fault::Refuses("delete", kind));
            for _ in 0..3 {
                set.read_all("c1");
                set.act("c1", &key());
            }
            heal(&mut set);
            assert_not_exported(&mut set);
        }
    }
}

#[test]
fn a63_the_status_cannot_be_written() {
    let mut set = refuses_first("update status", "ServiceExport", false);
    assert_eq!(set.condition("c1", NAME, "Ready"), None);
    heal(&mut set);
    assert_exported_by(&mut set, &["c1"]);
}

/// A65 is about a list that Lighthouse makes for each change of a port; here a watch has it already. What is left of it: slices
/// that cannot be written.
#[test]
fn a65_slices_cannot_be_written() {
    let mut set = refuses_first("create", "EndpointSlice", true);
    assert_eq!(set.condition("c1", NAME, "Ready").unwrap().1, "Failed");
    heal(&mut set);
    assert_exported_by(&mut set, &["c1"]);
}

/// The broker is away from the start: what is here stays, this cluster's own slices are kept up, and nothing waits.
#[test]
fn a_restart_without_the_broker_keeps_everything() {
    let mut set = exported(2);
    set.broker.fault = Some(Fault::Down);
    set.restart("c2");
    set.agent("c2").writes = 0;
    set.settle();
    assert_eq!(set.agent("c2").writes, 0);
    assert!(import(&mut set, "c2").is_some());
    assert_eq!(set.server("c2").slices(NAME, "c1").len(), 1);
    // The exporter's own readiness still shows at home.
    set.restart("c1");
    set.server("c1")
        .put(backends("nginx-k8s", NAME, &[], &["10.1.0.5"]));
    set.read_all("c1");
    set.act("c1", &key());
    assert_eq!(
        set.server("c1").slices(NAME, "c1")[0]["endpoints"][0]["conditions"]["ready"],
        false
    );
    heal(&mut set);
    assert_exported_by(&mut set, &["c1"]);
    assert_eq!(
        set.server("c2").slices(NAME, "c1")[0]["endpoints"][0]["conditions"]["ready"],
        false
    );
}

/// A57, A58: a condition is there once, its time is that of the last change of its status, and foreign ones stay.
#[test]
fn a57_a58_conditions_are_updated_in_place() {
    let mut set = exported(1);
    set.server("c1").change("ServiceExport", NS, NAME, |export| {
        let conditions = export["status"]["conditions"].as_array_mut().unwrap();
        conditions.push(serde_json::json!({"type": "Mine", "status": "True", "reason": "Mine", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z"}));
    });
    let times = |set: &mut ClusterSet| {
        let export = set.server("c1").get("ServiceExport", NS, NAME).unwrap();
        let conditions = export["status"]["conditions"].as_array().unwrap().clone();
        conditions
            .iter()
            .map(|condition| {
                (
                    condition["type"].to_string(),
                    condition["lastTransitionTime"].to_string(),
                )
            })
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = times(&mut set);
    set.now = set
        .now
        .checked_add(jiff::SignedDuration::from_secs(100))
        .unwrap();
    set.server("c1").delete("Service", NS, NAME);
    set.settle();
    let after = times(&mut set);
    assert_eq!(after.len(), 4, "Valid, Ready, Synced, Mine");
    assert_eq!(before["\"Mine\""], after["\"Mine\""]);
    assert_ne!(before["\"Valid\""], after["\"Valid\""]);
}
