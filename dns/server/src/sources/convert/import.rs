//! ServiceImport, in today's form and in that of Lighthouse up to 0.14.

use std::fmt::Display;

use subm_api::ServiceImport;
use subm_api::names;
use subm_dns_core::facts::{ClusterId, Import, ImportForm, ServiceKey, ServiceType};

use super::fields::{Problems, address, port};
use super::{Converted, annotation, label, namespace_of};

/// An import; `None` for the copies that Lighthouse keeps for itself, and for what cannot be served.
pub fn import(object: &ServiceImport, name: &dyn Display) -> Converted<Import> {
    let mut problems = Problems::new(name);
    let import = convert(object, &mut problems);
    (import, problems.finish())
}

fn convert(object: &ServiceImport, problems: &mut Problems<'_>) -> Option<Import> {
    let metadata = &object.metadata;
    // Since 0.15: the label marks a cluster's own import, the annotation the broker's copy.
    if label(metadata, names::SERVICE_NAME).is_some()
        || annotation(metadata, names::SERVICE_NAME).is_some()
    {
        return None;
    }
    let (service, form) = if let Some(cluster) = label(metadata, names::LEGACY_SOURCE_CLUSTER) {
        per_cluster(object, cluster, problems)?
    } else {
        let name = metadata.name.as_deref().unwrap_or_default();
        (
            service_key(namespace_of(metadata), name, problems)?,
            ImportForm::Aggregated,
        )
    };
    let kind = service_type(object, problems)?;
    Some(Import {
        service,
        form,
        kind,
        // "None" in a headless import is an old habit, and no fault.
        ips: if kind == ServiceType::Headless {
            Vec::new()
        } else {
            ips(object, problems)
        },
        ports: ports(object, problems),
        weights: weights(object, problems),
    })
}

fn service_key(namespace: &str, name: &str, problems: &mut Problems<'_>) -> Option<ServiceKey> {
    let key = ServiceKey::new(namespace, name);
    if key.is_none() {
        let message = "name and namespace must be DNS labels of 1 to 63 octets; not served";
        problems.add("metadata.name", message);
    }
    key
}

fn per_cluster(
    object: &ServiceImport,
    cluster: &str,
    problems: &mut Problems<'_>,
) -> Option<(ServiceKey, ImportForm)> {
    let metadata = &object.metadata;
    let name = annotation(metadata, names::LEGACY_ORIGIN_NAME)
        .or_else(|| label(metadata, names::LEGACY_SOURCE_NAME));
    let namespace = annotation(metadata, names::LEGACY_ORIGIN_NAMESPACE)
        .or_else(|| label(metadata, names::SOURCE_NAMESPACE));
    let (Some(name), Some(namespace)) = (name, namespace) else {
        problems.add(
            "metadata.annotations",
            "an import per cluster needs annotations origin-name and origin-namespace; not served",
        );
        return None;
    };
    let Some(cluster) = ClusterId::new(cluster) else {
        problems.add(
            format!("metadata.labels[{}]", names::LEGACY_SOURCE_CLUSTER),
            format!("{cluster:?} is no cluster id; not served"),
        );
        return None;
    };
    Some((
        service_key(namespace, name, problems)?,
        ImportForm::PerCluster(cluster),
    ))
}

fn service_type(object: &ServiceImport, problems: &mut Problems<'_>) -> Option<ServiceType> {
    match object.spec.r#type.as_deref().unwrap_or_default() {
        "ClusterSetIP" => Some(ServiceType::ClusterSetIp),
        "Headless" => Some(ServiceType::Headless),
        other => {
            let shown: String = other.chars().take(80).collect();
            problems.add(
                "spec.type",
                format!("{shown:?} is neither ClusterSetIP nor Headless; not served"),
            );
            None
        }
    }
}

fn ips(object: &ServiceImport, problems: &mut Problems<'_>) -> Vec<std::net::IpAddr> {
    let ips = &object.spec.ips;
    problems.malformed(&"spec.ips", ips);
    let mut result = Vec::new();
    for (index, text) in &ips.good {
        match address(text) {
            Ok(ip) => result.push(ip),
            Err(message) => problems.add(format!("spec.ips[{index}]"), message),
        }
    }
    result
}

fn ports(object: &ServiceImport, problems: &mut Problems<'_>) -> Vec<subm_dns_core::facts::Port> {
    let ports = &object.spec.ports;
    problems.malformed(&"spec.ports", ports);
    let mut result = Vec::new();
    for (index, item) in &ports.good {
        let field = format_args!("spec.ports[{index}]");
        match item.port {
            Some(number) => result.extend(port(
                &field,
                number,
                item.protocol.as_deref(),
                item.name.as_deref(),
                problems,
            )),
            None => problems.add(format!("{field}.port"), "a number is missing; left out"),
        }
    }
    result
}

/// Lighthouse 0.12 to 0.14 read these with an inverted test, so that a good number counted as 1 and
/// a bad one took the cluster out; here a bad one counts as 1.
fn weights(object: &ServiceImport, problems: &mut Problems<'_>) -> Vec<(ClusterId, u16)> {
    let mut result = Vec::new();
    for (key, value) in object.metadata.annotations.iter().flatten() {
        let Some(cluster) = key.strip_prefix(names::WEIGHT_PREFIX) else {
            continue;
        };
        let shown: String = value.chars().take(80).collect();
        match (ClusterId::new(cluster), value.parse()) {
            (Some(cluster), Ok(weight)) => result.push((cluster, weight)),
            (None, _) => problems.add(
                format!("metadata.annotations[{key}]"),
                format!("{cluster:?} is no cluster id; ignored"),
            ),
            (_, Err(_)) => problems.add(
                format!("metadata.annotations[{key}]"),
                format!("{shown:?} is no weight (0 to 65535); 1 is used"),
            ),
        }
    }
    result
}

#[cfg(test)]
mod tests;
