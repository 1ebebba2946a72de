//! Answers that come late, beside a watch that told more meanwhile.

use kube::Client;
use serde_json::{Value, json};
use subm_api::NamespaceRules;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Brain;
use crate::core::settings::{ClusterSetIps, LostClusters};
use crate::core::{
    Action, ObjectId, ObjectKind, Place, ServiceKey, Settings, Source, Urgency, Write,
};
use crate::shell::lanes::{Done, Lanes};
use crate::shell::metrics::Metrics;
use crate::shell::reports::Reports;
use crate::shell::watches::{Item, News};
use crate::shell::writer::{Outcome, Writer};

/// One that leads and knows its empty cluster, with a write of one object of `web` under way. Nobody answers but the test.
fn brain_that_writes() -> Brain {
    let client = || {
        let nowhere = "http://127.0.0.1:1".parse().expect("a URI");
        Client::try_from(kube::Config::new(nowhere)).expect("a client")
    };
    let (done, _) = mpsc::unbounded_channel();
    let writers = [Place::Home, Place::Broker].map(|place| (place, Writer::new(client())));
    let metrics = Metrics::new().expect("metrics");
    let settings = Settings {
        cluster: "c1".to_owned(),
        namespace: "submariner-operator".to_owned(),
        broker_namespace: "submariner-k8s-broker".to_owned(),
        globalnet: false,
        cluster_set_ips: ClusterSetIps::default(),
        per_cluster_imports: true,
        lost_clusters: LostClusters::Keep,
        namespaces: NamespaceRules::default(),
        uninstalling: false,
    };
    let reports = Reports::new(client(), metrics.clone());
    let mut brain = Brain::new(settings, Lanes::new(writers, done), reports, metrics);
    brain.lead(true);
    brain.lanes.submit(
        Place::Home,
        &web(),
        vec![write()],
        Instant::now(),
        &mut brain.answers,
    );
    brain
}

fn web() -> ServiceKey {
    ServiceKey::new("shop", "web").expect("a key")
}

fn write() -> Write {
    Write {
        id: ObjectId {
            place: Place::Home,
            kind: ObjectKind::ServiceExport,
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        urgency: Urgency::Resolve,
        action: Action::Patch(json!({})),
    }
}

fn object(version: &str) -> Value {
    json!({"metadata": {
        "name": "web", "namespace": "shop", "resourceVersion": version,
    }})
}

fn export(version: &str) -> News {
    let export = serde_json::from_value(object(version)).expect("an export");
    News::Item(Box::new(Item::Export(export)))
}

fn gone(version: &str) -> News {
    let metadata = object(version)["metadata"].clone();
    News::Gone(serde_json::from_value(metadata).expect("metadata"))
}

fn answer(brain: &mut Brain, outcome: Outcome) {
    brain.done(Done {
        place: Place::Home,
        key: web(),
        results: vec![(write(), outcome)],
        started: Instant::now(),
    });
}

/// The version of the export that the agent knows.
fn known(brain: &Brain) -> Option<String> {
    let export = brain.world.service(&web())?.export?;
    export.metadata.resource_version
}

/// What is known after the watch told some news and then the answer came to a write that was sent before.
fn known_after(news: impl IntoIterator<Item = News>, outcome: Outcome) -> Option<String> {
    let mut brain = brain_that_writes();
    for news in news {
        brain.news(Source::Exports, news);
    }
    answer(&mut brain, outcome);
    known(&brain)
}

#[tokio::test]
async fn an_answer_is_news() {
    let written = || Outcome::Written(object("10"));
    assert_eq!(known_after([], written()).as_deref(), Some("10"));
    assert_eq!(known_after([export("9")], written()).as_deref(), Some("10"));
    assert_eq!(
        known_after([export("11")], written()).as_deref(),
        Some("11")
    );
}

#[tokio::test]
async fn a_late_answer_does_not_bring_back_what_is_gone() {
    let late = || Outcome::Written(object("10"));
    assert_eq!(known_after([export("9"), gone("11")], late()), None);
    let lists_without_it = [News::Started, News::Listed];
    assert_eq!(known_after(lists_without_it, late()), None);
    // Nor while a list is read that does not name it.
    let mut brain = brain_that_writes();
    brain.news(Source::Exports, News::Started);
    answer(&mut brain, late());
    brain.news(Source::Exports, News::Listed);
    assert_eq!(known(&brain), None);
}

#[tokio::test]
async fn a_late_answer_does_not_take_away_what_was_made_anew() {
    for late in [Outcome::Deleted, Outcome::Missing] {
        let anew = [export("9"), gone("10"), export("11")];
        assert_eq!(known_after(anew, late).as_deref(), Some("11"));
    }
    // What was known before the write goes with the answer.
    let mut brain = brain_that_writes();
    brain.news(Source::Exports, export("9"));
    brain.answers.awaited(&write().id);
    answer(&mut brain, Outcome::Deleted);
    assert_eq!(known(&brain), None);
}
