//! ServiceImports: the one that users see, the record and the aggregate on the broker, and those per cluster.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::SessionAffinityConfig;
use serde_json::{Value, json};
use subm_api::{Condition, ServiceImport, ServicePort, names};

use super::cluster_set_ip::IpChoice;
use super::conditions::whole_seconds;
use super::export::{DETAILS, Details, Export, ImportType, StatedIp, YOUNGEST};
use super::merge::Merged;
use super::objects::object;
use super::trust;
use super::view::ServiceView;
use super::world::lists;
use super::{ServiceKey, World, names as object_names};

/// A cluster's import in the agents' namespace.
pub fn per_cluster(key: &ServiceKey, export: &Export) -> Value {
    of_export(key, export, BTreeMap::new())
}

/// The same on the broker, with what other agents need to know to merge.
pub fn record(key: &ServiceKey, export: &Export, stated: Option<StatedIp>) -> Value {
    let mut annotations =
        BTreeMap::from([(timestamp_key(&export.cluster), export.since.to_string())]);
    if let Some(details) = &export.details {
        let details = Details {
            cluster_set_ip: stated,
            ..details.clone()
        };
        annotations.insert(DETAILS.to_owned(), json!(details).to_string());
    }
    of_export(key, export, annotations)
}

fn of_export(
    key: &ServiceKey,
    export: &Export,
    mut annotations: BTreeMap<String, String>,
) -> Value {
    let mut put = |name: &str, flag: bool| annotations.insert(name.to_owned(), flag.to_string());
    put(names::PUBLISH_NOT_READY, export.publish_not_ready);
    if let Some(asked) = export.use_cluster_set_ip {
        put(names::USE_CLUSTERSET_IP, asked);
    }
    json!({
        "metadata": {"labels": identity(key, &export.cluster), "annotations": annotations},
        "spec": lighthouse_spec(
            export.kind,
            export.ip.as_ref(),
            &export.ports,
            &export.session_affinity,
            export.session_affinity_config.as_ref(),
        ),
    })
}

fn identity(key: &ServiceKey, cluster: &str) -> Value {
    json!({
        names::SERVICE_NAME: key.name,
        names::SOURCE_NAMESPACE: key.namespace,
        names::SOURCE_CLUSTER: cluster,
    })
}

/// What Lighthouse knows of an import.
fn lighthouse_spec(
    kind: ImportType,
    ip: Option<&String>,
    ports: &[ServicePort],
    session_affinity: &str,
    session_affinity_config: Option<&SessionAffinityConfig>,
) -> Value {
    object([
        ("type", json!(kind.name())),
        ("ips", ip.map_or(Value::Null, |ip| json!([ip]))),
        ("ports", json!(ports)),
        ("sessionAffinity", json!(session_affinity)),
        ("sessionAffinityConfig", json!(session_affinity_config)),
    ])
}

/// What becomes of an aggregate.
pub enum Aggregate {
    /// It has nothing of us.
    Untouched,
    /// We were the last.
    Gone,
    Wanted {
        body: Value,
        status: Value,
    },
}

/// `existing` is empty where there is none yet. `ours`: our export, where it takes part in this aggregate.
pub fn aggregate(
    existing: &ServiceImport,
    key: &ServiceKey,
    us: &str,
    ours: Option<&Export>,
    merged: Option<&Merged<'_>>,
    choice: &IpChoice,
) -> Aggregate {
    let ours_key = timestamp_key(us);
    let mut annotations = existing.metadata.annotations.clone().unwrap_or_default();
    let mut clusters: Vec<&str> = existing
        .status
        .iter()
        .flat_map(|status| status.clusters.iter())
        .map(|member| member.cluster.as_str())
        .collect();
    let named = lists(existing, us);
    match ours {
        Some(export) => {
            annotations.insert(ours_key, export.since.to_string());
            if !named {
                clusters.push(us);
            }
        }
        None if !named && !annotations.contains_key(&ours_key) => return Aggregate::Untouched,
        None => {
            annotations.remove(&ours_key);
            clusters.retain(|cluster| *cluster != us);
            if clusters.is_empty() {
                return Aggregate::Gone;
            }
        }
    }
    let status = json!({"clusters": clusters.iter().map(|cluster| json!({"cluster": cluster})).collect::<Vec<_>>()});
    // Who does not speak for all writes its own part only. Who leaves takes its part out; what the rest then looks like is for those to say who stay. They may not know yet that we
    // left, and would write the opposite. Agents of Lighthouse (without details) leave that to the one who goes.
    let left_to_others = ours.is_none()
        && merged
            .is_some_and(|merged| merged.exports.iter().any(|export| export.details.is_some()));
    let Some(merged) = merged.filter(|_| !left_to_others) else {
        return Aggregate::Wanted {
            body: json!({"metadata": {"annotations": annotations}}),
            status,
        };
    };
    identify(&mut annotations, key);
    set_ip_annotations(&mut annotations, merged.kind, choice);
    Aggregate::Wanted {
        body: json!({
            "metadata": {"annotations": annotations},
            "spec": lighthouse_spec(
                merged.kind,
                choice.ip.as_ref(),
                &merged.ports,
                &merged.session_affinity,
                merged.session_affinity_config.as_ref(),
            ),
        }),
        status,
    }
}

