//! The cases of Lighthouse's own tests, restated on facts: plugin P01 to P55, resolver R01 to R56 and
//! R62 to R74, gateway G01 to G11, balancer L06 to L12. What changed is said at the case.
//!
//! | cases | where |
//! |---|---|
//! | P16 | a write that fails: the transport's |
//! | P56-P64 | parsing, seen through answers: `lighthouse_rows.rs` D03 to D06 |
//! | P65-P74, L01-L05 | configuration, and states that cannot be written here |
//! | R31, R32, R56-R61 | objects that a source leaves out before they are facts |

mod common;

use std::collections::BTreeSet;

use subm_dns_core::authority::Authority;
use subm_dns_core::facts::{Fact, Gateway};
use subm_dns_core::name::WireName;
use subm_dns_core::respond::{Outcome, Transport};

use common::facts::{
    SliceFact, backends, endpoint, gateway, gateway_key, gateway_of, import, import_of, legacy,
    local_slice, service_ip, tcp, udp,
};
use common::query::Query;
use common::reply::{A, AAAA, REFUSED, SRV};
use common::{Server, cluster, full};

const IPS: [&str; 3] = ["192.168.56.21", "192.168.56.22", "192.168.56.23"];

/// `svc.ns` in `count` clusters, all connected to `local`.
fn set(local: &str, count: usize) -> Server {
    let ids = ["c1", "c2", "c3"];
    let mut facts = vec![import("ns", "svc").put(), gateway(local, &ids, &[])];
    facts.extend((0..count).map(|i| ip_of(i).put()));
    Server::new(&facts)
}

fn ip_of(i: usize) -> SliceFact {
    let slice = service_ip("ns", "svc", &format!("c{}", i + 1), IPS[i]).port("http", 8080);
    if i == 1 {
        slice.with(udp("dns", 53))
    } else {
        slice
    }
}

fn lose(server: &mut Server, up: &[&str], down: &[&str]) {
    server.apply(&[gateway("here", up, down)]);
}

/// Asserts that answers go round exactly `ips`, in one order that repeats.
#[track_caller]
fn round_robin(server: &Server, ips: &[&str]) {
    let picks = server.picks("svc.ns", A, 5 * ips.len());
    let cycle = &picks[..ips.len()];
    assert!(
        picks.chunks(ips.len()).all(|chunk| chunk == cycle),
        "{picks:?}"
    );
    let set: BTreeSet<&str> = cycle.iter().map(|pick| &pick[..]).collect();
    assert_eq!(set, ips.iter().copied().collect());
}

#[test]
fn p01_p02_p05_p06_existing_service() {
    let server = set("here", 1);
    server.expect("svc.ns", A, &[IPS[0]]);
    server.expect_srv("svc.ns", &[(8080, "svc.ns")]);
    let mut server = server;
    server.apply(&[
        import("ns2", "svc").put(),
        service_ip("ns2", "svc", "c1", "10.9.9.9")
            .port("x", 1)
            .put(),
    ]);
    server.expect("svc.ns2", A, &["10.9.9.9"]);
    server.expect_srv("svc.ns2", &[(1, "svc.ns2")]);
    server.expect("svc.ns", A, &[IPS[0]]);
}

#[test]
fn p03_p04_a_cluster() {
    set("here", 1).expect("c1.svc.ns", A, &[IPS[0]]);
    set("here", 1).expect_srv("c1.svc.ns", &[(8080, "c1.svc.ns")]);
}

#[test]
fn p07_to_p12_names_that_do_not_exist() {
    for qtype in [A, SRV] {
        for name in ["unknown.ns", "svc.unknown", "svc.ns.pod.clusterset.local."] {
            set("here", 1).nxdomain(name, qtype);
        }
    }
}

#[test]
fn p13_p14_p18_p23_other_zones_are_refused() {
    for qtype in [A, SRV] {
        let reply = set("here", 1).send(&Query::new("svc.ns.svc.cluster.east.", qtype));
        assert_eq!(reply.rcode, REFUSED);
    }
}

#[test]
fn p15_p19_ipv6_is_no_data() {
    set("here", 1).nodata("svc.ns", AAAA);
}

