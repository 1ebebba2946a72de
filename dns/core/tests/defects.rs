//! One test per defect of Lighthouse (its number in the register of defects) that concerns answers.
//!
//! X02 (a data race), X15 and X16 (rates and scans per event) are of code that is not here; X19 to X24,
//! X26 and X27 are of the agent; X25 is in the server's metrics.

mod common;

use std::collections::BTreeSet;

use subm_dns_core::facts::Fact;
use subm_dns_core::respond::{Ask, Outcome, Transport, respond};

use common::facts::{backends, gateway, gateway_key, import, import_of, service_ip, tcp, udp};
use common::query::Query;
use common::reply::{A, AAAA, NOERROR, NS, Reply, SERVFAIL, SOA, SRV, TXT};
use common::{NOW, Server, full, ip};

/// `web` in clusters c0 …, dual stack.
fn web(count: usize) -> Server {
    let cluster = |i| {
        let slice = service_ip("shop", "web", &format!("c{i}"), &format!("10.0.0.{i}"));
        slice.at(&format!("fd00::{i}")).port("http", 80).put()
    };
    let facts: Vec<Fact> = (0..count)
        .map(cluster)
        .chain([import("shop", "web").put()])
        .collect();
    Server::new(&facts)
}

fn headless(facts: &[Fact]) -> Server {
    let head = [import("shop", "db").headless().put()];
    Server::new(&[&head[..], facts].concat())
}

#[test]
fn x01_pairs_of_a_and_aaaa_do_not_pin_a_client() {
    for interleaved in [&[AAAA][..], &[SRV], &[AAAA, SRV], &[TXT]] {
        let server = web(2);
        let mut picks = BTreeSet::new();
        for _ in 0..4 {
            picks.extend(server.picks("web.shop", A, 1));
            for qtype in interleaved {
                server.ask("web.shop", *qtype);
            }
        }
        assert_eq!(picks.len(), 2, "{interleaved:?}");
    }
}

#[test]
fn x01_names_of_clusters_take_no_turn() {
    let server = web(2);
    let mut picks = Vec::new();
    for _ in 0..4 {
        picks.extend(server.picks("web.shop", A, 1));
        server.ask("c0.web.shop", A);
    }
    assert!(
        picks[0] != picks[1] && picks[..2] == picks[2..],
        "{picks:?}"
    );
}

#[test]
fn x03_ports_without_a_name() {
    let slice = backends("shop", "db", "c0")
        .with(udp("", 53))
        .host("h", "10.0.0.1");
    let server = headless(&[slice.put()]);
    server.expect_srv("db.shop", &[(53, "h.c0.db.shop")]);
    for name in [
        "_53._udp.db.shop",
        "_udp.db.shop",
        "_._udp.db.shop",
        "_._.db.shop",
        "_.db.shop",
    ] {
        server.nxdomain(name, SRV);
    }
    let server = Server::new(&[import("shop", "web")
        .vip("243.0.0.1")
        .with(tcp("", 80))
        .put()]);
    for name in [
        "_._tcp.web.shop",
        "_tcp.web.shop",
        "_.web.shop",
        "_._.web.shop",
    ] {
        server.nxdomain(name, SRV);
    }
}

#[test]
fn x04_ports_do_not_depend_on_the_number_of_clusters() {
    let ip = |i: usize, port| {
        service_ip("shop", "web", &format!("c{i}"), &format!("10.0.0.{i}")).with(port)
    };
    let facts = [
        ip(0, tcp("a", 1)).put(),
        ip(1, tcp("b", 2)).put(),
        ip(2, tcp("c", 3)).put(),
        import("shop", "web").put(),
    ];
    let wanted = [(1, "web.shop"), (2, "web.shop"), (3, "web.shop")];
    Server::new(&facts).expect_srv("web.shop", &wanted);
    let reversed: Vec<_> = facts.into_iter().rev().collect();
    Server::new(&reversed).expect_srv("web.shop", &wanted);
}

#[test]
fn x05_one_cluster_without_the_port() {
    let with = backends("shop", "db", "c0")
        .port("sql", 5432)
        .host("h", "10.0.0.1");
    let without = backends("shop", "db", "c1")
        .port("other", 1)
        .host("h", "10.0.0.2");
    let server = headless(&[with.put(), without.put()]);
    server.expect_srv("_sql._tcp.db.shop", &[(5432, "h.c0.db.shop")]);
}

#[test]
fn x06_endpoints_without_hostname() {
    let server = headless(&[backends("shop", "db", "c0")
        .port("sql", 1)
        .at("10.0.0.1")
        .put()]);
    server.expect_srv("db.shop", &[(1, "10-0-0-1.c0.db.shop")]);
}

#[test]
fn x07_empty_names_exist() {
    let slice = backends("shop", "db", "a.b")
        .port("sql", 1)
        .host("h", "10.0.0.1");
    let server = headless(&[slice.put()]);
    for name in [
        "clusterset.local.",
        "svc.clusterset.local.",
        "dns.clusterset.local.",
        "shop",
        "b.db.shop",
        "_tcp.db.shop",
        "tcp.db.shop",
        "_tcp.h.a.b.db.shop",
    ] {
        server.nodata(name, A);
    }
}

