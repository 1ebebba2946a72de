//! `show exports`, `show imports`.

use serde_json::Value;
use subm_api::names::{IS_HEADLESS, SERVICE_NAME, SOURCE_NAMESPACE};

use super::{Body, Section};
use crate::cli::KubeFlags;
use crate::cluster::{Cluster, condition, kind, label, list_at, name, namespace, str_at};
use crate::commands::{MEMBER, deploy_broker, export};
use crate::error::Error;
use crate::status::Status;
use crate::table::{Column, Table};

const EXPORTS: [Column; 7] = [
    Column::new("NAMESPACE", "namespace").at_most(24),
    Column::new("NAME", "name").at_most(40),
    Column::new("TYPE", "type"),
    Column::new("VALID", "valid"),
    Column::new("READY", "ready"),
    Column::new("CONFLICT", "conflict"),
    Column::new("MESSAGE", "message").at_most(80),
];
const IMPORTS: [Column; 6] = [
    Column::new("NAMESPACE", "namespace").at_most(24),
    Column::new("NAME", "name").at_most(40),
    Column::new("TYPE", "type"),
    Column::new("IP", "ips"),
    Column::new("PORTS", "ports").at_most(40),
    Column::new("CLUSTERS", "clusters"),
];
/// Where no agent has looked yet.
const UNKNOWN: &str = "-";

pub(super) async fn exported(
    kube: &KubeFlags,
    cluster: &Cluster,
    status: &mut Status,
) -> Result<Section, Error> {
    let kind = export::exports(cluster).await?;
    let mut table = Table::new(&EXPORTS);
    let all = cluster.list(&kind, kube.namespace.as_deref(), "").await?;
    if !all.is_empty() && export::has_no_agent(cluster, &all).await {
        status.warning(export::no_agent());
    }
    for export in all {
        let service = cluster
            .get(&kind::SERVICES, namespace(&export), name(&export))
            .await?;
        let ready = export::on_broker(&export).map(|(_, status)| status);
        table.push(vec![
            namespace(&export).unwrap_or_default().into(),
            name(&export).into(),
            service.as_ref().map_or(UNKNOWN, type_of).into(),
            condition(&export, "Valid").unwrap_or(UNKNOWN).into(),
            ready.unwrap_or(UNKNOWN).into(),
            condition(&export, "Conflict").unwrap_or("False").into(),
            trouble(&export).into(),
        ]);
    }
    Ok(section("exports", table, "No service is exported"))
}

pub(super) async fn imported(kube: &KubeFlags, cluster: &Cluster) -> Result<Section, Error> {
    let kind = export::imports(cluster).await?.ok_or_else(|| {
        Error::NotFound("this cluster knows no ServiceImport: it is no member of a cluster set; run `subctl join`".to_owned())
    })?;
    let mut table = Table::new(&IMPORTS);
    let selected = kube.namespace.as_deref();
    let slices = cluster.list(&kind::SLICES, selected, SERVICE_NAME).await?;
    // Who may not read it has no broker, as far as he can see.
    let broker = deploy_broker::find(cluster, None).await.ok().flatten();
    for import in cluster.list(&kind, selected, "").await? {
        // What each cluster exports, as release 0.14 shows it, and what members tell each other on the broker, is there for whoever asks for it.
        let own = [MEMBER, broker.as_ref().and_then(namespace)];
        if selected.is_none() && namespace(&import).is_some() && own.contains(&namespace(&import)) {
            continue;
        }
        let texts = |pointer: &str, of: fn(&Value) -> String| -> Vec<String> {
            list_at(&import, pointer).iter().map(of).collect()
        };
        table.push(vec![
            namespace(&import).unwrap_or_default().into(),
            name(&import).into(),
            str_at(&import, "/spec/type").into(),
            match texts("/spec/ips", |ip| ip.as_str().unwrap_or_default().to_owned()) {
                none if none.is_empty() => cluster_ips(&import, &slices).into(),
                ips => ips.into(),
            },
            texts("/spec/ports", port).into(),
            texts("/status/clusters", |entry| {
                str_at(entry, "/cluster").to_owned()
            })
            .into(),
        ]);
    }
    Ok(section("imports", table, "No service is imported"))
}

/// Where there is no cluster set IP: the address of the Service in each cluster.
fn cluster_ips(import: &Value, slices: &[Value]) -> Vec<String> {
    let of_service = slices.iter().filter(|slice| {
        let from = label(slice, SOURCE_NAMESPACE);
        namespace(slice) == namespace(import)
            && label(slice, SERVICE_NAME) == name(import)
            && (from.is_empty() || Some(from) == namespace(import))
            && label(slice, IS_HEADLESS) == "false"
    });
    let endpoints = of_service.flat_map(|slice| list_at(slice, "/endpoints"));
    let addresses = endpoints.flat_map(|endpoint| list_at(endpoint, "/addresses"));
    addresses
        .filter_map(|address| address.as_str().map(str::to_owned))
        .collect()
}

fn section(key: &'static str, table: Table, none: &str) -> Section {
    let body = if table.is_empty() {
        Body::Remark(none.to_owned())
    } else {
        Body::Table(table)
    };
    Section { key, body }
}

fn type_of(service: &Value) -> &'static str {
    if str_at(service, "/spec/clusterIP") == "None" {
        "Headless"
    } else {
        "ClusterSetIP"
    }
}

fn port(port: &Value) -> String {
    let protocol = port["protocol"].as_str().unwrap_or("TCP");
    format!("{}/{protocol}", port["port"])
}

/// What the conditions that are not as they should be say.
fn trouble(export: &Value) -> String {
    let wrong = list_at(export, "/status/conditions")
        .iter()
        .filter(|condition| {
            let good = if condition["type"] == "Conflict" {
                "False"
            } else {
                "True"
            };
            condition["status"] != good
        });
    let messages = wrong.filter_map(|condition| condition["message"].as_str());
    // Conditions of one cause say the same, such as Ready and the Synced of older releases.
    let mut lines: Vec<&str> = Vec::new();
    for line in messages.flat_map(str::lines) {
        if !line.is_empty() && !lines.contains(&line) {
            lines.push(line);
        }
    }
    lines.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_message_says_each_thing_once() {
        let condition = |r#type: &str, status: &str, message: &str| json!({"type": r#type, "status": status, "message": message});
        let export = json!({"status": {"conditions": [
            condition("Valid", "True", "all is well"),
            condition("Ready", "False", "an irresolvable conflict"),
            condition("Synced", "False", "an irresolvable conflict"),
            condition("Conflict", "True", "types differ\nports differ"),
        ]}});
        assert_eq!(
            trouble(&export),
            "an irresolvable conflict; types differ; ports differ"
        );
    }
}
