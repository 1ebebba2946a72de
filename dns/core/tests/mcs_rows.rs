//! Rows of the specification of multi-cluster DNS (KEP-1645) and what it inherits, by id.
//!
//! | rows | where |
//! |---|---|
//! | N4, N10, N11 | not about answers: who imports, what cluster.local does |
//! | A5, A7, A11, H10, H12, H14 | free, not required or a choice: see docs/adr/0003 |
//! | D12, D15, D16 | transports and transfers: `messages.rs`, `properties.rs`, the server's own tests |

mod common;

use subm_dns_core::respond::Transport;

use common::facts::{backends, import, service_ip, tcp, udp};
use common::query::{Query, wire};
use common::reply::{A, AAAA, ANY, NS, REFUSED, SOA, SRV, TXT};
use common::{Server, full, zone};

fn vip() -> Server {
    let web = import("shop", "web")
        .vip("243.0.0.1")
        .vip("243.0.0.2")
        .vip("fd00::1");
    Server::new(&[web.port("http", 80).with(udp("", 9)).put()])
}

fn headless() -> Server {
    Server::new(&[
        import("shop", "db").headless().put(),
        backends("shop", "db", "east")
            .port("sql", 42)
            .with(tcp("", 43))
            .host("db-0", "10.0.0.1")
            .at("fd00::1")
            .put(),
        backends("shop", "db", "west")
            .port("sql", 42)
            .host("db-0", "10.1.0.1")
            .host("db-1", "10.1.0.2")
            .unready()
            .put(),
    ])
}

fn strict(server: Server) -> Server {
    let mut zone = server.authority.zones()[0].clone();
    zone.strict = true;
    Server {
        authority: subm_dns_core::authority::Authority::new(vec![zone]),
        ..server
    }
}

#[test]
fn n1_n2_the_zone_is_configured() {
    vip().expect("web.shop", A, &["243.0.0.1", "243.0.0.2"]);
    let facts = [import("shop", "web").vip("243.0.0.1").put()];
    let other = Server::zoned(zone("set.example.org"), None, &facts);
    other.expect("web.shop.svc.set.example.org.", A, &["243.0.0.1"]);
}

#[test]
fn n3_case_does_not_matter() {
    assert_eq!(vip().ask("WEB.Shop", A).answer.len(), 2);
    assert_eq!(headless().ask("DB-0.East.db.shop", A).answer.len(), 1);
    assert_eq!(headless().ask("_SQL._Tcp.db.shop", SRV).answer.len(), 3);
}

#[test]
fn n5_n6_cluster_ids_with_dots() {
    let server = Server::new(&[
        import("shop", "db").headless().put(),
        backends("shop", "db", "a.b")
            .port("sql", 42)
            .host("h", "10.0.0.1")
            .put(),
        backends("shop", "db", "b")
            .port("sql", 42)
            .host("h", "10.0.0.2")
            .put(),
        backends("shop", "db", "x.y").host("h", "10.0.0.3").put(),
    ]);
    server.expect("a.b.db.shop", A, &["10.0.0.1"]);
    server.expect("h.a.b.db.shop", A, &["10.0.0.1"]);
    server.expect("b.db.shop", A, &["10.0.0.2"]);
    server.expect("h.b.db.shop", A, &["10.0.0.2"]);
    server.nodata("y.db.shop", A);
    server.expect(
        "_sql._tcp.h.a.b.db.shop",
        SRV,
        &["0 50 42 h.a.b.db.shop.svc.clusterset.local."],
    );
}

#[test]
fn a_host_wins_over_a_cluster_of_the_same_name() {
    let server = Server::new(&[
        import("shop", "db").headless().put(),
        backends("shop", "db", "a.b").host("h", "10.0.0.1").put(),
        backends("shop", "db", "b").host("a", "10.0.0.2").put(),
    ]);
    server.expect("a.b.db.shop", A, &["10.0.0.2"]);
    server.expect("h.a.b.db.shop", A, &["10.0.0.1"]);
}

#[test]
fn n7_n8_hostname_else_dashed_address() {
    let server = headless();
    server.expect("db-0.east.db.shop", A, &["10.0.0.1"]);
    server.expect("fd00--1.east.db.shop", AAAA, &["fd00::1"]);
    server.nxdomain("10-0-0-1.east.db.shop", A);
}

