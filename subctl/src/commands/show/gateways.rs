//! `show connections`, `show endpoints`, `show gateways`: what the Gateway objects of a cluster say.

use serde_json::Value;

use super::{Body, NOT_INSTALLED, Section, has_connectivity};
use crate::cluster::{Cluster, kind, list_at, name, str_at};
use crate::commands::MEMBER;
use crate::error::Error;
use crate::table::{Cell, Column, Table};

const CONNECTIONS: [Column; 9] = [
    Column::new("GATEWAY", "gateway").at_most(30),
    Column::new("CLUSTER", "cluster").at_most(24),
    Column::new("REMOTE IP", "remoteIP"),
    Column::new("NAT", "nat"),
    Column::new("CABLE DRIVER", "cableDriver"),
    Column::new("SUBNETS", "subnets").at_most(40),
    Column::new("STATUS", "status"),
    Column::new("RTT avg.", "rttAverage"),
    Column::new("MESSAGE", "message").wide(),
];
const ENDPOINTS: [Column; 6] = [
    Column::new("CLUSTER", "cluster").at_most(24),
    Column::new("ENDPOINT IP", "endpointIP"),
    Column::new("PUBLIC IP", "publicIP"),
    Column::new("CABLE DRIVER", "cableDriver"),
    Column::new("TYPE", "type"),
    Column::new("SUBNETS", "subnets").wide(),
];
const GATEWAYS: [Column; 4] = [
    Column::new("NODE", "node").at_most(30),
    Column::new("HA STATUS", "haStatus"),
    Column::new("SUMMARY", "summary"),
    Column::new("VERSION", "version").wide(),
];

pub(super) async fn connections(cluster: &Cluster) -> Result<Section, Error> {
    section(cluster, "connections", |gateways| {
        let mut table = Table::new(&CONNECTIONS);
        for connection in gateways
            .iter()
            .flat_map(|gateway| list_at(gateway, "/status/connections"))
        {
            let endpoint = &connection["endpoint"];
            table.push(vec![
                str_at(endpoint, "/hostname").into(),
                str_at(endpoint, "/cluster_id").into(),
                remote_ip(connection).into(),
                (connection["usingNAT"] == true).into(),
                str_at(endpoint, "/backend").into(),
                subnets(endpoint),
                str_at(connection, "/status").into(),
                str_at(connection, "/latencyRTT/average").into(),
                str_at(connection, "/statusMessage").into(),
            ]);
        }
        if table.is_empty() {
            Body::Missing("no connections found".to_owned())
        } else {
            Body::Table(table)
        }
    })
    .await
}

pub(super) async fn endpoints(cluster: &Cluster) -> Result<Section, Error> {
    section(cluster, "endpoints", |gateways| {
        let mut table = Table::new(&ENDPOINTS);
        let mut row = |endpoint: &Value, kind: &str| {
            table.push(vec![
                str_at(endpoint, "/cluster_id").into(),
                str_at(endpoint, "/private_ip").into(),
                str_at(endpoint, "/public_ip").into(),
                str_at(endpoint, "/backend").into(),
                kind.into(),
                subnets(endpoint),
            ]);
        };
        for gateway in gateways {
            row(&gateway["status"]["localEndpoint"], "local");
            for connection in list_at(gateway, "/status/connections") {
                row(&connection["endpoint"], "remote");
            }
        }
        Body::Table(table)
    })
    .await
}

pub(super) async fn gateways(cluster: &Cluster) -> Result<Section, Error> {
    section(cluster, "gateways", |gateways| {
        let mut table = Table::new(&GATEWAYS);
        for gateway in gateways {
            let hostname = str_at(gateway, "/status/localEndpoint/hostname");
            table.push(vec![
                if hostname.is_empty() {
                    name(gateway)
                } else {
                    hostname
                }
                .into(),
                str_at(gateway, "/status/haStatus").into(),
                summary(gateway).into(),
                str_at(gateway, "/status/version").into(),
            ]);
        }
        Body::Table(table)
    })
    .await
}

async fn section(
    cluster: &Cluster,
    key: &'static str,
    body: impl FnOnce(&[Value]) -> Body,
) -> Result<Section, Error> {
    let body = if has_connectivity(cluster).await? {
        let gateways = cluster.list(&kind::GATEWAYS, MEMBER, "").await?;
        if gateways.is_empty() {
            Body::Missing("no gateways detected".to_owned())
        } else {
            body(&gateways)
        }
    } else {
        Body::Remark(NOT_INSTALLED.to_owned())
    };
    Ok(Section { key, body })
}

/// What is used, or else would be.
fn remote_ip(connection: &Value) -> &str {
    let candidates = ["/usingIP", "/endpoint/private_ip", "/endpoint/public_ip"];
    let mut found = candidates.iter().map(|pointer| str_at(connection, pointer));
    found.find(|ip| !ip.is_empty()).unwrap_or_default()
}

fn subnets(endpoint: &Value) -> Cell {
    let texts = list_at(endpoint, "/subnets")
        .iter()
        .filter_map(Value::as_str);
    Cell::List(texts.map(str::to_owned).collect())
}

fn summary(gateway: &Value) -> String {
    let failure = str_at(gateway, "/status/statusFailure");
    if !failure.is_empty() {
        return failure.to_owned();
    }
    let connections = list_at(gateway, "/status/connections");
    let up = connections
        .iter()
        .filter(|connection| connection["status"] == "connected")
        .count();
    match connections.len() {
        0 => "There are no connections".to_owned(),
        all if all == up => format!("All connections ({all}) are established"),
        all => format!("{up} connections out of {all} are established"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn summaries_are_upstreams() {
        let gateway = |states: &[&str]| {
            let connections: Vec<Value> = states
                .iter()
                .map(|state| json!({"status": state}))
                .collect();
            summary(&json!({"status": {"connections": connections}}))
        };
        assert_eq!(gateway(&[]), "There are no connections");
        assert_eq!(
            gateway(&["connected"]),
            "All connections (1) are established"
        );
        assert_eq!(
            gateway(&["connected", "error"]),
            "1 connections out of 2 are established"
        );
        assert_eq!(
            summary(&json!({"status": {"statusFailure": "no cable driver"}})),
            "no cable driver"
        );
    }
}
