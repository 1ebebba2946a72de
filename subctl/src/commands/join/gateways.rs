//! Which nodes are gateways: those with the label, and where there is none, one that is chosen.

use serde_json::Value;
use subm_api::names::GATEWAY_LABEL;
use subm_install::member::gateway_label;

use crate::cli::Join;
use crate::cluster::{Cluster, kind, label, name};
use crate::error::Error;
use crate::prompt;
use crate::status::Status;

const FLAG: &str = "--gateway NODE";

/// What can be told from the nodes alone.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// These have the label already.
    Labelled(Vec<String>),
    /// These get it.
    Label(Vec<String>),
    /// One of these, and somebody has to say which.
    Ask(Vec<String>),
    /// There is no node that could be one.
    Nobody,
}

/// Nodes that are to be labelled; may ask, and writes nothing.
pub(super) fn find(
    status: &mut Status,
    nodes: &[Value],
    flags: &Join,
) -> Result<Vec<String>, Error> {
    if flags.choices.connectivity.label_gateway == Some(false) {
        if !nodes.iter().any(is_gateway) {
            status.warning(format!(
                "No node is labelled as a gateway, and --label-gateway=false: connections come once a node has the label {GATEWAY_LABEL}=true"
            ));
        }
        return Ok(Vec::new());
    }
    status.start("Retrieving the gateway nodes");
    match choose(nodes, &flags.gateway)? {
        Choice::Labelled(labelled) => {
            status.note(format!(
                "There are {} node(s) labeled as gateways:",
                labelled.len()
            ));
            for node in labelled {
                status.note(format!(" - {node}"));
            }
            status.end();
            Ok(Vec::new())
        }
        Choice::Label(chosen) => {
            status.end();
            Ok(chosen)
        }
        Choice::Ask(workers) => {
            status.end();
            let chosen =
                prompt::choose("Which node should be used as the gateway", &workers, FLAG)?;
            Ok(vec![chosen])
        }
        Choice::Nobody => {
            status.warning(format!(
                "No worker node available to label as the gateway: connections come once a node has the label {GATEWAY_LABEL}=true"
            ));
            status.undone();
            Ok(Vec::new())
        }
    }
}

/// Labels them.
pub(super) async fn label_all(
    status: &mut Status,
    cluster: &Cluster,
    chosen: &[String],
) -> Result<(), Error> {
    for node in chosen {
        status.start(format!("Labeling node {node:?} as a gateway"));
        let label = gateway_label(node);
        cluster
            .merge(&kind::NODES, None, node, label.value())
            .await?;
    }
    Ok(())
}

/// Nodes that were asked for get the label. Without: labels that there are suffice, and of the workers there must be one alone.
fn choose(nodes: &[Value], asked: &[String]) -> Result<Choice, Error> {
    let names = |nodes: &[&Value]| -> Vec<String> {
        let mut names: Vec<String> = nodes.iter().map(|node| name(node).to_owned()).collect();
        names.sort();
        names
    };
    if !asked.is_empty() {
        if let Some(unknown) = asked
            .iter()
            .find(|asked| !nodes.iter().any(|node| name(node) == **asked))
        {
            let all: Vec<&Value> = nodes.iter().collect();
            return Err(Error::NotFound(format!(
                "--gateway: there is no node {unknown:?}; the cluster has {}",
                names(&all).join(", ")
            )));
        }
        let new = nodes
            .iter()
            .filter(|node| asked.iter().any(|asked| asked == name(node)) && !is_gateway(node));
        let new: Vec<&Value> = new.collect();
        return Ok(if new.is_empty() {
            Choice::Labelled(asked.to_vec())
        } else {
            Choice::Label(names(&new))
        });
    }
    let labelled: Vec<&Value> = nodes.iter().filter(|node| is_gateway(node)).collect();
    if !labelled.is_empty() {
        return Ok(Choice::Labelled(names(&labelled)));
    }
    // A cluster of control planes alone works on those.
    let workers: Vec<&Value> = nodes.iter().filter(|node| is_worker(node)).collect();
    let candidates = if workers.is_empty() {
        nodes.iter().collect()
    } else {
        workers
    };
    Ok(match &*names(&candidates) {
        [] => Choice::Nobody,
        [one] => Choice::Label(vec![one.clone()]),
        several => Choice::Ask(several.to_vec()),
    })
}

fn is_gateway(node: &Value) -> bool {
    label(node, GATEWAY_LABEL) == "true"
}

/// Upstream asks for the label of old, `master`, alone, and so takes control planes for workers since Kubernetes 1.24.
fn is_worker(node: &Value) -> bool {
    let has = |role: &str| {
        let key = format!("node-role.kubernetes.io/{role}");
        node["metadata"]["labels"].get(key).is_some()
    };
    has("worker") || !(has("control-plane") || has("master"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str, labels: &[&str]) -> Value {
        let labels: serde_json::Map<String, Value> = labels
            .iter()
            .map(|label| {
                let (key, value) = label.split_once('=').unwrap();
                (key.to_owned(), json!(value))
            })
            .collect();
        json!({"metadata": {"name": name, "labels": labels}})
    }

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    const GATEWAY: &str = "submariner.io/gateway=true";
    const CONTROL: &str = "node-role.kubernetes.io/control-plane=";
    const WORKER: &str = "node-role.kubernetes.io/worker=";

    #[test]
    fn one_worker_is_the_gateway_and_of_several_somebody_chooses() {
        for (nodes, want) in [
            (vec![], Choice::Nobody),
            (
                vec![node("c", &[CONTROL]), node("w", &[])],
                Choice::Label(texts(&["w"])),
            ),
            (
                vec![node("c", &[CONTROL, WORKER])],
                Choice::Label(texts(&["c"])),
            ),
            // Nothing else there is.
            (vec![node("c", &[CONTROL])], Choice::Label(texts(&["c"]))),
            (
                vec![
                    node("w2", &[]),
                    node("c", &[CONTROL]),
                    node("w1", &[WORKER]),
                ],
                Choice::Ask(texts(&["w1", "w2"])),
            ),
            (
                vec![node("w2", &[]), node("w1", &[GATEWAY])],
                Choice::Labelled(texts(&["w1"])),
            ),
            (
                vec![
                    node("w2", &["submariner.io/gateway=false"]),
                    node("c", &[CONTROL]),
                ],
                Choice::Label(texts(&["w2"])),
            ),
        ] {
            assert_eq!(choose(&nodes, &[]).unwrap(), want, "{nodes:?}");
        }
    }

    #[test]
    fn nodes_that_were_asked_for_get_the_label() {
        let nodes = [
            node("c", &[CONTROL]),
            node("w1", &[GATEWAY]),
            node("w2", &[]),
        ];
        let ask = |names: &[&str]| choose(&nodes, &texts(names));
        assert_eq!(ask(&["c"]).unwrap(), Choice::Label(texts(&["c"])));
        assert_eq!(ask(&["w2", "w1"]).unwrap(), Choice::Label(texts(&["w2"])));
        assert_eq!(ask(&["w1"]).unwrap(), Choice::Labelled(texts(&["w1"])));
        let error = ask(&["w2", "w3"]).unwrap_err().to_string();
        assert!(
            error.contains("\"w3\"") && error.contains("c, w1, w2"),
            "{error}"
        );
    }
}
