//! What people are told: once, when it begins.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::metrics::Metrics;
use super::words;
use crate::core::trust::Refusal;
use crate::core::{Plan, ServiceKey, Source};

/// Remembers what was said, so that it is said once.
pub(super) struct Reports {
    refused: HashMap<ServiceKey, BTreeSet<Refusal>>,
    conflicts: HashMap<ServiceKey, Vec<&'static str>>,
    counted: BTreeMap<&'static str, usize>,
    blocked: HashSet<ServiceKey>,
    missing: BTreeSet<Source>,
    metrics: Metrics,
    events: UnboundedSender<(ServiceKey, Refusal)>,
}

impl Reports {
    pub(super) fn new(client: Client, metrics: Metrics) -> Self {
        let (events, mut refusals) = unbounded_channel::<(ServiceKey, Refusal)>();
        let reporter = Reporter {
            controller: "lighthouse-agent.submariner.io".to_owned(),
            instance: None,
        };
        let recorder = Recorder::new(client, reporter);
        tokio::spawn(async move {
            while let Some((key, refusal)) = refusals.recv().await {
                let event = Event {
                    type_: EventType::Warning,
                    reason: "ImportRefused".to_owned(),
                    note: Some(refusal.to_string()),
                    action: "Import".to_owned(),
                    secondary: None,
                };
                // Where the service is not imported, its namespace may not exist; the log has it then.
                if let Err(error) = recorder.publish(&event, &reference(&key)).await {
                    tracing::debug!("no Event for {key}: {error}");
                }
            }
        });
        Self {
            refused: HashMap::new(),
            conflicts: HashMap::new(),
            counted: BTreeMap::new(),
            blocked: HashSet::new(),
            missing: BTreeSet::new(),
            metrics,
            events,
        }
    }

    pub(super) fn plan(&mut self, key: &ServiceKey, plan: &Plan) {
        self.refusals(key, plan);
        self.disagreements(key, plan);
        if plan.missing_namespace {
            if self.blocked.insert(key.clone()) {
                tracing::warn!(
                    "{key} is exported by other clusters but not imported here: the namespace {:?} does not exist",
                    key.namespace
                );
            }
        } else {
            self.blocked.remove(key);
        }
        self.metrics.blocked(self.blocked.len());
    }

    fn refusals(&mut self, key: &ServiceKey, plan: &Plan) {
        let now: BTreeSet<Refusal> = plan.refusals.iter().cloned().collect();
        if now.is_empty() {
            self.refused.remove(key);
            return;
        }
        let before = self
            .refused
            .insert(key.clone(), now.clone())
            .unwrap_or_default();
        for refusal in now.difference(&before) {
            tracing::warn!("{key}: {refusal}");
            self.metrics.refused(refusal);
            // The receiver lives as long as the agent.
            let _ = self.events.send((key.clone(), refusal.clone()));
        }
    }

    fn disagreements(&mut self, key: &ServiceKey, plan: &Plan) {
        let now: Vec<&'static str> = plan
            .conflicts
            .iter()
            .map(|conflict| conflict.reason)
            .collect();
        let before = if now.is_empty() {
            self.conflicts.remove(key)
        } else {
            self.conflicts.insert(key.clone(), now.clone())
        };
        let before = before.unwrap_or_default();
        if before == now {
            return;
        }
        for reason in &before {
            *self.counted.entry(reason).or_insert(1) -= 1;
        }
        for reason in &now {
            *self.counted.entry(reason).or_insert(0) += 1;
        }
        for (reason, services) in &self.counted {
            self.metrics.conflicts(reason, *services);
        }
        for conflict in plan
            .conflicts
            .iter()
            .filter(|conflict| !before.contains(&conflict.reason))
        {
            tracing::warn!("{key}: {}", conflict.message);
        }
    }

    /// A kind that is needed is not served.
    pub(super) fn missing(&mut self, source: Source) {
        if self.missing.insert(source) {
            tracing::error!(
                "{} are not served: their CRD is missing. Nothing can be exported or imported before it is installed",
                words::kind(source)
            );
        }
    }
}

fn reference(key: &ServiceKey) -> ObjectReference {
    ObjectReference {
        api_version: Some("multicluster.x-k8s.io/v1beta1".to_owned()),
        kind: Some("ServiceImport".to_owned()),
        namespace: Some(key.namespace.clone()),
        name: Some(key.name.clone()),
        ..ObjectReference::default()
    }
}
