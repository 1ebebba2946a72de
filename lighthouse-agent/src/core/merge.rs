//! One import out of many exports: KEP-1645's conflict resolution. The oldest export decides; every exporter is told.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::SessionAffinityConfig;
use subm_api::ServicePort;

use super::export::{Details, Export, ImportType};

/// What the cluster set makes of the exports of a service.
#[derive(Clone, Debug, PartialEq)]
pub struct Merged<'a> {
    pub kind: ImportType,
    pub ports: Vec<ServicePort>,
    pub session_affinity: String,
    pub session_affinity_config: Option<SessionAffinityConfig>,
    pub ip_families: Vec<String>,
    pub internal_traffic_policy: Option<String>,
    pub traffic_distribution: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
    /// Exports that take part, oldest first. Those of another type do not.
    pub exports: Vec<&'a Export>,
    pub conflicts: Vec<Conflict>,
}

/// A field about which exporters disagree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Reason of the condition `Conflict` (mcs-api).
    pub reason: &'static str,
    pub message: String,
}

/// `None` where nobody exports. `settled` is the type that a cluster without a record (Lighthouse's agent) exports already:
/// it cannot be told to give way, so it decides.
pub fn merge(exports: &[Export], settled: Option<ImportType>) -> Option<Merged<'_>> {
    let kind = settled.or_else(|| exports.first().map(|export| export.kind))?;
    let (same, others): (Vec<&Export>, Vec<&Export>) =
        exports.iter().partition(|export| export.kind == kind);
    let oldest = *same.first()?;
    let mut conflicts = Vec::new();
    if kind == ImportType::ClusterSetIP {
        conflicts.extend(conflict_of_ports(&same));
    }
    if !others.is_empty() {
        conflicts.push(disagreement(
            "TypeConflict",
            "service type",
            kind.name(),
            oldest,
            others.len(),
            exports.len(),
        ));
    }
    let count = same.len();
    let mut compare = |reason, field, value: &dyn Fn(&Export) -> String| {
        let chosen = value(oldest);
        let disagree = same.iter().filter(|export| value(export) != chosen).count();
        if disagree > 0 {
            conflicts.push(disagreement(
                reason, field, &chosen, oldest, disagree, count,
            ));
        }
    };
    // Nobody balances connections to a headless service.
    if kind == ImportType::ClusterSetIP {
        compare("SessionAffinityConflict", "session affinity", &|export| {
            export.session_affinity.clone()
        });
        compare(
            "SessionAffinityConfigConflict",
            "session affinity config",
            &|export| config_text(export.session_affinity_config.as_ref()),
        );
    }

    // Lighthouse says nothing of these; it neither decides nor disagrees.
    let telling: Vec<(&Export, &Details)> = same
        .iter()
        .filter_map(|export| Some((*export, export.details.as_ref()?)))
        .collect();
    let decisive = telling
        .first()
        .map(|(_, details)| (*details).clone())
        .unwrap_or_default();
    let mut compare = |reason, field, value: &dyn Fn(&Details) -> String| {
        let Some((winner, first)) = telling.first() else {
            return;
        };
        let chosen = value(first);
        let disagree = telling
            .iter()
            .filter(|(_, details)| value(details) != chosen)
            .count();
        if disagree > 0 {
            conflicts.push(disagreement(
                reason,
                field,
                &chosen,
                winner,
                disagree,
                telling.len(),
            ));
        }
    };
    compare("AnnotationsConflict", "exported annotations", &|details| {
        map_text(&details.annotations)
    });
    compare("LabelsConflict", "exported labels", &|details| {
        map_text(&details.labels)
    });
    compare(
        "InternalTrafficPolicyConflict",
        "internal traffic policy",
        &|details| {
            details
                .internal_traffic_policy
                .clone()
                .unwrap_or_else(|| "Cluster".to_owned())
        },
    );
    compare(
        "TrafficDistributionConflict",
        "traffic distribution",
        &|details| {
            details
                .traffic_distribution
                .clone()
                .unwrap_or_else(|| "none".to_owned())
        },
    );
    let ip_families = common_families(&telling);
    if !telling.is_empty()
        && ip_families.is_empty()
        && telling
            .iter()
            .any(|(_, details)| !details.ip_families.is_empty())
    {
        let disagree = telling
            .iter()
            .filter(|(_, details)| details.ip_families != decisive.ip_families)
            .count();
        let chosen = decisive.ip_families.join(", ");
        conflicts.push(disagreement(
            "IPFamilyConflict",
            "IP families",
            &chosen,
            telling[0].0,
            disagree,
            telling.len(),
        ));
    }
    Some(Merged {
        kind,
        ports: union_of_ports(&same),
        session_affinity: oldest.session_affinity.clone(),
        session_affinity_config: oldest.session_affinity_config.clone(),
        ip_families: if ip_families.is_empty() {
            decisive.ip_families
        } else {
            ip_families
        },
        internal_traffic_policy: decisive.internal_traffic_policy,
        traffic_distribution: decisive.traffic_distribution,
        labels: decisive.labels,
        annotations: decisive.annotations,
        exports: same,
        conflicts,
    })
}

