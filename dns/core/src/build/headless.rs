//! Headless services: every endpoint for itself.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::{Draft, Exporter, all, cluster_prefix, pack};
use crate::facts::{Endpoint, Port};
use crate::name::Label;
use crate::snapshot::{Addresses, Group, HostGroup, Octets, Scope, ScopeKind, Srv};
use crate::status::ClusterIndex;

pub(super) fn headless(draft: &mut Draft<'_>, exporters: &[Exporter<'_>]) {
    let mut owners: Owners = Owners::default();
    let mut groups = Vec::new();
    for (position, exporter) in exporters.iter().enumerate() {
        let mut hosts = Hosts::default();
        let mut addresses = Vec::new();
        // Names of ports stay while no endpoint is ready, like the service's own name.
        let mut port_lists = BTreeSet::new();
        for slice in slices(exporter) {
            let ports = draft.ports.intern(slice.ports);
            port_lists.insert(ports);
            for endpoint in slice.endpoints {
                for ip in &endpoint.addresses {
                    owners.add(*ip, exporter.index);
                    addresses.push(*ip);
                }
                for (name, alias, ips) in host_names(endpoint) {
                    hosts.add(draft, name, alias, ips, ports);
                }
            }
        }
        let position = position as u16;
        let cluster = cluster_prefix(exporter.id);
        port_lists.extend(hosts.put(draft, &cluster, position));
        let port_lists: Box<[u16]> = port_lists.into_iter().collect();
        // The hosts' places are known when all scopes are: see `index_hosts`.
        let group = || HostGroup {
            cluster: exporter.index,
            hosts: [u32::from(position)].into(),
            ports: port_lists.clone(),
        };
        draft.put(Scope {
            prefix: cluster,
            kind: ScopeKind::Cluster {
                position,
                hosts: false,
            },
            a: all(pack(&addresses, false)),
            aaaa: all(pack(&addresses, true)),
            srv: if port_lists.is_empty() {
                Srv::None
            } else {
                Srv::Hosts([group()].into())
            },
        });
        if !port_lists.is_empty() {
            groups.push(group());
        }
    }
    draft.put(Scope {
        prefix: Octets::new(),
        kind: ScopeKind::Service,
        a: owners.union(false),
        aaaa: owners.union(true),
        srv: if groups.is_empty() {
            Srv::None
        } else {
            Srv::Hosts(groups.into())
        },
    });
}

/// Replaces the position of a cluster, which [`headless`] left in a group, by the places of its hosts.
pub(super) fn index_hosts(root: &mut Scope, below: &mut [Scope]) {
    let mut places: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for (at, scope) in below.iter().enumerate() {
        if let ScopeKind::Host {
            position,
            alias: false,
        } = scope.kind
        {
            places
                .entry(u32::from(position))
                .or_default()
                .push(at as u32);
        }
    }
    for scope in below.iter_mut().chain([root]) {
        if let Srv::Hosts(groups) = &mut scope.srv {
            for group in groups {
                let position = group.hosts[0];
                group.hosts = places
                    .get(&position)
                    .map_or_else(Box::default, |places| places.as_slice().into());
            }
        }
    }
}

/// The part of a slice that answers.
struct Answering<'a> {
    ports: &'a [Port],
    endpoints: Vec<&'a Endpoint>,
}

/// The slices of a cluster that count, with the endpoints that answer: ready ones, or all where not-ready ones are
/// published.
fn slices<'a>(exporter: &Exporter<'a>) -> Vec<Answering<'a>> {
    let answering = |ports: &'a [Port], endpoints: &'a [Endpoint], publish: bool| Answering {
        ports,
        endpoints: endpoints
            .iter()
            .filter(|endpoint| (endpoint.ready || publish) && !endpoint.addresses.is_empty())
            .collect(),
    };
    let at_home = !exporter.at_home.is_empty();
    let mut publish_at_home = false;
    let mut slices = Vec::new();
    for (_, slice) in &exporter.slices {
        if at_home && slice.globalnet {
            publish_at_home |= slice.publish_not_ready;
        } else {
            slices.push(answering(
                &slice.ports,
                &slice.endpoints,
                slice.publish_not_ready,
            ));
        }
    }
    for slice in &exporter.at_home {
        slices.push(answering(&slice.ports, &slice.endpoints, publish_at_home));
    }
    slices
}

