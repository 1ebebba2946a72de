//! Who exports a service, oldest first, as the broker and this cluster's own objects tell.

use std::collections::BTreeSet;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use subm_api::names::{self, is_label};
use subm_api::{ServiceImport, ServicePort};

use super::export::{
    Details, Export, ImportType, Own, YOUNGEST, asks_for_ip, created, import_port,
};
use super::imports::timestamp_key;
use super::trust::{self, Refusal, Why};
use super::valid::{self, Map, exportable};
use super::view::ServiceView;
use super::world::{annotation, is_from, label};
use super::{ServiceKey, World};

/// The exports of all clusters, in the order of precedence: by age of the ServiceExport, then by the cluster's id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exporters {
    pub exports: Vec<Export>,
    pub refusals: Vec<Refusal>,
}

pub fn gather(world: &World, key: &ServiceKey, view: &ServiceView, own: &Own) -> Exporters {
    let mut gathered = Exporters::default();
    let us = world.settings.cluster.as_str();
    gathered.exports.extend(own.valid().cloned());
    for record in view.records.values() {
        let cluster = label(&record.metadata, names::SOURCE_CLUSTER).unwrap_or_default();
        if cluster == us || world.clusters.is_lost(cluster) || !is_label(cluster) {
            continue;
        }
        match from_record(world, record, cluster) {
            Ok((export, refusal)) => {
                gathered.exports.push(export);
                gathered.refusals.extend(refusal);
            }
            Err(what) => gathered.refusals.push(Refusal {
                cluster: cluster.to_owned(),
                why: Why::Object(what),
            }),
        }
    }
    // Agents of Lighthouse leave no record: the aggregate and their slices tell.
    if let Some(aggregate) = view.aggregate() {
        for member in aggregate
            .status
            .iter()
            .flat_map(|status| status.clusters.iter())
        {
            let cluster = member.cluster.as_str();
            let known = gathered
                .exports
                .iter()
                .any(|export| export.cluster == cluster)
                || gathered
                    .refusals
                    .iter()
                    .any(|refusal| refusal.cluster == cluster);
            if known || cluster == us || world.clusters.is_lost(cluster) || !is_label(cluster) {
                continue;
            }
            gathered
                .exports
                .extend(from_aggregate(world, aggregate, view, cluster));
        }
    }
    if !world.settings.permits(&key.namespace) {
        let others = gathered
            .exports
            .drain(..)
            .filter(|export| export.cluster != us);
        let refused = others.map(|export| Refusal {
            cluster: export.cluster,
            why: Why::Namespace,
        });
        gathered.refusals.extend(refused.collect::<Vec<_>>());
    }
    gathered
        .exports
        .sort_by(|one, other| (one.since, &one.cluster).cmp(&(other.since, &other.cluster)));
    let mut seen = BTreeSet::new();
    let Exporters { exports, refusals } = &mut gathered;
    exports.retain(|export| {
        let first = seen.insert(export.cluster.clone());
        if !first {
            refusals.push(Refusal {
                cluster: export.cluster.clone(),
                why: Why::Object(
                    "it has several records of this service; the oldest counts".to_owned(),
                ),
            });
        }
        first
    });
    gathered
}

