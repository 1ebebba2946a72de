//! What this cluster exports: a ServiceExport and its Service, judged.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ServiceSpec, SessionAffinityConfig};
use kube::core::ObjectMeta;
use serde::{Deserialize, Serialize};
use subm_api::{ServiceExport, ServiceImport, ServicePort, names};

use super::global_ips::Allocation;
use super::valid::{self, Map, exportable};
use super::view::ServiceView;
use super::world::annotation;
use super::{ServiceKey, World};

/// `spec.type` of an import.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImportType {
    ClusterSetIP,
    Headless,
}

impl ImportType {
    pub fn name(self) -> &'static str {
        match self {
            Self::ClusterSetIP => "ClusterSetIP",
            Self::Headless => "Headless",
        }
    }

    pub fn parse(text: Option<&str>) -> Option<Self> {
        match text? {
            "ClusterSetIP" => Some(Self::ClusterSetIP),
            "Headless" => Some(Self::Headless),
            _ => None,
        }
    }
}

/// What one cluster exports under a name of the cluster set.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    pub cluster: String,
    /// When its ServiceExport was created, ns since the epoch: the oldest decides where exports disagree.
    pub since: i64,
    pub kind: ImportType,
    /// Where the service is reached in its cluster: the (first) ClusterIP or the global IP.
    pub ip: Option<String>,
    pub ports: Vec<ServicePort>,
    pub session_affinity: String,
    pub session_affinity_config: Option<SessionAffinityConfig>,
    pub publish_not_ready: bool,
    /// Whether it asks for a cluster set IP, where it says.
    pub use_cluster_set_ip: Option<bool>,
    /// What Lighthouse does not know; `None` for exports of Lighthouse.
    pub details: Option<Details>,
}

/// The part of an export for which Lighthouse has no place: an annotation of the record on the broker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internal_traffic_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_distribution: Option<String>,
    pub ip_families: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whether this exporter holds that the service has a cluster set IP, and which. Of several exporters the first that says
    /// is right: no other member can give a service an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_set_ip: Option<StatedIp>,
}

impl Details {
    /// As an agent wrote them to its record on the broker.
    pub fn of_record(record: &ServiceImport) -> Option<Self> {
        serde_json::from_str(annotation(&record.metadata, DETAILS)?).ok()
    }
}

/// A cluster set IP as an exporter states it; without an address there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StatedIp {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allocated_by: Option<String>,
}

/// The annotation that holds [`Details`] as JSON.
pub const DETAILS: &str = "lighthouse.submariner.io/export-details";

/// This cluster's own part.
#[derive(Clone, Debug, PartialEq)]
pub enum Own {
    /// There is no ServiceExport.
    None,
    /// There is one, but nothing comes of it: reason and message of its condition `Valid`.
    Invalid {
        reason: String,
        message: String,
    },
    Valid(Box<Export>),
}

impl Own {
    pub fn valid(&self) -> Option<&Export> {
        match self {
            Self::Valid(export) => Some(export),
            _ => None,
        }
    }
}

pub fn own(world: &World, key: &ServiceKey, view: &ServiceView) -> Own {
    let invalid = |reason: &str, message: String| Own::Invalid {
        reason: reason.to_owned(),
        message,
    };
    // An export that waits for its finalizers is over.
    let export = view
        .export
        .as_ref()
        .filter(|export| export.metadata.deletion_timestamp.is_none());
    let Some(export) = export else {
        return Own::None;
    };
    if !world.settings.permits(&key.namespace) {
        return invalid(
            "RestrictedNamespace",
            format!(
                "Services of the namespace {:?} are not exported",
                key.namespace
            ),
        );
    }
    let spec = view
        .service
        .as_ref()
        .and_then(|service| service.spec.as_ref());
    let Some(spec) = spec else {
        return invalid(
            "NoService",
            "Service to be exported doesn't exist".to_owned(),
        );
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        return invalid(
            "InvalidServiceType",
            "Service of type ExternalName not supported".to_owned(),
        );
    }
    for (map, of, field) in [
        (exported_labels(export), Map::Labels, "exportedLabels"),
        (
            exported_annotations(export),
            Map::Annotations,
            "exportedAnnotations",
        ),
    ] {
        if let Some(trouble) = map.and_then(|map| valid::trouble(map, of)) {
            return invalid(
                "InvalidExportedMetadata",
                format!("spec.{field} cannot stand on imports: {trouble}"),
            );
        }
    }
    let headless = is_headless(spec);
    let ip = match (headless, world.settings.globalnet) {
        (true, _) => None,
        (false, false) => match cluster_ips(spec).next() {
            Some(ip) => Some(ip.to_owned()),
            None => {
                return invalid(
                    "NoClusterIP",
                    "Service doesn't have a cluster IP yet".to_owned(),
                );
            }
        },
        (false, true) => match world.global_ips().of_service(&key.namespace, &key.name) {
            Some(Allocation::Given(ip)) => Some(ip.clone()),
            Some(Allocation::Failed { reason, message }) => {
                let reason = if reason.is_empty() {
                    "ServiceGlobalIPUnavailable"
                } else {
                    reason
                };
                return invalid(reason, format!("Unable to obtain global IP: {message}"));
            }
            Some(Allocation::Waiting) | None => {
                return invalid(
                    "ServiceGlobalIPUnavailable",
                    "Service doesn't have a global IP yet".to_owned(),
                );
            }
        },
    };
    Own::Valid(Box::new(describe(world, export, spec, ip)))
}