fn identify(annotations: &mut BTreeMap<String, String>, key: &ServiceKey) {
    annotations.insert(names::SERVICE_NAME.to_owned(), key.name.clone());
    annotations.insert(names::SOURCE_NAMESPACE.to_owned(), key.namespace.clone());
}

fn set_ip_annotations(
    annotations: &mut BTreeMap<String, String>,
    kind: ImportType,
    choice: &IpChoice,
) {
    // Of a headless service Lighthouse says nothing at first and "false" later, which it never takes back.
    let used = choice.used && kind == ImportType::ClusterSetIP;
    annotations.insert(names::USE_CLUSTERSET_IP.to_owned(), used.to_string());
    match &choice.allocated_by {
        Some(cluster) => annotations.insert(
            names::CLUSTERSET_IP_ALLOCATED_BY.to_owned(),
            cluster.clone(),
        ),
        None => annotations.remove(names::CLUSTERSET_IP_ALLOCATED_BY),
    };
}

/// The import that users see, and its status.
pub fn import(
    world: &World,
    key: &ServiceKey,
    view: &ServiceView,
    merged: &Merged<'_>,
    choice: &IpChoice,
    now: Timestamp,
) -> (Value, Value) {
    let mut annotations = merged.annotations.clone();
    for export in &merged.exports {
        if export.since != YOUNGEST {
            annotations.insert(timestamp_key(&export.cluster), export.since.to_string());
        }
    }
    set_ip_annotations(&mut annotations, merged.kind, choice);
    let mut ips: Vec<String> = choice
        .ip
        .iter()
        .filter(|ip| trust::address(ip, "", &world.clusters).is_ok())
        .cloned()
        .collect();
    let mut ready = true;
    if choice.derived {
        annotations.insert(
            names::DERIVED_SERVICE.to_owned(),
            object_names::derived(key),
        );
        annotations.insert(names::USE_CLUSTERSET_IP.to_owned(), "true".to_owned());
        let spec = view
            .derived
            .as_ref()
            .and_then(|service| service.spec.as_ref());
        ips = spec
            .map(|spec| {
                super::export::cluster_ips(spec)
                    .map(str::to_owned)
                    .collect()
            })
            .unwrap_or_default();
        ready = !ips.is_empty();
    }
    let headless = merged.kind == ImportType::Headless;
    let body = json!({
        "metadata": {"labels": merged.labels, "annotations": annotations},
        "spec": object([
            ("type", json!(merged.kind.name())),
            ("ips", if ips.is_empty() { Value::Null } else { json!(ips) }),
            ("ports", json!(merged.ports)),
            ("sessionAffinity", json!(merged.session_affinity)),
            ("sessionAffinityConfig", json!(merged.session_affinity_config)),
            ("ipFamilies", if merged.ip_families.is_empty() { Value::Null } else { json!(merged.ip_families) }),
            ("internalTrafficPolicy", if headless { Value::Null } else { json!(merged.internal_traffic_policy) }),
            ("trafficDistribution", json!(merged.traffic_distribution)),
        ]),
    });
    let clusters: Vec<Value> = merged
        .exports
        .iter()
        .map(|export| json!({"cluster": export.cluster}))
        .collect();
    (
        body,
        json!({"clusters": clusters, "conditions": [readiness(view, ready, now)]}),
    )
}

fn readiness(view: &ServiceView, ready: bool, now: Timestamp) -> Condition {
    let status = if ready { "True" } else { "False" };
    let before = view
        .import
        .as_ref()
        .and_then(|import| import.status.as_ref());
    let before = before.and_then(|status| {
        status
            .conditions
            .iter()
            .find(|condition| condition.r#type == "Ready")
    });
    let since = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time.clone());
    Condition {
        r#type: "Ready".to_owned(),
        status: status.to_owned(),
        reason: if ready { "Ready" } else { "Pending" }.to_owned(),
        message: if ready {
            String::new()
        } else {
            "the derived Service has no cluster IP yet".to_owned()
        },
        last_transition_time: Some(since.unwrap_or_else(|| whole_seconds(now))),
        observed_generation: None,
    }
}

pub fn timestamp_key(cluster: &str) -> String {
    format!(
        "{}{}",
        names::TIMESTAMP_PREFIX,
        object_names::in_annotation(cluster)
    )
}