fn from_record(
    world: &World,
    record: &ServiceImport,
    cluster: &str,
) -> Result<(Export, Option<Refusal>), String> {
    let spec = &record.spec;
    let Some(kind) = ImportType::parse(spec.r#type.as_deref()) else {
        return Err(format!(
            "its record says type {:?}",
            spec.r#type.as_deref().unwrap_or_default()
        ));
    };
    let mut refusal = None;
    let ip =
        spec.ips
            .iter()
            .next()
            .filter(|ip| match trust::address(ip, cluster, &world.clusters) {
                Ok(_) => true,
                Err(bad) => {
                    refusal = Some(Refusal {
                        cluster: cluster.to_owned(),
                        why: Why::Address(bad),
                    });
                    false
                }
            });
    let details = Details::of_record(record).map(|details| Details {
        labels: exportable(&details.labels, Map::Labels),
        annotations: exportable(&details.annotations, Map::Annotations),
        ip_families: valid::families(&details.ip_families),
        internal_traffic_policy: details
            .internal_traffic_policy
            .filter(|policy| matches!(policy.as_str(), "Cluster" | "Local")),
        traffic_distribution: details
            .traffic_distribution
            .filter(|distribution| valid::is_name(distribution)),
        ..details
    });
    let export = Export {
        cluster: cluster.to_owned(),
        since: timestamp(record, cluster).unwrap_or_else(|| created(&record.metadata)),
        kind,
        ip: ip.cloned(),
        ports: if kind == ImportType::Headless {
            Vec::new()
        } else {
            valid_ports(spec.ports.iter())
        },
        session_affinity: valid::session_affinity(spec.session_affinity.as_deref()),
        session_affinity_config: valid::session_affinity_config(
            spec.session_affinity_config.clone(),
        ),
        publish_not_ready: annotation(&record.metadata, names::PUBLISH_NOT_READY) == Some("true"),
        use_cluster_set_ip: asks_for_ip(&record.metadata),
        details,
    };
    Ok((export, refusal))
}

fn from_aggregate(
    world: &World,
    aggregate: &ServiceImport,
    view: &ServiceView,
    cluster: &str,
) -> Option<Export> {
    let kind = ImportType::parse(aggregate.spec.r#type.as_deref())?;
    let slices = view
        .broker_slices
        .values()
        .filter(|slice| is_from(&slice.metadata, cluster));
    let slice = slices.min_by_key(|slice| &slice.metadata.name);
    let address = slice
        .and_then(|slice| slice.endpoints.first())
        .and_then(|endpoint| endpoint.addresses.first());
    let address = address.filter(|address| {
        kind == ImportType::ClusterSetIP
            && trust::address(address, cluster, &world.clusters).is_ok()
    });
    Some(Export {
        cluster: cluster.to_owned(),
        since: timestamp(aggregate, cluster).unwrap_or(YOUNGEST),
        kind,
        ip: address.cloned(),
        ports: match (kind, slice) {
            (ImportType::ClusterSetIP, Some(slice)) => valid_ports(slice_ports(slice).iter()),
            _ => Vec::new(),
        },
        // Lighthouse tells only what all agreed on.
        session_affinity: valid::session_affinity(aggregate.spec.session_affinity.as_deref()),
        session_affinity_config: valid::session_affinity_config(
            aggregate.spec.session_affinity_config.clone(),
        ),
        publish_not_ready: slice.is_some_and(|slice| {
            annotation(&slice.metadata, names::PUBLISH_NOT_READY) == Some("true")
        }),
        use_cluster_set_ip: None,
        details: None,
    })
}

/// When a cluster's ServiceExport was created, as the annotation of an import tells.
pub fn timestamp(import: &ServiceImport, cluster: &str) -> Option<i64> {
    let text = annotation(&import.metadata, &timestamp_key(cluster))?;
    text.parse().ok().filter(|since| *since > 0)
}

fn slice_ports(slice: &EndpointSlice) -> Vec<ServicePort> {
    let ports = slice.ports.iter().flatten();
    ports
        .map(|port| {
            let number = port.port.map(i64::from);
            import_port(&port.name, &port.protocol, number, &port.app_protocol)
        })
        .collect()
}

/// Ports that an import may have, names once each.
fn valid_ports<'a>(ports: impl Iterator<Item = &'a ServicePort>) -> Vec<ServicePort> {
    let mut good: Vec<ServicePort> = Vec::new();
    for port in ports {
        let port = import_port(&port.name, &port.protocol, port.port, &port.app_protocol);
        if valid::is_port(&port) && good.iter().all(|other| other.name != port.name) {
            good.push(port);
        }
    }
    good
}
