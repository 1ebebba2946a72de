//! Rows D01 to D35 of Lighthouse's answers: kept, or changed as docs/adr/0003 says.
//!
//! D16 and D33 to the extent that they are not about answers: D33 (a reply that cannot be written) is the
//! transport's; record order of D16 is in `order_turns`.

mod common;

use std::collections::BTreeSet;

use subm_dns_core::respond::Transport;

use common::Server;
use common::facts::{backends, gateway, import, import_of, namespace, service_ip, tcp, udp};
use common::query::Query;
use common::reply::{A, AAAA, ANY, NS, REFUSED, SOA, SRV, TXT};

/// A service in two connected clusters; another port in the second.
fn two() -> Server {
    Server::new(&[
        import("ns1", "svc1")
            .port("http", 8080)
            .with(udp("dns", 53))
            .put(),
        service_ip("ns1", "svc1", "c1", "10.0.0.1")
            .port("http", 8080)
            .put(),
        service_ip("ns1", "svc1", "c2", "10.0.0.2")
            .port("http", 8080)
            .with(udp("dns", 53))
            .put(),
        gateway("here", &["c1", "c2"], &[]),
    ])
}

fn headless() -> Server {
    Server::new(&[
        import("ns1", "hl").headless().put(),
        backends("ns1", "hl", "c1")
            .port("http", 8080)
            .host("h1", "10.1.0.1")
            .host("h2", "10.1.0.2")
            .put(),
        backends("ns1", "hl", "c2")
            .port("http", 8080)
            .host("h1", "10.2.0.1")
            .put(),
        gateway("here", &["c1", "c2"], &[]),
    ])
}

/// Every connection of a server's clusters is lost.
fn lost(mut server: Server) -> Server {
    server.apply(&[gateway("here", &[], &["c1", "c2"])]);
    server
}

#[test]
fn d01_fix_refused() {
    let reply = two().send(&Query::new("svc1.ns1.svc.cluster.east.", A));
    assert_eq!((reply.rcode, reply.aa), (REFUSED, false));
}

#[test]
fn d02_fix_other_types() {
    for qtype in [SOA, NS, TXT, 15, 12, 5, 65, 64, 48] {
        two().nodata("svc1.ns1", qtype);
        two().nxdomain("nope.ns1", qtype);
    }
    assert_eq!(two().ask("svc1.ns1", ANY).answer.len(), 1);
    two().expect("clusterset.local.", NS, &["ns.dns.clusterset.local."]);
    assert_eq!(two().ask("clusterset.local.", SOA).answer.len(), 1);
}

#[test]
fn d03_fix_empty_names() {
    for qtype in [A, AAAA, SRV] {
        for name in [
            "clusterset.local.",
            "svc.clusterset.local.",
            "pod.clusterset.local.",
        ] {
            two().nodata(name, qtype);
        }
        two().nxdomain("x.clusterset.local.", qtype);
    }
}

#[test]
fn d04_fix_namespaces() {
    two().nodata("ns1", A);
    two().nxdomain("ns2", A);
    let mut server = two();
    server.apply(&[namespace("ns2", true)]);
    server.nodata("ns2", A);
    server.apply(&[namespace("ns2", false)]);
    server.nxdomain("ns2", A);
}

#[test]
fn d05_keep_pods_do_not_exist() {
    for qtype in [A, SRV] {
        two().nxdomain("svc1.ns1.pod.clusterset.local.", qtype);
        two().nxdomain("ns1.pod.clusterset.local.", qtype);
    }
}

#[test]
fn d06_keep_too_many_labels() {
    for qtype in [A, AAAA, SRV] {
        two().nxdomain("a.b.c1.svc1.ns1", qtype);
        headless().nxdomain("x.h1.c1.hl.ns1", qtype);
        headless().nxdomain("a.b.c.d.e.hl.ns1", qtype);
    }
}

#[test]
fn d07_keep_unknown_service() {
    for qtype in [A, AAAA, SRV] {
        two().nxdomain("svc2.ns1", qtype);
        two().nxdomain("svc1.ns2", qtype);
    }
}

#[test]
fn d08_keep_one_address() {
    let picks: BTreeSet<_> = two().picks("svc1.ns1", A, 8).into_iter().collect();
    assert_eq!(
        picks,
        BTreeSet::from(["10.0.0.1".to_owned(), "10.0.0.2".to_owned()])
    );
}

#[test]
fn d09_keep_no_usable_cluster() {
    let reply = lost(two()).nodata("svc1.ns1", A);
    assert_eq!(reply.extended_error(), Some(22));
}

#[test]
fn d10_keep_a_cluster_by_name() {
    two().expect("c2.svc1.ns1", A, &["10.0.0.2"]);
    let reply = lost(two()).expect("c2.svc1.ns1", A, &["10.0.0.2"]);
    assert_eq!(reply.extended_error(), Some(3));
    let mut server = two();
    server.apply(&[service_ip("ns1", "svc1", "c2", "10.0.0.2").unready().put()]);
    server.expect("c2.svc1.ns1", A, &["10.0.0.2"]);
}

