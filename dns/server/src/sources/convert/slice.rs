//! EndpointSlices: Lighthouse's in its several forms, those of other implementations, and
//! Kubernetes' own.

use std::fmt::Display;
use std::net::IpAddr;

use subm_api::names;
use subm_api::{EndpointSlice, Items};
use subm_dns_core::facts::{ClusterId, Endpoint, LocalSlice, Port, ServiceKey, Slice, SliceForm};
use subm_dns_core::name::Label;

use super::fields::{Problems, address, port};
use super::{Converted, annotation, label, namespace_of};

/// A slice of a service of the cluster set; `None` for any other, and for a broker's copies.
pub fn slice(object: &EndpointSlice, name: &dyn Display) -> Converted<Slice> {
    let mut problems = Problems::new(name);
    let slice = convert(object, &mut problems);
    (slice, problems.finish())
}

fn convert(object: &EndpointSlice, problems: &mut Problems<'_>) -> Option<Slice> {
    let metadata = &object.metadata;
    let service = label(metadata, names::SERVICE_NAME)?;
    let namespace = namespace_of(metadata);
    // On the broker, all slices lie in one namespace (R56, R61).
    if label(metadata, names::SOURCE_NAMESPACE).is_some_and(|source| source != namespace) {
        return None;
    }
    let service = service_key(namespace, service, names::SERVICE_NAME, problems)?;
    let cluster = source_cluster(object, problems)?;
    let is_true = |key| annotation(metadata, key) == Some("true");
    Some(Slice {
        form: form(object, &cluster),
        service,
        publish_not_ready: is_true(names::PUBLISH_NOT_READY),
        globalnet: is_true(names::GLOBALNET_ENABLED),
        ports: ports(object, problems),
        endpoints: endpoints(object, problems),
        triggered_at: triggered_at(object),
        cluster,
    })
}

/// Kubernetes' own slice of a local service; `None` for any other.
pub fn local_slice(object: &EndpointSlice, name: &dyn Display) -> Converted<LocalSlice> {
    let mut problems = Problems::new(name);
    let metadata = &object.metadata;
    // A derived service's slices (reference implementation of the MCS API) have both labels.
    let slice = label(metadata, names::LOCAL_SERVICE_NAME)
        .filter(|_| label(metadata, names::SERVICE_NAME).is_none())
        .and_then(|service| {
            service_key(
                namespace_of(metadata),
                service,
                names::LOCAL_SERVICE_NAME,
                &mut problems,
            )
        })
        .map(|service| LocalSlice {
            service,
            ports: ports(object, &mut problems),
            endpoints: endpoints(object, &mut problems),
        });
    (slice, problems.finish())
}

fn service_key(
    namespace: &str,
    name: &str,
    label: &str,
    problems: &mut Problems<'_>,
) -> Option<ServiceKey> {
    let key = ServiceKey::new(namespace, name);
    if key.is_none() {
        problems.add(
            format!("metadata.labels[{label}]"),
            "service and namespace must be DNS labels of 1 to 63 octets; not served",
        );
    }
    key
}

fn source_cluster(object: &EndpointSlice, problems: &mut Problems<'_>) -> Option<ClusterId> {
    let field = || format!("metadata.labels[{}]", names::SOURCE_CLUSTER);
    let metadata = &object.metadata;
    let Some(text) = label(metadata, names::SOURCE_CLUSTER)
        .or_else(|| label(metadata, names::LEGACY_SOURCE_CLUSTER))
    else {
        problems.add(
            field(),
            "missing: nobody knows which cluster this slice is from; not served",
        );
        return None;
    };
    let cluster = ClusterId::new(text);
    if cluster.is_none() {
        problems.add(field(), format!("{text:?} is no cluster id; not served"));
    }
    cluster
}

