//! Any bytes as a query: no panic, no answer to an answer, no reply above the limit.
#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use subm_dns_core::authority::{Authority, Zone};
use subm_dns_core::catalog::{Catalog, Published, Settings};
use subm_dns_core::edns::CookieSecret;
use subm_dns_core::facts::{
    ClusterId, Endpoint, Fact, Import, ImportForm, ObjectKey, Port, Protocol, ServiceKey, ServiceType, Slice, SliceForm,
};
use subm_dns_core::ledger::Ledger;
use subm_dns_core::name::{Label, WireName};
use subm_dns_core::respond::{Ask, Outcome, Transport, respond};

static WORLD: LazyLock<(Authority, Published, Ledger)> = LazyLock::new(|| {
    let origin = WireName::parse("clusterset.local").unwrap();
    let mut catalog = Catalog::new(Settings { cluster_id: None, longest_zone: origin.wire_len() });
    for (name, kind) in [("web", ServiceType::ClusterSetIp), ("db", ServiceType::Headless)] {
        let service = ServiceKey::new("shop", name).unwrap();
        let port = Port { name: Label::new("http"), protocol: Protocol::Tcp, number: 80 };
        let import = Import {
            service: service.clone(),
            form: ImportForm::Aggregated,
            kind,
            ips: Vec::new(),
            ports: vec![port.clone()],
            weights: Vec::new(),
        };
        catalog.apply(Fact::Import(ObjectKey::new("shop", name), Some(import)));
        for (i, cluster) in ["east", "we.st"].into_iter().enumerate() {
            let endpoints = (0..40).map(|host| Endpoint {
                addresses: vec![Ipv4Addr::new(10, i as u8, 0, host).into(), format!("fd00::{i}:{host}").parse().unwrap()],
                hostname: Label::new(&format!("{name}-{host}")),
                pod: None,
                ready: true,
            });
            let slice = Slice {
                service: service.clone(),
                cluster: ClusterId::new(cluster).unwrap(),
                form: if kind == ServiceType::Headless { SliceForm::Backends } else { SliceForm::ServiceIp },
                publish_not_ready: false,
                globalnet: false,
                ports: vec![port.clone()],
                endpoints: endpoints.collect(),
                triggered_at: None,
            };
            catalog.apply(Fact::Slice(ObjectKey::new("shop", &format!("{name}-{i}")), Some(slice)));
        }
    }
    let published = catalog.publish(1);
    let mut authority = Authority::new(vec![Zone::new(origin)]);
    authority.nsid = Some(b"fuzz".to_vec());
    authority.cookies = Some(CookieSecret::new([7; 16]));
    let ledger = Ledger::new(&published.snapshot, 0);
    (authority, published, ledger)
});

fuzz_target!(|query: &[u8]| {
    let (authority, published, ledger) = &*WORLD;
    for transport in [Transport::Udp, Transport::Tls] {
        let ask = Ask { transport, client: Ipv4Addr::LOCALHOST.into(), now: 1 };
        let mut out = vec![0; 65535];
        let snapshot = Some(&*published.snapshot);
        match respond(authority, snapshot, &published.status, query, &ask, ledger, &mut out) {
            Outcome::Ignore => assert!(query.len() < 12 || query[2] & 0x80 != 0),
            Outcome::Reply { len, .. } | Outcome::FallThrough { len, .. } | Outcome::Transfer { len, .. } => {
                assert!(query[2] & 0x80 == 0 && out[2] & 0x80 != 0, "an answer, and to a query");
                assert!(transport != Transport::Udp || len <= usize::from(authority.udp_limit));
                assert_eq!(out[..2], query[..2]);
            }
        }
    }
});
