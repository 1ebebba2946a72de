//! Nodes: what the data plane made in their kernels goes, and the gateways' label where we set it.
//!
//! First the programs stop, as they would make it again; their DaemonSets stay until the end, so that a second run still knows what
//! ran. A node that is away holds up nothing: its kernel begins anew when it comes back by a boot.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use subm_api::names::GATEWAY_LABEL;
use subm_install::Object;
use subm_install::member::cleanup::{self, CLEANUP, NOWHERE};
use subm_install::names::{GATEWAY, INSTALLER, ROUTE_AGENT};

use crate::cluster::{
    Cluster, Kind, PAUSE, condition, is_ours, kind, label, list_at, name, namespace, str_at,
};
use crate::commands::{MEMBER, leftovers};
use crate::error::Error;
use crate::status::Status;

/// What is to be done on nodes.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    daemon_sets: Vec<Value>,
    /// Run once, each on its node.
    cleaners: Vec<Object>,
    /// Nodes whose kubelet would not run them.
    away: Vec<String>,
    /// Nodes with a label of ours.
    labelled: Vec<String>,
}

impl Nodes {
    pub(super) async fn look(cluster: &Cluster) -> Result<Self, Error> {
        let mut daemon_sets = Vec::new();
        for name in [GATEWAY, ROUTE_AGENT] {
            let set = cluster.get(&kind::DAEMON_SETS, MEMBER, name).await?;
            daemon_sets.extend(set.filter(is_ours));
        }
        let nodes = cluster.list(&kind::NODES, None, "").await?;
        let gateways = cluster.list(&kind::GATEWAYS, MEMBER, "").await?;
        Ok(Self::of(daemon_sets, &nodes, &gateways))
    }

    /// Gateways may have run on nodes that have lost the label since; their objects know.
    fn of(daemon_sets: Vec<Value>, nodes: &[Value], gateways: &[Value]) -> Self {
        let mut found = Self::default();
        let was_gateway = |node: &Value| {
            label(node, GATEWAY_LABEL) == "true"
                || gateways
                    .iter()
                    .any(|gateway| str_at(gateway, "/status/localEndpoint/hostname") == name(node))
        };
        for node in nodes {
            if is_labelled_by_us(node) {
                found.labelled.push(name(node).to_owned());
            }
            let ran: Vec<&Value> = daemon_sets
                .iter()
                .filter(|set| name(set) != GATEWAY || was_gateway(node))
                .collect();
            let Some(cleaner) = cleanup::pod(name(node), &ran) else {
                continue;
            };
            if condition(node, "Ready") == Some("True") {
                found.cleaners.push(cleaner);
            } else {
                found.away.push(name(node).to_owned());
            }
        }
        found.daemon_sets = daemon_sets;
        found
    }

    pub(super) fn is_empty(&self) -> bool {
        self.daemon_sets.is_empty() && self.labelled.is_empty()
    }

    pub(super) fn has_data_plane(&self) -> bool {
        !self.daemon_sets.is_empty()
    }

    /// For `--dry-run`.
    pub(super) fn lines(&self) -> Vec<String> {
        let nodes =
            self.cleaners.iter().map(node_of).map(|node| {
                format!("links, routes and packet filter of Submariner on node {node}")
            });
        let labels = self
            .labelled
            .iter()
            .map(|node| format!("label {GATEWAY_LABEL} of node {node}"));
        nodes.chain(labels).collect()
    }

