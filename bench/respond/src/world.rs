//! The services that are asked for.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use subm_dns_core::authority::{Authority, Zone};
use subm_dns_core::catalog::{Catalog, Settings};
use subm_dns_core::edns::CookieSecret;
use subm_dns_core::facts::{
    ClusterId, Endpoint, Fact, Gateway, Import, ImportForm, ObjectKey, Port, Protocol, ServiceKey,
    ServiceType, Slice, SliceForm,
};
use subm_dns_core::name::{Label, WireName};
use subm_dns_core::snapshot::Snapshot;
use subm_dns_core::status::ClusterStatus;

/// Services of each form.
pub(crate) const SERVICES: usize = 100;

pub(crate) struct World {
    pub(crate) authority: Authority,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) status: Arc<ClusterStatus>,
}

impl World {
    /// Per number: `vip` with a cluster set IP, `web` in two connected clusters, `three` and `fifty` headless.
    pub(crate) fn new() -> Self {
        let origin = WireName::parse("clusterset.local").expect("a name");
        let mut catalog = Catalog::new(Settings {
            longest_zone: origin.wire_len(),
            ..Settings::default()
        });
        catalog.apply(Fact::Gateway(
            ObjectKey::new("submariner-operator", "gw"),
            Some(Gateway {
                local_cluster: ClusterId::new("north"),
                active: true,
                updated_at: None,
                connections: vec![(cluster("east"), true), (cluster("west"), true)],
            }),
        ));
        for i in 0..SERVICES {
            let n = u32::try_from(i).expect("few services");
            let vip = IpAddr::V4(Ipv4Addr::from(0xf300_0000 + n));
            import(&mut catalog, "vip", i, ServiceType::ClusterSetIp, vec![vip]);
            import(&mut catalog, "web", i, ServiceType::ClusterSetIp, vec![]);
            for (id, base) in [("east", 0x0a00_0000), ("west", 0x0b00_0000)] {
                slice(&mut catalog, "web", i, id, SliceForm::ServiceIp, base, 1);
            }
            for (name, pods) in [("three", 3), ("fifty", 50)] {
                import(&mut catalog, name, i, ServiceType::Headless, vec![]);
                slice(
                    &mut catalog,
                    name,
                    i,
                    "east",
                    SliceForm::Backends,
                    0x0c00_0000,
                    pods,
                );
            }
        }
        let published = catalog.publish(1);
        let mut authority = Authority::new(vec![Zone::new(origin)]);
        authority.cookies = Some(CookieSecret::new([7; 16]));
        Self {
            authority,
            snapshot: published.snapshot,
            status: published.status,
        }
    }
}

fn cluster(id: &str) -> ClusterId {
    ClusterId::new(id).expect("a cluster id")
}

fn key(name: &str, i: usize) -> (String, String) {
    (format!("ns-{}", i % 10), format!("{name}-{i}"))
}

fn ports() -> Vec<Port> {
    vec![Port {
        name: Label::new("http"),
        protocol: Protocol::Tcp,
        number: 80,
    }]
}

fn import(catalog: &mut Catalog, name: &str, i: usize, kind: ServiceType, ips: Vec<IpAddr>) {
    let (namespace, name) = key(name, i);
    let import = Import {
        service: ServiceKey::new(&namespace, &name).expect("labels"),
        form: ImportForm::Aggregated,
        kind,
        ips,
        ports: ports(),
        weights: vec![],
    };
    catalog.apply(Fact::Import(
        ObjectKey::new(&namespace, &name),
        Some(import),
    ));
}

fn slice(
    catalog: &mut Catalog,
    name: &str,
    i: usize,
    id: &str,
    form: SliceForm,
    base: u32,
    pods: u32,
) {
    let (namespace, name) = key(name, i);
    let endpoints = (0..pods).map(|pod| Endpoint {
        addresses: vec![IpAddr::V4(Ipv4Addr::from(base + pod))],
        hostname: (form == SliceForm::Backends)
            .then(|| Label::new(&format!("pod-{pod}")))
            .flatten(),
        pod: None,
        ready: true,
    });
    let slice = Slice {
        service: ServiceKey::new(&namespace, &name).expect("labels"),
        cluster: cluster(id),
        form,
        publish_not_ready: false,
        globalnet: false,
        ports: ports(),
        endpoints: endpoints.collect(),
        triggered_at: None,
    };
    let object = ObjectKey::new(&namespace, &format!("{name}-{id}"));
    catalog.apply(Fact::Slice(object, Some(slice)));
}
