//! Conditions of a ServiceExport: types and reasons of mcs-api v1beta1, texts as Lighthouse has them where it has one.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use subm_api::{Condition, ServiceExport, names};

use super::export::Own;
use super::merge::Conflict;

/// How far an export got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The broker does not have all of it yet.
    Awaiting,
    Exported,
    /// Nothing will come of it as things are.
    Failed(String),
}

/// What users are told of an export. Conditions of types that are not ours stay as they are.
pub fn of(
    export: &ServiceExport,
    own: &Own,
    progress: &Progress,
    conflicts: &[Conflict],
    now: Timestamp,
) -> Vec<Condition> {
    let before: Vec<&Condition> = export
        .status
        .iter()
        .flat_map(|status| status.conditions.iter())
        .collect();
    let had = |r#type: &str| {
        before
            .iter()
            .find(|condition| condition.r#type == r#type)
            .copied()
    };
    let mut after: Vec<Condition> = Vec::new();
    let mut say = |r#type: &str, status: &str, reason: &str, message: &str| {
        let last = had(r#type).filter(|last| last.status == status);
        let since = last.and_then(|last| last.last_transition_time.clone());
        after.push(Condition {
            r#type: r#type.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: Some(since.unwrap_or_else(|| whole_seconds(now))),
            observed_generation: export.metadata.generation,
        });
    };
    match own {
        Own::None => return before.into_iter().cloned().collect(),
        Own::Invalid { reason, message } => {
            say("Valid", "False", reason, message);
            // Said only where it is news: an export that never was is not "not ready any more".
            if had("Ready").is_some() {
                say("Ready", "False", "Pending", "ServiceImport was deleted");
            }
            if had("Synced").is_some() {
                say("Synced", "False", "Pending", "ServiceImport was deleted");
            }
            if had("Conflict").is_some() {
                say("Conflict", "False", "NoConflicts", "");
            }
        }
        Own::Valid(_) => {
            say("Valid", "True", "Valid", "");
            match progress {
                Progress::Awaiting => {
                    say(
                        "Ready",
                        "False",
                        "Pending",
                        "ServiceImport created - awaiting aggregation on the broker",
                    );
                    say(
                        "Synced",
                        "False",
                        "AwaitingSync",
                        "ServiceImport created - awaiting sync to the broker",
                    );
                }
                Progress::Exported => {
                    say(
                        "Ready",
                        "True",
                        "Exported",
                        "Service was successfully exported to the broker",
                    );
                    say(
                        "Synced",
                        "True",
                        "Synced",
                        "ServiceImport was successfully synced to the broker",
                    );
                }
                Progress::Failed(why) => {
                    say("Ready", "False", "Failed", why);
                    say("Synced", "False", "Failed", why);
                }
            }
            if !conflicts.is_empty() {
                let reasons: Vec<&str> = conflicts.iter().map(|conflict| conflict.reason).collect();
                let messages: Vec<&str> = conflicts
                    .iter()
                    .map(|conflict| conflict.message.as_str())
                    .collect();
                say("Conflict", "True", &reasons.join(","), &messages.join("\n"));
            } else if had("Conflict").is_some() {
                say("Conflict", "False", "NoConflicts", "");
            }
        }
    }
    after.extend(foreign(export));
    after
}

/// Conditions of types that are not ours.
pub fn foreign(export: &ServiceExport) -> Vec<Condition> {
    let conditions = export
        .status
        .iter()
        .flat_map(|status| status.conditions.iter());
    conditions
        .filter(|condition| !names::EXPORT_CONDITIONS.contains(&condition.r#type.as_str()))
        .cloned()
        .collect()
}

/// The API has whole seconds.
pub(super) fn whole_seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}
