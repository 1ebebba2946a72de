//! Headless services: every endpoint for itself.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::Range;

use foldhash::HashMap;

use super::{Draft, Exporter, all, cluster_prefix, pack};
use crate::packed::{EndpointView, SliceView};
use crate::snapshot::{Addresses, Group, HostGroup, Octets, Scope, ScopeKind, Srv};
use crate::status::ClusterIndex;

pub(super) fn headless(draft: &mut Draft<'_>, exporters: &[Exporter<'_>]) {
    let mut a = Union::<4>::default();
    let mut aaaa = Union::<16>::default();
    let mut groups = Vec::new();
    for (position, exporter) in exporters.iter().enumerate() {
        let mut hosts = Hosts::default();
        let (mut own_a, mut own_aaaa) = (Octets::new(), Octets::new());
        // Names of ports stay while no endpoint is ready, like the service's own name.
        let mut port_lists = BTreeSet::new();
        let slices = slices(exporter);
        let endpoints: usize = slices.iter().map(|of| of.slice.endpoints.len()).sum();
        hosts.reserve(endpoints);
        a.reserve(endpoints);
        for slice in slices {
            let ports = draft.ports.intern(&slice.slice.ports);
            port_lists.insert(ports);
            for endpoint in slice.endpoints() {
                a.add(endpoint.a, exporter.index, &mut own_a);
                aaaa.add(endpoint.aaaa, exporter.index, &mut own_aaaa);
                hosts.add(&endpoint, ports);
            }
        }
        let position = position as u16;
        let cluster = cluster_prefix(exporter.id);
        hosts.put(draft, &cluster, position, &mut port_lists);
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
            a: all(own_a),
            aaaa: all(own_aaaa),
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
        a: a.finish(),
        aaaa: aaaa.finish(),
        srv: if groups.is_empty() {
            Srv::None
        } else {
            Srv::Hosts(groups.into())
        },
    });
}

/// Replaces the position of a cluster, which [`headless`] left in a group, by the places of its hosts.
pub(super) fn index_hosts(root: &mut Scope, below: &mut [Scope], clusters: usize) {
    let mut places: Vec<Vec<u32>> = vec![Vec::new(); clusters];
    for (at, scope) in below.iter().enumerate() {
        if let ScopeKind::Host {
            position,
            alias: false,
        } = scope.kind
        {
            places[usize::from(position)].push(at as u32);
        }
    }
    for scope in below.iter_mut().chain([root]) {
        if let Srv::Hosts(groups) = &mut scope.srv {
            for group in groups {
                group.hosts = places[group.hosts[0] as usize].as_slice().into();
            }
        }
    }
}

/// A slice that counts, and whether its endpoints answer while they are not ready.
struct Answering<'a> {
    slice: &'a SliceView<'a>,
    publish: bool,
}

impl<'a> Answering<'a> {
    /// The endpoints that answer.
    fn endpoints(&self) -> impl Iterator<Item = EndpointView<'a>> {
        let publish = self.publish;
        let endpoints = self.slice.endpoints.clone();
        endpoints.filter(move |endpoint| (endpoint.ready || publish) && endpoint.len() > 0)
    }
}

/// The slices of a cluster that count.
fn slices<'a>(exporter: &Exporter<'a>) -> Vec<Answering<'a>> {
    let answering = |slice, publish| Answering { slice, publish };
    let at_home = !exporter.at_home.is_empty();
    let mut publish_at_home = false;
    let mut slices = Vec::new();
    for slice in &exporter.slices {
        if at_home && slice.globalnet {
            publish_at_home |= slice.publish_not_ready;
        } else {
            slices.push(answering(slice, slice.publish_not_ready));
        }
    }
    for slice in exporter.at_home {
        slices.push(answering(slice, publish_at_home));
    }
    slices
}

/// Hosts of one cluster. Their names stand in one buffer, as labels in wire form.
#[derive(Default)]
struct Hosts<'a> {
    names: Vec<u8>,
    hosts: Vec<Host<'a>>,
}

struct Host<'a> {
    name: Range<u32>,
    alias: bool,
    ports: u16,
    a: &'a [[u8; 4]],
    aaaa: &'a [[u8; 16]],
}

impl<'a> Hosts<'a> {
    /// The names of an endpoint: its hostname, else one for each address, and its pod's as an alias.
    fn add(&mut self, endpoint: &EndpointView<'a>, ports: u16) {
        if let Some(hostname) = endpoint.hostname {
            let name = self.push_name(|names| names.extend_from_slice(hostname.as_bytes()));
            return self.push(name, false, ports, endpoint.a, endpoint.aaaa);
        }
        for ip in endpoint.a.chunks(1) {
            let name = self.push_name(|names| push_dashed(names, ip[0].into()));
            self.push(name, false, ports, ip, &[]);
        }
        for ip in endpoint.aaaa.chunks(1) {
            let name = self.push_name(|names| push_dashed(names, ip[0].into()));
            self.push(name, false, ports, &[], ip);
        }
        if let Some(pod) = endpoint.pod {
            let name = self.push_name(|names| names.extend_from_slice(pod.as_bytes()));
            self.push(name, true, ports, endpoint.a, endpoint.aaaa);
        }
    }

    fn reserve(&mut self, hosts: usize) {
        self.hosts.reserve(hosts);
        self.names.reserve(hosts * 16);
    }

    fn push(
        &mut self,
        name: Range<u32>,
        alias: bool,
        ports: u16,
        a: &'a [[u8; 4]],
        aaaa: &'a [[u8; 16]],
    ) {
        self.hosts.push(Host {
            name,
            alias,
            ports,
            a,
            aaaa,
        });
    }

