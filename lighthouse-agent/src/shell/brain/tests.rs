//! Answers to writes, beside a watch that tells the same earlier, later, or more.

use std::sync::LazyLock;

use kube::Client;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::Brain;
use crate::core::{
    Action, ObjectId, ObjectKind, Place, ServiceKey, Settings, Source, Urgency, Write,
};
use crate::shell::lanes::Lanes;
use crate::shell::metrics::Metrics;
use crate::shell::reports::Reports;
use crate::shell::watches::{Item, News};
use crate::shell::writer::{Outcome, Writer};

/// Where a client would live that somebody answered. Nobody is asked.
static NOWHERE: LazyLock<(Runtime, Client)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let inside = runtime.enter();
    let nowhere = "http://127.0.0.1:1".parse().expect("a URI");
    let client = Client::try_from(kube::Config::new(nowhere)).expect("a client");
    drop(inside);
    (runtime, client)
});

fn brain() -> Brain {
    let (runtime, client) = &*NOWHERE;
    let _inside = runtime.enter();
    let (done, _) = mpsc::unbounded_channel();
    let writers = [Place::Home, Place::Broker].map(|place| (place, Writer::new(client.clone())));
    let metrics = Metrics::new().expect("metrics");
    let settings = Settings::new("c1", "submariner-operator", "submariner-k8s-broker");
    let reports = Reports::new(client.clone(), metrics.clone());
    Brain::new(settings, Lanes::new(writers, done), reports, metrics)
}

/// A write of the one object that these tests have, an export.
fn write() -> Write {
    Write {
        id: ObjectId {
            place: Place::Home,
            kind: ObjectKind::ServiceExport,
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        },
        urgency: Urgency::Report,
        action: Action::PatchStatus(json!({})),
    }
}

fn export(version: u64) -> Value {
    json!({"metadata": {"name": "web", "namespace": "shop", "resourceVersion": version.to_string()}})
}

fn applied(version: u64) -> News {
    let export = serde_json::from_value(export(version)).expect("an export");
    News::Item(Box::new(Item::Export(export)))
}

fn gone(version: u64) -> News {
    let metadata = export(version)["metadata"].clone();
    News::Gone(serde_json::from_value(metadata).expect("metadata"))
}

/// The version of the export that the agent knows.
fn known(brain: &Brain) -> Option<u64> {
    let web = ServiceKey::new("shop", "web").expect("a key");
    let export = brain.world.service(&web)?.export?;
    export.metadata.resource_version?.parse().ok()
}

/// What is known after a write was sent, the watch told some news, and then the answer came.
fn known_after(news: impl IntoIterator<Item = News>, outcome: &Outcome) -> Option<u64> {
    let mut brain = brain();
    brain.answers.awaited(&write().id);
    for news in news {
        brain.news(Source::Exports, news);
    }
    brain.answered(&write(), outcome);
    known(&brain)
}

#[test]
fn an_answer_is_news() {
    let written = Outcome::Written(export(10));
    assert_eq!(known_after([], &written), Some(10));
    assert_eq!(known_after([applied(9)], &written), Some(10));
    assert_eq!(known_after([applied(11)], &written), Some(11));
    // Also that what the watch told of before is gone.
    let mut brain = brain();
    brain.news(Source::Exports, applied(9));
    brain.answers.awaited(&write().id);
    brain.answered(&write(), &Outcome::Deleted);
    assert_eq!(known(&brain), None);
}

#[test]
fn a_late_answer_does_not_bring_back_what_is_gone() {
    let late = Outcome::Written(export(10));
    assert_eq!(known_after([applied(9), gone(11)], &late), None);
    assert_eq!(known_after([News::Started, News::Listed], &late), None);
}

#[test]
fn a_late_answer_does_not_take_away_what_was_made_anew() {
    for late in [Outcome::Deleted, Outcome::Missing] {
        let anew = [applied(9), gone(10), applied(11)];
        assert_eq!(known_after(anew, &late), Some(11));
    }
}