#[test]
fn n9_names_of_253_octets() {
    let (name, id) = (
        "s".repeat(63),
        format!("{}.{}", "c".repeat(63), "d".repeat(60)),
    );
    let room = 255 - wire(&full(&format!("{id}.{name}.shop"))).len() - 1;
    let (fits, longer) = ("h".repeat(room), "i".repeat(room + 1));
    let slice = backends("shop", &name, &id)
        .host(&fits, "10.0.0.1")
        .host(&longer, "10.0.0.2");
    let server = Server::new(&[import("shop", &name).headless().put(), slice.put()]);
    let host = format!("{fits}.{id}.{name}.shop");
    assert_eq!(wire(&full(&host)).len(), 255);
    server.expect(&host, A, &["10.0.0.1"]);
    assert!(server.catalog.problems().count() > 0, "the other is said");
}

#[test]
fn v1_v2_v3_schema_version() {
    let reply = vip().expect("dns-version.clusterset.local.", TXT, &["1.0.0"]);
    assert_eq!(reply.answer[0].ttl, 28_800);
}

#[test]
fn v4_other_types_at_the_schema_version() {
    for qtype in [A, AAAA, SRV, NS, SOA] {
        vip().nodata("dns-version.clusterset.local.", qtype);
    }
}

#[test]
fn a1_a2_addresses_of_both_families() {
    vip().expect("web.shop", A, &["243.0.0.1", "243.0.0.2"]);
    vip().expect("web.shop", AAAA, &["fd00::1"]);
}

#[test]
fn a3_a4_a6_srv_of_named_ports() {
    let reply = vip().expect_srv("_http._tcp.web.shop", &[(80, "web.shop")]);
    assert_eq!(reply.additional.len(), 3);
    for name in [
        "_9._udp.web.shop",
        "_udp.web.shop",
        "_._udp.web.shop",
        "_http._udp.web.shop",
    ] {
        vip().nxdomain(name, SRV);
    }
    for name in ["_tcp.web.shop", "tcp.web.shop"] {
        vip().nodata(name, SRV);
    }
    vip().nodata("_http._tcp.web.shop", A);
}

#[test]
fn a8_strict_has_no_cluster_names() {
    let server = || {
        Server::new(&[
            import("shop", "web").port("http", 80).put(),
            service_ip("shop", "web", "east", "10.0.0.1")
                .port("http", 80)
                .put(),
        ])
    };
    server().expect("east.web.shop", A, &["10.0.0.1"]);
    for name in ["east.web.shop", "_http._tcp.east.web.shop"] {
        for qtype in [A, SRV, ANY] {
            strict(server()).nxdomain(name, qtype);
        }
    }
    strict(server()).expect("web.shop", A, &["10.0.0.1"]);
}

#[test]
fn a9_srv_at_the_bare_name() {
    let ports = import("shop", "echo")
        .vip("243.0.0.1")
        .with(tcp("tcp", 42))
        .with(udp("udp", 42));
    Server::new(&[ports.put()]).expect_srv("echo.shop", &[(42, "echo.shop")]);
}

#[test]
fn a10_a_cluster_set_ip_needs_no_endpoint() {
    let mut server = vip();
    server.apply(&[service_ip("shop", "web", "east", "10.0.0.1")
        .unready()
        .put()]);
    server.expect("web.shop", A, &["243.0.0.1", "243.0.0.2"]);
}

#[test]
fn a12_ports_are_the_import_s() {
    let mut server = vip();
    server.apply(&[service_ip("shop", "web", "east", "10.0.0.1")
        .port("other", 1)
        .put()]);
    server.expect_srv("web.shop", &[(9, "web.shop"), (80, "web.shop")]);
    server.nxdomain("_other._tcp.web.shop", SRV);
}

#[test]
fn h1_h2_h3_h7_ready_endpoints() {
    headless().expect("db.shop", A, &["10.0.0.1", "10.1.0.1"]);
    headless().expect("db.shop", AAAA, &["fd00::1"]);
}

#[test]
fn h4_host_names() {
    headless().expect("db-0.east.db.shop", A, &["10.0.0.1"]);
    headless().expect("db-0.west.db.shop", A, &["10.1.0.1"]);
    headless().nxdomain("db-1.west.db.shop", A);
}

#[test]
fn h5_no_ready_endpoint_is_no_data() {
    let slice = backends("shop", "db", "east")
        .host("db-0", "10.0.0.1")
        .unready();
    let server = Server::new(&[import("shop", "db").headless().put(), slice.put()]);
    server.nodata("db.shop", A);
    server.nodata("db.shop", AAAA);
    server.nxdomain("db-0.east.db.shop", A);
}

#[test]
fn h6_one_family_only_is_no_data() {
    headless().nodata("db-0.east.db.shop", AAAA);
    headless().nodata("west.db.shop", AAAA);
}

#[test]
fn h8_h9_srv_of_each_endpoint_and_named_port() {
    let targets = [
        "db-0.east.db.shop",
        "fd00--1.east.db.shop",
        "db-0.west.db.shop",
    ];
    headless().expect_srv("_sql._tcp.db.shop", &targets.map(|target| (42, target)));
    headless().nxdomain("_43._tcp.db.shop", SRV);
}