#[test]
fn p17_p20_to_p22_p24_p25_fall_through() {
    let mut server = set("here", 1);
    let mut zone = common::zone(common::ORIGIN);
    zone.fallthrough = vec![WireName::parse("clusterset.local").expect("a zone")];
    server.authority = Authority::new(vec![zone]);
    let mut out = [0; 1232];
    for qtype in [A, SRV] {
        for name in ["unknown.ns", "svc.ns.pod.clusterset.local."] {
            let octets = Query::new(&full(name), qtype).octets();
            let outcome = server.outcome(&octets, Transport::Udp, &mut out);
            assert!(matches!(outcome, Outcome::FallThrough { .. }), "{name}");
        }
    }
    // P17, P22: names outside the zone are for the server that chooses the zone.
}

#[test]
fn p26_p27_p47_p48_a_cluster_of_two() {
    for local in ["here", "c1"] {
        let server = set(local, 2);
        server.expect("c2.svc.ns", A, &[IPS[1]]);
        server.expect_srv("c2.svc.ns", &[(53, "c2.svc.ns"), (8080, "c2.svc.ns")]);
    }
}

#[test]
fn p28_p29_r11_r12_r13_one_of_two_is_lost() {
    let mut server = set("here", 2);
    lose(&mut server, &["c2"], &["c1"]);
    round_robin(&server, &[IPS[1]]);
    // Ports are the union, not the intersection (A12).
    server.expect_srv("svc.ns", &[(53, "svc.ns"), (8080, "svc.ns")]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
    server.expect("c2.svc.ns", A, &[IPS[1]]);
}

#[test]
fn p30_to_p33_r03_r04_r14_all_are_lost() {
    for count in [1, 2] {
        let mut server = set("here", count);
        lose(&mut server, &[], &["c1", "c2", "c3"]);
        server.nodata("svc.ns", A);
        server.nodata("svc.ns", SRV);
        server.expect("c1.svc.ns", A, &[IPS[0]]);
    }
}

fn hosts(count: usize) -> Server {
    let mut slice = backends("ns", "hl", "c1").port("http", 8080);
    for i in 0..count {
        slice = slice.host(&format!("hostName{i}"), &format!("100.96.157.10{i}"));
    }
    Server::new(&[
        import("ns", "hl").headless().put(),
        slice.put(),
        gateway("here", &["c1"], &[]),
    ])
}

#[test]
fn p34_p35_headless_without_endpoints() {
    hosts(0).nodata("hl.ns", A);
    hosts(0).nodata("hl.ns", SRV);
}

#[test]
fn p36_to_p38_headless_with_one() {
    let server = hosts(1);
    server.expect("hl.ns", A, &["100.96.157.100"]);
    server.expect_srv("hl.ns", &[(8080, "hostname0.c1.hl.ns")]);
    server.expect_srv("c1.hl.ns", &[(8080, "hostname0.c1.hl.ns")]);
}

#[test]
fn p39_to_p42_headless_with_two() {
    let server = hosts(2);
    server.expect("hl.ns", A, &["100.96.157.100", "100.96.157.101"]);
    for name in [
        "hl.ns",
        "http.tcp.hl.ns",
        "_http._tcp.hl.ns",
        "_http.tcp.hl.ns",
    ] {
        server.expect_srv(
            name,
            &[(8080, "hostname0.c1.hl.ns"), (8080, "hostname1.c1.hl.ns")],
        );
    }
}

#[test]
fn p43_p44_headless_in_two_clusters() {
    let mut server = hosts(1);
    server.apply(&[
        backends("ns", "hl", "c2")
            .port("http", 8080)
            .host("h", "10.2.0.1")
            .put(),
        gateway("c1", &["c2"], &[]),
    ]);
    server.expect("hl.ns", A, &["100.96.157.100", "10.2.0.1"]);
    server.expect("c1.hl.ns", A, &["100.96.157.100"]);
}

#[test]
fn p45_p46_p49_r10_the_local_cluster() {
    let mut server = set("c1", 2);
    round_robin(&server, &[IPS[0]]);
    server.expect_srv("svc.ns", &[(53, "svc.ns"), (8080, "svc.ns")]);
    server.apply(&[service_ip("ns", "svc", "c1", IPS[0]).unready().put()]);
    round_robin(&server, &[IPS[1]]);
}

#[test]
fn p50_to_p53_ports() {
    let slice = service_ip("ns", "svc", "c1", IPS[0])
        .port("http", 8080)
        .with(udp("dns", 53));
    let server = Server::new(&[import("ns", "svc").put(), slice.put()]);
    server.expect_srv("svc.ns", &[(53, "svc.ns"), (8080, "svc.ns")]);
    for name in ["http.tcp.svc.ns", "_http._tcp.svc.ns"] {
        server.expect_srv(name, &[(8080, "svc.ns")]);
    }
    server.expect_srv("dns.udp.svc.ns", &[(53, "svc.ns")]);
    server.expect_srv("c1.svc.ns", &[(53, "c1.svc.ns"), (8080, "c1.svc.ns")]);
}

#[test]
fn p54_p55_r27_r28_cluster_set_ip() {
    let mut server = set("here", 2);
    lose(&mut server, &[], &["c1", "c2"]);
    server.apply(&[import("ns", "svc")
        .vip("243.1.0.1")
        .port("http", 8080)
        .with(udp("dns", 53))
        .put()]);
    server.expect("svc.ns", A, &["243.1.0.1"]);
    server.expect_srv("svc.ns", &[(53, "svc.ns"), (8080, "svc.ns")]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
}

#[test]
fn r01_r02_one_cluster() {
    round_robin(&set("here", 1), &[IPS[0]]);
    for _ in 0..5 {
        set("here", 1).expect("c1.svc.ns", A, &[IPS[0]]);
    }
}

#[test]
fn r05_r06_r52_unhealthy() {
    let mut server = set("here", 1);
    server.apply(&[ip_of(0).unready().put()]);
    server.nodata("svc.ns", A);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
}

#[test]
fn r07_r08_update_and_unknown_cluster() {
    let mut server = set("here", 1);
    server.apply(&[service_ip("ns", "svc", "c1", "10.9.9.9")
        .with(udp("dns", 53))
        .put()]);
    server.expect("svc.ns", A, &["10.9.9.9"]);
    server.expect_srv("svc.ns", &[(53, "svc.ns")]);
    server.nxdomain("non-existent.svc.ns", A);
}

#[test]
fn r09_r19_r20_round_robin() {
    round_robin(&set("here", 2), &IPS[..2]);
    round_robin(&set("non-existent", 2), &IPS[..2]);
    round_robin(&set("here", 3), &IPS);
}

#[test]
fn r15_to_r18_one_is_unhealthy_or_removed() {
    let mut server = set("here", 2);
    server.apply(&[ip_of(1).unready().put()]);
    round_robin(&server, &[IPS[0]]);
    server.expect("c2.svc.ns", A, &[IPS[1]]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
    server.apply(&[ip_of(1).gone()]);
    round_robin(&server, &[IPS[0]]);
    server.nxdomain("c2.svc.ns", A);
}

#[test]
fn r21_r22_three_clusters() {
    let server = set("here", 3);
    // The union of ports where Lighthouse gives the intersection.
    server.expect_srv("svc.ns", &[(53, "svc.ns"), (8080, "svc.ns")]);
    server.expect("c2.svc.ns", A, &[IPS[1]]);
}

#[test]
fn r23_to_r26_three_clusters_that_fail() {
    let mut server = set("here", 3);
    lose(&mut server, &["c1", "c2"], &["c3"]);
    round_robin(&server, &IPS[..2]);
    lose(&mut server, &["c1", "c2", "c3"], &[]);
    server.apply(&[ip_of(1).unready().put()]);
    round_robin(&server, &[IPS[0], IPS[2]]);
    server.apply(&[ip_of(1).put()]);
    round_robin(&server, &IPS);
    lose(&mut server, &["c1", "c3"], &["c2"]);
    server.apply(&[ip_of(2).unready().put()]);
    round_robin(&server, &[IPS[0]]);
}

#[test]
fn r29_two_namespaces() {
    let mut server = set("here", 1);
    server.apply(&[
        import("ns2", "svc").put(),
        service_ip("ns2", "svc", "c1", "10.9.9.9").put(),
    ]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
    server.expect("c1.svc.ns2", A, &["10.9.9.9"]);
}

#[test]
fn r30_r48_to_r51_slices_and_imports_come_and_go() {
    let mut server = Server::new(&[ip_of(0).put()]);
    server.nxdomain("c1.svc.ns", A);
    server.apply(&[import("ns", "svc").put()]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
    server.apply(&[ip_of(0).gone()]);
    server.nodata("svc.ns", A);
    server.nxdomain("c1.svc.ns", A);
    server.apply(&[import("ns", "svc").gone()]);
    server.nxdomain("svc.ns", A);
    // R51: without an import a service is gone at once; Lighthouse waits for the last slice.
    server.apply(&[import("ns", "svc").put(), ip_of(0).put()]);
    server.apply(&[import("ns", "svc").gone()]);
    server.nxdomain("c1.svc.ns", A);
}

fn mixed() -> SliceFact {
    backends("ns", "hl", "c1")
        .port("http", 1)
        .at("100.96.157.101")
        .at("100.96.157.102")
        .unready()
        .at("100.96.157.103")
}

#[test]
fn r33_to_r35_not_ready() {
    let head = import("ns", "hl").headless();
    let server = Server::new(&[head.clone().put(), mixed().put()]);
    server.expect("hl.ns", A, &["100.96.157.101", "100.96.157.103"]);
    let server = Server::new(&[head.put(), mixed().publish_not_ready().put()]);
    server.expect(
        "hl.ns",
        A,
        &["100.96.157.101", "100.96.157.102", "100.96.157.103"],
    );
}

#[test]
fn r36_r37_globalnet_at_home() {
    let own = vec![endpoint("100.96.157.102"), endpoint("100.96.157.103")];
    let own = local_slice("ns", "hl", &[tcp("http", 1)], own);
    let global = || backends("ns", "hl", "c1").port("http", 1).at("242.0.0.1");
    let facts = |slice: SliceFact| {
        [
            import("ns", "hl").headless().put(),
            slice.put(),
            own.clone(),
        ]
    };
    let home = Server::seen_from(Some("c1"), &facts(global().globalnet()));
    assert!(home.catalog.wants_local_slices());
    for name in ["c1.hl.ns", "hl.ns"] {
        home.expect(name, A, &["100.96.157.102", "100.96.157.103"]);
    }
    home.nxdomain("242-0-0-1.c1.hl.ns", A);
    let away = Server::seen_from(Some("c2"), &facts(global().globalnet()));
    assert!(!away.catalog.wants_local_slices());
    away.expect("c1.hl.ns", A, &["242.0.0.1"]);
    Server::seen_from(Some("c1"), &facts(global())).expect("c1.hl.ns", A, &["242.0.0.1"]);
}

#[test]
fn r38_r53_to_r55_several_slices() {
    let more = || {
        backends("ns", "hl", "c1")
            .named("more")
            .with(tcp("x", 2))
            .at("100.96.157.101")
            .at("100.96.157.104")
    };
    let mut server = Server::new(&[
        import("ns", "hl").headless().put(),
        mixed().put(),
        more().put(),
    ]);
    server.expect(
        "hl.ns",
        A,
        &["100.96.157.101", "100.96.157.103", "100.96.157.104"],
    );
    server.apply(&[mixed().gone()]);
    server.expect("c1.hl.ns", A, &["100.96.157.101", "100.96.157.104"]);
    server.expect_srv(
        "_x._tcp.100-96-157-104.c1.hl.ns",
        &[(2, "100-96-157-104.c1.hl.ns")],
    );
    server.apply(&[more().gone()]);
    server.nxdomain("c1.hl.ns", A);
    server.nodata("hl.ns", A);
}

#[test]
fn r39_to_r47_headless_in_three_clusters() {
    let c3 = || backends("ns", "hl", "c3");
    let mut server = Server::new(&[
        import("ns", "hl").headless().put(),
        backends("ns", "hl", "c1").at("100.96.157.101").put(),
        backends("ns", "hl", "c2").at("100.96.157.102").put(),
        c3().host("host1", "100.96.157.103")
            .host("host1", "100.96.157.104")
            .at("100.96.157.105")
            .host("host2", "100.96.157.106")
            .put(),
        gateway("here", &["c1", "c2", "c3"], &[]),
    ]);
    let all: Vec<_> = (101..107).map(|i| format!("100.96.157.{i}")).collect();
    let all: Vec<&str> = all.iter().map(|ip| &ip[..]).collect();
    server.expect("hl.ns", A, &all);
    for lost in [false, true] {
        if lost {
            lose(&mut server, &["c1", "c2"], &["c3"]);
            server.expect("hl.ns", A, &all[..2]);
        }
        server.expect("c3.hl.ns", A, &all[2..]);
        server.expect("host1.c3.hl.ns", A, &all[2..4]);
        server.expect("host2.c3.hl.ns", A, &all[5..]);
    }
    server.nxdomain("non-existent.hl.ns", A);
    server.apply(&[c3()
        .host("host1", "100.96.157.104")
        .host("host2", "100.96.157.105")
        .host("host2", "100.96.157.106")
        .put()]);
    server.expect("c3.hl.ns", A, &all[3..]);
    server.expect("host1.c3.hl.ns", A, &all[3..4]);
    server.expect("host2.c3.hl.ns", A, &all[4..]);
    server.apply(&[c3().gone()]);
    server.expect("hl.ns", A, &all[..2]);
    server.nxdomain("c3.hl.ns", A);
}

#[test]
fn r62_r63_imports_per_cluster() {
    let old = || import_of("ns", "svc", "c1").vip(IPS[0]).port("http", 8080);
    let backend = || legacy("ns", "svc", "c1").port("http", 8080).at("10.1.0.1");
    let mut server = Server::new(&[old().put(), backend().put()]);
    server.expect("svc.ns", A, &[IPS[0]]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
    server.expect_srv("svc.ns", &[(8080, "svc.ns")]);
    server.apply(&[backend().unready().put()]);
    server.nodata("svc.ns", A);
    server.apply(&[old().gone(), backend().gone()]);
    server.nxdomain("c1.svc.ns", A);
    server.nxdomain("svc.ns", A);
}

#[test]
fn r64_old_and_new_clusters_together() {
    let old = import_of("ns", "svc", "c1").vip(IPS[0]).port("http", 8080);
    let backend = legacy("ns", "svc", "c1").port("http", 8080).at("10.1.0.1");
    let mut server = Server::new(&[
        import("ns", "svc").put(),
        ip_of(1).put(),
        old.clone().put(),
        backend.clone().put(),
    ]);
    round_robin(&server, &IPS[..2]);
    server.apply(&[ip_of(0).put(), backend.gone(), old.gone()]);
    round_robin(&server, &IPS[..2]);
    server.expect("c1.svc.ns", A, &[IPS[0]]);
}

#[test]
fn r65_to_r74_legacy_headless_slices() {
    let old = || {
        legacy("ns", "hl", "c1")
            .port("http", 1)
            .at("100.96.157.101")
    };
    let new = || {
        backends("ns", "hl", "c1")
            .port("other", 3)
            .at("100.96.157.103")
    };
    let head = import("ns", "hl").headless();
    let mut server = Server::new(&[head.clone().put(), old().put()]);
    server.expect("c1.hl.ns", A, &["100.96.157.101"]);
    server.apply(&[new().put()]);
    server.expect("c1.hl.ns", A, &["100.96.157.103"]);
    server.nxdomain("_http._tcp.hl.ns", SRV);
    server.apply(&[new().gone()]);
    server.expect("hl.ns", A, &["100.96.157.101"]);
    server.apply(&[old().gone()]);
    server.nxdomain("c1.hl.ns", A);
    // R67, R72: at home under Globalnet.
    let own = local_slice("ns", "hl", &[], vec![endpoint("100.96.157.102")]);
    let home = Server::seen_from(Some("c1"), &[head.put(), old().globalnet().put(), own]);
    home.expect("c1.hl.ns", A, &["100.96.157.102"]);
}

/// Whether a headless service of `id` is answered at its bare name.
fn is_connected(gateways: &[Fact], id: &str) -> bool {
    let mut facts = vec![
        import("ns", "hl").headless().put(),
        backends("ns", "hl", id).at("10.0.0.1").put(),
    ];
    facts.extend_from_slice(gateways);
    !Server::new(&facts).ask("hl.ns", A).answer.is_empty()
}

fn passive(local: &str) -> Fact {
    let gateway = Gateway {
        active: false,
        ..gateway_of(local, &["r1"], &[])
    };
    Fact::Gateway(gateway_key(), Some(gateway))
}

#[test]
fn g01_g02_g06_g07_local_cluster_id() {
    for make in [|id: &str| gateway(id, &[], &[]), passive] {
        let mut server = Server::new(&[make("c1")]);
        assert_eq!(server.status.local(), Some(&cluster("c1")));
        server.apply(&[make("c2")]);
        assert_eq!(server.status.local(), Some(&cluster("c2")));
    }
}

#[test]
fn g03_to_g05_g08_g09_connections() {
    assert!(is_connected(&[gateway("c1", &[], &[])], "c1"));
    assert!(is_connected(&[passive("c1")], "c1"));
    assert!(!is_connected(&[passive("c1")], "r1"));
    let one = [gateway("c1", &["r1"], &["r2"])];
    assert!(is_connected(&one, "r1") && !is_connected(&one, "r2"));
    let turned = [gateway("c1", &["r1"], &[]), gateway("c1", &["r2"], &["r1"])];
    assert!(!is_connected(&turned, "r1") && is_connected(&turned, "r2"));
    assert!(!is_connected(&one, "never-heard-of"));
}

#[test]
fn g10_g11_without_gateways_all_are_connected() {
    assert!(is_connected(&[], "r1"));
    assert!(is_connected(
        &[
            gateway("c1", &[], &["r1"]),
            Fact::Gateway(gateway_key(), None)
        ],
        "r1"
    ));
}

fn weighted(weights: &[u16]) -> Server {
    let mut web = import("ns", "svc");
    let mut facts = Vec::new();
    for (i, weight) in weights.iter().enumerate() {
        let id = format!("c{i}");
        web = web.weight(&id, *weight);
        facts.push(service_ip("ns", "svc", &id, &format!("10.0.0.{i}")).put());
    }
    facts.push(web.put());
    Server::new(&facts)
}

#[test]
fn l06_one_item_all_the_time() {
    assert!(
        weighted(&[7])
            .picks("svc.ns", A, 10)
            .iter()
            .all(|pick| pick == "10.0.0.0")
    );
}

#[test]
fn l08_to_l10_shares() {
    for weights in [&[100, 100, 100][..], &[5, 1, 1], &[3, 7, 2, 9]] {
        let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum();
        let picks = weighted(weights).picks("svc.ns", A, total);
        for (i, weight) in weights.iter().enumerate() {
            let address = format!("10.0.0.{i}");
            let times = picks.iter().filter(|pick| **pick == address).count();
            assert_eq!(times, usize::from(*weight), "{weights:?}");
        }
    }
}

#[test]
fn l11_a_skipped_item_is_left_out() {
    let mut server = weighted(&[5, 1, 1]);
    server.apply(&[service_ip("ns", "svc", "c0", "10.0.0.0").unready().put()]);
    let picks: BTreeSet<_> = server.picks("svc.ns", A, 4).into_iter().collect();
    assert_eq!(
        picks,
        BTreeSet::from(["10.0.0.1".to_owned(), "10.0.0.2".to_owned()])
    );
}

#[test]
fn l12_a_new_item_gets_its_share() {
    let mut server = weighted(&[5, 1, 1]);
    server.picks("svc.ns", A, 3);
    server.apply(&[service_ip("ns", "svc", "c3", "10.0.0.3").put()]);
    let picks = server.picks("svc.ns", A, 8);
    assert_eq!(picks.iter().filter(|pick| *pick == "10.0.0.3").count(), 1);
    assert_eq!(picks.iter().filter(|pick| *pick == "10.0.0.0").count(), 5);
}
