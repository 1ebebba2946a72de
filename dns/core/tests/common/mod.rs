//! Facts in few words, queries by hand, and a server around `respond()`.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file uses its own part"
)]

pub mod facts;
pub mod query;
pub mod reply;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use subm_dns_core::authority::{Authority, Zone};
use subm_dns_core::catalog::{Catalog, Settings};
use subm_dns_core::facts::{ClusterId, Fact};
use subm_dns_core::ledger::Ledger;
use subm_dns_core::name::WireName;
use subm_dns_core::respond::{Ask, Outcome, Transport, respond};
use subm_dns_core::snapshot::Snapshot;
use subm_dns_core::status::ClusterStatus;

use query::Query;
use reply::Reply;

pub const ORIGIN: &str = "clusterset.local";
pub const NAME_SERVER: [&str; 2] = ["192.0.2.53", "2001:db8::53"];
/// Seconds since the epoch of every first publication.
pub const NOW: u32 = 1_700_000_000;

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

pub fn cluster(id: &str) -> ClusterId {
    ClusterId::new(id).expect("a cluster id")
}

pub fn zone(origin: &str) -> Zone {
    let mut zone = Zone::new(WireName::parse(origin).expect("an origin"));
    zone.name_server = NAME_SERVER.iter().map(|address| ip(address)).collect();
    zone
}

/// A catalog, what it published, and how a listener shows it.
pub struct Server {
    pub catalog: Catalog,
    pub authority: Authority,
    pub snapshot: Arc<Snapshot>,
    pub status: Arc<ClusterStatus>,
    pub ledger: Ledger,
    pub now: u32,
}

impl Server {
    pub fn with(settings: Settings, authority: Authority, facts: &[Fact]) -> Self {
        let mut server = Self {
            catalog: Catalog::new(settings),
            authority,
            snapshot: Arc::new(Snapshot::empty()),
            status: Arc::default(),
            ledger: Ledger::default(),
            now: NOW,
        };
        server.apply(facts);
        server
    }

    /// The zone `clusterset.local` seen from no cluster in particular.
    pub fn new(facts: &[Fact]) -> Self {
        Self::seen_from(None, facts)
    }

    pub fn seen_from(local: Option<&str>, facts: &[Fact]) -> Self {
        Self::zoned(zone(ORIGIN), local, facts)
    }

    pub fn zoned(zone: Zone, local: Option<&str>, facts: &[Fact]) -> Self {
        let settings = Settings {
            cluster_id: local.map(cluster),
            longest_zone: zone.origin.wire_len(),
        };
        Self::with(settings, Authority::new(vec![zone]), facts)
    }

    /// Takes in `facts` and publishes.
    pub fn apply(&mut self, facts: &[Fact]) {
        for fact in facts {
            self.catalog.apply(fact.clone());
        }
        let published = self.catalog.publish(self.now);
        self.snapshot = published.snapshot;
        self.status = published.status;
        self.ledger = self.ledger.grown(&self.snapshot, 7);
    }

    pub fn outcome(&self, octets: &[u8], transport: Transport, out: &mut [u8]) -> Outcome {
        let ask = Ask {
            transport,
            client: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
            now: NOW,
        };
        let snapshot = Some(&*self.snapshot);
        respond(
            &self.authority,
            snapshot,
            &self.status,
            octets,
            &ask,
            &self.ledger,
            out,
        )
    }

    /// The reply to any octets over `transport`, parsed; `None` if there is none.
    pub fn exchange(&self, octets: &[u8], transport: Transport) -> Option<Reply> {
        let mut out = vec![0xaa; 65_535];
        match self.outcome(octets, transport, &mut out) {
            Outcome::Ignore => None,
            Outcome::Reply { len, .. }
            | Outcome::FallThrough { len, .. }
            | Outcome::Transfer { len, .. } => Some(Reply::parse(&out[..len])),
        }
    }

    pub fn send(&self, query: &Query) -> Reply {
        self.exchange(&query.octets(), query.transport)
            .expect("a reply")
    }

    /// Asks over TCP with EDNS. A name without a dot at the end is one below `svc.clusterset.local.`.
    pub fn ask(&self, name: &str, qtype: u16) -> Reply {
        let name = full(name);
        let reply = self.send(&Query::new(&name, qtype).edns(1232).over(Transport::Tcp));
        assert!(!reply.tc);
        assert!(reply.aa, "AA=1 in our zones");
        reply
    }

    /// Asserts NOERROR with exactly these RDATA.
    #[track_caller]
    pub fn expect(&self, name: &str, qtype: u16, data: &[&str]) -> Reply {
        let reply = self.ask(name, qtype);
        let mut data: Vec<String> = data.iter().map(ToString::to_string).collect();
        data.sort();
        assert_eq!(reply.rcode, reply::NOERROR, "{name} {qtype}");
        assert_eq!(reply.answers(), data, "{name} {qtype}");
        assert!(!data.is_empty(), "use `nodata`");
        assert_eq!(reply.authority, [], "{name} {qtype}");
        let wanted = full(name);
        assert!(reply.answer.iter().all(|record| record.owner == wanted));
        reply
    }

    /// Asserts SRV records written `port target`, targets relative like names to ask for.
    #[track_caller]
    pub fn expect_srv(&self, name: &str, ports: &[(u16, &str)]) -> Reply {
        let data: Vec<_> = ports
            .iter()
            .map(|(port, target)| format!("0 50 {port} {}", full(target)))
            .collect();
        self.expect(
            name,
            reply::SRV,
            &data.iter().map(|s| &s[..]).collect::<Vec<_>>(),
        )
    }

    #[track_caller]
    pub fn nodata(&self, name: &str, qtype: u16) -> Reply {
        self.negative(name, qtype, reply::NOERROR)
    }

    #[track_caller]
    pub fn nxdomain(&self, name: &str, qtype: u16) -> Reply {
        self.negative(name, qtype, reply::NXDOMAIN)
    }

    #[track_caller]
    fn negative(&self, name: &str, qtype: u16, rcode: u16) -> Reply {
        let reply = self.ask(name, qtype);
        assert_eq!(reply.rcode, rcode, "{name} {qtype}: {:?}", reply.answer);
        assert_eq!(reply.answer, [], "{name} {qtype}");
        let types: Vec<_> = reply.authority.iter().map(|record| record.rtype).collect();
        assert_eq!(types, [reply::SOA], "{name} {qtype}");
        reply
    }

    /// Addresses of `times` answers in a row.
    pub fn picks(&self, name: &str, qtype: u16, times: usize) -> Vec<String> {
        (0..times)
            .map(|_| {
                let reply = self.ask(name, qtype);
                assert_eq!(reply.answer.len(), 1, "one address at a time");
                reply.answer[0].data.clone()
            })
            .collect()
    }
}

/// `web.shop` is `web.shop.svc.clusterset.local.`; a name with a dot at the end stays.
pub fn full(name: &str) -> String {
    if name.ends_with('.') {
        name.to_owned()
    } else {
        format!("{name}.svc.{ORIGIN}.")
    }
}