/// Names of an endpoint, whether each is an alias, and the addresses behind it.
fn host_names(endpoint: &Endpoint) -> Vec<(Label, bool, &[IpAddr])> {
    if let Some(hostname) = &endpoint.hostname {
        return vec![(hostname.clone(), false, &endpoint.addresses)];
    }
    let dashed = endpoint
        .addresses
        .iter()
        .filter_map(|ip| Some((dashed(*ip)?, false, std::slice::from_ref(ip))));
    let pod = endpoint
        .pod
        .iter()
        .map(|pod| (pod.clone(), true, &*endpoint.addresses));
    dashed.chain(pod).collect()
}

/// The system's name for an endpoint without one: its address with hyphens, as CoreDNS has it. A label
/// must not begin or end with a hyphen, hence the zeros.
fn dashed(ip: IpAddr) -> Option<Label> {
    let mut text = ip.to_string().replace(['.', ':'], "-");
    if text.starts_with('-') {
        text.insert(0, '0');
    }
    if text.ends_with('-') {
        text.push('0');
    }
    Label::new(&text)
}

/// Hosts of one cluster by name; endpoints of one name are merged.
#[derive(Default)]
struct Hosts(BTreeMap<Label, Host>);

struct Host {
    alias: bool,
    addresses: Vec<IpAddr>,
    ports: u16,
}

impl Hosts {
    fn add(
        &mut self,
        draft: &mut Draft<'_>,
        name: Label,
        alias: bool,
        addresses: &[IpAddr],
        ports: u16,
    ) {
        match self.0.get_mut(&name) {
            Some(host) => {
                host.alias &= alias;
                host.addresses.extend_from_slice(addresses);
                host.ports = draft.ports.union(host.ports, ports);
            }
            None => {
                self.0.insert(
                    name,
                    Host {
                        alias,
                        addresses: addresses.to_vec(),
                        ports,
                    },
                );
            }
        }
    }

    /// Adds a scope for each host; gives the port lists of those that can be targets.
    fn put(self, draft: &mut Draft<'_>, cluster: &[u8], position: u16) -> Box<[u16]> {
        let mut lists = BTreeSet::new();
        for (name, host) in self.0 {
            let mut prefix = Octets::with_capacity(name.as_bytes().len() + 1 + cluster.len());
            prefix.push(name.as_bytes().len() as u8);
            prefix.extend_from_slice(name.as_bytes());
            prefix.extend_from_slice(cluster);
            let fits = draft.put(Scope {
                prefix,
                kind: ScopeKind::Host {
                    position,
                    alias: host.alias,
                },
                a: all(pack(&host.addresses, false)),
                aaaa: all(pack(&host.addresses, true)),
                srv: Srv::Own(host.ports),
            });
            if fits && !host.alias {
                lists.insert(host.ports);
            }
        }
        lists.into_iter().collect()
    }
}

/// Which clusters have an address. Clusters with the same address range, and no Globalnet, may share one.
#[derive(Default)]
struct Owners {
    order: Vec<IpAddr>,
    clusters: HashMap<IpAddr, Vec<ClusterIndex>>,
}

impl Owners {
    fn add(&mut self, ip: IpAddr, cluster: ClusterIndex) {
        let clusters = self.clusters.entry(ip).or_default();
        if clusters.is_empty() {
            self.order.push(ip);
        }
        if clusters.last() != Some(&cluster) {
            clusters.push(cluster);
        }
    }

    fn union(&self, v6: bool) -> Addresses {
        let mut groups: Vec<(&[ClusterIndex], Vec<&IpAddr>)> = Vec::new();
        for ip in self.order.iter().filter(|ip| ip.is_ipv6() == v6) {
            let clusters = &*self.clusters[ip];
            match groups.iter_mut().rev().find(|(of, _)| *of == clusters) {
                Some((_, ips)) => ips.push(ip),
                None => groups.push((clusters, vec![ip])),
            }
        }
        if groups.is_empty() {
            return Addresses::None;
        }
        let group = |(clusters, ips): (&[ClusterIndex], Vec<&IpAddr>)| Group {
            clusters: clusters.into(),
            rdata: pack(ips, v6),
        };
        Addresses::Union(groups.into_iter().map(group).collect())
    }
}