#[test]
fn d11_keep_a_cluster_that_does_not_export() {
    two().nxdomain("c3.svc1.ns1", A);
}

#[test]
fn d12_keep_the_cluster_set_ip() {
    let mut server = lost(two());
    server.apply(&[import("ns1", "svc1")
        .vip("243.1.0.1")
        .port("http", 8080)
        .put()]);
    server.expect("svc1.ns1", A, &["243.1.0.1"]);
}

#[test]
fn d13_fix_ipv6() {
    two().nodata("svc1.ns1", AAAA);
    let mut server = two();
    server.apply(&[service_ip("ns1", "svc1", "c1", "10.0.0.1")
        .at("2001:db8::1")
        .put()]);
    server.expect("svc1.ns1", AAAA, &["2001:db8::1"]);
}

#[test]
fn d14_fix_one_rcode_per_name() {
    for qtype in [A, AAAA, SRV, TXT, ANY] {
        two().nxdomain("anything.svc1.ns1", qtype);
        headless().nxdomain("x.c1.hl.ns1", qtype);
        headless().nxdomain("h2.c2.hl.ns1", qtype);
    }
}

#[test]
fn d15_keep_unknown_service_ipv6() {
    two().nxdomain("svc2.ns1", AAAA);
}

#[test]
fn d16_keep_all_endpoints_of_connected_clusters() {
    let server = headless();
    server.expect("hl.ns1", A, &["10.1.0.1", "10.1.0.2", "10.2.0.1"]);
    let mut server = server;
    server.apply(&[gateway("here", &["c2"], &["c1"])]);
    server.expect("hl.ns1", A, &["10.2.0.1"]);
}

#[test]
fn order_turns() {
    let server = headless();
    let first = |_| server.ask("hl.ns1", A).answer[0].data.clone();
    let firsts: BTreeSet<_> = (0..12).map(first).collect();
    assert_eq!(firsts.len(), 3, "each comes first at times");
}

#[test]
fn d17_keep_headless_without_endpoints() {
    let reply = lost(headless()).nodata("hl.ns1", A);
    assert_eq!(reply.extended_error(), Some(22));
    Server::new(&[import("ns1", "hl").headless().put()]).nodata("hl.ns1", A);
}

#[test]
fn d18_keep_endpoints_of_a_cluster() {
    headless().expect("c1.hl.ns1", A, &["10.1.0.1", "10.1.0.2"]);
    let reply = lost(headless()).expect("c1.hl.ns1", A, &["10.1.0.1", "10.1.0.2"]);
    assert_eq!(reply.extended_error(), Some(3));
    let mut server = headless();
    server.apply(&[backends("ns1", "hl", "c1").port("http", 8080).put()]);
    server.nodata("c1.hl.ns1", A);
}

#[test]
fn d19_keep_unknown_cluster() {
    headless().nxdomain("c3.hl.ns1", A);
}

#[test]
fn d20_keep_a_host() {
    headless().expect("h2.c1.hl.ns1", A, &["10.1.0.2"]);
    let reply = lost(headless()).expect("h2.c1.hl.ns1", A, &["10.1.0.2"]);
    assert_eq!(reply.extended_error(), Some(3));
}

#[test]
fn d21_keep_unknown_host() {
    headless().nxdomain("h3.c1.hl.ns1", A);
}

#[test]
fn d22_fix_hosts_of_cluster_set_ip_services() {
    two().nxdomain("h1.c1.svc1.ns1", A);
}

#[test]
fn d23_keep_srv_of_the_service() {
    two().expect_srv("svc1.ns1", &[(53, "svc1.ns1"), (8080, "svc1.ns1")]);
}

#[test]
fn d24_keep_srv_of_a_cluster() {
    let target = "c1.svc1.ns1";
    let reply = two().expect_srv(target, &[(8080, target)]);
    assert_eq!(
        reply.extra(),
        ["c1.svc1.ns1.svc.clusterset.local. 10.0.0.1"]
    );
    two().expect_srv("c2.svc1.ns1", &[(53, "c2.svc1.ns1"), (8080, "c2.svc1.ns1")]);
}

#[test]
fn d25_keep_srv_of_a_port() {
    for name in ["_dns._udp.svc1.ns1", "dns.udp.svc1.ns1"] {
        two().expect_srv(name, &[(53, "svc1.ns1")]);
    }
    two().expect_srv("_dns._udp.c2.svc1.ns1", &[(53, "c2.svc1.ns1")]);
    two().nxdomain("_dns._udp.c1.svc1.ns1", SRV);
    two().nxdomain("_dns._tcp.svc1.ns1", SRV);
}

