//! Every line of the table "Messages" of docs/answers.md.

mod common;

use std::net::IpAddr;

use subm_dns_core::authority::Authority;
use subm_dns_core::edns::CookieSecret;
use subm_dns_core::respond::{Ask, Outcome, Transport, respond};

use common::facts::{backends, import, service_ip};
use common::query::{CD, DO, Query, RD, header, question, wire};
use common::reply::{
    A, AAAA, ANY, BADVERS, FORMERR, NOERROR, NOTIMP, NS, NXDOMAIN, REFUSED, Reply, SERVFAIL, SOA,
    SRV, TXT,
};
use common::{Server, cluster, full, ip, zone};

const WEB: &str = "web.shop.svc.clusterset.local.";
const NSID: u16 = 3;
const COOKIE: u16 = 10;
const KEEPALIVE: u16 = 11;

fn server() -> Server {
    Server::new(&[
        import("shop", "web")
            .vip("243.0.0.1")
            .port("http", 80)
            .put(),
        service_ip("shop", "web", "east", "10.0.0.1").put(),
        import("shop", "db").headless().put(),
        backends("shop", "db", "east")
            .port("sql", 5432)
            .host("db-0", "10.1.0.1")
            .put(),
    ])
}

fn with(change: impl FnOnce(&mut Authority)) -> Server {
    let mut server = server();
    change(&mut server.authority);
    server
}

/// A query for `WEB` with other counts and octets behind the question.
fn crooked(counts: [u16; 4], rest: &[u8]) -> Vec<u8> {
    let mut octets = header(7, RD, counts);
    octets.extend(question(WEB, A, 1));
    octets.extend(rest);
    octets
}

fn opt() -> Vec<u8> {
    vec![0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]
}

#[track_caller]
fn rcode(octets: &[u8]) -> Reply {
    server().exchange(octets, Transport::Udp).expect("a reply")
}

#[track_caller]
fn formerr(octets: &[u8]) {
    let reply = rcode(octets);
    assert_eq!(reply.rcode, FORMERR);
    assert_eq!(
        reply.answer.len() + reply.authority.len() + reply.additional.len(),
        0
    );
    assert_eq!(reply.id, u16::from_be_bytes([octets[0], octets[1]]));
}

#[test]
fn too_short_for_a_header_gets_nothing() {
    let octets = Query::new(WEB, A).octets();
    for len in 0..12 {
        assert!(server().exchange(&octets[..len], Transport::Udp).is_none());
    }
}

#[test]
fn an_answer_gets_nothing() {
    let octets = Query::new(WEB, A).flags(0x8000 | RD).octets();
    assert!(server().exchange(&octets, Transport::Udp).is_none());
}

#[test]
fn other_opcodes_are_not_implemented() {
    for opcode in 1..16_u16 {
        let reply = rcode(&Query::new(WEB, A).flags(opcode << 11).octets());
        assert_eq!(reply.rcode, NOTIMP);
        assert_eq!(u16::from(reply.opcode), opcode);
    }
}

#[test]
fn questions_other_than_one() {
    formerr(&header(7, RD, [0, 0, 0, 0]));
    let mut two = crooked([2, 0, 0, 0], &question(WEB, AAAA, 1));
    formerr(&two);
    two[5] = 3;
    formerr(&two);
}

#[test]
fn a_compressed_name() {
    let mut octets = header(7, RD, [1, 0, 0, 0]);
    octets.extend([0xc0, 12, 0, 1, 0, 1]);
    formerr(&octets);
    let mut octets = header(7, RD, [1, 0, 0, 0]);
    octets.extend([3, b'w', b'e', b'b', 0xc0, 0, 0, 1, 0, 1]);
    formerr(&octets);
}

#[test]
fn a_broken_name() {
    for name in [&[64, b'a'][..], &[0x80, 0], &[5, b'a', 0], &[63]] {
        let mut octets = header(7, RD, [1, 0, 0, 0]);
        octets.extend(name);
        octets.extend([0, 1, 0, 1]);
        formerr(&octets);
    }
    let octets = Query::new(WEB, A).octets();
    for len in 12..octets.len() {
        formerr(&octets[..len]);
    }
}