    /// The error tells of nodes on which something stays; all else is done nevertheless.
    pub(super) async fn clean(
        &self,
        status: &mut Status,
        cluster: &Cluster,
        deadline: Duration,
    ) -> Result<Option<Error>, Error> {
        if self.daemon_sets.is_empty() {
            return Ok(None);
        }
        status.start("Cleaning up nodes");
        let start = Instant::now();
        for set in &self.daemon_sets {
            let nowhere =
                json!({"spec": {"template": {"spec": {"nodeSelector": {NOWHERE: "true"}}}}});
            cluster
                .merge(&kind::DAEMON_SETS, MEMBER, name(set), &nowhere)
                .await?;
        }
        let mut dirty: Vec<String> = self
            .away
            .iter()
            .map(|node| format!("node {node} is not ready"))
            .collect();
        while start.elapsed() < deadline && self.still_run(cluster).await? {
            tokio::time::sleep(PAUSE).await;
        }
        // Of a run that was interrupted: that those have succeeded says nothing of now.
        leftovers::remove(cluster, deadline.saturating_sub(start.elapsed())).await?;
        let mut left: Vec<&Object> = self.cleaners.iter().collect();
        let mut made = BTreeMap::new();
        loop {
            for cleaner in &left {
                if !made.contains_key(cleaner.name())
                    && let Some(uid) = create(cluster, cleaner).await?
                {
                    made.insert(cleaner.name(), uid);
                }
            }
            let pods = cluster
                .list(&kind::PODS, MEMBER, &format!("{CLEANUP}=true"))
                .await?;
            let pod = |cleaner: &Object| {
                let uid = made.get(cleaner.name());
                pods.iter()
                    .find(|pod| uid.is_some_and(|uid| str_at(pod, "/metadata/uid") == uid))
            };
            left.retain(|cleaner| pod(cleaner).is_none_or(|pod| !has_succeeded(pod)));
            if left.is_empty() || start.elapsed() >= deadline {
                let words = left.iter().map(|cleaner| {
                    let why = match pod(cleaner) {
                        Some(pod) => trouble(pod),
                        None if made.contains_key(cleaner.name()) => "its pod is gone".to_owned(),
                        None => format!("pod {} of an earlier run has not ended", cleaner.name()),
                    };
                    format!("node {}: {why}", node_of(cleaner))
                });
                dirty.extend(words);
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        for cleaner in &self.cleaners {
            cluster
                .delete(&kind::PODS, cleaner.namespace(), cleaner.name())
                .await?;
        }
        status.success(format!(
            "Cleaned up {} nodes",
            self.cleaners.len() - left.len()
        ));
        if dirty.is_empty() {
            return Ok(None);
        }
        let why = format!(
            "links, routes and the packet filter of Submariner stay on nodes that could not be cleaned up, until they boot: {}",
            dirty.join("; ")
        );
        status.warning(&why);
        Ok(Some(Error::Timeout(why)))
    }

    /// On nodes that would end them.
    async fn still_run(&self, cluster: &Cluster) -> Result<bool, Error> {
        let apps = format!("app in ({GATEWAY},{ROUTE_AGENT})");
        let pods = cluster.list(&kind::PODS, MEMBER, &apps).await?;
        Ok(pods.iter().any(|pod| {
            let node = str_at(pod, "/spec/nodeName");
            !node.is_empty() && !self.away.iter().any(|away| away == node)
        }))
    }

    pub(super) async fn unlabel(&self, cluster: &Cluster) -> Result<usize, Error> {
        let nothing = json!({"metadata": {"labels": {GATEWAY_LABEL: null}}});
        for node in &self.labelled {
            match cluster.merge(&kind::NODES, None, node, &nothing).await {
                // A node that has gone meanwhile has no label.
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(self.labelled.len())
    }
}

/// The uid of the new pod; none while one of an earlier run has its name.
async fn create(cluster: &Cluster, cleaner: &Object) -> Result<Option<String>, Error> {
    let kind = Kind::of(cleaner);
    match cluster.create_value(&kind, cleaner.value()).await {
        Ok(pod) => Ok(Some(str_at(&pod, "/metadata/uid").to_owned())),
        Err(Error::Taken(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

fn node_of(cleaner: &Object) -> &str {
    str_at(cleaner.value(), "/spec/nodeName")
}

/// `join` set the label, ours or Go subctl's; one that a person or a cloud's machine set stays.
fn is_labelled_by_us(node: &Value) -> bool {
    let field = format!("f:{GATEWAY_LABEL}");
    let ours = list_at(node, "/metadata/managedFields")
        .iter()
        .any(|entry| {
            entry["manager"] == INSTALLER
                && entry["fieldsV1"]["f:metadata"]["f:labels"]
                    .get(&field)
                    .is_some()
        });
    ours && !label(node, GATEWAY_LABEL).is_empty()
}

fn has_succeeded(pod: &Value) -> bool {
    str_at(pod, "/status/phase") == "Succeeded"
}

/// Why a pod has not succeeded, from its containers.
fn trouble(pod: &Value) -> String {
    let words = list_at(pod, "/status/containerStatuses")
        .iter()
        .filter_map(|container| {
            let state = &container["state"];
            let last = &container["lastState"]["terminated"];
            let code = if last.is_null() {
                &state["terminated"]["exitCode"]
            } else {
                &last["exitCode"]
            };
            let waits = str_at(state, "/waiting/reason");
            let message = str_at(state, "/waiting/message");
            let words = match (code.as_i64(), waits) {
                (Some(0), _) => return None,
                (Some(code), _) => format!("ended with code {code}"),
                (None, "") => "has not ended".to_owned(),
                (None, waits) if message.is_empty() => waits.to_owned(),
                (None, waits) => format!("{waits}: {message}"),
            };
            Some(format!("{} {words}", name_of(container)))
        });
    let words: Vec<String> = words.collect();
    if words.is_empty() {
        let space = namespace(pod).unwrap_or_default();
        return format!(
            "pod {space}/{} is {}",
            name(pod),
            match str_at(pod, "/status/phase") {
                "" => "not started",
                phase => phase,
            }
        );
    }
    words.join(", ")
}

fn name_of(container: &Value) -> &str {
    str_at(container, "/name")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"template": {"spec": {
            "serviceAccountName": name, "containers": [{"name": name, "image": name}],
        }}}})
    }

    fn node(name: &str, gateway: bool, manager: &str, ready: &str) -> Value {
        let labels = if gateway {
            json!({GATEWAY_LABEL: "true"})
        } else {
            json!({})
        };
        json!({
            "metadata": {"name": name, "labels": labels, "managedFields": [
                {"manager": manager, "fieldsV1": {"f:metadata": {"f:labels": {"f:submariner.io/gateway": {}}}}},
            ]},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        })
    }

    fn containers(nodes: &Nodes) -> Vec<(String, Vec<String>)> {
        let of = |cleaner: &Object| {
            let containers = list_at(cleaner.value(), "/spec/containers").iter();
            (
                node_of(cleaner).to_owned(),
                containers.map(|c| name_of(c).to_owned()).collect(),
            )
        };
        nodes.cleaners.iter().map(of).collect()
    }

    #[test]
    fn nodes_run_what_ran_there() {
        let gateway_of_before = json!({"status": {"localEndpoint": {"hostname": "w2"}}});
        let nodes = Nodes::of(
            vec![set(GATEWAY), set(ROUTE_AGENT)],
            &[
                node("g1", true, "subctl", "True"),
                node("g2", true, "terraform", "True"),
                node("w1", false, "x", "True"),
                node("w2", false, "x", "True"),
                node("w3", false, "x", "Unknown"),
            ],
            &[gateway_of_before],
        );
        let both = || vec![GATEWAY.to_owned(), ROUTE_AGENT.to_owned()];
        assert_eq!(
            containers(&nodes),
            [
                ("g1".to_owned(), both()),
                ("g2".to_owned(), both()),
                ("w1".to_owned(), vec![ROUTE_AGENT.to_owned()]),
                ("w2".to_owned(), both()),
            ]
        );
        assert_eq!(nodes.away, ["w3"]);
        assert_eq!(nodes.labelled, ["g1"], "g2's label is somebody else's");
        assert_eq!(nodes.lines().len(), 5);
    }

    #[test]
    fn without_the_data_plane_nodes_are_left_alone() {
        let nodes = Nodes::of(Vec::new(), &[node("w1", true, "kubectl", "True")], &[]);
        assert!(nodes.is_empty() && nodes.lines().is_empty());
    }

    #[test]
    fn what_went_wrong_is_told_by_container() {
        let pod = |containers: Value| {
            json!({
                "metadata": {"name": "p", "namespace": "n"},
                "status": {"phase": "Pending", "containerStatuses": containers},
            })
        };
        for (containers, want) in [
            (json!([]), "pod n/p is Pending"),
            (
                json!([
                    {"name": "a", "state": {"terminated": {"exitCode": 0}}},
                    {"name": "b", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no image"}}},
                ]),
                "b ImagePullBackOff: no image",
            ),
            (
                json!([{"name": "a", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 1}}}]),
                "a ended with code 1",
            ),
            (
                json!([{"name": "a", "state": {"running": {}}}]),
                "a has not ended",
            ),
        ] {
            assert_eq!(trouble(&pod(containers)), want);
        }
    }
}
