//! The facts of one service to its answers. Pure: same facts, same answers, in whatever order they came.
//! The rules are in docs/answers.md, "Services".

mod headless;
mod ports;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use smallvec::SmallVec;

use crate::facts::{
    ClusterId, Import, ImportForm, LocalSlice, ObjectKey, Port, Problem, ServiceKey, ServiceType,
    Slice, SliceForm,
};
use crate::name::MAX_NAME;
use crate::snapshot::{
    Addresses, Candidate, Octets, PortList, Scope, ScopeKind, Service, Srv, owner_of,
};
use crate::status::ClusterIndex;

use ports::PortLists;

/// Everything that is known of one service, each kind in order of object key.
#[derive(Debug, Default)]
pub(crate) struct ServiceFacts {
    pub(crate) imports: BTreeMap<ObjectKey, Import>,
    pub(crate) slices: BTreeMap<ObjectKey, Slice>,
    pub(crate) local_slices: BTreeMap<ObjectKey, LocalSlice>,
}

/// What a service's answers depend on besides its own facts.
pub(crate) struct Surroundings<'a> {
    pub(crate) local: Option<&'a ClusterId>,
    /// Octets of the longest zone name.
    pub(crate) longest_zone: usize,
}

/// What one exporting cluster has to offer.
pub(crate) struct Exporter<'a> {
    pub(crate) id: &'a ClusterId,
    pub(crate) index: ClusterIndex,
    /// Its slices that count: legacy ones only where there is nothing newer.
    pub(crate) slices: Vec<(&'a ObjectKey, &'a Slice)>,
    /// Lighthouse 0.14: its own import.
    pub(crate) import: Option<&'a Import>,
    /// The local cluster's pods as they are reached at home, in place of its global IPs.
    pub(crate) at_home: Vec<&'a LocalSlice>,
}

impl ServiceFacts {
    pub(crate) fn is_empty(&self) -> bool {
        self.imports.is_empty() && self.slices.is_empty() && self.local_slices.is_empty()
    }

    pub(crate) fn aggregated(&self) -> Option<&Import> {
        self.imports
            .values()
            .find(|import| import.form == ImportForm::Aggregated)
    }

    /// Imports of single clusters, by cluster; the first object of a cluster counts.
    pub(crate) fn per_cluster(&self) -> BTreeMap<&ClusterId, &Import> {
        let mut imports = BTreeMap::new();
        for import in self.imports.values() {
            if let ImportForm::PerCluster(cluster) = &import.form {
                imports.entry(cluster).or_insert(import);
            }
        }
        imports
    }

    /// Exporting clusters in order of id.
    pub(crate) fn clusters(&self) -> BTreeSet<&ClusterId> {
        self.slices
            .values()
            .map(|slice| &slice.cluster)
            .chain(self.per_cluster().into_keys())
            .collect()
    }

    /// `None` without an import: the service does not exist here.
    pub(crate) fn kind(&self) -> Option<ServiceType> {
        self.aggregated()
            .or_else(|| self.per_cluster().into_values().next())
            .map(|import| import.kind)
    }

    pub(crate) fn exporters(
        &self,
        local: Option<&ClusterId>,
        index: impl Fn(&ClusterId) -> Option<ClusterIndex>,
    ) -> Vec<Exporter<'_>> {
        let per_cluster = self.per_cluster();
        let mut exporters = Vec::new();
        for id in self.clusters() {
            let Some(index) = index(id) else { continue };
            let of_cluster = || self.slices.iter().filter(|(_, slice)| slice.cluster == *id);
            let newer = of_cluster().any(|(_, slice)| slice.form != SliceForm::Legacy);
            let slices: Vec<_> = of_cluster()
                .filter(|(_, slice)| !newer || slice.form != SliceForm::Legacy)
                .collect();
            let global = local == Some(id) && slices.iter().any(|(_, slice)| slice.globalnet);
            let at_home = if global {
                self.local_slices.values().collect()
            } else {
                Vec::new()
            };
            exporters.push(Exporter {
                id,
                index,
                slices,
                import: per_cluster.get(id).copied(),
                at_home,
            });
        }
        exporters
    }
}

