//! Random cluster sets and random queries: the crate and the slow oracle agree, and what holds for every
//! reply holds.

mod common;
#[path = "common/model.rs"]
mod model;
mod oracle;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use subm_dns_core::authority::Authority;
use subm_dns_core::catalog::Settings;
use subm_dns_core::facts::{Fact, ObjectKey, ObjectKind};
use subm_dns_core::respond::{Outcome, Transport};
use subm_dns_core::transfer;

use common::facts::{import, service_ip};
use common::query::Query;
use common::reply::{A, AAAA, ANY, NS, REFUSED, Reply, SOA, SRV, TXT};
use common::{Server, cluster};
use model::{Model, model};
use oracle::compare::turns;
use oracle::{Names, View};

const TYPES: [u16; 14] = [
    A, AAAA, SRV, A, AAAA, SRV, ANY, NS, SOA, TXT, 5, 64, 43, 65280,
];

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    }
}

impl Model {
    fn empty_server(&self) -> Server {
        let longest = self.zones.iter().map(|zone| zone.origin.wire_len()).max();
        let settings = Settings {
            cluster_id: self.setting.clone(),
            longest_zone: longest.expect("a zone"),
        };
        Server::with(settings, Authority::new(self.zones.clone()), &[])
    }

    fn server(&self) -> Server {
        let mut server = self.empty_server();
        server.apply(&self.facts);
        server
    }

    fn names(&self, facts: &[Fact]) -> Vec<Names> {
        let view = View::of(facts);
        let of_zone = |zone| view.names(zone, self.setting.as_ref());
        self.zones.iter().map(of_zone).collect()
    }
}

/// The zone with the longest origin that covers `name`.
fn zone_of<'a>(zones: &'a [Names], name: &str) -> Option<&'a Names> {
    let name = name.to_ascii_lowercase();
    let covering = zones.iter().filter(|zone| zone.covers(&name));
    covering.max_by_key(|zone| zone.origin.len())
}

/// Asks over TCP and UDP and holds both against the oracle.
fn check(server: &Server, zones: &[Names], query: &Query) {
    let tcp = server.send(&query.clone().over(Transport::Tcp));
    assert_eq!(
        tcp.opt.is_some(),
        query.edns.is_some(),
        "OPT if and only if asked"
    );
    let Some(zone) = zone_of(zones, &query.name) else {
        assert_eq!(tcp.rcode, REFUSED);
        assert!(!tcp.aa);
        assert_eq!((tcp.answer.len(), tcp.authority.len()), (0, 0));
        return;
    };
    zone.check(&query.name, query.qtype, &tcp);
    if let Some(opt) = &tcp.opt {
        assert_eq!((opt.size, opt.version), (1232, 0));
        let code = tcp.extended_error();
        assert!(
            matches!(code, None | Some(3 | 22)),
            "extended error {code:?}"
        );
    }
    let udp = server.send(query);
    let client = query.edns.as_ref().map_or(512, |edns| edns.size.max(512));
    let limit = client.min(server.authority.udp_limit);
    Names::check_datagram(&udp, &tcp, usize::from(limit));
}

/// Asks for every name of every zone, types taking turns.
fn check_all(server: &Server, zones: &[Names]) {
    for zone in zones {
        for (i, name) in zone.nodes.keys().enumerate() {
            if zone_of(zones, name).is_some_and(|covering| covering.origin == zone.origin) {
                let query = Query::new(name, [A, AAAA, SRV][i % 3]);
                let query = if i % 2 == 0 { query.edns(4096) } else { query };
                check(server, zones, &query);
            }
        }
    }
}

/// How a query is made of an existing name.
#[derive(Clone, Debug)]
struct Ask {
    name: Index,
    zone: Index,
    change: u8,
    upper: u64,
    qtype: u16,
    size: Option<u16>,
}

fn ask() -> impl Strategy<Value = Ask> {
    let size = prop::option::weighted(0.7, select(vec![0, 512, 700, 1232, 4096]));
    (
        any::<Index>(),
        any::<Index>(),
        0..16_u8,
        any::<u64>(),
        select(&TYPES[..]),
        size,
    )
        .prop_map(|(name, zone, change, upper, qtype, size)| Ask {
            name,
            zone,
            change,
            upper,
            qtype,
            size,
        })
}