#[test]
fn names_of_255_octets_and_of_256() {
    let label = "a".repeat(63);
    let long = format!("{label}.{label}.{label}.{}", "b".repeat(61));
    assert_eq!(wire(&long).len(), 255);
    let reply = rcode(&Query::new(&long, A).octets());
    assert_eq!(reply.rcode, REFUSED);
    assert_eq!(reply.question, Some((format!("{long}."), A, 1)));
    formerr(&Query::new(&format!("{long}b"), A).octets());
    let tail = "clusterset.local";
    let room = 255 - 2 - tail.len() - 3 * 64 - 1;
    let below = format!("{label}.{label}.{label}.{}.{tail}", "c".repeat(room));
    assert_eq!(wire(&below).len(), 255);
    let reply = rcode(&Query::new(&below, A).octets());
    assert_eq!(reply.rcode, NXDOMAIN);
    assert!(reply.octets.len() <= 512);
    assert_eq!(reply.authority.len(), 1);
}

#[test]
fn a_label_of_63_octets_is_a_label() {
    let name = "s".repeat(63);
    let server = Server::new(&[import("shop", &name).vip("243.0.0.1").put()]);
    server.expect(&format!("{name}.shop"), A, &["243.0.0.1"]);
}

#[test]
fn counts_that_lie() {
    formerr(&crooked([1, 1, 0, 0], &[]));
    formerr(&crooked([1, 0, 1, 0], &[]));
    formerr(&crooked([1, 0, 0, 1], &[]));
    formerr(&crooked([1, 0, 0, 2], &opt()));
    formerr(&crooked([1, 0, 0, 65_535], &opt()));
}

#[test]
fn octets_left_over() {
    formerr(&crooked([1, 0, 0, 0], &[0]));
    formerr(&crooked([1, 0, 0, 0], &opt()));
    formerr(&crooked([1, 0, 0, 1], &[opt(), vec![0]].concat()));
}

#[test]
fn two_opt_records() {
    formerr(&crooked([1, 0, 0, 2], &[opt(), opt()].concat()));
}

#[test]
fn an_opt_with_an_owner() {
    let mut owned = wire("x");
    owned.extend(&opt()[1..]);
    formerr(&crooked([1, 0, 0, 1], &owned));
}

#[test]
fn an_opt_whose_options_do_not_fit() {
    let mut octets = opt();
    octets[10] = 5;
    octets.extend([0, 3, 0, 9, 0]);
    formerr(&crooked([1, 0, 0, 1], &octets));
}

#[test]
fn cookies_of_wrong_lengths() {
    for len in [0, 1, 7, 9, 15, 41, 100] {
        let octets = Query::new(WEB, A)
            .edns(1232)
            .option(COOKIE, &vec![1; len])
            .octets();
        formerr(&octets);
        let server = with(|authority| authority.cookies = Some(CookieSecret::new([7; 16])));
        let reply = server.exchange(&octets, Transport::Udp).expect("a reply");
        assert_eq!(reply.rcode, FORMERR, "{len} octets");
    }
}

#[test]
fn cookies_of_right_lengths() {
    let client = [1, 2, 3, 4, 5, 6, 7, 8];
    for len in [8, 16, 24, 40] {
        let mut cookie = client.to_vec();
        cookie.resize(len, 9);
        let query = Query::new(WEB, A).edns(1232).option(COOKIE, &cookie);
        assert_eq!(server().send(&query).opt.expect("OPT").option(COOKIE), None);
        let server = with(|authority| authority.cookies = Some(CookieSecret::new([7; 16])));
        let reply = server.send(&query);
        assert_eq!(reply.rcode, NOERROR);
        assert_eq!(reply.answer.len(), 1);
        let opt = reply.opt.expect("OPT");
        let sent = opt.option(COOKIE).expect("a cookie");
        assert_eq!(sent.len(), 24);
        assert_eq!(sent[..8], client);
        assert_eq!(
            sent[8..12],
            [1, 0, 0, 0],
            "version 1 and reserved octets of RFC 9018"
        );
        assert_eq!(sent[12..16], common::NOW.to_be_bytes());
    }
}