/// Service IP of a cluster in one family, and whether a backend stands behind it.
pub(crate) fn service_ip(exporter: &Exporter<'_>, v6: bool) -> Option<(IpAddr, bool)> {
    let of_slices = exporter
        .slices
        .iter()
        .filter(|(_, slice)| slice.form == SliceForm::ServiceIp);
    let of_slices = of_slices
        .flat_map(|(_, slice)| &slice.endpoints)
        .flat_map(|endpoint| endpoint.addresses.iter().map(|ip| (*ip, endpoint.ready)))
        .find(|(ip, _)| ip.is_ipv6() == v6);
    of_slices.or_else(|| {
        let ip = *exporter.import?.ips.iter().find(|ip| ip.is_ipv6() == v6)?;
        let mut legacy = exporter
            .slices
            .iter()
            .filter(|(_, slice)| slice.form == SliceForm::Legacy)
            .peekable();
        let healthy = legacy.peek().is_none()
            || legacy
                .flat_map(|(_, slice)| &slice.endpoints)
                .any(|endpoint| endpoint.ready);
        Some((ip, healthy))
    })
}

/// Addresses of one family as RDATA, each once, in order.
pub(crate) fn pack<'a>(addresses: impl IntoIterator<Item = &'a IpAddr>, v6: bool) -> Octets {
    let mut seen = BTreeSet::new();
    let mut rdata = Octets::new();
    for ip in addresses {
        if ip.is_ipv6() == v6 && seen.insert(*ip) {
            match ip {
                IpAddr::V4(ip) => rdata.extend_from_slice(&ip.octets()),
                IpAddr::V6(ip) => rdata.extend_from_slice(&ip.octets()),
            }
        }
    }
    rdata.shrink_to_fit();
    rdata
}

pub(crate) fn all(rdata: Octets) -> Addresses {
    if rdata.is_empty() {
        Addresses::None
    } else {
        Addresses::All(rdata)
    }
}

/// Weight of a cluster in round robin: the aggregated import's word, else the cluster's own import's for
/// the local cluster, else 1.
pub(crate) fn weight(
    aggregated: Option<&Import>,
    exporter: &Exporter<'_>,
    local: Option<&ClusterId>,
) -> u16 {
    let of = |import: &Import, id: &ClusterId| {
        import
            .weights
            .iter()
            .find(|(of, _)| of == id)
            .map(|(_, weight)| *weight)
    };
    aggregated
        .and_then(|import| of(import, exporter.id))
        .or_else(|| of(exporter.import?, local?))
        .unwrap_or(1)
}

/// Answers of a service with its ledger slots still 0; `None` where no import makes it exist.
pub(crate) fn build(
    key: &ServiceKey,
    facts: &ServiceFacts,
    surroundings: &Surroundings<'_>,
    index: impl Fn(&ClusterId) -> Option<ClusterIndex>,
) -> Option<(Service, Vec<Problem>)> {
    let kind = facts.kind()?;
    let exporters = facts.exporters(surroundings.local, index);
    let mut draft = Draft::new(key, surroundings.longest_zone);
    match kind {
        ServiceType::ClusterSetIp => {
            cluster_set_ip(&mut draft, facts, &exporters, surroundings.local);
        }
        ServiceType::Headless => headless::headless(&mut draft, &exporters),
    }
    for (position, exporter) in exporters.iter().enumerate() {
        draft.mark_dotted(exporter.id, position as u16);
    }
    let (root, below, ports, problems) = draft.finish();
    let endpoints = exporters
        .iter()
        .flat_map(|exporter| &exporter.slices)
        .flat_map(|(_, slice)| &slice.endpoints);
    let service = Service {
        owner: owner_of(key),
        root,
        key: key.clone(),
        kind,
        turn: 0,
        hits: 0,
        clusters: exporters.iter().map(|exporter| exporter.index).collect(),
        cluster_ids: exporters
            .iter()
            .map(|exporter| exporter.id.clone())
            .collect(),
        below,
        ports,
        endpoints: endpoints
            .map(|endpoint| endpoint.addresses.len() as u32)
            .sum(),
    };
    Some((service, problems))
}

