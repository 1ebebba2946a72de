//! Clusters that are heard no more.

use std::time::Duration;

use subm_lighthouse_agent::core::settings::LostClusters;

use super::*;
use crate::model::settings;

fn with_policy(policy: LostClusters) -> ClusterSet {
    let mut set = ClusterSet::new((1..=2).map(|i| {
        let mut settings = settings(&format!("c{i}"));
        settings.lost_clusters = policy;
        settings
    }));
    export_from(&mut set, "c1", "10.101.0.1", 1);
    set.settle();
    set
}

fn hear_and_judge(set: &mut ClusterSet, renewed: &str, minutes: i64) {
    let now = set
        .now
        .checked_add(jiff::SignedDuration::from_mins(minutes))
        .unwrap();
    let world = &mut set.agent("c2").world;
    world.clusters.heard("c1", renewed, now);
    let policy = world.settings.lost_clusters;
    let judged = world.clusters.judge(policy, now);
    for cluster in judged.lost_or_back.union(&judged.silent_or_heard) {
        world.mark_cluster(cluster);
    }
    set.settle();
}

#[test]
fn a_lost_cluster_goes_and_comes_back() {
    let mut set = with_policy(LostClusters::DropAfter(Duration::from_secs(300)));
    hear_and_judge(&mut set, "1", 0);
    hear_and_judge(&mut set, "1", 4);
    assert!(import(&mut set, "c2").is_some());
    hear_and_judge(&mut set, "1", 5);
    assert_eq!(import(&mut set, "c2"), None);
    assert!(set.server("c2").slices(NAME, "c1").is_empty());
    assert!(
        import(&mut set, "c1").is_some(),
        "it is at home in its own cluster"
    );
    hear_and_judge(&mut set, "2", 6);
    assert_exported_by(&mut set, &["c1"]);
}

#[test]
fn by_default_everything_stays() {
    let mut set = with_policy(LostClusters::Keep);
    hear_and_judge(&mut set, "1", 0);
    hear_and_judge(&mut set, "1", 100_000);
    assert_exported_by(&mut set, &["c1"]);
}