    fn push_name(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range<u32> {
        let start = self.names.len();
        self.names.push(0);
        write(&mut self.names);
        self.names[start] = (self.names.len() - start - 1) as u8;
        start as u32..self.names.len() as u32
    }

    /// Adds a scope for each name, and the port lists of those that can be targets to `lists`.
    fn put(self, draft: &mut Draft<'_>, cluster: &[u8], position: u16, lists: &mut BTreeSet<u16>) {
        let name = |host: &Host<'_>| &self.names[host.name.start as usize..host.name.end as usize];
        let mut order: Vec<_> = self
            .hosts
            .iter()
            .map(|host| (start(name(host)), host))
            .collect();
        // Stable: addresses of a name that several endpoints have keep their order.
        order.sort_by(|(a, a_host), (b, b_host)| {
            a.cmp(b).then_with(|| name(a_host).cmp(name(b_host)))
        });
        for same in
            order.chunk_by(|(a, a_host), (b, b_host)| a == b && name(a_host) == name(b_host))
        {
            let [(_, first), others @ ..] = same else {
                continue;
            };
            let alias = same.iter().all(|(_, host)| host.alias);
            let ports = others.iter().fold(first.ports, |all, (_, host)| {
                draft.ports.union(all, host.ports)
            });
            let label = name(first);
            let mut prefix = Octets::with_capacity(label.len() + cluster.len());
            prefix.extend_from_slice(label);
            prefix.extend_from_slice(cluster);
            let fits = draft.put(Scope {
                prefix,
                kind: ScopeKind::Host { position, alias },
                a: all(pack(same.iter().flat_map(|(_, host)| host.a).copied())),
                aaaa: all(pack(same.iter().flat_map(|(_, host)| host.aaaa).copied())),
                srv: Srv::Own(ports),
            });
            if fits && !alias && lists.last() != Some(&ports) {
                lists.insert(ports);
            }
        }
    }
}

/// The first octets of a name as a number, in the same order: compared much faster, and mostly enough.
fn start(name: &[u8]) -> u128 {
    let mut octets = [0; 16];
    let len = name.len().min(octets.len());
    octets[..len].copy_from_slice(&name[..len]);
    u128::from_be_bytes(octets)
}

/// The system's name for an endpoint without one: its address with hyphens, as CoreDNS has it. A label
/// must not begin or end with a hyphen, hence the zeros.
fn push_dashed(names: &mut Vec<u8>, ip: IpAddr) {
    if let IpAddr::V4(ip) = ip {
        let [first, others @ ..] = ip.octets();
        push_decimal(names, first);
        for octet in others {
            names.push(b'-');
            push_decimal(names, octet);
        }
        return;
    }
    let text = ip.to_string();
    if text.starts_with(':') {
        names.push(b'0');
    }
    names.extend(text.bytes().map(|byte| match byte {
        b'.' | b':' => b'-',
        other => other,
    }));
    if text.ends_with(':') {
        names.push(b'0');
    }
}

fn push_decimal(names: &mut Vec<u8>, octet: u8) {
    if octet >= 100 {
        names.push(b'0' + octet / 100);
    }
    if octet >= 10 {
        names.push(b'0' + octet / 10 % 10);
    }
    names.push(b'0' + octet % 10);
}

/// Addresses of all clusters. Clusters with the same address range, and no Globalnet, may share one.
#[derive(Default)]
struct Union<const N: usize> {
    /// Each address with a number of `sets`, in the order in which they were met.
    addresses: Vec<([u8; N], usize)>,
    places: HashMap<[u8; N], usize>,
    sets: Vec<Vec<ClusterIndex>>,
}

impl<const N: usize> Union<N> {
    fn reserve(&mut self, addresses: usize) {
        self.addresses.reserve(addresses);
        self.places.reserve(addresses);
    }

    /// Adds what a cluster has, and to `own` what is new of it. Clusters come one after the other.
    fn add(&mut self, addresses: &[[u8; N]], cluster: ClusterIndex, own: &mut Octets) {
        let mut alone = None;
        for address in addresses {
            let next = self.addresses.len();
            let place = *self.places.entry(*address).or_insert(next);
            if place == next {
                let set = *alone.get_or_insert_with(|| self.number_of(&[cluster]));
                self.addresses.push((*address, set));
            } else {
                let others = &*self.sets[self.addresses[place].1];
                if others.last() == Some(&cluster) {
                    continue;
                }
                let set = [others, &[cluster]].concat();
                self.addresses[place].1 = self.number_of(&set);
            }
            own.extend_from_slice(address);
        }
    }

    fn number_of(&mut self, set: &[ClusterIndex]) -> usize {
        // The last one made is the one most asked for.
        let found = self.sets.iter().rposition(|have| have == set);
        found.unwrap_or_else(|| {
            self.sets.push(set.to_vec());
            self.sets.len() - 1
        })
    }

    fn finish(self) -> Addresses {
        let mut groups: Vec<(usize, Octets)> = Vec::new();
        for (address, set) in &self.addresses {
            match groups.iter_mut().rev().find(|(of, _)| of == set) {
                Some((_, rdata)) => rdata.extend_from_slice(address),
                None => groups.push((*set, Octets::from_slice(address))),
            }
        }
        if groups.is_empty() {
            return Addresses::None;
        }
        let group = |(set, mut rdata): (usize, Octets)| {
            rdata.shrink_to_fit();
            Group {
                clusters: self.sets[set].as_slice().into(),
                rdata,
            }
        };
        Addresses::Union(groups.into_iter().map(group).collect())
    }
}