/// RFC 9018 appendix A.1: secret, client, time and the cookie that is due.
#[test]
fn the_server_cookie_of_rfc_9018() {
    let secret = 0xe5e9_73e5_a6b2_a43f_48e7_dc84_9e37_bfcf_u128.to_be_bytes();
    let server = with(|authority| authority.cookies = Some(CookieSecret::new(secret)));
    let client = 0x2464_c4ab_cf10_c957_u64.to_be_bytes();
    let octets = Query::new(WEB, A)
        .edns(1232)
        .option(COOKIE, &client)
        .octets();
    let ask = Ask {
        transport: Transport::Udp,
        client: ip("198.51.100.100"),
        now: 1_559_731_985,
    };
    let mut out = [0; 1232];
    let snapshot = Some(&*server.snapshot);
    let (authority, status) = (&server.authority, &server.status);
    let outcome = respond(
        authority,
        snapshot,
        status,
        &octets,
        &ask,
        &server.ledger,
        &mut out,
    );
    let Outcome::Reply { len, .. } = outcome else {
        panic!("{outcome:?}");
    };
    let opt = Reply::parse(&out[..len]).opt.expect("OPT");
    let cookie = 0x0100_0000_5cf7_9f11_1f81_30c3_eee2_9480_u128.to_be_bytes();
    assert_eq!(
        opt.option(COOKIE),
        Some(&[&client[..], &cookie].concat()[..])
    );
}

#[test]
fn other_edns_versions() {
    for version in [1, 2, 255] {
        let reply = server().send(&Query::new(WEB, A).edns(1232).version(version));
        assert_eq!(reply.rcode, BADVERS);
        assert_eq!(reply.opt.expect("OPT").version, 0);
        assert_eq!(reply.answer, []);
    }
}

#[test]
fn other_classes() {
    for class in [0, 2, 3, 4, 254, 255] {
        let reply = server().send(&Query::new(WEB, A).class(class));
        assert_eq!(reply.rcode, REFUSED, "class {class}");
        assert_eq!(reply.answer, []);
    }
}

#[test]
fn chaos_is_hidden_unless_asked_for() {
    for name in [
        "version.bind.",
        "version.server.",
        "hostname.bind.",
        "id.server.",
    ] {
        let reply = server().send(&Query::new(name, TXT).class(3));
        assert_eq!(reply.rcode, REFUSED, "{name}");
    }
    let server = with(|authority| {
        authority.version = Some("subm".to_owned());
        authority.server_id = Some("pod-7".to_owned());
    });
    for (name, text) in [
        ("version.bind.", "subm"),
        ("VERSION.server.", "subm"),
        ("hostname.bind.", "pod-7"),
        ("id.SERVER.", "pod-7"),
    ] {
        let reply = server.send(&Query::new(name, TXT).class(3));
        assert_eq!(reply.rcode, NOERROR, "{name}");
        assert_eq!(reply.answers(), [text], "{name}");
        assert_eq!(
            (reply.answer[0].class, &reply.answer[0].owner[..]),
            (3, name)
        );
    }
    assert_eq!(
        server.send(&Query::new("other.bind.", TXT).class(3)).rcode,
        REFUSED
    );
    assert_eq!(
        server.send(&Query::new("version.bind.", TXT)).rcode,
        REFUSED
    );
}

#[test]
fn names_outside_every_zone() {
    for name in [
        ".",
        "local.",
        "example.com.",
        "xclusterset.local.",
        "clusterset.local.x.",
    ] {
        for qtype in [NS, A, SOA, ANY] {
            let reply = server().send(&Query::new(name, qtype).edns(1232));
            assert_eq!(reply.rcode, REFUSED, "{name}");
            assert_eq!(reply.extended_error(), Some(20), "{name}");
            assert!(!reply.aa);
            assert_eq!(reply.question, Some((name.to_owned(), qtype, 1)));
        }
    }
}

#[test]
fn health_checks_of_forwarders_get_a_reply() {
    let reply = server().send(&Query::new(".", NS));
    assert_eq!((reply.rcode, reply.opt), (REFUSED, None));
}

#[test]
fn transfers() {
    let mut out = vec![0; 65_535];
    let server = server();
    for (qtype, transport) in [
        (252, Transport::Tcp),
        (251, Transport::Tcp),
        (252, Transport::Tls),
    ] {
        let octets = Query::new("clusterset.local.", qtype).octets();
        let outcome = server.outcome(&octets, transport, &mut out);
        let Outcome::Transfer { zone: 0, len, .. } = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(Reply::parse(&out[..len]).rcode, REFUSED);
    }
    let axfr = Query::new("clusterset.local.", 252).octets();
    let reply = server.exchange(&axfr, Transport::Udp).expect("a reply");
    assert_eq!(reply.rcode, FORMERR);
    let ixfr = Query::new("clusterset.local.", 251).octets();
    let reply = server.exchange(&ixfr, Transport::Udp).expect("a reply");
    assert_eq!(reply.rcode, NOERROR);
    let types: Vec<_> = reply.answer.iter().map(|record| record.rtype).collect();
    assert_eq!(types, [SOA]);
}

