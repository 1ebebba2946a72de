//! Cluster set IPs that every kube-proxy understands: a Service in each importing cluster whose ClusterIP is the import's, and
//! slices that point it to the exporters. A connection then fails over without waiting for DNS.
//!
//! Endpoints are this cluster's own pods, and of each other cluster the ClusterIP (or global IP) that its slices on the broker
//! have, which that cluster's kube-proxy spreads over its pods. Where the export has a `trafficDistribution` (traffic shall
//! stay near), others are left out while a backend of this cluster is ready.

use std::collections::BTreeMap;

use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use subm_api::{ServicePort, names};

use super::cluster_set_ip::IpChoice;
use super::merge::Merged;
use super::objects::{ObjectKind, Observed, Place, Urgency, Wanted, object, object_id};
use super::plan::OfService;
use super::world::label;
use super::{names as object_names, slices};

/// Whose Services these are, for who removes them.
const INSTALLED_BY: &str = "app.kubernetes.io/managed-by";

pub(super) fn plan(service: &mut OfService<'_>, choice: &IpChoice) {
    let key = service.key;
    let name = object_names::derived(key);
    let merged = service
        .merged
        .filter(|_| choice.derived && service.world.has_namespace(&key.namespace));
    let id = object_id(Place::Home, ObjectKind::Service, &key.namespace, &name);
    let observed = service
        .view
        .derived
        .as_ref()
        .map(|derived| Observed::of(&derived.metadata, derived));
    let mut slices = BTreeMap::new();
    match (merged, observed) {
        // A Service keeps its first family for life.
        (Some(merged), Some(observed)) if other_family(service, merged) => {
            service.reject(id, observed, false);
            slices = endpoints(service, merged, &name);
        }
        (Some(merged), observed) => {
            service.plan.wanted.push(Wanted {
                id,
                body: body(&key.name, merged),
                status: None,
                observed,
                shared: false,
                urgency: Urgency::Resolve,
            });
            slices = endpoints(service, merged, &name);
        }
        (None, Some(observed)) => service.reject(id, observed, false),
        (None, None) => {}
    }
    let there = service.view.derived_slices.iter();
    let there = there.map(|(name, slice)| (name.as_str(), slice)).collect();
    service.slices(Place::Home, &key.namespace, &slices, &there);
}

/// Whether the Service that is there has another first family than the exports. Where they have both, the cluster chooses.
fn other_family(service: &OfService<'_>, merged: &Merged<'_>) -> bool {
    let [family] = &merged.ip_families[..] else {
        return false;
    };
    let derived = service.view.derived.as_ref();
    let spec = derived.and_then(|derived| derived.spec.as_ref());
    let families = spec.and_then(|spec| spec.ip_families.as_ref());
    families
        .and_then(|families| families.first())
        .is_some_and(|first| first != family)
}

/// What a port without a name is called. With several ports a Service wants a name of each.
fn unnamed(merged: &Merged<'_>) -> Option<String> {
    let is_free = |name: &String| {
        let mut names = merged.ports.iter().filter_map(|port| port.name.as_ref());
        names.all(|other| other != name)
    };
    let mut names = (0..).map(|number| match number {
        0 => "unnamed".to_owned(),
        number => format!("unnamed-{number}"),
    });
    names.find(is_free).filter(|_| merged.ports.len() > 1)
}

fn body(of: &str, merged: &Merged<'_>) -> Value {
    let unnamed = unnamed(merged);
    let port = |port: &ServicePort| {
        let name = port.name.as_ref().or(unnamed.as_ref());
        object([
            ("name", json!(name)),
            ("protocol", json!(port.protocol)),
            ("port", json!(port.port)),
            ("targetPort", json!(port.port)),
            ("appProtocol", json!(port.app_protocol)),
        ])
    };
    let families = &merged.ip_families;
    let policy = match families.len() {
        0 => Value::Null,
        1 => json!("SingleStack"),
        _ => json!("PreferDualStack"),
    };
    json!({
        "metadata": {"labels": {names::DERIVED_FROM: of, INSTALLED_BY: names::LIGHTHOUSE_AGENT}},
        "spec": object([
            ("type", json!("ClusterIP")),
            ("ports", merged.ports.iter().map(port).collect()),
            ("sessionAffinity", json!(merged.session_affinity)),
            ("sessionAffinityConfig", json!(merged.session_affinity_config)),
            ("ipFamilyPolicy", policy),
            // With both, the first is the cluster's choice, and one that it lacks would be an error.
            ("ipFamilies", if families.len() == 1 { json!(families) } else { Value::Null }),
        ]),
    })
}

fn endpoints(
    service: &OfService<'_>,
    merged: &Merged<'_>,
    derived: &str,
) -> BTreeMap<String, EndpointSlice> {
    let us = service.world.settings.cluster.as_str();
    let takes_part = |cluster: &str| {
        merged
            .exports
            .iter()
            .any(|export| export.cluster == cluster)
    };
    let mut all = BTreeMap::new();
    let unnamed = unnamed(merged);
    let put = |all: &mut _, service, cluster, name, derived, mut slice: EndpointSlice| {
        for port in slice.ports.iter_mut().flatten() {
            if port.name.as_ref().is_none_or(String::is_empty) {
                port.name.clone_from(&unnamed);
            }
        }
        put(all, service, cluster, name, derived, slice);
    };
    let mut near = false;
    if takes_part(us) {
        for (name, backend) in &service.view.backends {
            near = near || backend.endpoints.iter().any(slices::is_ready);
            put(&mut all, service, us, name, derived, backend.clone());
        }
    }
    if near && merged.traffic_distribution.is_some() {
        return all;
    }
    for (name, slice) in &service.view.broker_slices {
        let cluster = label(&slice.metadata, names::SOURCE_CLUSTER).unwrap_or_default();
        if cluster != us && takes_part(cluster) {
            let (slice, _) = slices::imported(service.world, slice, cluster);
            put(&mut all, service, cluster, name, derived, slice);
        }
    }
    all
}

fn put(
    all: &mut BTreeMap<String, EndpointSlice>,
    service: &OfService<'_>,
    cluster: &str,
    of: &str,
    derived: &str,
    mut slice: EndpointSlice,
) {
    let labels = [
        (names::MANAGED_BY, names::DERIVED_SERVICE_MANAGER),
        (names::LOCAL_SERVICE_NAME, derived),
        (names::DERIVED_FROM, &service.key.name),
        (names::SOURCE_CLUSTER, cluster),
    ];
    slice.metadata = ObjectMeta {
        labels: Some(
            labels
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
        ),
        ..ObjectMeta::default()
    };
    // Pods and nodes of other clusters mean nothing here, and ours do not need the references.
    for endpoint in &mut slice.endpoints {
        endpoint.target_ref = None;
        endpoint.hints = None;
    }
    let plain = object_names::slice(service.key, cluster, of);
    let suffix = plain.rsplit('-').next().unwrap_or_default();
    all.insert(format!("{derived}-{suffix}"), slice);
}