impl Ask {
    fn query(&self, zones: &[Names]) -> Query {
        let zone = self.zone.get(zones);
        let names: Vec<&String> = zone.nodes.keys().collect();
        let name = *self.name.get(&names);
        let rest = name.split_once('.').map_or("", |(_, rest)| rest);
        let other = *Index::get(&self.zone, &names);
        let first = other.split('.').next().unwrap_or_default();
        let changed = match self.change {
            0 => format!("x.{name}"),
            1 => rest.to_owned(),
            2 => format!("nope.{rest}"),
            3 => format!("{first}.{rest}"),
            4 => format!("{first}.{name}"),
            5 => format!("_http._tcp.{name}"),
            6 => format!("_tcp.{name}"),
            7 => name.replacen('_', "", 1),
            8 => format!("_._udp.{name}"),
            9 => format!("_.{name}"),
            _ => name.clone(),
        };
        let turned = changed.char_indices().map(|(i, c)| {
            let upper = self.upper >> (i % 64) & 1 == 1;
            if upper { c.to_ascii_uppercase() } else { c }
        });
        let name: String = turned.collect();
        let name = if name.is_empty() {
            ".".to_owned()
        } else {
            name
        };
        let query = Query::new(&name, self.qtype);
        match self.size {
            Some(size) => query.edns(size),
            None => query,
        }
    }
}

proptest! {
    #![proptest_config(cases(192))]

    #[test]
    fn queries_agree_with_the_oracle(
        model in model(),
        asks in prop::collection::vec(ask(), 24),
    ) {
        let server = model.server();
        let zones = model.names(&model.facts);
        for ask in asks {
            check(&server, &zones, &ask.query(&zones));
        }
    }
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn every_name_agrees_with_the_oracle(model in model()) {
        check_all(&model.server(), &model.names(&model.facts));
    }

    /// In any order, in steps, with things that come and go in between.
    #[test]
    fn the_way_does_not_matter(
        (model, other, order) in (model(), model()).prop_flat_map(|(model, other)| {
            let order: Vec<usize> = (0..model.facts.len()).collect();
            (Just(model), Just(other), Just(order).prop_shuffle())
        }),
        step in 1..6_usize,
    ) {
        let mut server = model.empty_server();
        server.apply(&other.facts);
        let keys = keys(&model.facts);
        let mut history = removals(&other.facts);
        // The last fact about an object stands, whatever order the others come in.
        let last: Vec<Fact> = order
            .iter()
            .map(|i| model.facts[*i].clone())
            .filter(|fact| keys.contains(&format!("{fact:?}")))
            .collect();
        history.extend(last);
        for chunk in history.chunks(step) {
            server.apply(chunk);
        }
        check_all(&server, &model.names(&model.facts));
    }

    /// A complete list says what is gone by what it does not name.
    #[test]
    fn a_list_takes_back_what_it_does_not_name((model, other) in (model(), model())) {
        let mut server = model.empty_server();
        server.apply(&other.facts);
        server.apply(&[Fact::ClusterProperty(None)]);
        let mut history = last_of_each(&model.facts);
        for kind in [
            ObjectKind::Import,
            ObjectKind::Slice,
            ObjectKind::LocalSlice,
            ObjectKind::Namespace,
            ObjectKind::Gateway,
        ] {
            history.push(Fact::Only(kind, named(kind, &history)));
        }
        server.apply(&history);
        check_all(&server, &model.names(&model.facts));
    }

    #[test]
    fn removal_of_everything_gives_the_empty_zone(model in model()) {
        let mut server = model.server();
        server.apply(&removals(&model.facts));
        prop_assert_eq!(server.snapshot.service_count(), 0);
        prop_assert_eq!(server.snapshot.endpoint_count(), 0);
        let empty = model.names(&[]);
        check_all(&server, &empty);
        for zone in model.names(&model.facts) {
            for name in zone.nodes.keys() {
                check(&server, &empty, &Query::new(name, A));
            }
        }
    }

    #[test]
    fn the_same_facts_again_publish_nothing(model in model()) {
        let mut server = model.server();
        let before = serial(&server);
        let last = removals(&model.facts).len();
        prop_assert!(last > 0);
        for fact in last_of_each(&model.facts) {
            server.catalog.apply(fact);
        }
        prop_assert!(!server.catalog.is_dirty());
        server.now += 100;
        let published = server.catalog.publish(server.now);
        prop_assert!(published.new_problems.is_empty());
        server.snapshot = published.snapshot;
        server.status = published.status;
        prop_assert_eq!(serial(&server), before);
    }

    #[test]
    fn the_serial_grows_with_every_visible_change(model in model()) {
        let mut server = model.empty_server();
        let mut known = Vec::new();
        for fact in &model.facts {
            let before = (serial(&server), model.names(&known));
            known.push(fact.clone());
            server.apply(std::slice::from_ref(fact));
            let after = (serial(&server), model.names(&known));
            if before.1 == after.1 {
                prop_assert!(after.0 >= before.0);
            } else {
                prop_assert!(after.0 > before.0, "{} -> {} by {fact:?}", before.0, after.0);
            }
        }
    }

    #[test]
    fn a_transfer_is_the_whole_zone(model in model()) {
        let server = model.server();
        for (i, names) in model.names(&model.facts).iter().enumerate() {
            let query = Query::new(&names.origin, 252).over(Transport::Tcp);
            let mut out = vec![0; 65_535];
            let outcome = server.outcome(&query.octets(), Transport::Tcp, &mut out);
            let Outcome::Transfer { zone, .. } = outcome else {
                panic!("{outcome:?}");
            };
            let zone = &server.authority.zones()[zone];
            prop_assert_eq!(&zone.origin, &model.zones[i].origin);
            check_transfer(&server, zone, names, &query);
        }
    }
}

