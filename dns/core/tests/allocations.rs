//! `respond()` does not allocate, whatever it answers.

#![allow(unsafe_code, reason = "a global allocator that counts")]

mod common;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use subm_dns_core::edns::CookieSecret;
use subm_dns_core::respond::{Outcome, Transport};

use common::Server;
use common::facts::{backends, gateway, import, service_ip};
use common::query::Query;
use common::reply::{A, AAAA, ANY, NS, SOA, SRV, TXT};

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call goes to `System` unchanged; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps `alloc`'s contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` comes from `System` with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count() -> u64 {
    COUNT.with(Cell::get)
}

fn server() -> Server {
    let mut headless = backends("shop", "db", "east").port("sql", 5432);
    for i in 0..120 {
        headless = headless.host(&format!("db-{i}"), &format!("10.1.0.{i}"));
        headless = headless.pod(&format!("pod-{i}"), &format!("2001:db8::{i}"));
    }
    let mut server = Server::new(&[
        import("shop", "web")
            .port("http", 80)
            .weight("east", 3)
            .put(),
        service_ip("shop", "web", "east", "10.0.0.1").put(),
        service_ip("shop", "web", "west", "10.0.0.2").put(),
        import("shop", "vip")
            .vip("243.0.0.1")
            .port("http", 80)
            .put(),
        import("shop", "db").headless().put(),
        headless.put(),
        gateway("south", &["east"], &["west"]),
    ]);
    server.authority.nsid = Some(b"id".to_vec());
    server.authority.cookies = Some(CookieSecret::new([1; 16]));
    server.authority.keepalive = Some(100);
    server.authority.version = Some("1".to_owned());
    server
}

fn queries() -> Vec<(Vec<u8>, Transport)> {
    let mut queries = Vec::new();
    for name in [
        "clusterset.local.",
        "ns.dns.clusterset.local.",
        "dns-version.clusterset.local.",
        "svc.clusterset.local.",
        "shop.svc.clusterset.local.",
        "web.shop.svc.clusterset.local.",
        "_http._tcp.web.shop.svc.clusterset.local.",
        "west.web.shop.svc.clusterset.local.",
        "vip.shop.svc.clusterset.local.",
        "db.shop.svc.clusterset.local.",
        "sql.tcp.db.shop.svc.clusterset.local.",
        "db-7.east.db.shop.svc.clusterset.local.",
        "pod-7.east.db.shop.svc.clusterset.local.",
        "Nope.Shop.svc.clusterset.local.",
        "a.b.c.d.e.f.svc.clusterset.local.",
        "example.com.",
        ".",
    ] {
        for qtype in [A, AAAA, SRV, ANY, NS, SOA, TXT, 251, 252, 65] {
            let query = Query::new(name, qtype);
            let options = query
                .clone()
                .edns(4096)
                .option(3, &[])
                .option(10, &[1; 8])
                .option(11, &[]);
            for transport in [Transport::Udp, Transport::Tcp, Transport::Https] {
                queries.push((query.octets(), transport));
                queries.push((options.octets(), transport));
            }
        }
    }
    let chaos = Query::new("version.bind.", TXT).class(3);
    let version = Query::new("web.shop.svc.clusterset.local.", A)
        .edns(512)
        .version(9);
    for octets in [
        chaos.octets(),
        version.octets(),
        vec![0; 12],
        vec![0; 5],
        vec![0x20; 40],
    ] {
        queries.push((octets, Transport::Udp));
    }
    queries
}

#[test]
fn the_counter_counts() {
    let before = count();
    drop(std::hint::black_box(Box::new(7)));
    assert!(count() > before);
}

#[test]
fn ten_thousand_replies_allocate_nothing() {
    let server = server();
    let queries = queries();
    let mut out = vec![0; 65_535];
    let (mut replies, mut others) = (0, 0);
    let before = count();
    for (octets, transport) in queries.iter().cycle().take(10_000) {
        match server.outcome(octets, *transport, &mut out) {
            Outcome::Reply { .. } => replies += 1,
            _ => others += 1,
        }
    }
    assert_eq!(count() - before, 0);
    assert!(replies > 9_000 && others > 0, "{replies} {others}");
}