#[test]
fn before_the_first_synchronisation() {
    let server = server();
    let ask = Ask {
        transport: Transport::Udp,
        client: IpAddr::from([192, 0, 2, 1]),
        now: common::NOW,
    };
    for name in [WEB, "nope.shop.svc.clusterset.local.", "clusterset.local."] {
        for query in [Query::new(name, A).edns(1232), Query::new(name, A)] {
            let mut out = [0; 1232];
            let (authority, status) = (&server.authority, &server.status);
            let octets = query.octets();
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
            let reply = Reply::parse(&out[..len]);
            assert_eq!(reply.rcode, SERVFAIL);
            let code = query.edns.as_ref().map(|_| 14);
            assert_eq!(reply.extended_error(), code);
        }
    }
}

#[test]
fn any_gets_one_rrset() {
    let server = server();
    for (name, rtype) in [
        ("clusterset.local.", SOA),
        ("ns.dns.clusterset.local.", A),
        ("dns-version.clusterset.local.", TXT),
        ("web.shop", A),
        ("_http._tcp.web.shop", SRV),
        ("db.shop", A),
    ] {
        let reply = server.ask(name, ANY);
        assert_eq!(reply.rcode, NOERROR);
        assert!(!reply.answer.is_empty(), "{name}");
        assert!(
            reply.answer.iter().all(|record| record.rtype == rtype),
            "{name}"
        );
    }
    server.nodata("svc.clusterset.local.", ANY);
    server.nxdomain("nope.shop", ANY);
}

#[test]
fn the_question_comes_back_as_asked() {
    let name = "wEb.ShOp.sVc.ClUsTeRsEt.LoCaL.";
    let reply = server().send(&Query::new(name, A));
    assert_eq!(reply.question, Some((name.to_owned(), A, 1)));
    assert_eq!(reply.answer[0].owner, name);
}

#[test]
fn flags() {
    for flags in [0, RD, CD, RD | CD, 0x0020, 0x0080, 0x0400] {
        let reply = server().send(&Query::new(WEB, A).flags(flags));
        assert_eq!(reply.rd, flags & RD != 0);
        assert_eq!(reply.cd, flags & CD != 0);
        assert!(reply.aa && !reply.ra && !reply.ad && !reply.tc);
    }
}

#[test]
fn opt_if_and_only_if_asked() {
    assert_eq!(server().send(&Query::new(WEB, A)).opt, None);
    for flags in [0, DO, DO | 0x1234] {
        let query = Query::new(WEB, A)
            .edns(4096)
            .edns_flags(flags)
            .option(65_001, b"x");
        let opt = server().send(&query).opt.expect("OPT");
        assert_eq!((opt.size, opt.version), (1232, 0));
        assert_eq!(opt.dnssec_ok, flags & DO != 0);
        assert_eq!(opt.options, [], "unknown options are not echoed");
    }
}

#[test]
fn name_server_identifier() {
    let query = Query::new(WEB, A).edns(1232).option(NSID, &[]);
    assert_eq!(server().send(&query).opt.expect("OPT").option(NSID), None);
    let server = with(|authority| authority.nsid = Some(b"replica-1".to_vec()));
    let opt = server.send(&query).opt.expect("OPT");
    assert_eq!(opt.option(NSID), Some(&b"replica-1"[..]));
    let unasked = server
        .send(&Query::new(WEB, A).edns(1232))
        .opt
        .expect("OPT");
    assert_eq!(unasked.option(NSID), None);
}

#[test]
fn keepalive_is_for_streams() {
    let server = with(|authority| authority.keepalive = Some(100));
    let query = Query::new(WEB, A).edns(1232).option(KEEPALIVE, &[]);
    let told = |transport| {
        let opt = server
            .send(&query.clone().over(transport))
            .opt
            .expect("OPT");
        opt.option(KEEPALIVE).map(<[u8]>::to_vec)
    };
    assert_eq!(told(Transport::Tcp), Some(vec![0, 100]));
    assert_eq!(told(Transport::Udp), None);
    let unasked = server.send(&Query::new(WEB, A).edns(1232).over(Transport::Tcp));
    assert_eq!(unasked.opt.expect("OPT").option(KEEPALIVE), None);
}

