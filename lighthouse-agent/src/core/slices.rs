//! EndpointSlices of the cluster set: where a service is reached in each cluster.
//!
//! A ClusterIP service has one slice per address family, with the ClusterIP (or global IP) as its endpoint, ready while any
//! backend is. A headless one has one slice for each of Kubernetes' own, with the pods (or their global IPs).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ServiceSpec;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use kube::core::ObjectMeta;
use subm_api::names;

use super::export::{Export, ImportType, cluster_ips, service_ports};
use super::global_ips::Allocation;
use super::trust::{self, BadAddress};
use super::valid::is_reserved;
use super::view::ServiceView;
use super::world::{is_from, label};
use super::{ServiceKey, World, names as object_names};

/// A slice without a name yet, and what tells it from the service's others.
#[derive(Clone, Debug, PartialEq)]
pub struct OwnSlice {
    /// Address family, or the Kubernetes slice that it copies.
    pub of: String,
    pub slice: EndpointSlice,
}

/// The slices of this cluster's export.
pub fn own(world: &World, key: &ServiceKey, view: &ServiceView, export: &Export) -> Vec<OwnSlice> {
    let Some(spec) = view
        .service
        .as_ref()
        .and_then(|service| service.spec.as_ref())
    else {
        return Vec::new();
    };
    match export.kind {
        ImportType::ClusterSetIP => of_cluster_ip(world, key, view, export, spec),
        ImportType::Headless => view
            .backends
            .values()
            .filter(|backend| matches!(backend.address_type.as_str(), "IPv4" | "IPv6"))
            // Globalnet has IPv4 only.
            .filter(|backend| !world.settings.globalnet || backend.address_type == "IPv4")
            .map(|backend| of_headless(world, key, view, export, backend))
            .collect(),
    }
}

fn of_cluster_ip(
    world: &World,
    key: &ServiceKey,
    view: &ServiceView,
    export: &Export,
    spec: &ServiceSpec,
) -> Vec<OwnSlice> {
    let ips: Vec<String> = if world.settings.globalnet {
        export.ip.iter().cloned().collect()
    } else {
        cluster_ips(spec).map(str::to_owned).collect()
    };
    let ports = service_ports(spec).into_iter().map(|port| EndpointPort {
        name: Some(port.name.unwrap_or_default()),
        protocol: port.protocol,
        port: port.port.and_then(|number| i32::try_from(number).ok()),
        app_protocol: port.app_protocol,
    });
    let ports: Vec<EndpointPort> = ports.collect();
    let own_slice = |ip: String| {
        let family = family(&ip);
        // A Service of one family is served by backends of that family only; a global IP by any.
        let ready = view
            .backends
            .values()
            .filter(|backend| world.settings.globalnet || backend.address_type == family)
            .flat_map(|backend| &backend.endpoints)
            .any(is_ready);
        OwnSlice {
            of: family.to_owned(),
            slice: EndpointSlice {
                address_type: family.to_owned(),
                endpoints: vec![Endpoint {
                    addresses: vec![ip],
                    conditions: Some(EndpointConditions {
                        ready: Some(ready),
                        ..EndpointConditions::default()
                    }),
                    ..Endpoint::default()
                }],
                metadata: metadata(world, key, view, export, None),
                ports: Some(ports.clone()),
            },
        }
    };
    ips.into_iter().map(own_slice).collect()
}

fn of_headless(
    world: &World,
    key: &ServiceKey,
    view: &ServiceView,
    export: &Export,
    backend: &EndpointSlice,
) -> OwnSlice {
    let of = backend.metadata.name.clone().unwrap_or_default();
    let endpoints = if world.settings.globalnet {
        backend
            .endpoints
            .iter()
            .filter_map(|endpoint| with_global_ip(world, key, endpoint))
            .collect()
    } else {
        backend.endpoints.clone()
    };
    OwnSlice {
        slice: EndpointSlice {
            address_type: backend.address_type.clone(),
            endpoints,
            metadata: metadata(world, key, view, export, Some(&of)),
            ports: backend.ports.clone(),
        },
        of,
    }
}

/// An endpoint without a global IP is not reachable (yet); the others are.
fn with_global_ip(world: &World, key: &ServiceKey, endpoint: &Endpoint) -> Option<Endpoint> {
    let pod = endpoint
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"));
    let ips = world.global_ips();
    let allocation = match pod.and_then(|pod| pod.name.as_deref()) {
        Some(pod) => ips.of_pod(&key.namespace, pod),
        None => ips.of_endpoint(&key.namespace, endpoint.addresses.first()?),
    };
    match allocation {
        Some(Allocation::Given(ip)) => Some(Endpoint {
            addresses: vec![ip.clone()],
            ..endpoint.clone()
        }),
        _ => None,
    }
}