#[test]
fn h11_h15_strict_clusters_are_empty_names() {
    for qtype in [A, AAAA, SRV] {
        strict(headless()).nodata("east.db.shop", qtype);
    }
    strict(headless()).expect("db-0.east.db.shop", A, &["10.0.0.1"]);
    strict(headless()).nxdomain("_sql._tcp.east.db.shop", SRV);
    strict(headless()).nodata("_tcp.db.shop", SRV);
    headless().nodata("_tcp.db.shop", A);
}

#[test]
fn h13_srv_at_the_bare_name() {
    let wanted = [
        (42, "db-0.east.db.shop"),
        (43, "db-0.east.db.shop"),
        (42, "fd00--1.east.db.shop"),
        (43, "fd00--1.east.db.shop"),
        (42, "db-0.west.db.shop"),
    ];
    headless().expect_srv("db.shop", &wanted);
}

#[test]
fn h13_srv_of_a_single_host() {
    headless().expect_srv("_sql._tcp.db-0.west.db.shop", &[(42, "db-0.west.db.shop")]);
    headless().expect_srv("db-0.west.db.shop", &[(42, "db-0.west.db.shop")]);
}

#[test]
fn pod_names_are_aliases() {
    let slice = backends("shop", "db", "east")
        .port("sql", 42)
        .pod("db-xyz", "10.0.0.1");
    let server = Server::new(&[import("shop", "db").headless().put(), slice.put()]);
    server.expect("db-xyz.east.db.shop", A, &["10.0.0.1"]);
    server.expect("10-0-0-1.east.db.shop", A, &["10.0.0.1"]);
    server.expect_srv("db.shop", &[(42, "10-0-0-1.east.db.shop")]);
    server.expect_srv(
        "_sql._tcp.db-xyz.east.db.shop",
        &[(42, "db-xyz.east.db.shop")],
    );
}

#[test]
fn d1_negative_answers_have_the_soa() {
    for (zone_ttl, soa_ttl) in [(0, 0), (5, 5), (300, 300), (3600, 300)] {
        let mut zone = zone(common::ORIGIN);
        zone.ttl = zone_ttl;
        let server = Server::zoned(zone, None, &[]);
        for reply in [
            server.nxdomain("nope.shop", A),
            server.nodata("svc.clusterset.local.", A),
        ] {
            let soa = &reply.authority[0];
            assert_eq!((&soa.owner[..], soa.ttl), ("clusterset.local.", soa_ttl));
            let head = "ns.dns.clusterset.local. hostmaster.clusterset.local. ";
            assert!(soa.data.starts_with(head));
            assert!(soa.data.ends_with(&format!(" 7200 1800 86400 {zone_ttl}")));
        }
    }
}

#[test]
fn d3_unknown_types() {
    vip().nodata("web.shop", 65_280);
    vip().nxdomain("nope.shop", 65_280);
}

#[test]
fn d4_outside_the_zone() {
    assert_eq!(vip().send(&Query::new(".", NS)).rcode, REFUSED);
}

#[test]
fn d5_case_of_the_zone_part() {
    let reply = vip()
        .send(&Query::new("_http._tcp.WEB.Shop.Svc.ClusterSet.LOCAL.", SRV).over(Transport::Tcp));
    assert_eq!(reply.answers(), ["0 50 80 web.shop.svc.ClusterSet.LOCAL."]);
    let soa = vip().ask("ClusterSet.Local.", SOA);
    assert!(soa.answers()[0].starts_with("ns.dns.ClusterSet.Local. hostmaster.ClusterSet.Local. "));
}

#[test]
fn d9_no_duplicates() {
    let mut server = headless();
    server.apply(&[
        backends("shop", "db", "east")
            .named("more")
            .port("sql", 42)
            .host("db-0", "10.0.0.1")
            .put(),
        backends("shop", "db", "north").at("10.0.0.1").put(),
    ]);
    server.expect("db.shop", A, &["10.0.0.1", "10.1.0.1"]);
    server.expect("db-0.east.db.shop", A, &["10.0.0.1"]);
}

#[test]
fn d11_minimal_any() {
    assert!(
        vip()
            .ask("web.shop", ANY)
            .answer
            .iter()
            .all(|record| record.rtype == A)
    );
}

#[test]
fn d13_d14_see_messages() {
    // Extended errors and SERVFAIL before the first synchronisation: `messages.rs`.
    let reply = vip().nxdomain("nope.shop", A);
    assert_eq!(reply.extended_error(), None);
}
