//! The names of one service.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use subm_dns_core::authority::LostCluster;
use subm_dns_core::facts::{
    ClusterId, Endpoint, Import, ImportForm, Port, ServiceKey, ServiceType, Slice, SliceForm,
};

use super::{Choice, Context, Node};

/// A name that addresses stand at.
#[derive(Default)]
struct Scope {
    a: Choice,
    aaaa: Choice,
    /// Every port and target that its SRV records could have, whether or not they are given now.
    ports: BTreeSet<(Port, String)>,
    /// Targets that are given now.
    given: BTreeSet<(Port, String)>,
}

type Scopes = BTreeMap<String, Scope>;

/// A backend of a headless service.
struct Backend {
    endpoint: Endpoint,
    ports: Vec<Port>,
}

struct Cluster {
    id: ClusterId,
    connected: bool,
    slices: Vec<Slice>,
    import: Option<Import>,
    weight: u16,
    /// Ready endpoints with the ports of their slices.
    backends: Vec<Backend>,
}

impl Cluster {
    fn forms(&self, form: SliceForm) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| slice.form == form)
    }

    /// The service IP of a family and whether it is healthy.
    fn service_ip(&self, v4: bool) -> Option<(IpAddr, bool)> {
        for slice in self.forms(SliceForm::ServiceIp) {
            for endpoint in &slice.endpoints {
                if let Some(ip) = endpoint.addresses.iter().find(|ip| ip.is_ipv4() == v4) {
                    return Some((*ip, endpoint.ready));
                }
            }
        }
        let ips = self.import.iter().flat_map(|import| &import.ips);
        let ip = *ips.into_iter().find(|ip| ip.is_ipv4() == v4)?;
        let mut legacy = self.forms(SliceForm::Legacy).peekable();
        let healthy = legacy.peek().is_none()
            || legacy.any(|slice| slice.endpoints.iter().any(|endpoint| endpoint.ready));
        Some((ip, healthy))
    }

    fn backend_addresses(&self, v4: bool) -> BTreeSet<IpAddr> {
        addresses(self.backends.iter(), v4)
    }

    /// Its slices' or per-cluster import's.
    fn ports(&self) -> BTreeSet<Port> {
        let slices = self.slices.iter().flat_map(|slice| slice.ports.clone());
        let import = self.import.iter().flat_map(|import| import.ports.clone());
        if self.slices.is_empty() {
            import.collect()
        } else {
            slices.collect()
        }
    }
}

fn addresses<'a>(backends: impl Iterator<Item = &'a Backend>, v4: bool) -> BTreeSet<IpAddr> {
    backends
        .flat_map(|backend| backend.endpoint.addresses.clone())
        .filter(|ip| ip.is_ipv4() == v4)
        .collect()
}

/// Names and what they answer.
pub(super) fn names(context: &Context<'_>, key: &ServiceKey) -> BTreeMap<String, Node> {
    let imports: Vec<&Import> = context
        .view
        .imports
        .values()
        .filter(|import| import.service == *key)
        .collect();
    let aggregated = imports
        .iter()
        .copied()
        .find(|import| import.form == ImportForm::Aggregated);
    let per_cluster: BTreeMap<&ClusterId, &Import> = imports
        .iter()
        .filter_map(|import| match &import.form {
            ImportForm::PerCluster(id) => Some((id, *import)),
            ImportForm::Aggregated => None,
        })
        .collect();
    let kind = aggregated
        .or_else(|| per_cluster.values().next().copied())
        .expect("an import")
        .kind;
    let clusters = clusters(context, key, aggregated, &per_cluster, kind);
    let name = format!("{}.{}.svc.{}", key.name, key.namespace, context.origin);
    let scopes = match kind {
        ServiceType::ClusterSetIp => {
            let ports = if let Some(import) = aggregated {
                import.ports.iter().cloned().collect()
            } else {
                let imports = per_cluster.values();
                imports.flat_map(|import| import.ports.clone()).collect()
            };
            let ips = aggregated.map_or(&[][..], |import| &import.ips);
            cluster_set_ip(context, &name, &clusters, ips, ports)
        }
        ServiceType::Headless => headless(context, &name, &clusters),
    };
    with_port_names(scopes)
}