fn cluster_set_ip(
    draft: &mut Draft<'_>,
    facts: &ServiceFacts,
    exporters: &[Exporter<'_>],
    local: Option<&ClusterId>,
) {
    let aggregated = facts.aggregated();
    let vips: &[IpAddr] = aggregated.map_or(&[], |import| &import.ips);
    let own_ports: Vec<Vec<&Port>> = exporters.iter().map(exporter_ports).collect();
    let (a, aaaa) = if vips.is_empty() {
        (
            candidates(aggregated, exporters, local, false),
            candidates(aggregated, exporters, local, true),
        )
    } else {
        (all(pack(vips, false)), all(pack(vips, true)))
    };
    let imports = aggregated.into_iter().chain(
        facts
            .per_cluster()
            .into_values()
            .filter(|_| aggregated.is_none()),
    );
    let imported: Vec<&Port> = imports.flat_map(|import| &import.ports).collect();
    let ports = if imported.is_empty() {
        draft.ports.intern(own_ports.iter().flatten().copied())
    } else {
        draft.ports.intern(imported)
    };
    draft.put(Scope {
        prefix: Octets::new(),
        kind: ScopeKind::Service,
        a,
        aaaa,
        srv: Srv::Own(ports),
    });
    for (position, (exporter, ports)) in exporters.iter().zip(own_ports).enumerate() {
        let addresses = |v6| match (service_ip(exporter, v6), service_ip(exporter, !v6)) {
            (Some((ip, _)), _) => all(pack([&ip], v6)),
            (None, Some(_)) => Addresses::None,
            (None, None) => {
                let backends = exporter
                    .slices
                    .iter()
                    .filter(|(_, slice)| slice.form == SliceForm::Backends);
                let ready = backends.flat_map(|(_, slice)| {
                    slice
                        .endpoints
                        .iter()
                        .filter(|endpoint| endpoint.ready || slice.publish_not_ready)
                });
                all(pack(ready.flat_map(|endpoint| &endpoint.addresses), v6))
            }
        };
        let kind = ScopeKind::Cluster {
            position: position as u16,
            hosts: false,
        };
        let (a, aaaa) = (addresses(false), addresses(true));
        let srv = Srv::Own(draft.ports.intern(ports));
        draft.put(Scope {
            prefix: cluster_prefix(exporter.id),
            kind,
            a,
            aaaa,
            srv,
        });
    }
}

/// Ports of one cluster: its slices', or of a Lighthouse 0.14 cluster its import's.
fn exporter_ports<'a>(exporter: &Exporter<'a>) -> Vec<&'a Port> {
    let of_form = |form| {
        let slices = exporter
            .slices
            .iter()
            .filter(move |(_, slice)| slice.form == form);
        slices
            .flat_map(|(_, slice)| &slice.ports)
            .collect::<Vec<_>>()
    };
    if exporter
        .slices
        .iter()
        .any(|(_, slice)| slice.form == SliceForm::ServiceIp)
    {
        of_form(SliceForm::ServiceIp)
    } else if let Some(import) = exporter.import {
        import.ports.iter().collect()
    } else {
        of_form(SliceForm::Backends)
    }
}

