//! Why a name answers what it answers, for people: which objects speak of it, which clusters are connected
//! and healthy, and the rule that chose.

use std::fmt;
use std::net::Ipv4Addr;

use crate::authority::{Authority, LostCluster, Zone};
use crate::build::{service_ip, weight};
use crate::catalog::Catalog;
use crate::facts::{ClusterId, Import, ImportForm, ServiceKey, ServiceType, SliceForm};
use crate::ledger::Ledger;
use crate::message::{class, rcode, rtype};
use crate::name::{Label, WireName};
use crate::packed::{EndpointView, SliceView};
use crate::respond::{Ask, Outcome, Transport, respond};
use crate::transfer;

/// The report of `lighthouse-dns explain`: a line per finding, each with a keyword in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    pub lines: Vec<String>,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl Explanation {
    fn say(&mut self, keyword: &str, text: impl fmt::Display) {
        self.lines.push(format!("{keyword:<9} {text}"));
    }
}

/// Explains the answer to `name` and `qtype` (an IANA number) as `catalog` published it last.
pub fn explain(
    catalog: &Catalog,
    authority: &Authority,
    name: &WireName,
    qtype: u16,
) -> Explanation {
    let mut explanation = Explanation::default();
    let wire = name.as_bytes();
    let zone = authority.zones().iter().find(|zone| {
        wire.ends_with(zone.origin.as_bytes())
            && zone.origin.labels().count() <= name.labels().count()
    });
    let Some(zone) = zone else {
        let zones: Vec<_> = authority
            .zones()
            .iter()
            .map(|zone| zone.origin.to_string())
            .collect();
        explanation.say(
            "zone",
            format_args!(
                "none: {name} is in none of {}; the answer is REFUSED",
                zones.join(", ")
            ),
        );
        if let Some(whole) = short_for(name, authority) {
            explanation.say(
                "",
                format_args!("if a Service is meant, its name is {whole}"),
            );
        }
        return explanation;
    };
    let policy = match zone.lost_cluster {
        LostCluster::Drop => "drop",
        LostCluster::Keep => "keep",
        LostCluster::KeepLastResort => "keep-last-resort",
    };
    let strict = if zone.strict { ", strict" } else { "" };
    explanation.say(
        "zone",
        format_args!(
            "{}: ttl {}, lost-cluster {policy}{strict}",
            zone.origin, zone.ttl
        ),
    );
    explain_clusters(&mut explanation, catalog);
    if let Some(key) = service_of(name, zone) {
        explain_service(&mut explanation, catalog, &key, name, zone);
    }
    explain_answer(&mut explanation, catalog, authority, zone, name, qtype);
    explanation
}

/// The name of a Service in the first zone, where `name` is SERVICE.NAMESPACE or SERVICE.NAMESPACE.svc alone.
fn short_for(name: &WireName, authority: &Authority) -> Option<String> {
    let zone = authority.zones().first()?;
    let labels: Vec<&[u8]> = name.labels().collect();
    let ([service, namespace] | [service, namespace, b"svc"]) = &*labels else {
        return None;
    };
    let text = |bytes: &[u8]| Some(std::str::from_utf8(bytes).ok()?.to_owned());
    let (service, namespace) = (text(service)?, text(namespace)?);
    Some(format!("{service}.{namespace}.svc.{}", zone.origin))
}

/// The service that a name belongs to, if it has the shape of one.
fn service_of(name: &WireName, zone: &Zone) -> Option<ServiceKey> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let above = &labels[..labels.len() - zone.origin.labels().count()];
    let [.., service, namespace, b"svc"] = above else {
        return None;
    };
    let label = |bytes: &[u8]| Label::new(std::str::from_utf8(bytes).ok()?);
    Some(ServiceKey {
        namespace: label(namespace)?,
        name: label(service)?,
    })
}

fn explain_clusters(explanation: &mut Explanation, catalog: &Catalog) {
    match catalog.believed_gateway() {
        Some((key, gateway)) => {
            let role = if gateway.active {
                "active"
            } else {
                "passive: it holds no connection"
            };
            explanation.say(
                "gateway",
                format_args!("Gateway {key} tells which clusters are connected ({role})"),
            );
        }
        None => explanation.say(
            "gateway",
            "no Gateway object: every cluster counts as connected",
        ),
    }
    let gateway = catalog
        .believed_gateway()
        .and_then(|(_, gateway)| gateway.local_cluster.as_ref());
    if let (Some(gateway), Some(local)) = (gateway, catalog.local_cluster())
        && gateway != local
    {
        let note = format!(
            "that is cluster {gateway}'s view; the connections of {local} are not known here"
        );
        explanation.say("", note);
    }
    match catalog.local_cluster() {
        Some(id) => explanation.say("local", id),
        None => explanation.say(
            "local",
            "unknown: set --cluster-id, or a ClusterProperty cluster.clusterset.k8s.io",
        ),
    }
}