/// As KEP-1645 puts it: what is disputed, what holds, why, and how many disagree.
fn disagreement(
    reason: &'static str,
    field: &str,
    chosen: &str,
    winner: &Export,
    disagree: usize,
    of: usize,
) -> Conflict {
    Conflict {
        reason,
        message: format!(
            "Conflicting {field}. Using {chosen:?} from the oldest service export in cluster {:?}. {disagree}/{of} clusters disagree.",
            winner.cluster
        ),
    }
}

/// All ports of all exports. Where two have the same name, or the same protocol and number, the older export's stays.
fn union_of_ports(exports: &[&Export]) -> Vec<ServicePort> {
    let mut union: Vec<ServicePort> = Vec::new();
    for port in exports.iter().flat_map(|export| &export.ports) {
        let clash = |other: &ServicePort| {
            other.name == port.name || (other.protocol == port.protocol && other.port == port.port)
        };
        if !union.iter().any(clash) {
            union.push(port.clone());
        }
    }
    union
}

fn conflict_of_ports(exports: &[&Export]) -> Option<Conflict> {
    let sorted = |export: &Export| {
        let mut ports = export.ports.clone();
        ports.sort();
        ports
    };
    let oldest = exports.first()?;
    let first = sorted(oldest);
    let disagree = exports
        .iter()
        .filter(|export| sorted(export) != first)
        .count();
    (disagree > 0).then(|| {
        let ports: Vec<String> = union_of_ports(exports).iter().map(port_text).collect();
        Conflict {
            reason: "PortConflict",
            message: format!(
                "Conflicting ports. Using the union of all ports, the oldest service export (in cluster {:?}) first: [{}]. \
                 {disagree}/{} clusters disagree.",
                oldest.cluster,
                ports.join(", "),
                exports.len()
            ),
        }
    })
}

fn port_text(port: &ServicePort) -> String {
    let name = port.name.as_deref().unwrap_or_default();
    let protocol = port.protocol.as_deref().unwrap_or("TCP");
    let mut text = format!("{name} {}/{protocol}", port.port.unwrap_or_default())
        .trim_start()
        .to_owned();
    if let Some(app) = &port.app_protocol {
        text.push_str(&format!(" ({app})"));
    }
    text
}

/// Families that all have, in the order of the oldest.
fn common_families(telling: &[(&Export, &Details)]) -> Vec<String> {
    let mut all = telling.iter().map(|(_, details)| &details.ip_families);
    let Some(first) = all.next() else {
        return Vec::new();
    };
    let rest: Vec<_> = all.collect();
    first
        .iter()
        .filter(|family| rest.iter().all(|other| other.contains(family)))
        .cloned()
        .collect()
}

fn config_text(config: Option<&SessionAffinityConfig>) -> String {
    let timeout = config.and_then(|config| config.client_ip.as_ref()?.timeout_seconds);
    timeout.map_or_else(
        || "none".to_owned(),
        |seconds| format!("ClientIP TimeoutSeconds: {seconds}"),
    )
}

fn map_text(map: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    pairs.join(",")
}
