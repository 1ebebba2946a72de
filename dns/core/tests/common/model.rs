//! Random cluster sets.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use subm_dns_core::authority::{LostCluster, Zone};
use subm_dns_core::facts::{
    ClusterId, Endpoint, Fact, Gateway, ImportForm, ObjectKey, Port, Protocol, ServiceType, Slice,
    SliceForm,
};
use subm_dns_core::name::Label;

use crate::common::facts::{self, ImportFact, SliceFact, import, import_of, label, slice};
use crate::common::{self, cluster, ip, zone};

/// Ids that are parts of each other, and one that looks like a protocol.
const CLUSTERS: [&str; 6] = ["east", "west", "b", "a.b", "c.a.b", "tcp"];
const NAMESPACES: [&str; 3] = ["shop", "bank", "svc"];
const SERVICES: [&str; 4] = ["web", "db", "tcp", "shop"];
const ADDRESSES: [&str; 9] = [
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.1.1",
    "10.0.1.2",
    "2001:db8::1",
    "2001:db8::2",
    "::1",
    "fe80::",
];

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub facts: Vec<Fact>,
    pub setting: Option<ClusterId>,
    pub zones: Vec<Zone>,
}

pub(crate) fn model() -> impl Strategy<Value = Model> {
    let services = prop::collection::vec(service(), 1..4);
    (services, gateways(), namespaces(), setting(), zones()).prop_map(
        |(services, gateways, namespaces, (setting, property), zones)| {
            // One model per service: two would mix forms that no cluster writes together.
            let services: BTreeMap<_, Vec<Fact>> = services.into_iter().collect();
            let mut facts: Vec<Fact> = services.into_values().flatten().collect();
            facts.extend(gateways);
            facts.extend(namespaces);
            facts.push(Fact::ClusterProperty(property));
            Model {
                facts,
                setting,
                zones,
            }
        },
    )
}

fn id() -> impl Strategy<Value = &'static str> {
    select(&CLUSTERS[..])
}

fn address() -> impl Strategy<Value = std::net::IpAddr> {
    select(&ADDRESSES[..]).prop_map(ip)
}

fn setting() -> impl Strategy<Value = (Option<ClusterId>, Option<ClusterId>)> {
    let maybe = || prop::option::weighted(0.4, id().prop_map(cluster));
    (maybe(), maybe())
}

fn zones() -> impl Strategy<Value = Vec<Zone>> {
    let policy = select(vec![
        LostCluster::Drop,
        LostCluster::Keep,
        LostCluster::KeepLastResort,
    ]);
    let settings = (any::<bool>(), policy, select(vec![0, 5, 300, 3600]));
    let other = select(vec!["sub.clusterset.local", "example.org", "local"]);
    (settings.clone(), settings, other).prop_map(|(first, second, other)| {
        let with = |origin, (strict, lost_cluster, ttl)| Zone {
            strict,
            lost_cluster,
            ttl,
            ..zone(origin)
        };
        vec![with(common::ORIGIN, first), with(other, second)]
    })
}

fn namespaces() -> impl Strategy<Value = Vec<Fact>> {
    let names = select(vec!["shop", "bank", "empty"]);
    let fact = (names, prop::bool::weighted(0.8));
    prop::collection::vec(fact.prop_map(|(name, on)| facts::namespace(name, on)), 0..4)
}

fn gateways() -> impl Strategy<Value = Vec<Fact>> {
    let connections = prop::collection::btree_map(id(), any::<bool>(), 0..6);
    let gateway = (id(), prop::bool::weighted(0.8), connections);
    prop::collection::vec(gateway, 0..3).prop_map(|gateways| {
        let fact = |(i, (local, active, connections)): (usize, (&str, bool, _))| {
            let connections: BTreeMap<&str, bool> = connections;
            let connections = connections.into_iter();
            let gateway = Gateway {
                local_cluster: Some(cluster(local)),
                active,
                updated_at: Some(1_700_000_000 + i as u64),
                connections: connections.map(|(id, up)| (cluster(id), up)).collect(),
            };
            Fact::Gateway(
                ObjectKey::new("operator", &format!("gw-{i}")),
                Some(gateway),
            )
        };
        gateways.into_iter().enumerate().map(fact).collect()
    })
}

fn port() -> impl Strategy<Value = Port> {
    let name = prop::option::weighted(0.8, select(vec!["http", "dns", "tcp"]));
    let protocol = select(vec![Protocol::Tcp, Protocol::Udp, Protocol::Sctp]);
    (name, protocol, 80..84_u16).prop_map(|(name, protocol, number)| Port {
        name: name.and_then(Label::new),
        protocol,
        number,
    })
}

fn ports() -> impl Strategy<Value = Vec<Port>> {
    prop::collection::vec(port(), 0..4)
}

