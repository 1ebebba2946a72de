//! `show versions`: what the workloads ask for, and what their pods run.

use serde_json::Value;

use super::{Body, Section};
use crate::cluster::{Cluster, kind, name, str_at};
use crate::commands::{MEMBER, wait};
use crate::error::Error;
use crate::table::{Column, Table};

const COLUMNS: [Column; 6] = [
    Column::new("COMPONENT", "component"),
    Column::new("REPOSITORY", "repository"),
    Column::new("CONFIGURED", "configured"),
    Column::new("RUNNING", "running"),
    Column::new("ARCH", "arch"),
    Column::new("READY", "ready").wide(),
];

pub(super) async fn show(cluster: &Cluster) -> Result<Section, Error> {
    let pods = cluster.list(&kind::PODS, MEMBER, "").await?;
    let nodes = cluster
        .list(&kind::NODES, None, "")
        .await
        .unwrap_or_default();
    let mut table = Table::new(&COLUMNS);
    for kind in [kind::DAEMON_SETS, kind::DEPLOYMENTS] {
        for workload in cluster.list(&kind, MEMBER, "").await? {
            let image = str_at(&workload, "/spec/template/spec/containers/0/image");
            let (repository, version) = split(image);
            let app = str_at(&workload, "/spec/selector/matchLabels/app");
            let mine: Vec<&Value> = pods
                .iter()
                .filter(|pod| !app.is_empty() && crate::cluster::label(pod, "app") == app)
                .filter(|pod| str_at(pod, "/status/phase") == "Running")
                .collect();
            let (available, wanted) = wait::availability(&workload);
            table.push(vec![
                name(&workload).into(),
                repository.into(),
                version.into(),
                distinct(
                    mine.iter()
                        .map(|pod| split(str_at(pod, "/status/containerStatuses/0/image")).1),
                )
                .into(),
                distinct(
                    mine.iter()
                        .map(|pod| arch(&nodes, str_at(pod, "/spec/nodeName"))),
                )
                .into(),
                format!("{available}/{wanted}").into(),
            ]);
        }
    }
    Ok(Section {
        key: "versions",
        body: if table.is_empty() {
            Body::Remark("Submariner is not installed".to_owned())
        } else {
            Body::Table(table)
        },
    })
}

fn distinct<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut texts: Vec<&str> = texts.filter(|text| !text.is_empty()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts.join(", ")
}

fn arch<'a>(nodes: &'a [Value], node: &str) -> &'a str {
    let node = nodes.iter().find(|have| name(have) == node);
    node.map(|node| str_at(node, "/status/nodeInfo/architecture"))
        .unwrap_or_default()
}

/// Repository and version of `quay.io/submariner/lighthouse-agent:0.20.0`; a port's colon is no version's.
fn split(image: &str) -> (&str, &str) {
    let image = image.split_once('@').map_or(image, |(image, _)| image);
    let (repository, last) = image.rsplit_once('/').unwrap_or(("", image));
    let version = last
        .split_once(':')
        .map_or("latest", |(_, version)| version);
    (repository, if last.is_empty() { "" } else { version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_taken_apart() {
        assert_eq!(
            split("quay.io/submariner/lighthouse-agent:0.20.0"),
            ("quay.io/submariner", "0.20.0")
        );
        assert_eq!(split("reg:5000/a/b"), ("reg:5000/a", "latest"));
        assert_eq!(split("a:1@sha256:00"), ("", "1"));
        assert_eq!(split(""), ("", ""));
        assert_eq!(distinct(["b", "a", "b", ""].into_iter()), "a, b");
    }
}