/// Lighthouse before 0.15 has no `is-headless`; 0.15 has it, and names slices `<service>-<cluster>`.
fn form(object: &EndpointSlice, cluster: &ClusterId) -> SliceForm {
    let metadata = &object.metadata;
    let lighthouse = label(metadata, names::MANAGED_BY) == Some(names::LIGHTHOUSE_AGENT);
    let named_after_cluster = metadata
        .name
        .as_deref()
        .and_then(|name| name.strip_suffix(cluster.as_str()))
        .is_some_and(|rest| rest.ends_with('-'));
    match label(metadata, names::IS_HEADLESS) {
        _ if lighthouse && named_after_cluster => SliceForm::Legacy,
        Some("false") => SliceForm::ServiceIp,
        Some("true") => SliceForm::Backends,
        _ if lighthouse => SliceForm::Legacy,
        _ => SliceForm::Backends,
    }
}

fn ports(object: &EndpointSlice, problems: &mut Problems<'_>) -> Vec<Port> {
    problems.malformed(&"ports", &object.ports);
    let mut result = Vec::new();
    for (index, item) in &object.ports.good {
        // No number means all ports, which SRV cannot say.
        let Some(number) = item.port else { continue };
        result.extend(port(
            &format_args!("ports[{index}]"),
            number,
            item.protocol.as_deref(),
            item.name.as_deref(),
            problems,
        ));
    }
    result
}

fn endpoints(object: &EndpointSlice, problems: &mut Problems<'_>) -> Vec<Endpoint> {
    let fits: fn(&IpAddr) -> bool = match object.address_type.as_str() {
        "IPv4" => IpAddr::is_ipv4,
        "IPv6" => IpAddr::is_ipv6,
        other => {
            let shown: String = other.chars().take(80).collect();
            problems.add(
                "addressType",
                format!("{shown:?} is neither IPv4 nor IPv6; the slice's endpoints are left out"),
            );
            return Vec::new();
        }
    };
    problems.malformed(&"endpoints", &object.endpoints);
    let mut result = Vec::with_capacity(object.endpoints.good.len());
    for (index, item) in &object.endpoints.good {
        let field = format_args!("endpoints[{index}]");
        let addresses = addresses(&field, &item.addresses, fits, problems);
        if addresses.is_empty() {
            continue;
        }
        let hostname = item
            .hostname
            .as_deref()
            .filter(|name| !name.is_empty())
            .and_then(|name| {
                let label = Label::new(name);
                if label.is_none() {
                    problems.add(
                        format!("{field}.hostname"),
                        "is no DNS label of 1 to 63 octets; the endpoint is named by its address",
                    );
                }
                label
            });
        let pod = item
            .target_ref
            .as_ref()
            .filter(|target| target.kind.eq_ignore_ascii_case("Pod"))
            .and_then(|target| Label::new(&target.name));
        let ready = item
            .conditions
            .as_ref()
            .and_then(|conditions| conditions.ready)
            .unwrap_or(true);
        result.push(Endpoint {
            addresses,
            hostname,
            pod,
            ready,
        });
    }
    result
}

fn addresses(
    field: &dyn Display,
    items: &Items<String>,
    fits: fn(&IpAddr) -> bool,
    problems: &mut Problems<'_>,
) -> Vec<IpAddr> {
    let field = format_args!("{field}.addresses");
    problems.malformed(&field, items);
    let mut result = Vec::with_capacity(items.good.len());
    for (index, text) in &items.good {
        match address(text) {
            Ok(ip) if fits(&ip) => result.push(ip),
            Ok(ip) => problems.add(
                format!("{field}[{index}]"),
                format!("{ip} is not of the slice's addressType; left out"),
            ),
            Err(message) => problems.add(format!("{field}[{index}]"), message),
        }
    }
    result
}

fn triggered_at(object: &EndpointSlice) -> Option<u64> {
    let text = annotation(&object.metadata, names::LAST_CHANGE_TRIGGER_TIME)?;
    let time: jiff::Timestamp = text.parse().ok()?;
    u64::try_from(time.as_nanosecond()).ok()
}

#[cfg(test)]
mod tests;