#[test]
fn x08_all_types_and_the_soa() {
    for qtype in [SOA, NS, TXT, 65, 12] {
        web(1).nodata("web.shop", qtype);
        web(1).nxdomain("nope.shop", qtype);
    }
}

#[test]
fn x09_ipv6_heeds_labels() {
    for name in ["x.web.shop", "x.y.web.shop", "a.b.c.web.shop"] {
        web(1).nxdomain(name, AAAA);
        web(1).nxdomain(name, A);
    }
}

#[test]
fn x10_hosts_of_cluster_set_ip_services() {
    web(1).nxdomain("any.c0.web.shop", A);
}

#[test]
fn x11_imports_change() {
    let mut server = web(1);
    server.apply(&[import("shop", "web").vip("243.0.0.1").port("new", 81).put()]);
    server.expect("web.shop", A, &["243.0.0.1"]);
    server.expect_srv("_new._tcp.web.shop", &[(81, "web.shop")]);
    server.apply(&[
        import("shop", "web").headless().put(),
        backends("shop", "web", "c9").host("h", "10.9.0.1").put(),
    ]);
    server.expect("h.c9.web.shop", A, &["10.9.0.1"]);
}

#[test]
fn x12_a_cluster_that_leaves_the_list_is_lost() {
    let mut server = web(1);
    server.apply(&[gateway("here", &["c0"], &[])]);
    server.expect("web.shop", A, &["10.0.0.0"]);
    server.apply(&[gateway("here", &[], &[])]);
    server.nodata("web.shop", A);
}

#[test]
fn x13_gateways_that_come_later_decide() {
    let mut server = web(1);
    server.expect("web.shop", A, &["10.0.0.0"]);
    server.apply(&[gateway("here", &[], &["c0"])]);
    server.nodata("web.shop", A);
    server.apply(&[Fact::Gateway(gateway_key(), None)]);
    server.expect("web.shop", A, &["10.0.0.0"]);
}

#[test]
fn x14_no_answer_before_the_data() {
    let server = web(1);
    let ask = Ask {
        transport: Transport::Udp,
        client: ip("192.0.2.1"),
        now: NOW,
    };
    let mut out = [0; 512];
    let octets = Query::new(&full("nope.shop"), A).octets();
    let (authority, status) = (&server.authority, &server.status);
    let outcome = respond(
        authority,
        None,
        status,
        &octets,
        &ask,
        &server.ledger,
        &mut out,
    );
    let (Outcome::Reply { len, .. } | Outcome::FallThrough { len, .. }) = outcome else {
        panic!("{outcome:?}");
    };
    assert_eq!(Reply::parse(&out[..len]).rcode, SERVFAIL);
}

#[test]
fn x17_endpoints_of_one_host_are_merged() {
    let slice = backends("shop", "db", "c0")
        .host("h", "10.0.0.1")
        .host("h", "fd00::1")
        .host("h", "10.0.0.1");
    let more = backends("shop", "db", "c0")
        .named("more")
        .host("h", "10.0.0.2");
    let server = headless(&[slice.put(), more.put()]);
    server.expect("h.c0.db.shop", A, &["10.0.0.1", "10.0.0.2"]);
    server.expect("h.c0.db.shop", AAAA, &["fd00::1"]);
}

#[test]
fn x18_an_ipv6_address_is_no_a_record() {
    let server = Server::new(&[import("shop", "web").vip("fd00::1").put()]);
    server.nodata("web.shop", A);
    server.expect("web.shop", AAAA, &["fd00::1"]);
}

#[test]
fn x28_weights_of_importers() {
    let exporter = |id: &str, address: &str, weight| {
        import_of("shop", "web", id)
            .vip(address)
            .weight("here", weight)
            .weight("there", 7)
            .put()
    };
    let facts = [exporter("c0", "10.0.0.1", 2), exporter("c1", "10.0.0.2", 1)];
    let server = Server::seen_from(Some("here"), &facts);
    let picks = server.picks("web.shop", A, 3);
    assert_eq!(picks.iter().filter(|pick| *pick == "10.0.0.1").count(), 2);
    let facts = [exporter("c0", "10.0.0.1", 0), exporter("c1", "10.0.0.2", 1)];
    let server = Server::seen_from(Some("here"), &facts);
    assert!(
        server
            .picks("web.shop", A, 4)
            .iter()
            .all(|pick| pick == "10.0.0.2")
    );
}

/// An endpoint that has no address is no target.
#[test]
fn a_host_without_addresses_is_no_target() {
    let mut slice = backends("shop", "db", "c0")
        .port("sql", 1)
        .host("h", "10.0.0.1");
    slice.1.endpoints[0].addresses.clear();
    let server = headless(&[slice.put()]);
    assert_eq!(server.ask("db.shop", SRV).rcode, NOERROR);
    server.nodata("db.shop", SRV);
    server.nxdomain("h.c0.db.shop", A);
}