fn check_transfer(
    server: &Server,
    zone: &subm_dns_core::authority::Zone,
    names: &Names,
    query: &Query,
) {
    let (snapshot, status) = (&server.snapshot, &server.status);
    let messages = transfer::messages(zone, snapshot, status, &query.octets());
    let mut records = Vec::new();
    for message in &messages {
        let reply = Reply::parse(message);
        assert!(reply.aa);
        assert_eq!(reply.id, query.id);
        records.extend(reply.answer);
    }
    assert!(records.len() >= 2, "SOA at both ends");
    assert_eq!(records[0].rtype, SOA);
    assert_eq!(records.first(), records.last());
    let got = &records[1..records.len() - 1];
    let set: BTreeSet<_> = got
        .iter()
        .map(|record| (record.owner.clone(), record.rtype, record.data.clone()))
        .collect();
    assert_eq!(set.len(), got.len(), "no record twice");
    assert_eq!(set, names.records());
}

fn serial(server: &Server) -> u32 {
    let reply = server.ask("clusterset.local.", SOA);
    let data = &reply.answer[0].data;
    data.split(' ')
        .nth(2)
        .expect("a serial")
        .parse()
        .expect("a number")
}

/// The last fact about each object.
fn last_of_each(facts: &[Fact]) -> Vec<Fact> {
    let mut seen = HashSet::new();
    let last = facts.iter().rev().filter(|fact| seen.insert(object(fact)));
    last.cloned().collect()
}

fn keys(facts: &[Fact]) -> HashSet<String> {
    last_of_each(facts)
        .iter()
        .map(|fact| format!("{fact:?}"))
        .collect()
}

fn object(fact: &Fact) -> String {
    match fact {
        Fact::Import(key, _) => format!("import {key}"),
        Fact::Slice(key, _) => format!("slice {key}"),
        Fact::LocalSlice(key, _) => format!("local {key}"),
        Fact::Gateway(key, _) => format!("gateway {key}"),
        Fact::Namespace(name, _) => format!("namespace {name}"),
        Fact::ClusterProperty(_) => "property".to_owned(),
        Fact::Only(kind, _) => format!("only {kind:?}"),
    }
}

/// The objects of a kind that exist by these facts, one of each.
fn named(kind: ObjectKind, facts: &[Fact]) -> HashSet<ObjectKey> {
    let key = |fact: &Fact| match (kind, fact) {
        (ObjectKind::Import, Fact::Import(key, Some(_)))
        | (ObjectKind::Slice, Fact::Slice(key, Some(_)))
        | (ObjectKind::LocalSlice, Fact::LocalSlice(key, Some(_)))
        | (ObjectKind::Gateway, Fact::Gateway(key, Some(_))) => Some(key.clone()),
        (ObjectKind::Namespace, Fact::Namespace(name, true)) => {
            Some(ObjectKey::new("", name.as_str()))
        }
        _ => None,
    };
    facts.iter().filter_map(key).collect()
}

fn removals(facts: &[Fact]) -> Vec<Fact> {
    let removal = |fact: Fact| match fact {
        Fact::Import(key, _) => Fact::Import(key, None),
        Fact::Slice(key, _) => Fact::Slice(key, None),
        Fact::LocalSlice(key, _) => Fact::LocalSlice(key, None),
        Fact::Gateway(key, _) => Fact::Gateway(key, None),
        Fact::Namespace(name, _) => Fact::Namespace(name, false),
        Fact::ClusterProperty(_) => Fact::ClusterProperty(None),
        Fact::Only(kind, _) => Fact::Only(kind, HashSet::new()),
    };
    last_of_each(facts).into_iter().map(removal).collect()
}

fn any_transport() -> impl Strategy<Value = Transport> {
    select(vec![
        Transport::Udp,
        Transport::Tcp,
        Transport::Tls,
        Transport::Https,
        Transport::Quic,
    ])
}