/// Exporting clusters, in order of id.
fn clusters(
    context: &Context<'_>,
    key: &ServiceKey,
    aggregated: Option<&Import>,
    per_cluster: &BTreeMap<&ClusterId, &Import>,
    kind: ServiceType,
) -> Vec<Cluster> {
    let slices = || {
        context
            .view
            .slices
            .values()
            .filter(|slice| slice.service == *key)
    };
    let mut ids: BTreeSet<&ClusterId> = slices().map(|slice| &slice.cluster).collect();
    ids.extend(per_cluster.keys());
    let cluster = |id: &ClusterId| {
        let of_cluster = || slices().filter(|slice| slice.cluster == *id);
        let newer = of_cluster().any(|slice| slice.form != SliceForm::Legacy);
        let counted: Vec<Slice> = of_cluster()
            .filter(|slice| slice.form != SliceForm::Legacy || !newer)
            .cloned()
            .collect();
        let import = per_cluster.get(id).map(|import| (*import).clone());
        // The exporter in the aggregated import, else the importer in the exporter's own.
        let exporter = weight_of(aggregated, Some(id));
        let weight = exporter.or_else(|| weight_of(import.as_ref(), context.local));
        let slices = at_home(context, key, id, kind, counted);
        Cluster {
            id: id.clone(),
            connected: context.is_connected(id),
            import,
            weight: weight.unwrap_or(1),
            backends: backends(&slices, kind),
            slices,
        }
    };
    ids.into_iter().map(cluster).collect()
}

fn weight_of(import: Option<&Import>, id: Option<&ClusterId>) -> Option<u16> {
    let mut weights = import?.weights.iter();
    weights
        .find(|(named, _)| Some(named) == id)
        .map(|(_, weight)| *weight)
}

/// Globalnet: at home Kubernetes' own slices take the place of headless slices with global IPs.
fn at_home(
    context: &Context<'_>,
    key: &ServiceKey,
    id: &ClusterId,
    kind: ServiceType,
    slices: Vec<Slice>,
) -> Vec<Slice> {
    let global = |slice: &&Slice| slice.globalnet;
    let Some(model) = slices.iter().find(global).cloned() else {
        return slices;
    };
    if kind != ServiceType::Headless || context.local != Some(id) {
        return slices;
    }
    let publish_not_ready = slices
        .iter()
        .filter(global)
        .any(|slice| slice.publish_not_ready);
    let own = context.view.local_slices.values();
    let own: Vec<Slice> = own
        .filter(|own| own.service == *key)
        .map(|own| Slice {
            ports: own.ports.clone(),
            endpoints: own.endpoints.clone(),
            publish_not_ready,
            ..model.clone()
        })
        .collect();
    if own.is_empty() {
        return slices;
    }
    let kept = slices.iter().filter(|slice| !slice.globalnet).cloned();
    kept.chain(own).collect()
}

fn backends(slices: &[Slice], kind: ServiceType) -> Vec<Backend> {
    let mut backends = Vec::new();
    for slice in slices {
        let all = slice.publish_not_ready && kind == ServiceType::Headless;
        for endpoint in &slice.endpoints {
            if endpoint.ready || all {
                backends.push(Backend {
                    endpoint: endpoint.clone(),
                    ports: slice.ports.clone(),
                });
            }
        }
    }
    backends
}

/// Those of `clusters` that are available where an answer from `answers` would otherwise be empty.
fn available<'a>(
    context: &Context<'_>,
    clusters: &[&'a Cluster],
    answers: impl Fn(&Cluster) -> bool,
) -> Vec<&'a Cluster> {
    let connected: Vec<_> = clusters.iter().copied().filter(|c| c.connected).collect();
    let empty = !connected.iter().any(|cluster| answers(cluster));
    match context.policy {
        LostCluster::Keep => clusters.to_vec(),
        LostCluster::KeepLastResort if empty => clusters.to_vec(),
        LostCluster::Drop | LostCluster::KeepLastResort => connected,
    }
}

