use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ApplicationClose, ClientConfig, Connection, ConnectionError, Endpoint};

use super::*;

async fn connect(addr: SocketAddr, dir: &Path) -> (Endpoint, Connection) {
    let crypto = QuicClientConfig::try_from(client_config(dir, b"doq")).unwrap();
    let mut endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    endpoint.set_default_client_config(ClientConfig::new(Arc::new(crypto)));
    let connection = endpoint.connect(addr, "localhost").unwrap();
    let connection = timeout(PATIENCE, connection).await.unwrap().unwrap();
    (endpoint, connection)
}

async fn ask(connection: &Connection, octets: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
    let (mut send, mut receive) = connection.open_bi().await.unwrap();
    send.write_all(octets).await.unwrap();
    send.finish().unwrap();
    timeout(PATIENCE, receive.read_to_end(1 << 20))
        .await
        .expect("no answer in time")
}

#[tokio::test]
async fn one_query_per_stream_and_more_than_a_hundred() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Quic);
    let (front, addr) = start(&listener, &context);
    let (_endpoint, connection) = connect(addr, dir.path()).await;
    let asked = framed(&query(0, ZONE, SOA));
    let all = futures::future::join_all((0..150).map(|_| ask(&connection, &asked))).await;
    for reply in all {
        let reply = reply.unwrap();
        assert_eq!(usize::from(id(&reply)), reply.len() - 2);
        assert_answer(&reply[2..], 0);
    }
    let transfer = ask(&connection, &framed(&query(0, ZONE, AXFR)))
        .await
        .unwrap();
    assert_answer(&transfer[2..], 0);
    timeout(PATIENCE, front.drain(Instant::now() + PATIENCE * 2))
        .await
        .expect("draining waits for an idle client");
    let closed = connection.closed().await;
    assert!(
        matches!(closed, ConnectionError::ApplicationClosed(ApplicationClose { error_code, .. }) if error_code == 0_u32.into()),
        "{closed}"
    );
}

#[tokio::test]
async fn broken_rules_close_the_connection() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Quic);
    let (_front, addr) = start(&listener, &context);
    let fine = query(0, ZONE, SOA);
    let mut keepalive = fine.clone();
    keepalive[11] = 1;
    keepalive.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 4, 0, 11, 0, 0]);
    let mut reply = fine.clone();
    reply[2] |= 0x80;
    let cases = [
        ("an id", framed(&query(7, ZONE, SOA))),
        ("no message", vec![]),
        ("half a message", framed(&fine)[..20].to_vec()),
        ("two messages", [framed(&fine), framed(&fine)].concat()),
        ("keepalive of TCP", framed(&keepalive)),
        ("a reply", framed(&reply)),
    ];
    for (what, octets) in cases {
        let (_endpoint, connection) = connect(addr, dir.path()).await;
        assert!(ask(&connection, &octets).await.is_err(), "{what}");
        let closed = timeout(PATIENCE, connection.closed()).await.expect(what);
        assert!(
            matches!(&closed, ConnectionError::ApplicationClosed(close) if close.error_code == 2_u32.into()),
            "{what}: {closed}"
        );
    }
}
