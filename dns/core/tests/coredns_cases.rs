//! What CoreDNS's kubernetes plugin is tested for, restated on facts: its cases common to cluster and
//! multi-cluster zones, those of multi-cluster zones, of the apex, of case and of `ns`.
//!
//! Changed on purpose (docs/adr/0003): `dns-version` is 1.0.0, empty names are NODATA, SRV weight is 50.
//! Host names stand below their cluster. ExternalName services cannot be imported: their cases are left out.

mod common;

use common::Server;
use common::facts::{backends, import, namespace, tcp};
use common::query::Query;
use common::reply::{A, AAAA, NS, SOA, SRV, TXT};
use subm_dns_core::respond::Transport;

fn server() -> Server {
    let vip = |name: &str, address: &str| import("testns", name).vip(address).port("http", 80);
    Server::new(&[
        namespace("testns", true),
        vip("svc1", "10.0.0.1").put(),
        backends("testns", "svc1", "c1")
            .port("http", 80)
            .host("ep1a", "172.0.0.1")
            .put(),
        vip("svcempty", "10.0.0.1").put(),
        backends("testns", "svcempty", "c1").port("http", 80).put(),
        vip("svc6", "1234:abcd::1").put(),
        vip("svc-dual-stack", "10.0.0.3").vip("10::3").put(),
        import("testns", "hdls1").headless().put(),
        backends("testns", "hdls1", "c1")
            .port("http", 80)
            .at("172.0.0.2")
            .at("172.0.0.3")
            .host("dup-name", "172.0.0.4")
            .host("dup-name", "172.0.0.5")
            .at("5678:abcd::1")
            .at("5678:abcd::2")
            .put(),
        import("testns", "hdlsprtls").headless().put(),
        backends("testns", "hdlsprtls", "c1").at("172.0.0.20").put(),
    ])
}

const HOSTS: [&str; 5] = [
    "172-0-0-2",
    "172-0-0-3",
    "5678-abcd--1",
    "5678-abcd--2",
    "dup-name",
];
const HEADLESS_A: [&str; 4] = ["172.0.0.2", "172.0.0.3", "172.0.0.4", "172.0.0.5"];

fn extra(glue: &[(&str, &str)]) -> Vec<String> {
    let line = |(name, address): &(&str, &str)| format!("{} {address}", common::full(name));
    let mut lines: Vec<_> = glue.iter().map(line).collect();
    lines.sort();
    lines
}

#[test]
fn common_a_of_services() {
    server().expect("svc1.testns", A, &["10.0.0.1"]);
    server().expect("svcempty.testns", A, &["10.0.0.1"]);
}

#[test]
fn common_srv_of_services_without_a_port() {
    for (name, address) in [
        ("svc1.testns", "10.0.0.1"),
        ("svcempty.testns", "10.0.0.1"),
        ("svc6.testns", "1234:abcd::1"),
    ] {
        let reply = server().expect_srv(name, &[(80, name)]);
        assert_eq!(reply.extra(), extra(&[(name, address)]));
    }
}

#[test]
fn common_srv_of_a_port() {
    for (name, address) in [
        ("svc1.testns", "10.0.0.1"),
        ("svcempty.testns", "10.0.0.1"),
        ("svc6.testns", "1234:abcd::1"),
    ] {
        let reply = server().expect_srv(&format!("_http._tcp.{name}"), &[(80, name)]);
        assert_eq!(reply.extra(), extra(&[(name, address)]));
    }
}

#[test]
fn common_a_of_headless_services() {
    server().expect("hdls1.testns", A, &HEADLESS_A);
    server().expect("hdlsprtls.testns", A, &["172.0.0.20"]);
}

#[test]
fn common_srv_of_headless_services() {
    let targets = HOSTS.map(|host| format!("{host}.c1.hdls1.testns"));
    let wanted: Vec<_> = targets.iter().map(|target| (80, &target[..])).collect();
    let reply = server().expect_srv("_http._tcp.hdls1.testns", &wanted);
    let glue = [
        (&targets[0][..], "172.0.0.2"),
        (&targets[1], "172.0.0.3"),
        (&targets[2], "5678:abcd::1"),
        (&targets[3], "5678:abcd::2"),
        (&targets[4], "172.0.0.4"),
        (&targets[4], "172.0.0.5"),
    ];
    assert_eq!(reply.extra(), extra(&glue));
}

#[test]
fn common_srv_of_a_headless_service_without_ports() {
    server().nodata("hdlsprtls.testns", SRV);
    server().nxdomain("_http._tcp.hdlsprtls.testns", SRV);
}

#[test]
fn common_aaaa() {
    server().nodata("svc1.testns", AAAA);
    server().nxdomain("svc0.testns", AAAA);
    server().expect("svc6.testns", AAAA, &["1234:abcd::1"]);
    server().expect("hdls1.testns", AAAA, &["5678:abcd::1", "5678:abcd::2"]);
}

#[test]
fn common_missing_services_and_namespaces() {
    server().nxdomain("svc0.testns", A);
    server().nxdomain("svc0.svc-nons", A);
    server().nxdomain("bogusendpoint.svc0.testns", A);
    server().nxdomain("bogusendpoint.hdls1.testns", A);
}

#[test]
fn common_txt() {
    let reply = server().expect("dns-version.clusterset.local.", TXT, &["1.0.0"]);
    assert_eq!(reply.answer[0].ttl, 28_800);
    server().nodata("svc1.testns", TXT);
    server().nxdomain("svc0.testns", TXT);
    server().nxdomain("svc0.svc-nons", TXT);
}

