//! Waiting for what others do.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, Kind, PAUSE};
use crate::commands::MEMBER;
use crate::error::Error;

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
