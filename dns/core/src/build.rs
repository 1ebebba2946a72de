//! The facts of one service to its answers. Pure: same facts, same answers, in whatever order they came.
//! The rules are in docs/answers.md, "Services".

mod headless;
mod ports;

use std::collections::BTreeMap;
use std::net::IpAddr;

use foldhash::HashSet;
use smallvec::SmallVec;

use crate::clusters::Clusters;
use crate::facts::{
    ClusterId, Import, ImportForm, Port, Problem, ServiceKey, ServiceType, SliceForm,
};
use crate::name::{MAX_NAME, push_label};
use crate::packed::{Kind, Object, ObjectName, SliceView};
use crate::snapshot::{
    Addresses, Candidate, Octets, PortList, Scope, ScopeKind, Service, Srv, owner_of,
};
use crate::status::ClusterIndex;

use ports::PortLists;

/// Everything that is known of one service, each kind in order of object key.
#[derive(Debug, Default)]
pub(crate) struct ServiceFacts<'a> {
    pub(crate) imports: Vec<(ObjectName<'a>, Import)>,
    pub(crate) slices: Vec<SliceView<'a>>,
    pub(crate) local_slices: Vec<SliceView<'a>>,
}

/// What a service's answers depend on besides its own facts.
pub(crate) struct Surroundings<'a> {
    pub(crate) local: Option<&'a ClusterId>,
    /// Octets of the longest zone name.
    pub(crate) longest_zone: usize,
    pub(crate) clusters: &'a Clusters,
}

/// What one exporting cluster has to offer.
pub(crate) struct Exporter<'a> {
    pub(crate) id: &'a ClusterId,
    pub(crate) index: ClusterIndex,
    /// Its slices that count: legacy ones only where there is nothing newer.
    pub(crate) slices: Vec<&'a SliceView<'a>>,
    /// Lighthouse 0.14: its own import.
    pub(crate) import: Option<&'a Import>,
    /// The local cluster's pods as they are reached at home, in place of its global IPs.
    pub(crate) at_home: &'a [SliceView<'a>],
}

impl<'a> ServiceFacts<'a> {
    /// Reads objects that are in order.
    pub(crate) fn read(key: &'a ServiceKey, objects: &'a [Object]) -> Self {
        let mut facts = Self::default();
        for object in objects {
            match object.kind() {
                Kind::Import => facts
                    .imports
                    .push((object.name(key), object.read_import(key))),
                Kind::Slice => facts.slices.push(object.read_slice(key)),
                Kind::LocalSlice => facts.local_slices.push(object.read_slice(key)),
            }
        }
        facts
    }

    pub(crate) fn aggregated(&self) -> Option<&Import> {
        self.imports
            .iter()
            .map(|(_, import)| import)
            .find(|import| import.form == ImportForm::Aggregated)
    }

    /// Imports of single clusters, by cluster; the first object of a cluster counts.
    pub(crate) fn per_cluster(&self) -> BTreeMap<&ClusterId, &Import> {
        let mut imports = BTreeMap::new();
        for (_, import) in &self.imports {
            if let ImportForm::PerCluster(cluster) = &import.form {
                imports.entry(cluster).or_insert(import);
            }
        }
        imports
    }

    /// `None` without an import: the service does not exist here.
    pub(crate) fn kind(&self) -> Option<ServiceType> {
        self.aggregated()
            .or_else(|| self.per_cluster().into_values().next())
            .map(|import| import.kind)
    }

    /// Exporting clusters in order of id.
    pub(crate) fn exporters(
        &'a self,
        local: Option<&ClusterId>,
        clusters: &'a Clusters,
    ) -> Vec<Exporter<'a>> {
        let per_cluster = self.per_cluster();
        let mut indices: Vec<_> = self
            .slices
            .iter()
            .filter_map(|slice| slice.cluster)
            .chain(per_cluster.keys().filter_map(|id| clusters.index(id)))
            .collect();
        indices.sort_unstable();
        indices.dedup();
        let mut ids: Vec<_> = indices
            .into_iter()
            .filter_map(|index| Some((clusters.id(index)?, index)))
            .collect();
        ids.sort_unstable();
        let exporter = |(id, index)| {
            let mut slices: Vec<_> = self
                .slices
                .iter()
                .filter(|slice| slice.cluster == Some(index))
                .collect();
            if slices.iter().any(|slice| slice.form != SliceForm::Legacy) {
                slices.retain(|slice| slice.form != SliceForm::Legacy);
            }
            let global = local == Some(id) && slices.iter().any(|slice| slice.globalnet);
            Exporter {
                id,
                index,
                slices,
                import: per_cluster.get(id).copied(),
                at_home: if global { &self.local_slices } else { &[] },
            }
        };
        ids.into_iter().map(exporter).collect()
    }
}