fn metadata(
    world: &World,
    key: &ServiceKey,
    view: &ServiceView,
    export: &Export,
    source: Option<&str>,
) -> ObjectMeta {
    let headless = export.kind == ImportType::Headless;
    let mut labels = users_labels(view, source);
    let mut put = |name: &str, value: &str| labels.insert(name.to_owned(), value.to_owned());
    put(names::MANAGED_BY, names::LIGHTHOUSE_AGENT);
    put(names::SOURCE_NAMESPACE, &key.namespace);
    put(names::SOURCE_CLUSTER, &export.cluster);
    put(names::SERVICE_NAME, &key.name);
    put(names::IS_HEADLESS, if headless { "true" } else { "false" });
    if let Some(source) = source {
        put(names::SOURCE_SLICE, source);
    }
    let flag = |value: bool| value.to_string();
    let annotations = [
        (names::PUBLISH_NOT_READY, flag(export.publish_not_ready)),
        // Of a ClusterIP's slice Lighthouse says "false" even where it holds a global IP.
        (
            names::GLOBALNET_ENABLED,
            flag(headless && world.settings.globalnet),
        ),
    ];
    ObjectMeta {
        labels: Some(labels),
        annotations: Some(
            annotations
                .map(|(name, value)| (name.to_owned(), value))
                .into(),
        ),
        ..ObjectMeta::default()
    }
}

/// Labels that users gave the Service, or the slice if they wrote it themselves.
fn users_labels(view: &ServiceView, source: Option<&str>) -> BTreeMap<String, String> {
    let service = view.service.iter().map(|service| &service.metadata);
    let backends = view.backends.values().map(|backend| &backend.metadata);
    let backends =
        backends.filter(|metadata| source.is_none() || metadata.name.as_deref() == source);
    let labels = service
        .chain(backends)
        .filter_map(|metadata| metadata.labels.as_ref())
        .flatten();
    labels
        .filter(|(name, _)| !name.contains("kubernetes.io/"))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Not said means ready (discovery/v1).
pub fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint
        .conditions
        .as_ref()
        .and_then(|conditions| conditions.ready)
        != Some(false)
}

pub fn family(ip: &str) -> &'static str {
    if ip.contains(':') { "IPv6" } else { "IPv4" }
}

/// The name under which one of our slices is kept: that of one that is already there for the same, whoever named it
/// (Lighthouse's names end in five random letters), else our own.
pub fn name_for<'a>(
    key: &ServiceKey,
    cluster: &str,
    of: &str,
    headless: bool,
    existing: impl Iterator<Item = &'a EndpointSlice>,
) -> String {
    let ours = object_names::slice(key, cluster, of);
    let same = existing.filter(|slice| {
        let source = label(&slice.metadata, names::SOURCE_SLICE);
        is_from(&slice.metadata, cluster)
            && !is_legacy(slice)
            && if headless {
                source == Some(of)
            } else {
                source.is_none() && slice.address_type == of
            }
    });
    let mut names: Vec<&str> = same
        .filter_map(|slice| slice.metadata.name.as_deref())
        .collect();
    names.sort_unstable();
    if names.contains(&ours.as_str()) {
        return ours;
    }
    names.first().map_or(ours, |name| (*name).to_owned())
}

/// Names of slices ended in the cluster's id before 0.16; agents since then delete such.
pub fn is_legacy(slice: &EndpointSlice) -> bool {
    let name = slice.metadata.name.as_deref().unwrap_or_default();
    let cluster = label(&slice.metadata, names::SOURCE_CLUSTER).unwrap_or_default();
    name.strip_suffix(cluster)
        .is_some_and(|rest| rest.ends_with('-'))
}

/// Labels of a slice that mean something to those who read it. What else of Kubernetes' or our own domains another cluster
/// writes is not taken over: a `kubernetes.io/service-name` would put its endpoints into any Service of the namespace.
const LABELS: [&str; 8] = [
    names::MANAGED_BY,
    names::SOURCE_NAMESPACE,
    names::SOURCE_CLUSTER,
    names::SERVICE_NAME,
    names::IS_HEADLESS,
    names::SOURCE_SLICE,
    names::BROKER_CLUSTER_ID,
    names::BROKER_NAMESPACE,
];
const ANNOTATIONS: [&str; 3] = [
    names::PUBLISH_NOT_READY,
    names::GLOBALNET_ENABLED,
    names::LAST_CHANGE_TRIGGER_TIME,
];

/// What of another cluster's labels or annotations is taken over: those that we know, and users' own.
fn imported_map(
    theirs: Option<&BTreeMap<String, String>>,
    known: &[&str],
) -> Option<BTreeMap<String, String>> {
    let theirs = theirs?.iter();
    let taken = theirs.filter(|(key, _)| known.contains(&key.as_str()) || !is_reserved(key));
    Some(
        taken
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    )
}

/// A slice of another cluster, without the endpoints, labels and annotations that it may not have.
pub fn imported(
    world: &World,
    slice: &EndpointSlice,
    cluster: &str,
) -> (EndpointSlice, Vec<BadAddress>) {
    let mut bad = Vec::new();
    let metadata = &slice.metadata;
    let mut good = EndpointSlice {
        metadata: ObjectMeta {
            labels: imported_map(metadata.labels.as_ref(), &LABELS),
            annotations: imported_map(metadata.annotations.as_ref(), &ANNOTATIONS),
            ..ObjectMeta::default()
        },
        ..slice.clone()
    };
    good.endpoints.retain(|endpoint| {
        endpoint.addresses.iter().all(
            |text| match trust::address(text, cluster, &world.clusters) {
                Ok(_) => true,
                Err(why) => {
                    bad.push(why);
                    false
                }
            },
        )
    });
    (good, bad)
}