/// Replies parse; queries get one, all else gets none.
fn check_any(server: &Server, octets: &[u8], transport: Transport) {
    let reply = server.exchange(octets, transport);
    let is_query = octets.len() >= 12 && octets[2] & 0x80 == 0;
    assert_eq!(reply.is_some(), is_query);
    if let Some(reply) = reply {
        assert_eq!(reply.id, u16::from_be_bytes([octets[0], octets[1]]));
    }
}

fn small_server() -> Server {
    Server::new(&[
        import("shop", "web").port("http", 80).put(),
        service_ip("shop", "web", "east", "10.0.0.1")
            .port("http", 80)
            .put(),
    ])
}

proptest! {
    #![proptest_config(cases(2048))]

    #[test]
    fn random_octets_do_no_harm(
        mut octets in prop::collection::vec(any::<u8>(), 0..200),
        likely in any::<bool>(),
        transport in any_transport(),
    ) {
        if likely && octets.len() >= 12 {
            // A header that gets past the first checks.
            let opt = octets[11] & 1;
            octets[2..12].copy_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, opt]);
        }
        check_any(&small_server(), &octets, transport);
    }

    #[test]
    fn mutated_queries_do_no_harm(
        changes in prop::collection::vec((any::<Index>(), any::<u8>()), 1..4),
        cut in prop::option::weighted(0.3, any::<Index>()),
        transport in any_transport(),
        qtype in select(&TYPES[..]),
    ) {
        let query = Query::new("_http._tcp.web.shop.svc.clusterset.local.", qtype);
        let mut octets = query.edns(1232).option(3, &[]).option(10, &[1; 8]).octets();
        for (index, value) in changes {
            let at = index.index(octets.len());
            octets[at] = value;
        }
        if let Some(cut) = cut {
            octets.truncate(cut.index(octets.len()));
        }
        check_any(&small_server(), &octets, transport);
    }
}

proptest! {
    #![proptest_config(cases(96))]

    /// Each cycle gives each cluster exactly its weight, in the order that the rule says.
    #[test]
    fn turns_follow_weights(weights in prop::collection::vec(0..12_u16, 1..6)) {
        prop_assume!(weights.iter().any(|weight| *weight > 0));
        let mut web = import("shop", "web");
        let mut facts = Vec::new();
        let mut expected: Vec<(IpAddr, u16)> = Vec::new();
        for (i, weight) in weights.iter().enumerate() {
            let (id, address) = (format!("c{i}"), format!("10.0.0.{i}"));
            web = web.weight(&id, *weight);
            facts.push(service_ip("shop", "web", &id, &address).put());
            if *weight > 0 {
                expected.push((common::ip(&address), *weight));
            }
        }
        facts.push(web.put());
        let server = Server::new(&facts);
        let equal = expected.iter().all(|(_, weight)| *weight == expected[0].1);
        let total = if equal {
            expected.len()
        } else {
            expected.iter().map(|(_, weight)| usize::from(*weight)).sum()
        };
        let picks: Vec<IpAddr> = server
            .picks("web.shop", A, 2 * total)
            .iter()
            .map(|pick| common::ip(pick))
            .collect();
        prop_assert_eq!(&picks[..total], &picks[total..]);
        if !equal {
            for (address, weight) in &expected {
                let times = picks[..total].iter().filter(|pick| *pick == address).count();
                prop_assert_eq!(times, usize::from(*weight));
            }
        }
        let starts = 0..total as u64;
        let follows = |from| turns(&expected, from, total) == picks[..total];
        prop_assert!(starts.clone().any(follows), "{:?} {:?}", expected, picks);
    }

    /// The local cluster while it is healthy, without disturbing anyone's turn.
    #[test]
    fn the_local_cluster_comes_first(clusters in 1..5_usize, local in 0..5_usize) {
        let facts: Vec<Fact> = (0..clusters)
            .map(|i| service_ip("shop", "web", &format!("c{i}"), &format!("10.0.0.{i}")).put())
            .chain([import("shop", "web").put()])
            .collect();
        let id = format!("c{local}");
        let server = Server::seen_from(Some(&id), &facts);
        prop_assert_eq!(server.catalog.wants_local_slices(), false);
        let picks: BTreeSet<String> = server.picks("web.shop", A, 3 * clusters).into_iter().collect();
        if local < clusters {
            prop_assert_eq!(picks, BTreeSet::from([format!("10.0.0.{local}")]));
            prop_assert_eq!(server.status.local(), Some(&cluster(&id)));
        } else {
            prop_assert_eq!(picks.len(), clusters);
        }
    }
}
