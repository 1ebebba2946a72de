use std::collections::BTreeSet;
use std::net::{IpAddr, UdpSocket};

use super::*;

fn socket(addr: &str) -> UdpSocket {
    let socket = UdpSocket::bind(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

#[tokio::test]
async fn many_queries_at_once_all_get_their_reply() {
    let context = context(limits());
    let (front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let client = socket("127.0.0.1:0");
    let mut seen = BTreeSet::new();
    let mut buffer = [0; 2048];
    // Within what a socket's buffer holds, several batches deep.
    for round in 0..4_u16 {
        for i in 0..100 {
            client
                .send_to(&query(round * 100 + i, ZONE, SOA), addr)
                .unwrap();
        }
        for _ in 0..100 {
            let (len, from) = client.recv_from(&mut buffer).unwrap();
            assert_eq!(from, addr);
            assert_answer(&buffer[..len], id(&buffer));
            seen.insert(id(&buffer));
        }
    }
    assert_eq!(seen.len(), 400);
    let series = "coredns_dns_requests_total{server=\"dns://:53\",zone=\"clusterset.local.\",view=\"\",proto=\"udp\",family=\"1\",type=\"SOA\"}";
    eventually("all counted", || metric(&context, series) == Some(400.0)).await;
    let durations = "coredns_dns_request_duration_seconds_count{server=\"dns://:53\",zone=\"clusterset.local.\",view=\"\"}";
    eventually("all timed", || metric(&context, durations) == Some(400.0)).await;
    front.drain(Instant::now() + PATIENCE).await;
    // Counters outlive their workers.
    assert_eq!(metric(&context, series), Some(400.0));
}

#[tokio::test]
async fn reply_leaves_from_the_address_that_was_asked() {
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "0.0.0.0:0"), &context);
    let client = socket("127.0.0.1:0");
    let mut buffer = [0; 2048];
    for asked in ["127.0.0.2", "127.0.0.3"] {
        let asked = SocketAddr::new(asked.parse::<IpAddr>().unwrap(), addr.port());
        client.send_to(&query(1, ZONE, SOA), asked).unwrap();
        assert_eq!(client.recv_from(&mut buffer).unwrap().1, asked);
    }
}

#[tokio::test]
async fn v6_wildcard_serves_both_families() {
    if UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "[::]:0"), &context);
    let mut buffer = [0; 2048];
    for (from, asked) in [("127.0.0.1:0", "127.0.0.5"), ("[::1]:0", "::1")] {
        let client = socket(from);
        let asked = SocketAddr::new(asked.parse::<IpAddr>().unwrap(), addr.port());
        client.send_to(&query(1, ZONE, SOA), asked).unwrap();
        assert_eq!(client.recv_from(&mut buffer).unwrap().1, asked);
    }
    // The IPv4 client counts as one.
    let series = "coredns_dns_requests_total{server=\"dns://:53\",zone=\"clusterset.local.\",view=\"\",proto=\"udp\",family=\"1\"";
    eventually("counted", || metric(&context, series) == Some(1.0)).await;
}

#[tokio::test]
async fn answers_and_noise_are_not_answered() {
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let client = socket("127.0.0.1:0");
    let mut reply = query(1, ZONE, SOA);
    reply[2] |= 0x80;
    client.send_to(&reply, addr).unwrap();
    client.send_to(&[0; 11], addr).unwrap();
    client.send_to(&[], addr).unwrap();
    client.send_to(&query(2, ZONE, SOA), addr).unwrap();
    let mut buffer = [0; 2048];
    let (len, _) = client.recv_from(&mut buffer).unwrap();
    assert_answer(&buffer[..len], 2);
    let ignored = "subm_dns_ignored_total{server=\"dns://:53\",proto=\"udp\"}";
    eventually("noise counted", || metric(&context, ignored) == Some(3.0)).await;
}

#[tokio::test]
async fn port_in_use_is_said_with_its_address() {
    let taken = socket("127.0.0.1:0");
    let addr = taken.local_addr().unwrap();
    let error = Front::start(
        &[listener(Transport::Udp, &addr.to_string())],
        context(limits()),
    )
    .err()
    .unwrap();
    let text = error.to_string();
    assert!(
        text.contains(&addr.to_string()) && text.contains("the port is in use"),
        "{text}"
    );
}

#[tokio::test]
async fn second_server_does_not_share_the_port() {
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    assert!(super::super::bind::udp(addr, super::super::bind::Stack::Dual, 2).is_err());
}