fn endpoint() -> impl Strategy<Value = Endpoint> {
    let hostname = prop::option::weighted(0.4, select(vec!["host-0", "host-1", "http", "a"]));
    let pod = prop::option::weighted(0.4, select(vec!["pod-0", "pod-1"]));
    let addresses = prop::collection::vec(address(), 0..3);
    (addresses, hostname, pod, prop::bool::weighted(0.8)).prop_map(
        |(addresses, hostname, pod, ready)| Endpoint {
            addresses,
            hostname: hostname.map(label),
            pod: pod.map(label),
            ready,
        },
    )
}

/// What one cluster has of a service.
#[derive(Clone, Debug)]
struct Export {
    id: &'static str,
    style: u8,
    ports: Vec<Port>,
    endpoints: Vec<Vec<Endpoint>>,
    ips: Vec<std::net::IpAddr>,
    publish_not_ready: bool,
    globalnet: bool,
    weights: Vec<(&'static str, u16)>,
}

fn weights() -> impl Strategy<Value = Vec<(&'static str, u16)>> {
    prop::collection::btree_map(id(), 0..4_u16, 0..4).prop_map(|map| map.into_iter().collect())
}

fn export() -> impl Strategy<Value = Export> {
    let endpoints = prop::collection::vec(prop::collection::vec(endpoint(), 0..4), 1..3);
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.3));
    let ips = prop::collection::vec(address(), 0..3);
    (id(), 0..7_u8, ports(), endpoints, ips, flags, weights()).prop_map(
        |(id, style, ports, endpoints, ips, (publish_not_ready, globalnet), weights)| Export {
            id,
            style,
            ports,
            endpoints,
            ips,
            publish_not_ready,
            globalnet,
            weights,
        },
    )
}

/// All facts of one service.
fn service() -> impl Strategy<Value = ((&'static str, &'static str), Vec<Fact>)> {
    let names = (select(&NAMESPACES[..]), select(&SERVICES[..]));
    let aggregated = prop::bool::weighted(0.8);
    let ips = prop::collection::vec(address(), 0..3);
    let ips = prop_oneof![Just(Vec::new()), ips];
    let own = prop::collection::vec(endpoint(), 0..3);
    let exports = prop::collection::vec(export(), 0..4);
    (
        names,
        any::<bool>(),
        aggregated,
        ips,
        ports(),
        weights(),
        exports,
        own,
    )
        .prop_map(
            |((namespace, name), headless, aggregated, ips, ports, weights, exports, own)| {
                let mut facts = Vec::new();
                if aggregated {
                    let mut import = import(namespace, name);
                    fill(&mut import, headless, ips, ports, &weights);
                    facts.push(import.put());
                }
                for (i, export) in exports.iter().enumerate() {
                    if exports[..i].iter().all(|earlier| earlier.id != export.id) {
                        facts.extend(export.facts(namespace, name, headless));
                    }
                }
                if !own.is_empty() {
                    let ports = [facts::tcp("http", 8080)];
                    facts.push(facts::local_slice(namespace, name, &ports, own));
                }
                ((namespace, name), facts)
            },
        )
}

fn fill(
    import: &mut ImportFact,
    headless: bool,
    ips: Vec<std::net::IpAddr>,
    ports: Vec<Port>,
    weights: &[(&str, u16)],
) {
    import.1.kind = if headless {
        ServiceType::Headless
    } else {
        ServiceType::ClusterSetIp
    };
    import.1.ips = ips;
    import.1.ports = ports;
    import.1.weights = weights.iter().map(|(id, w)| (cluster(id), *w)).collect();
}

impl Export {
    fn facts(&self, namespace: &str, name: &str, headless: bool) -> Vec<Fact> {
        use SliceForm::{Backends, Legacy, ServiceIp};
        let newer = if headless { Backends } else { ServiceIp };
        let (forms, has_import): (&[SliceForm], bool) = match self.style {
            0 | 1 => (&[newer], false),
            2 => (&[Backends], false),
            3 => (&[newer, Legacy], false),
            4 => (&[Legacy], true),
            5 => (&[newer], true),
            _ => (&[], true),
        };
        let mut facts = Vec::new();
        for form in forms {
            for (i, endpoints) in self.endpoints.iter().enumerate() {
                facts.push(self.slice(namespace, name, *form, i, endpoints, headless));
            }
        }
        if has_import {
            let mut import = import_of(namespace, name, self.id);
            let ports = self.ports.clone();
            let ImportForm::PerCluster(_) = import.1.form else {
                unreachable!()
            };
            fill(
                &mut import,
                headless,
                self.ips.clone(),
                ports,
                &self.weights,
            );
            facts.push(import.put());
        }
        facts
    }

    fn slice(
        &self,
        namespace: &str,
        name: &str,
        form: SliceForm,
        i: usize,
        endpoints: &[Endpoint],
        headless: bool,
    ) -> Fact {
        let object = format!("{name}-{}-{form:?}-{i}", self.id);
        let SliceFact(key, slice) = slice(namespace, name, self.id, form, &object);
        let slice = Slice {
            ports: self.ports.clone(),
            endpoints: endpoints.to_vec(),
            publish_not_ready: headless && self.publish_not_ready,
            globalnet: self.globalnet,
            ..slice
        };
        Fact::Slice(key, Some(slice))
    }
}