#[test]
fn common_names_without_records() {
    for name in ["svc.clusterset.local.", "pod.clusterset.local.", "testns"] {
        server().nodata(name, A);
        server().nodata(name, NS);
    }
}

#[test]
fn common_ns_below_the_apex() {
    server().nxdomain("foo.clusterset.local.", NS);
    server().nxdomain("foo", NS);
    server().nodata("svc1.testns", NS);
}

#[test]
fn common_dual_stack() {
    let name = "svc-dual-stack.testns";
    server().expect(name, A, &["10.0.0.3"]);
    server().expect(name, AAAA, &["10::3"]);
    let reply = server().expect_srv(name, &[(80, name)]);
    assert_eq!(reply.extra(), extra(&[(name, "10.0.0.3"), (name, "10::3")]));
}

#[test]
fn common_soa_below_the_apex() {
    server().nodata("svc1.testns", SOA);
}

#[test]
fn multicluster_endpoints_stand_below_their_cluster() {
    for (host, qtype, data) in [
        ("172-0-0-2", A, &["172.0.0.2"][..]),
        ("172-0-0-3", A, &["172.0.0.3"]),
        ("dup-name", A, &["172.0.0.4", "172.0.0.5"]),
        ("5678-abcd--1", AAAA, &["5678:abcd::1"]),
        ("5678-abcd--2", AAAA, &["5678:abcd::2"]),
    ] {
        server().expect(&format!("{host}.c1.hdls1.testns"), qtype, data);
    }
    server().expect("172-0-0-20.c1.hdlsprtls.testns", A, &["172.0.0.20"]);
}

#[test]
fn multicluster_endpoints_need_their_cluster() {
    server().nxdomain("172-0-0-2.hdls1.testns", A);
    server().nxdomain("dup-name.hdls1.testns", A);
    server().nxdomain("172-0-0-2.c2.hdls1.testns", A);
    server().nxdomain("bogusendpoint.c1.hdls1.testns", A);
}

#[test]
fn multicluster_endpoints_of_cluster_set_ip_services_have_no_names() {
    server().nxdomain("ep1a.c1.svc1.testns", A);
}

#[test]
fn ns_namespaces() {
    let mut server = server();
    server.nxdomain("svc1.nsnoexist", A);
    server.nxdomain("nsnoexist", A);
    server.apply(&[namespace("nsnoexist", true)]);
    server.nodata("nsnoexist", A);
}

#[test]
fn apex() {
    let soa = server().ask("clusterset.local.", SOA);
    assert_eq!(soa.answer.len(), 1);
    let ns = server().expect("clusterset.local.", NS, &["ns.dns.clusterset.local."]);
    let wanted = common::NAME_SERVER.map(|ip| format!("ns.dns.clusterset.local. {ip}"));
    assert_eq!(ns.extra(), wanted);
    for qtype in [13, A, AAAA, SRV, TXT] {
        server().nodata("clusterset.local.", qtype);
    }
    server().expect("ns.dns.clusterset.local.", A, &[common::NAME_SERVER[0]]);
    server().expect("ns.dns.clusterset.local.", AAAA, &[common::NAME_SERVER[1]]);
    server().nodata("ns.dns.clusterset.local.", SRV);
    server().nodata("dns.clusterset.local.", A);
}

fn ask(name: &str, qtype: u16) -> common::reply::Reply {
    server().send(&Query::new(name, qtype).over(Transport::Tcp))
}

#[test]
fn case_of_negative_answers() {
    let reply = ask("not-a-service.testns.svc.ClUsTeRsEt.lOcAl.", A);
    assert_eq!(reply.authority[0].owner, "ClUsTeRsEt.lOcAl.");
    let head = "ns.dns.ClUsTeRsEt.lOcAl. hostmaster.ClUsTeRsEt.lOcAl. ";
    assert!(reply.authority[0].data.starts_with(head));
}

#[test]
fn case_of_answers() {
    let name = "SvC1.TeStNs.SvC.cLuStErSeT.LoCaL.";
    let reply = ask(name, A);
    assert_eq!(
        (&reply.answer[0].owner[..], &reply.answer[0].data[..]),
        (name, "10.0.0.1")
    );
    let name = "_HtTp._TcP.sVc1.TeStNs.SvC.cLuStErSeT.LoCaL.";
    let reply = ask(name, SRV);
    assert_eq!(reply.answer[0].owner, name);
    assert_eq!(
        reply.answers(),
        ["0 50 80 svc1.testns.svc.cLuStErSeT.LoCaL."]
    );
    assert_eq!(
        reply.extra(),
        ["svc1.testns.svc.cLuStErSeT.LoCaL. 10.0.0.1"]
    );
    let reply = ask("ClusterSet.local.", SOA);
    assert_eq!(reply.answer[0].owner, "ClusterSet.local.");
    assert!(
        reply.answer[0]
            .data
            .starts_with("ns.dns.ClusterSet.local. hostmaster.ClusterSet.local.")
    );
}

#[test]
fn a_service_without_ports_has_addresses() {
    let mut server = server();
    server.apply(&[import("testns", "bare").vip("10.0.0.9").put()]);
    server.expect("bare.testns", A, &["10.0.0.9"]);
    server.nodata("bare.testns", SRV);
    server.apply(&[import("testns", "bare")
        .vip("10.0.0.9")
        .with(tcp("", 1))
        .put()]);
    server.expect_srv("bare.testns", &[(1, "bare.testns")]);
}