fn cluster_set_ip(
    context: &Context<'_>,
    name: &str,
    clusters: &[Cluster],
    ips: &[IpAddr],
    mut ports: BTreeSet<Port>,
) -> Scopes {
    let mut scopes = Scopes::new();
    if ports.is_empty() {
        ports = clusters.iter().flat_map(Cluster::ports).collect();
    }
    let vip = |v4| ips.iter().copied().filter(move |ip| ip.is_ipv4() == v4);
    let (a, aaaa) = if ips.is_empty() {
        (one(context, clusters, true), one(context, clusters, false))
    } else {
        (
            Choice::All(vip(true).collect()),
            Choice::All(vip(false).collect()),
        )
    };
    scopes.insert(name.to_owned(), self_target(name, a, aaaa, ports));
    for cluster in clusters.iter().filter(|_| !context.strict) {
        let scope_name = format!("{}.{name}", cluster.id);
        let has_ip = [true, false]
            .iter()
            .any(|v4| cluster.service_ip(*v4).is_some());
        let only_backends = !has_ip && cluster.slices.iter().all(|s| s.form == SliceForm::Backends);
        let addresses = |v4| {
            if only_backends {
                Choice::All(cluster.backend_addresses(v4))
            } else {
                Choice::All(
                    cluster
                        .service_ip(v4)
                        .into_iter()
                        .map(|(ip, _)| ip)
                        .collect(),
                )
            }
        };
        let scope = self_target(
            &scope_name,
            addresses(true),
            addresses(false),
            cluster.ports(),
        );
        scopes.insert(scope_name, scope);
    }
    scopes
}

/// A scope whose SRV records point at itself while it has an address.
fn self_target(name: &str, a: Choice, aaaa: Choice, ports: BTreeSet<Port>) -> Scope {
    let ports: BTreeSet<_> = ports
        .into_iter()
        .map(|port| (port, name.to_owned()))
        .collect();
    let given = if a.is_empty() && aaaa.is_empty() {
        BTreeSet::new()
    } else {
        ports.clone()
    };
    Scope {
        a,
        aaaa,
        ports,
        given,
    }
}

/// One cluster's service IP at a time.
fn one(context: &Context<'_>, clusters: &[Cluster], v4: bool) -> Choice {
    let usable = |cluster: &Cluster| {
        let healthy = cluster.service_ip(v4).is_some_and(|(_, healthy)| healthy);
        healthy && cluster.weight > 0
    };
    let entry = |cluster: &Cluster| {
        let (ip, _) = cluster.service_ip(v4).expect("usable");
        (ip, cluster.weight)
    };
    let mut local = clusters
        .iter()
        .filter(|cluster| Some(&cluster.id) == context.local);
    if let Some(local) = local.next().filter(|local| usable(local)) {
        return Choice::One(vec![entry(local)]);
    }
    let all: Vec<&Cluster> = clusters.iter().collect();
    let available = available(context, &all, usable);
    let usable = available.into_iter().filter(|cluster| usable(cluster));
    Choice::One(usable.map(entry).collect())
}

/// The names of an endpoint's addresses: hostname, else one per address.
fn hosts(endpoint: &Endpoint) -> Vec<(String, Vec<IpAddr>)> {
    match &endpoint.hostname {
        _ if endpoint.addresses.is_empty() => Vec::new(),
        Some(hostname) => vec![(hostname.to_string(), endpoint.addresses.clone())],
        None => endpoint
            .addresses
            .iter()
            .map(|ip| (dashed(*ip), vec![*ip]))
            .collect(),
    }
}

pub fn dashed(ip: IpAddr) -> String {
    let mut label = ip.to_string().replace(['.', ':'], "-");
    if label.starts_with('-') {
        label.insert(0, '0');
    }
    if label.ends_with('-') {
        label.push('0');
    }
    label
}

fn headless(context: &Context<'_>, name: &str, clusters: &[Cluster]) -> Scopes {
    let mut scopes = Scopes::new();
    for cluster in clusters.iter().filter(|_| !context.strict) {
        scopes.insert(
            format!("{}.{name}", cluster.id),
            cluster_scope(name, cluster),
        );
    }
    for cluster in clusters {
        for (host, scope) in host_scopes(name, cluster) {
            scopes.insert(host, scope);
        }
    }
    let all: Vec<&Cluster> = clusters.iter().collect();
    let mut service = Scope::default();
    for v4 in [true, false] {
        let has = |cluster: &Cluster| !cluster.backend_addresses(v4).is_empty();
        let available = available(context, &all, has);
        let union = Choice::All(
            available
                .iter()
                .flat_map(|c| c.backend_addresses(v4))
                .collect(),
        );
        for cluster in available {
            let given = targets(name, cluster, |ip| ip.is_ipv4() == v4);
            service.given.extend(given);
        }
        if v4 {
            service.a = union;
        } else {
            service.aaaa = union;
        }
    }
    for cluster in clusters {
        service.ports.extend(slice_ports(name, cluster));
    }
    scopes.insert(name.to_owned(), service);
    scopes
}