/// Service IP of a cluster in one family, and whether a backend stands behind it.
pub(crate) fn service_ip(exporter: &Exporter<'_>, v6: bool) -> Option<(IpAddr, bool)> {
    let of_form = |form| {
        exporter
            .slices
            .iter()
            .filter(move |slice| slice.form == form)
    };
    let of_slices = of_form(SliceForm::ServiceIp)
        .flat_map(|slice| slice.endpoints.clone())
        .find_map(|endpoint| {
            let ip = if v6 {
                (*endpoint.aaaa.first()?).into()
            } else {
                (*endpoint.a.first()?).into()
            };
            Some((ip, endpoint.ready))
        });
    of_slices.or_else(|| {
        let ip = *exporter.import?.ips.iter().find(|ip| ip.is_ipv6() == v6)?;
        let mut legacy = of_form(SliceForm::Legacy).peekable();
        let healthy = legacy.peek().is_none()
            || legacy
                .flat_map(|slice| slice.endpoints.clone())
                .any(|endpoint| endpoint.ready);
        Some((ip, healthy))
    })
}

/// Addresses as RDATA, each once, in order.
pub(crate) fn pack<const N: usize>(addresses: impl IntoIterator<Item = [u8; N]>) -> Octets {
    /// So many are looked through faster than hashed.
    const FEW: usize = 16;
    let mut rdata = Octets::new();
    let mut seen: Option<HashSet<[u8; N]>> = None;
    for address in addresses {
        let new = if rdata.len() < FEW * N {
            !rdata.as_chunks().0.contains(&address)
        } else {
            let all = || rdata.as_chunks().0.iter().copied().collect();
            seen.get_or_insert_with(all).insert(address)
        };
        if new {
            rdata.extend_from_slice(&address);
        }
    }
    rdata.shrink_to_fit();
    rdata
}

/// Addresses of both families as RDATA.
fn pack_both(ips: &[IpAddr]) -> (Addresses, Addresses) {
    let a = ips.iter().filter_map(|ip| match ip {
        IpAddr::V4(ip) => Some(ip.octets()),
        IpAddr::V6(_) => None,
    });
    let aaaa = ips.iter().filter_map(|ip| match ip {
        IpAddr::V4(_) => None,
        IpAddr::V6(ip) => Some(ip.octets()),
    });
    (all(pack(a)), all(pack(aaaa)))
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
    facts: &ServiceFacts<'_>,
    surroundings: &Surroundings<'_>,
) -> Option<(Service, Vec<Problem>)> {
    let kind = facts.kind()?;
    let exporters = facts.exporters(surroundings.local, surroundings.clusters);
    let mut draft = Draft::new(key, surroundings.longest_zone);
    match kind {
        ServiceType::ClusterSetIp => {
            cluster_set_ip(&mut draft, facts, &exporters, surroundings.local);
        }
        ServiceType::Headless => headless::headless(&mut draft, &exporters),
    }
    let Finished {
        root,
        below,
        ports,
        problems,
    } = draft.finish(&exporters);
    let endpoints = exporters
        .iter()
        .flat_map(|exporter| &exporter.slices)
        .flat_map(|slice| slice.endpoints.clone());
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
        endpoints: endpoints.map(|endpoint| endpoint.len() as u32).sum(),
    };
    Some((service, problems))
}

