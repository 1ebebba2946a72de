//! Waiting for what others do.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PAUSE, kind};
use crate::commands::MEMBER;
use crate::error::Error;

/// Until all replicas of the Deployments are available.
pub(super) async fn for_deployments(
    cluster: &Cluster,
    names: &[&str],
    deadline: Duration,
) -> Result<(), Error> {
    let start = Instant::now();
    for name in names {
        loop {
            let state = match cluster.get(&kind::DEPLOYMENTS, MEMBER, name).await? {
                Some(deployment) => match availability(&deployment) {
                    (available, wanted) if available >= wanted => break,
                    (available, wanted) => {
                        format!("{available} of {wanted} replicas are available")
                    }
                },
                None => "it does not exist".to_owned(),
            };
            if start.elapsed() >= deadline {
                return Err(Error::Timeout(format!(
                    "Deployment {name} does not run after {} s: {state}; `kubectl -n {} describe deployment {name}` says why",
                    deadline.as_secs(),
                    MEMBER.unwrap_or_default(),
                )));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
    Ok(())
}

/// Replicas that serve, of those that should; an old generation counts for nothing.
pub(super) fn availability(deployment: &serde_json::Value) -> (u64, u64) {
    let number = |pointer: &str| {
        deployment
            .pointer(pointer)
            .and_then(serde_json::Value::as_u64)
    };
    let wanted = number("/spec/replicas").unwrap_or(1);
    let seen = number("/status/observedGeneration") >= number("/metadata/generation");
    let available = number("/status/availableReplicas")
        .filter(|_| seen)
        .unwrap_or(0);
    (available, wanted)
}