/// What may happen next.
#[derive(Clone, Copy, Debug)]
enum Step {
    OthersWrite,
    OthersDelete,
    /// We send a request.
    Send(Request),
    /// The API server does what was sent.
    Do,
    /// Its answer arrives.
    Answer,
    /// The watch tells the next event.
    Watch,
    /// The watch breaks, and begins with a list of what is there,
    List,
    /// which is read to its end.
    Listed,
}

#[derive(Clone, Copy, Debug)]
enum Request {
    Create,
    Patch,
    Delete,
}

/// An API server with one object, and the agent that hears of it.
struct Story {
    brain: Brain,
    /// All versions so far; `None` where it was deleted.
    history: Vec<Option<u64>>,
    /// How much of it the watch has told.
    told: usize,
    listing: bool,
    sent: Option<Request>,
    answer: Option<Outcome>,
}

impl Story {
    fn new() -> Self {
        Self {
            brain: brain(),
            history: vec![None],
            told: 1,
            listing: false,
            sent: None,
            answer: None,
        }
    }

    fn object(&self) -> Option<u64> {
        self.history.last().copied().flatten()
    }

    fn put(&mut self) -> u64 {
        let version = self.history.len() as u64;
        self.history.push(Some(version));
        version
    }

    fn delete(&mut self) -> bool {
        let there = self.object().is_some();
        if there {
            self.history.push(None);
        }
        there
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::OthersWrite => drop(self.put()),
            Step::OthersDelete => drop(self.delete()),
            Step::Send(request) if self.sent.is_none() && self.answer.is_none() => {
                self.brain.answers.awaited(&write().id);
                self.sent = Some(request);
            }
            Step::Do => {
                if let Some(request) = self.sent.take() {
                    self.answer = Some(match (request, self.object()) {
                        (Request::Create, Some(_)) => Outcome::Overtaken,
                        (Request::Patch, None) => Outcome::Missing,
                        (Request::Create | Request::Patch, _) => {
                            Outcome::Written(export(self.put()))
                        }
                        (Request::Delete, _) if self.delete() => Outcome::Deleted,
                        (Request::Delete, _) => Outcome::Missing,
                    });
                }
            }
            Step::Answer => {
                if let Some(answer) = self.answer.take() {
                    self.brain.answered(&write(), &answer);
                }
            }
            Step::Watch if !self.listing && self.told < self.history.len() => {
                let news = match self.history[self.told] {
                    Some(version) => applied(version),
                    None => gone(self.told as u64),
                };
                self.told += 1;
                self.brain.news(Source::Exports, news);
            }
            Step::List if !self.listing => {
                self.listing = true;
                self.brain.news(Source::Exports, News::Started);
                if let Some(version) = self.object() {
                    self.brain.news(Source::Exports, applied(version));
                }
                self.told = self.history.len();
            }
            Step::Listed if self.listing => {
                self.listing = false;
                self.brain.news(Source::Exports, News::Listed);
            }
            Step::Send(_) | Step::Watch | Step::List | Step::Listed => {}
        }
    }

    /// Everything under way arrives.
    fn end(&mut self, answer_first: bool) {
        self.step(Step::Do);
        if answer_first {
            self.step(Step::Answer);
        }
        self.step(Step::Listed);
        while self.told < self.history.len() {
            self.step(Step::Watch);
        }
        self.step(Step::Answer);
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    let request = prop_oneof![
        Just(Request::Create),
        Just(Request::Patch),
        Just(Request::Delete)
    ];
    prop_oneof![
        1 => Just(Step::OthersWrite),
        1 => Just(Step::OthersDelete),
        3 => request.prop_map(Step::Send),
        2 => Just(Step::Do),
        2 => Just(Step::Answer),
        3 => Just(Step::Watch),
        1 => Just(Step::List),
        1 => Just(Step::Listed),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// However answers and news cross, in the end the agent knows what is there.
    #[test]
    fn answers_and_news_may_cross(steps in prop::collection::vec(any_step(), 0..30), answer_first: bool) {
        let mut story = Story::new();
        for step in steps {
            story.step(step);
        }
        story.end(answer_first);
        prop_assert_eq!(known(&story.brain), story.object(), "{:?}", story.history);
    }
}