#[test]
fn d26_fix_a_port_that_one_cluster_lacks() {
    let mut server = headless();
    let c2 = backends("ns1", "hl", "c2")
        .with(udp("dns", 53))
        .host("h1", "10.2.0.1");
    server.apply(&[c2.put()]);
    server.expect_srv(
        "_http._tcp.hl.ns1",
        &[(8080, "h1.c1.hl.ns1"), (8080, "h2.c1.hl.ns1")],
    );
    server.expect_srv("_dns._udp.hl.ns1", &[(53, "h1.c2.hl.ns1")]);
}

#[test]
fn d27_keep_srv_of_headless() {
    let targets = ["h1.c1.hl.ns1", "h2.c1.hl.ns1", "h1.c2.hl.ns1"];
    let wanted: Vec<_> = targets.iter().map(|target| (8080, *target)).collect();
    let reply = headless().expect_srv("hl.ns1", &wanted);
    assert_eq!(reply.additional.len(), 3);
}

#[test]
fn d28_fix_an_endpoint_without_name() {
    let slice = backends("ns1", "hl", "c1")
        .port("http", 80)
        .at("10.0.0.9")
        .at("::1")
        .at("fe80::");
    let server = Server::new(&[import("ns1", "hl").headless().put(), slice.put()]);
    let targets = ["10-0-0-9.c1.hl.ns1", "0--1.c1.hl.ns1", "fe80--0.c1.hl.ns1"];
    server.expect_srv("hl.ns1", &targets.map(|target| (80, target)));
    server.expect("0--1.c1.hl.ns1", AAAA, &["::1"]);
    server.expect("fe80--0.c1.hl.ns1", AAAA, &["fe80::"]);
}

#[test]
fn d29_fix_same_number_twice() {
    let ports = import("ns1", "dns")
        .vip("243.0.0.1")
        .with(tcp("dns-t", 53))
        .with(udp("dns-u", 53));
    let server = Server::new(&[ports.put()]);
    server.expect_srv("dns.ns1", &[(53, "dns.ns1")]);
}

#[test]
fn d30_keep_ports_of_the_import() {
    let mut server = two();
    server.apply(&[import("ns1", "svc1").vip("243.1.0.1").put()]);
    server.apply(&[import("ns1", "svc1").vip("243.1.0.1").port("new", 99).put()]);
    server.expect_srv("svc1.ns1", &[(99, "svc1.ns1")]);
}

#[test]
fn d31_keep_priority_and_weight() {
    let reply = two().ask("_http._tcp.svc1.ns1", SRV);
    assert_eq!(
        reply.answers(),
        ["0 50 8080 svc1.ns1.svc.clusterset.local."]
    );
    assert_eq!(reply.answer[0].ttl, 5);
    let reply = lost(two()).nodata("_http._tcp.svc1.ns1", SRV);
    assert_eq!(reply.extended_error(), Some(22));
}

#[test]
fn d32_fix_families_do_not_mix() {
    let mut server = headless();
    server.apply(&[backends("ns1", "hl", "c1").host("h1", "2001:db8::1").put()]);
    server.nodata("h1.c1.hl.ns1", A);
    server.expect("h1.c1.hl.ns1", AAAA, &["2001:db8::1"]);
}

#[test]
fn d34_keep_fall_through() {
    use subm_dns_core::respond::Outcome;
    let mut zone = common::zone(common::ORIGIN);
    zone.fallthrough = vec![subm_dns_core::name::WireName::root()];
    let facts = [
        import("ns1", "svc1").put(),
        import_of("ns1", "svc1", "c1").vip("10.0.0.1").put(),
    ];
    let server = Server::zoned(zone, None, &facts);
    let mut out = [0; 1232];
    for name in [
        "x.clusterset.local.",
        "svc1.ns1.pod.clusterset.local.",
        "nope.ns1",
        "c9.svc1.ns1",
    ] {
        let octets = Query::new(&common::full(name), A).octets();
        let outcome = server.outcome(&octets, Transport::Udp, &mut out);
        assert!(
            matches!(outcome, Outcome::FallThrough { .. }),
            "{name} {outcome:?}"
        );
    }
    let octets = Query::new(&common::full("svc1.ns1"), AAAA).octets();
    let outcome = server.outcome(&octets, Transport::Udp, &mut out);
    assert!(matches!(outcome, Outcome::Reply { .. }));
}

#[test]
fn d35_keep_no_import_no_service() {
    let mut server = Server::new(&[service_ip("ns1", "svc1", "c1", "10.0.0.1").put()]);
    server.nxdomain("svc1.ns1", A);
    server.nxdomain("c1.svc1.ns1", A);
    server.apply(&[import("ns1", "svc1").put()]);
    server.expect("svc1.ns1", A, &["10.0.0.1"]);
}
