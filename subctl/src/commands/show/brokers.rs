//! `show brokers`.

use super::{Body, Section};
use crate::cluster::{Cluster, kind, list_at, name, namespace, str_at};
use crate::error::Error;
use crate::table::{Cell, Column, Table};

const COLUMNS: [Column; 7] = [
    Column::new("NAMESPACE", "namespace").at_most(24),
    Column::new("NAME", "name").at_most(24),
    Column::new("COMPONENTS", "components"),
    Column::new("GLOBALNET", "globalnet"),
    Column::new("GLOBALNET CIDR", "globalnetCIDR"),
    Column::new("DEFAULT GLOBALNET SIZE", "defaultGlobalnetSize"),
    Column::new("DEFAULT DOMAINS", "defaultDomains").at_most(40),
];

pub(super) async fn show(cluster: &Cluster) -> Result<Section, Error> {
    let brokers = cluster.list(&kind::BROKERS, None, "").await?;
    let mut table = Table::new(&COLUMNS);
    for broker in &brokers {
        let texts = |pointer: &str| -> Vec<String> {
            let texts = list_at(broker, pointer)
                .iter()
                .filter_map(serde_json::Value::as_str);
            texts.map(str::to_owned).collect()
        };
        table.push(vec![
            namespace(broker).unwrap_or_default().into(),
            name(broker).into(),
            texts("/spec/components").into(),
            (broker["spec"]["globalnetEnabled"] == true).into(),
            str_at(broker, "/spec/globalnetCIDRRange").into(),
            Cell::Number(
                broker["spec"]["defaultGlobalnetClusterSize"]
                    .as_u64()
                    .unwrap_or(0),
            ),
            texts("/spec/defaultCustomDomains").into(),
        ]);
    }
    Ok(Section {
        key: "brokers",
        body: if table.is_empty() {
            Body::Remark("No brokers found".to_owned())
        } else {
            Body::Table(table)
        },
    })
}