fn explain_service(
    explanation: &mut Explanation,
    catalog: &Catalog,
    key: &ServiceKey,
    name: &WireName,
    zone: &Zone,
) {
    let facts = catalog.facts(key);
    let Some(kind) = facts.kind() else {
        let slices = facts.slices.len();
        explanation.say("service", format_args!("{key} does not exist: no ServiceImport in namespace {} ({slices} EndpointSlices without one)", key.namespace));
        return;
    };
    for (object, import) in &facts.imports {
        explanation.say(
            "import",
            format_args!("ServiceImport {object}: {}", import_text(import)),
        );
    }
    let (_, status) = catalog.latest();
    let local = catalog.local_cluster();
    let connected = |id: &ClusterId| {
        status
            .clusters()
            .find(|(known, _)| *known == id)
            .is_none_or(|(_, is)| is)
    };
    let exporters = facts.exporters(local, catalog.clusters());
    for exporter in &exporters {
        let home = if local == Some(exporter.id) {
            " (local)"
        } else {
            ""
        };
        let reached = if connected(exporter.id) {
            "connected"
        } else {
            "not connected"
        };
        let weight = match weight(facts.aggregated(), exporter, local) {
            1 => String::new(),
            weight => format!(", weight {weight}"),
        };
        explanation.say(
            "cluster",
            format_args!("{}{home}: {reached}{weight}", exporter.id),
        );
        for slice in &exporter.slices {
            let text = slice_text(slice);
            explanation.say("", format_args!("EndpointSlice {}: {text}", slice.object));
        }
        if !exporter.at_home.is_empty() {
            explanation.say(
                "",
                "Globalnet: at home the pods' own addresses are given instead of global IPs",
            );
        }
    }
    if exporters.is_empty() {
        explanation.say("cluster", "none exports it: there is no EndpointSlice");
    }
    let vips = facts
        .aggregated()
        .is_some_and(|import| !import.ips.is_empty());
    let below = name.labels().count() - zone.origin.labels().count() > 3;
    let rule = match (kind, below) {
        (_, true) => {
            "a name below the service: the cluster, host or port that is named, connected or not"
        }
        (ServiceType::Headless, false) => "headless: ready endpoints of all available clusters",
        (ServiceType::ClusterSetIp, false) if vips => {
            "the cluster set IP, whatever the clusters' state"
        }
        (ServiceType::ClusterSetIp, false) => {
            let ready_at_home = exporters.iter().any(|exporter| {
                let ready = |v6| service_ip(exporter, v6).is_some_and(|(_, healthy)| healthy);
                local == Some(exporter.id)
                    && (ready(false) || ready(true))
                    && weight(facts.aggregated(), exporter, local) > 0
            });
            if ready_at_home {
                "the local cluster's service IP, because it has ready endpoints"
            } else {
                "round robin by weight over available clusters with ready endpoints"
            }
        }
    };
    explanation.say("rule", rule);
}

fn import_text(import: &Import) -> String {
    let mut text = match import.kind {
        ServiceType::ClusterSetIp => "ClusterSetIP".to_owned(),
        ServiceType::Headless => "Headless".to_owned(),
    };
    if let ImportForm::PerCluster(cluster) = &import.form {
        text += &format!(", of cluster {cluster} alone (Lighthouse 0.14)");
    }
    for ip in &import.ips {
        text += &format!(", IP {ip}");
    }
    for port in &import.ports {
        let name = port.name.as_ref().map_or("unnamed", Label::as_str);
        text += &format!(", port {name} {}/{}", port.number, port.protocol.label());
    }
    text
}

fn slice_text(slice: &SliceView<'_>) -> String {
    let form = match slice.form {
        SliceForm::ServiceIp => "service IP",
        SliceForm::Backends => "backends",
        SliceForm::Legacy => "backends of an old Lighthouse",
    };
    let endpoint = |endpoint: EndpointView<'_>| {
        let addresses: Vec<_> = endpoint.addresses().map(|ip| ip.to_string()).collect();
        let host = endpoint
            .hostname
            .or(endpoint.pod)
            .map_or(String::new(), |host| format!("{host} "));
        format!(
            "{host}{}{}",
            addresses.join(" "),
            if endpoint.ready { "" } else { " (not ready)" }
        )
    };
    let endpoints: Vec<_> = slice.endpoints.clone().map(endpoint).collect();
    let endpoints = if endpoints.is_empty() {
        "no endpoints".to_owned()
    } else {
        endpoints.join(", ")
    };
    format!("{form}: {endpoints}")
}

fn explain_answer(
    explanation: &mut Explanation,
    catalog: &Catalog,
    authority: &Authority,
    zone: &Zone,
    name: &WireName,
    qtype: u16,
) {
    let (snapshot, status) = catalog.latest();
    let mut query = vec![0; 12];
    query[5] = 1;
    query.extend_from_slice(name.as_bytes());
    query.extend_from_slice(&qtype.to_be_bytes());
    query.extend_from_slice(&class::IN.to_be_bytes());
    let ask = Ask {
        transport: Transport::Tcp,
        client: Ipv4Addr::LOCALHOST.into(),
        now: 0,
    };
    let mut out = vec![0; usize::from(u16::MAX)];
    let outcome = respond(
        authority,
        Some(snapshot),
        status,
        &query,
        &ask,
        &Ledger::new(snapshot, 0),
        &mut out,
    );
    let facts = match outcome {
        Outcome::Reply { facts, .. } => facts,
        Outcome::FallThrough { .. } => {
            return explanation.say("answer", "none here: falls through to the next plugin");
        }
        Outcome::Transfer { .. } => {
            return explanation.say("answer", "the whole zone, for listed addresses");
        }
        Outcome::Ignore => return explanation.say("answer", "none"),
    };
    let records = transfer::texts(zone, snapshot, status, name, qtype);
    let verdict = match (facts.rcode, records.is_empty()) {
        (rcode::NXDOMAIN, _) => "NXDOMAIN: no such name",
        (rcode::NOERROR, true) if qtype != rtype::ANY => {
            "NODATA: the name exists, without a record of this type now"
        }
        (rcode::NOERROR, _) => "NOERROR",
        _ => "an error",
    };
    explanation.say("answer", verdict);
    for record in records {
        explanation.say("", record);
    }
}