fn describe(
    world: &World,
    export: &ServiceExport,
    spec: &ServiceSpec,
    ip: Option<String>,
) -> Export {
    let headless = is_headless(spec);
    let shown =
        |map: Option<&BTreeMap<_, _>>, of| map.map(|map| exportable(map, of)).unwrap_or_default();
    // Globalnet has IPv4 only.
    let families = if world.settings.globalnet {
        vec!["IPv4".to_owned()]
    } else {
        spec.ip_families.clone().unwrap_or_default()
    };
    Export {
        cluster: world.settings.cluster.clone(),
        since: created(&export.metadata),
        kind: if headless {
            ImportType::Headless
        } else {
            ImportType::ClusterSetIP
        },
        ip,
        ports: if headless {
            Vec::new()
        } else {
            service_ports(spec)
        },
        session_affinity: spec
            .session_affinity
            .clone()
            .unwrap_or_else(|| "None".to_owned()),
        session_affinity_config: spec.session_affinity_config.clone(),
        publish_not_ready: spec.publish_not_ready_addresses == Some(true),
        use_cluster_set_ip: asks_for_ip(&export.metadata),
        details: Some(Details {
            internal_traffic_policy: spec.internal_traffic_policy.clone().filter(|_| !headless),
            traffic_distribution: spec.traffic_distribution.clone(),
            ip_families: families,
            labels: shown(exported_labels(export), Map::Labels),
            annotations: shown(exported_annotations(export), Map::Annotations),
            cluster_set_ip: None,
        }),
    }
}

fn exported_labels(export: &ServiceExport) -> Option<&BTreeMap<String, String>> {
    export.spec.as_ref()?.exported_labels.as_ref()
}

fn exported_annotations(export: &ServiceExport) -> Option<&BTreeMap<String, String>> {
    export.spec.as_ref()?.exported_annotations.as_ref()
}

/// What an export without a time has: it is the youngest of all, as with Lighthouse.
pub const YOUNGEST: i64 = i64::MAX - 1;

/// `creationTimestamp` in ns.
pub fn created(metadata: &ObjectMeta) -> i64 {
    let created = metadata.creation_timestamp.as_ref();
    created
        .and_then(|time| i64::try_from(time.0.as_nanosecond()).ok())
        .unwrap_or(YOUNGEST)
}

/// What an export, or its record, says of a cluster set IP.
pub fn asks_for_ip(metadata: &ObjectMeta) -> Option<bool> {
    annotation(metadata, names::USE_CLUSTERSET_IP).map(|value| value == "true")
}

pub fn is_headless(spec: &ServiceSpec) -> bool {
    spec.cluster_ip.as_deref() == Some("None")
}

/// ClusterIPs of all families, the primary one first.
pub fn cluster_ips(spec: &ServiceSpec) -> impl Iterator<Item = &str> {
    let all = spec.cluster_ips.iter().flatten();
    // An old API server gives the one only.
    let one = spec
        .cluster_ip
        .iter()
        .filter(|_| spec.cluster_ips.is_none());
    all.chain(one)
        .map(String::as_str)
        .filter(|ip| !ip.is_empty() && *ip != "None")
}

/// Ports by which the service is reached, without those of its pods.
pub fn service_ports(spec: &ServiceSpec) -> Vec<ServicePort> {
    let ports = spec.ports.iter().flatten();
    ports
        .map(|port| {
            let number = Some(i64::from(port.port));
            import_port(&port.name, &port.protocol, number, &port.app_protocol)
        })
        .collect()
}

/// A port as imports have it: no name rather than an empty one, and a protocol.
pub fn import_port(
    name: &Option<String>,
    protocol: &Option<String>,
    number: Option<i64>,
    app_protocol: &Option<String>,
) -> ServicePort {
    ServicePort {
        name: name.clone().filter(|name| !name.is_empty()),
        protocol: Some(protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        port: number,
        app_protocol: app_protocol.clone(),
    }
}
