//! Waiting for what others do.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Kind, PAUSE, kind, list_at, str_at};
use crate::commands::MEMBER;
use crate::error::Error;
use crate::status::Status;

/// Until all replicas of the Deployments, and all pods of the DaemonSets, are available.
pub(super) async fn for_workloads(
    cluster: &Cluster,
    workloads: &[(Kind, &str)],
    deadline: Duration,
) -> Result<(), Error> {
    let start = Instant::now();
    for (kind, name) in workloads {
        loop {
            let state = match cluster.get(kind, MEMBER, name).await? {
                Some(workload) => match availability(&workload) {
                    (available, wanted) if available >= wanted => break,
                    (available, wanted) => {
                        format!("{available} of {wanted} replicas are available")
                    }
                },
                None => "it does not exist".to_owned(),
            };
            if start.elapsed() >= deadline {
                return Err(Error::Timeout(format!(
                    "{kind} {name} does not run after {} s: {state}; `kubectl -n {} describe {kind} {name}` says why",
                    deadline.as_secs(),
                    MEMBER.unwrap_or_default(),
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Until a namespace that is being terminated is gone: what is in it goes with it, and it takes nothing new. Called before anything
/// is written.
pub(super) async fn while_terminating(
    status: &mut Status,
    cluster: &Cluster,
    namespace: &str,
    deadline: Duration,
) -> Result<(), Error> {
    let start = Instant::now();
    loop {
        let there = cluster.get(&kind::NAMESPACES, None, namespace).await?;
        let there = there.filter(is_terminating);
        let Some(there) = there else {
            return Ok(());
        };
        if !status.is_within() {
            status.start(format!(
                "Waiting for namespace {namespace:?}, which is being terminated, to be gone"
            ));
        }
        if start.elapsed() >= deadline {
            return Err(Error::Timeout(format!(
                "namespace {namespace} is still being terminated after {} s{}; nothing was written. `kubectl get namespace {namespace} -o \
                 yaml` says what holds it up; once it is gone, run this again",
                deadline.as_secs(),
                held_up_by(&there)
            )));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_terminating(namespace: &Value) -> bool {
    !namespace["metadata"]["deletionTimestamp"].is_null()
}

/// What the namespace controller says of it.
fn held_up_by(namespace: &Value) -> String {
    let conditions = list_at(namespace, "/status/conditions").iter();
    let words = conditions
        .filter(|condition| condition["status"] == "True")
        .map(|condition| str_at(condition, "/message"));
    let words: Vec<&str> = words.filter(|words| !words.is_empty()).collect();
    if words.is_empty() {
        String::new()
    } else {
        format!(" ({})", words.join("; "))
    }
}

/// Replicas that serve, of those that should; an old generation counts for nothing. A DaemonSet's are in its status alone: none is
/// wanted where no node is selected, and that is known only once its controller has looked.
pub(super) fn availability(workload: &Value) -> (u64, u64) {
    let number = |pointer: &str| workload.pointer(pointer).and_then(Value::as_u64);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let daemons = number("/status/desiredNumberScheduled");
    let (wanted, available) = if workload["spec"].get("updateStrategy").is_some() {
        let wanted = daemons.filter(|_| seen).unwrap_or(1);
        (wanted, number("/status/numberAvailable"))
    } else {
        let wanted = number("/spec/replicas").unwrap_or(1);
        (wanted, number("/status/availableReplicas"))
    };
    (available.filter(|_| seen).unwrap_or(0), wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_holds_a_namespace_up_is_told() {
        let namespace = |conditions: Value| json!({"metadata": {"deletionTimestamp": "t"}, "status": {"conditions": conditions}});
        let condition = |status: &str, message: &str| json!({"status": status, "message": message});
        let some = namespace(json!([
            condition("False", "All content successfully deleted"),
            condition("True", "pods. has 1 resource instances"),
            condition("True", "a finalizer in 1 resource"),
        ]));
        assert_eq!(
            held_up_by(&some),
            " (pods. has 1 resource instances; a finalizer in 1 resource)"
        );
        assert_eq!(held_up_by(&namespace(json!([]))), "");
        assert!(is_terminating(&some) && !is_terminating(&json!({"metadata": {}})));
    }

    #[test]
    fn what_serves_is_counted_for_both_kinds() {
        let deployment = |generation: u64, available: u64| {
            json!({
                "metadata": {"generation": generation},
                "spec": {"replicas": 2},
                "status": {"observedGeneration": 1, "availableReplicas": available},
            })
        };
        assert_eq!(availability(&deployment(1, 2)), (2, 2));
        assert_eq!(availability(&deployment(2, 2)), (0, 2), "of an old one");
        let daemons = |generation: u64, wanted: u64, available: u64| {
            json!({
                "metadata": {"generation": generation},
                "spec": {"updateStrategy": {"type": "RollingUpdate"}},
                "status": {
                    "observedGeneration": 1,
                    "desiredNumberScheduled": wanted,
                    "numberAvailable": available,
                },
            })
        };
        assert_eq!(availability(&daemons(1, 3, 2)), (2, 3));
        assert_eq!(
            availability(&daemons(1, 0, 0)),
            (0, 0),
            "no node has the label"
        );
        assert_eq!(availability(&daemons(2, 0, 0)), (0, 1), "not looked at yet");
    }
}