fn candidates(
    aggregated: Option<&Import>,
    exporters: &[Exporter<'_>],
    local: Option<&ClusterId>,
    v6: bool,
) -> Addresses {
    let candidate = |(position, exporter): (usize, &Exporter<'_>)| {
        let (ip, healthy) = service_ip(exporter, v6)?;
        let mut rdata = [0; 16];
        match ip {
            IpAddr::V4(ip) => rdata[..4].copy_from_slice(&ip.octets()),
            IpAddr::V6(ip) => rdata.copy_from_slice(&ip.octets()),
        }
        let weight = weight(aggregated, exporter, local);
        Some(Candidate {
            cluster: exporter.index,
            position: position as u16,
            healthy,
            weight,
            rdata,
        })
    };
    let candidates: Box<[_]> = exporters.iter().enumerate().filter_map(candidate).collect();
    if candidates.is_empty() {
        Addresses::None
    } else {
        Addresses::One(candidates)
    }
}

/// `<cluster>` in wire form without a root label.
pub(crate) fn cluster_prefix(id: &ClusterId) -> Octets {
    let mut prefix = Octets::with_capacity(id.as_str().len() + 1);
    for label in id.labels() {
        prefix.push(label.len() as u8);
        prefix.extend_from_slice(label.as_bytes());
    }
    prefix
}

/// Scopes under construction, with the checks that all kinds of services share.
pub(crate) struct Draft<'a> {
    key: &'a ServiceKey,
    /// Longest prefix that leaves the whole name within 255 octets in every zone.
    room: usize,
    scopes: BTreeMap<Octets, Scope>,
    pub(crate) ports: PortLists,
    problems: Vec<Problem>,
}

impl<'a> Draft<'a> {
    fn new(key: &'a ServiceKey, longest_zone: usize) -> Self {
        let fixed = 2
            + key.name.as_bytes().len()
            + key.namespace.as_bytes().len()
            + b"\x03svc".len()
            + longest_zone;
        Self {
            key,
            room: MAX_NAME.saturating_sub(fixed),
            scopes: BTreeMap::new(),
            ports: PortLists::default(),
            problems: Vec::new(),
        }
    }

    /// Adds a scope unless its name is too long. Of two with one name a host stays: the MCS API demands
    /// hosts, while names of clusters are ours. Says whether the name fits.
    pub(crate) fn put(&mut self, scope: Scope) -> bool {
        if scope.prefix.len() > self.room {
            let mut name = String::new();
            // Writing to a String does not fail.
            let _ = crate::name::write_text(&scope.prefix, &mut name);
            self.problem(
                "name",
                format!("{name}{}.{}.svc and the zone have more than 253 octets; left out; shorten the host, cluster or service name", self.key.name, self.key.namespace),
            );
            return false;
        }
        let host = matches!(scope.kind, ScopeKind::Host { .. });
        if host || !self.scopes.contains_key(&scope.prefix) {
            self.scopes.insert(scope.prefix.clone(), scope);
        }
        true
    }

    fn problem(&mut self, field: &str, message: String) {
        self.problems.push(Problem {
            object: format!("service {}", self.key),
            field: field.to_owned(),
            message,
        });
    }

    /// Names between a cluster id with dots and the service, and whether hosts stand below.
    fn mark_dotted(&mut self, id: &ClusterId, position: u16) {
        let prefix = cluster_prefix(id);
        let below = self.scopes.values().any(
            |scope| matches!(scope.kind, ScopeKind::Host { position: of, .. } if of == position),
        );
        // A cluster whose own name is too long stands above nothing.
        if !below && !self.scopes.contains_key(&prefix) {
            return;
        }
        let mut rest = &*prefix;
        while !rest.is_empty() {
            let exists = self.scopes.get_mut(rest);
            match exists.map(|scope| &mut scope.kind) {
                Some(ScopeKind::Cluster { hosts, .. } | ScopeKind::Empty { hosts }) => {
                    *hosts |= below;
                }
                Some(_) => {}
                None => {
                    let kind = ScopeKind::Empty { hosts: below };
                    self.put(Scope {
                        prefix: Octets::from_slice(rest),
                        kind,
                        a: Addresses::None,
                        aaaa: Addresses::None,
                        srv: Srv::None,
                    });
                }
            }
            rest = &rest[1 + usize::from(rest[0])..];
        }
    }

    fn finish(self) -> (Scope, Box<[Scope]>, SmallVec<[PortList; 1]>, Vec<Problem>) {
        let mut scopes = self.scopes.into_values();
        let mut root = scopes
            .next()
            .expect("every kind of service has a name of its own, which comes first");
        let mut below: Box<[Scope]> = scopes.collect();
        headless::index_hosts(&mut root, &mut below);
        (root, below, self.ports.finish(), self.problems)
    }
}