fn cluster_set_ip(
    draft: &mut Draft<'_>,
    facts: &ServiceFacts<'_>,
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
        pack_both(vips)
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
        let (a, aaaa) = match (service_ip(exporter, false), service_ip(exporter, true)) {
            (None, None) => {
                let backends = exporter
                    .slices
                    .iter()
                    .filter(|slice| slice.form == SliceForm::Backends);
                let ready = backends.flat_map(|slice| {
                    let publish = slice.publish_not_ready;
                    let endpoints = slice.endpoints.clone();
                    endpoints.filter(move |endpoint| endpoint.ready || publish)
                });
                let a = ready.clone().flat_map(|endpoint| endpoint.a).copied();
                let aaaa = ready.flat_map(|endpoint| endpoint.aaaa).copied();
                (all(pack(a)), all(pack(aaaa)))
            }
            (v4, v6) => {
                let ips: Vec<_> = v4.into_iter().chain(v6).map(|(ip, _)| ip).collect();
                pack_both(&ips)
            }
        };
        let srv = Srv::Own(draft.ports.intern(ports));
        draft.put(Scope {
            prefix: cluster_prefix(exporter.id),
            kind: ScopeKind::Cluster {
                position: position as u16,
                hosts: false,
            },
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
            .filter(move |slice| slice.form == form);
        slices.flat_map(|slice| &slice.ports).collect::<Vec<_>>()
    };
    if exporter
        .slices
        .iter()
        .any(|slice| slice.form == SliceForm::ServiceIp)
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
        push_label(&mut prefix, label.as_bytes());
    }
    prefix
}

/// What a [`Draft`] has become.
struct Finished {
    root: Scope,
    below: Box<[Scope]>,
    ports: SmallVec<[PortList; 1]>,
    problems: Vec<Problem>,
}

/// Scopes under construction, with the checks that all kinds of services share.
pub(crate) struct Draft<'a> {
    key: &'a ServiceKey,
    /// Longest prefix that leaves the whole name within 255 octets in every zone.
    room: usize,
    /// In no order, and with names that are there twice.
    scopes: Vec<Scope>,
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
            scopes: Vec::new(),
            ports: PortLists::default(),
            problems: Vec::new(),
        }
    }

    /// Adds a scope unless its name is too long; says whether it fits.
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
        self.scopes.push(scope);
        true
    }

    fn problem(&mut self, field: &str, message: String) {
        self.problems.push(Problem {
            object: format!("service {}", self.key),
            field: field.to_owned(),
            message,
        });
    }

    /// Brings scopes in order. Of two with one name a host stays: the MCS API demands hosts, while names of clusters
    /// are ours.
    fn arrange(&mut self) {
        let is_host = |scope: &Scope| matches!(scope.kind, ScopeKind::Host { .. });
        self.scopes.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        self.scopes.dedup_by(|later, first| {
            let same = later.prefix == first.prefix;
            if same && is_host(later) {
                std::mem::swap(later, first);
            }
            same
        });
    }

    /// Names between a cluster id with dots and the service, and whether hosts stand below.
    fn mark_dotted(&mut self, id: &ClusterId, below: bool) {
        let prefix = cluster_prefix(id);
        let place = |scopes: &[Scope], prefix: &[u8]| {
            scopes.binary_search_by(|scope| (*scope.prefix).cmp(prefix))
        };
        // A cluster whose own name is too long stands above nothing.
        if !below && place(&self.scopes, &prefix).is_err() {
            return;
        }
        let mut rest = &*prefix;
        while !rest.is_empty() {
            match place(&self.scopes, rest) {
                Ok(at) => match &mut self.scopes[at].kind {
                    ScopeKind::Cluster { hosts, .. } | ScopeKind::Empty { hosts } => {
                        *hosts |= below;
                    }
                    ScopeKind::Service | ScopeKind::Host { .. } => {}
                },
                // Shorter than a name that fits.
                Err(at) => self.scopes.insert(
                    at,
                    Scope {
                        prefix: Octets::from_slice(rest),
                        kind: ScopeKind::Empty { hosts: below },
                        a: Addresses::None,
                        aaaa: Addresses::None,
                        srv: Srv::None,
                    },
                ),
            }
            rest = &rest[1 + usize::from(rest[0])..];
        }
    }

    fn finish(mut self, exporters: &[Exporter<'_>]) -> Finished {
        self.arrange();
        let mut has_hosts = vec![false; exporters.len()];
        for scope in &self.scopes {
            if let ScopeKind::Host { position, .. } = scope.kind {
                has_hosts[usize::from(position)] = true;
            }
        }
        for (exporter, has_hosts) in exporters.iter().zip(has_hosts) {
            self.mark_dotted(exporter.id, has_hosts);
        }
        let mut scopes = self.scopes.into_iter();
        let mut root = scopes
            .next()
            .expect("every kind of service has a name of its own, which comes first");
        let mut below: Box<[Scope]> = scopes.collect();
        headless::index_hosts(&mut root, &mut below, exporters.len());
        Finished {
            root,
            below,
            ports: self.ports.finish(),
            problems: self.problems,
        }
    }
}