/// A headless service of `count` endpoints.
fn crowd(count: usize) -> Server {
    let mut slice = backends("shop", "db", "east").port("sql", 5432);
    for i in 0..count {
        slice = slice.host(&format!("db-{i}"), &format!("10.1.{}.{}", i / 250, i % 250));
    }
    Server::new(&[import("shop", "db").headless().put(), slice.put()])
}

#[test]
fn datagrams_keep_their_limit() {
    let server = crowd(300);
    for (size, limit) in [
        (None, 512),
        (Some(0), 512),
        (Some(512), 512),
        (Some(900), 900),
        (Some(4096), 1232),
    ] {
        for qtype in [A, SRV] {
            let query = Query::new("db.shop.svc.clusterset.local.", qtype);
            let query = size.map_or(query.clone(), |size| query.edns(size));
            let reply = server.send(&query);
            assert!(reply.tc);
            assert!(reply.octets.len() <= limit);
            let record = if qtype == A { 16 } else { 70 };
            assert!(
                reply.octets.len() + record > limit,
                "whole records that fit: {limit}"
            );
            assert!(!reply.answer.is_empty());
            assert_eq!(reply.opt.is_some(), size.is_some());
        }
    }
    let whole = server.ask("db.shop", A);
    assert_eq!(whole.answer.len(), 300);
}

#[test]
fn glue_is_left_out_without_tc() {
    let server = crowd(7);
    let reply = server.send(&Query::new("db.shop.svc.clusterset.local.", SRV));
    assert_eq!(reply.answer.len(), 7);
    assert!(!reply.tc);
    assert!(reply.additional.len() < 7);
    assert_eq!(server.ask("db.shop", SRV).additional.len(), 7);
}

#[test]
fn unknown_types_and_meta_types() {
    for qtype in [
        0, 3, 5, 12, 15, 43, 46, 48, 64, 65, 249, 250, 253, 254, 256, 65_280, 65_535,
    ] {
        server().nodata("web.shop", qtype);
        server().nxdomain("nope.shop", qtype);
    }
}

#[test]
fn the_longest_zone_answers() {
    let mut server = server();
    let mut inner = zone("sub.clusterset.local");
    inner.ttl = 42;
    let outer = zone("clusterset.local");
    server.authority = Authority::new(vec![outer, inner]);
    let reply = server.ask("web.shop.svc.sub.clusterset.local.", A);
    assert_eq!(reply.answer[0].ttl, 42);
    assert_eq!(server.ask("web.shop", A).answer[0].ttl, 5);
    assert_eq!(server.ask("sub.clusterset.local.", SOA).answer[0].ttl, 42);
}

#[test]
fn fall_through_is_for_names_that_do_not_exist() {
    let mut server = server();
    let mut zone = zone("clusterset.local");
    zone.fallthrough = vec![zone.origin.clone()];
    server.authority = Authority::new(vec![zone]);
    let outcome = |name: &str, qtype| {
        let mut out = [0; 1232];
        let octets = Query::new(&full(name), qtype).octets();
        let outcome = server.outcome(&octets, Transport::Udp, &mut out);
        (outcome, out)
    };
    let (missing, out) = outcome("nope.shop", A);
    let Outcome::FallThrough { len, .. } = missing else {
        panic!("{missing:?}");
    };
    assert_eq!(Reply::parse(&out[..len]).rcode, SERVFAIL);
    for (name, qtype) in [("web.shop", A), ("web.shop", AAAA), ("shop", A)] {
        assert!(
            matches!(outcome(name, qtype).0, Outcome::Reply { .. }),
            "{name}"
        );
    }
}

#[test]
fn a_new_status_alone_is_a_new_answer() {
    let mut server = server();
    server.apply(&[common::facts::gateway("west", &[], &["east"])]);
    server.nodata("db.shop", A);
    server.apply(&[common::facts::gateway("west", &["east"], &[])]);
    server.expect("db.shop", A, &["10.1.0.1"]);
    let up: Vec<_> = server
        .status
        .clusters()
        .filter(|(_, up)| *up)
        .map(|(id, _)| id)
        .collect();
    assert!(up.contains(&&cluster("east")));
}
