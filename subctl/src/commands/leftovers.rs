//! Pods in which an `uninstall` that was interrupted had nodes cleaned up.
//!
//! What they say is of then: the data plane may have run since. And one that still runs would remove what the data plane makes now.

use std::time::{Duration, Instant};

use serde_json::Value;
use subm_install::member::cleanup::CLEANUP;

use crate::cluster::{Cluster, PAUSE, condition, kind, name, str_at};
use crate::commands::MEMBER;
use crate::error::Error;

pub(super) async fn are_there(cluster: &Cluster) -> Result<bool, Error> {
    let labels = format!("{CLEANUP}=true");
    let pods = cluster.list(&kind::PODS, MEMBER, &labels).await?;
    Ok(!pods.is_empty())
}

/// Deletes them, and waits until their kubelets have ended them. Those that are still there after `deadline` are named.
pub(super) async fn remove(cluster: &Cluster, deadline: Duration) -> Result<Vec<String>, Error> {
    let start = Instant::now();
    let labels = format!("{CLEANUP}=true");
    for pod in cluster.list(&kind::PODS, MEMBER, &labels).await? {
        cluster.delete(&kind::PODS, MEMBER, name(&pod)).await?;
    }
    loop {
        let pods = cluster.list(&kind::PODS, MEMBER, &labels).await?;
        if pods.is_empty() {
            return Ok(Vec::new());
        }
        let left = awaited(&pods, &cluster.list(&kind::NODES, None, "").await?);
        if left.is_empty() || start.elapsed() >= deadline {
            return Ok(left);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Pods on nodes whose kubelets can end them; another's does so when it comes back, before it runs anything.
fn awaited(pods: &[Value], nodes: &[Value]) -> Vec<String> {
    let ready = |wanted: &str| {
        let mut nodes = nodes.iter().filter(|node| name(node) == wanted);
        nodes.any(|node| condition(node, "Ready") == Some("True"))
    };
    let pods = pods
        .iter()
        .filter(|pod| ready(str_at(pod, "/spec/nodeName")));
    pods.map(|pod| name(pod).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nodes_that_are_away_or_gone_are_not_waited_for() {
        let node = |name: &str, ready: &str| {
            json!({
                "metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]},
            })
        };
        let pod = |node: &str| json!({"metadata": {"name": format!("p-{node}")}, "spec": {"nodeName": node}});
        let nodes = [node("here", "True"), node("away", "Unknown")];
        let left = awaited(&[pod("here"), pod("away"), pod("gone")], &nodes);
        assert_eq!(left, ["p-here"]);
    }
}