/// Ports that have names whether or not there are endpoints behind them.
fn slice_ports(name: &str, cluster: &Cluster) -> BTreeSet<(Port, String)> {
    let ports = cluster.slices.iter().flat_map(|slice| slice.ports.clone());
    ports.map(|port| (port, name.to_owned())).collect()
}

/// Ports and hosts of those endpoints of a cluster that have an address that `given` takes.
fn targets(
    name: &str,
    cluster: &Cluster,
    given: impl Fn(&IpAddr) -> bool,
) -> BTreeSet<(Port, String)> {
    let mut targets = BTreeSet::new();
    for backend in &cluster.backends {
        for (host, addresses) in hosts(&backend.endpoint) {
            if addresses.iter().any(&given) {
                let target = format!("{host}.{}.{name}", cluster.id);
                let ports = backend.ports.iter().cloned();
                targets.extend(ports.map(|port| (port, target.clone())));
            }
        }
    }
    targets
}

fn cluster_scope(name: &str, cluster: &Cluster) -> Scope {
    Scope {
        a: Choice::All(cluster.backend_addresses(true)),
        aaaa: Choice::All(cluster.backend_addresses(false)),
        ports: slice_ports(name, cluster),
        given: targets(name, cluster, |_| true),
    }
}

fn host_scopes(name: &str, cluster: &Cluster) -> Scopes {
    let mut scopes = Scopes::new();
    let mut add = |host: &str, addresses: &[IpAddr], ports: &[Port]| {
        let scope_name = format!("{host}.{}.{name}", cluster.id);
        let scope = scopes.entry(scope_name.clone()).or_default();
        for ip in addresses {
            let family = if ip.is_ipv4() {
                &mut scope.a
            } else {
                &mut scope.aaaa
            };
            if let Choice::All(all) = family {
                all.insert(*ip);
            }
        }
        for port in ports {
            scope.ports.insert((port.clone(), scope_name.clone()));
            scope.given.insert((port.clone(), scope_name.clone()));
        }
    };
    for backend in &cluster.backends {
        let endpoint = &backend.endpoint;
        for (host, addresses) in hosts(endpoint) {
            add(&host, &addresses, &backend.ports);
        }
        let alias = endpoint
            .pod
            .as_ref()
            .filter(|_| endpoint.hostname.is_none());
        if let Some(pod) = alias.filter(|_| !endpoint.addresses.is_empty()) {
            add(pod.as_str(), &endpoint.addresses, &backend.ports);
        }
    }
    scopes
}

/// Adds `_port._proto.` and its forms without underscores in front of every scope.
fn with_port_names(scopes: Scopes) -> BTreeMap<String, Node> {
    let mut nodes = BTreeMap::new();
    let records = |some: &BTreeSet<(Port, String)>| -> BTreeSet<(u16, String)> {
        some.iter()
            .map(|(port, target)| (port.number, target.clone()))
            .collect()
    };
    for (name, scope) in &scopes {
        for (port, _) in &scope.ports {
            let Some(label) = &port.name else { continue };
            let matching = |(other, _): &&(Port, String)| {
                other.name == port.name && other.protocol == port.protocol
            };
            let given = scope.given.iter().filter(matching).cloned().collect();
            let protocol = port.protocol.label();
            for (before_port, before_protocol) in [("_", "_"), ("_", ""), ("", "_"), ("", "")] {
                let owner = format!("{before_port}{label}.{before_protocol}{protocol}.{name}");
                if !scopes.contains_key(&owner) {
                    let node = Node {
                        srv: records(&given),
                        ..Node::default()
                    };
                    nodes.insert(owner, node);
                }
            }
        }
    }
    for (name, scope) in scopes {
        let srv = records(&scope.given);
        let node = Node {
            a: scope.a,
            aaaa: scope.aaaa,
            srv,
            ..Node::default()
        };
        nodes.insert(name, node);
    }
    nodes
}
