//! Members whose agents think differently, by their settings or by what they believe: one of them speaks for a service, and none
//! writes over the other.

use std::time::Duration;

use serde_json::json;
use subm_lighthouse_agent::core::clusters::Declared;
use subm_lighthouse_agent::core::settings::{ClusterSetIps, IpSource, LostClusters};

use super::*;
use crate::model::settings;

fn spec(set: &ClusterSet) -> Value {
    aggregate(set).expect("an aggregate")["spec"].clone()
}

#[test]
fn policies_for_lost_clusters_may_differ() {
    let patience = Duration::from_secs(300);
    let mut set = ClusterSet::new((1..=3).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        if i == 2 {
            settings.lost_clusters = LostClusters::DropAfter(patience);
        }
        settings
    }));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    export_from(&mut set, "c3", "10.103.0.1", 3);
    set.server("c3")
        .put(service(NAME, "10.103.0.1", &[port("extra", 9999)]));
    set.settle();
    // c3 is gone, and so is its agent.
    set.end("c3");
    let now = set.now.checked_add(patience).unwrap();
    for cluster in ["c1", "c2"] {
        let world = &mut set.agent(cluster).world;
        let policy = world.settings.lost_clusters;
        for other in ["c1", "c2"] {
            world.clusters.heard(other, "again", now);
        }
        world.clusters.judge(policy, now);
        world.mark_all();
    }
    set.settle();
    assert_eq!(
        ports(&spec(&set)["ports"]),
        ["http:80", "metrics:9100", "extra:9999"]
    );
    let seen = import(&mut set, "c2").unwrap();
    assert_eq!(
        ports(&seen["spec"]["ports"]),
        ["http:80", "metrics:9100"],
        "c2 has dropped it"
    );
    assert!(set.left_to_do().is_empty());
}

#[test]
fn the_next_speaks_when_the_first_is_silent() {
    let mut set = exported(3);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.settle();
    set.end("c1");
    let now = set.now.checked_add(Duration::from_secs(61)).unwrap();
    let world = &mut set.agent("c2").world;
    world.clusters.heard("c2", "again", now);
    world.clusters.judge(LostClusters::Keep, now);
    world.mark_all();
    set.server("c2")
        .put(service(NAME, "10.102.0.1", &[port("extra", 9999)]));
    set.settle();
    let ports = ports(&spec(&set)["ports"]);
    assert!(ports.contains(&"extra:9999".to_owned()), "{ports:?}");
}

#[test]
fn sources_of_cluster_set_ips_may_differ() {
    let mut set = ClusterSet::new((1..=2).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        settings.cluster_set_ips = ClusterSetIps {
            by_default: true,
            from: match i {
                1 => IpSource::DerivedService,
                _ => IpSource::Pool("243.2.0.0/24".parse().ok()),
            },
        };
        settings
    }));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    export_from(&mut set, "c2", "10.102.0.1", 2);
    set.settle();
    assert!(set.left_to_do().is_empty());
    assert_exported_by(&mut set, &["c1", "c2"]);
}

/// A member says that a service has a cluster set IP which is a node of c1: c1 does not believe it, c2 cannot know.
#[test]
fn what_one_believes_and_the_other_does_not() {
    let mut set = ClusterSet::new((1..=3).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        let range = format!("243.{i}.0.0/24").parse().ok();
        settings.cluster_set_ips = ClusterSetIps {
            by_default: i == 3,
            from: IpSource::Pool(range),
        };
        settings
    }));
    export_from(&mut set, "c3", "10.103.0.1", 1);
    set.settle();
    let ip = import(&mut set, "c1").unwrap()["spec"]["ips"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let networks = vec![format!("{ip}/32").parse().unwrap()];
    let world = &mut set.agent("c1").world;
    world.clusters.declare("c1", Some(Declared { networks }));
    world.mark_all();
    export_from(&mut set, "c1", "10.101.0.1", 2);
    export_from(&mut set, "c2", "10.102.0.1", 3);
    set.settle();
    assert!(set.left_to_do().is_empty());
    assert_eq!(import(&mut set, "c2").unwrap()["spec"]["ips"], json!([ip]));
    assert!(import(&mut set, "c1").unwrap()["spec"].get("ips").is_none());
}
