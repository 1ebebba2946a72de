use tokio::io::{AsyncWriteExt, ErrorKind};
use tokio::net::TcpStream;

use super::*;

async fn connect(addr: SocketAddr) -> TcpStream {
    TcpStream::connect(addr).await.unwrap()
}

/// The server has closed the connection.
async fn assert_closed(stream: &mut TcpStream) {
    match timeout(PATIENCE, stream.read_u8())
        .await
        .expect("the connection stays open")
    {
        Ok(octet) => panic!("an octet came: {octet}"),
        Err(error) => {
            assert!(
                matches!(
                    error.kind(),
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                ),
                "{error}"
            );
        }
    }
}

#[tokio::test]
async fn pipelined_queries_in_one_segment_and_in_pieces() {
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let mut stream = connect(addr).await;
    stream.set_nodelay(true).unwrap();
    let both = [
        framed(&query(1, ZONE, SOA)),
        framed(&query(2, "dns-version.clusterset.local", TXT)),
    ]
    .concat();
    stream.write_all(&both).await.unwrap();
    assert_answer(&read_message(&mut stream).await.unwrap(), 1);
    assert_answer(&read_message(&mut stream).await.unwrap(), 2);
    for octet in framed(&query(3, ZONE, SOA)) {
        stream.write_all(&[octet]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_answer(&read_message(&mut stream).await.unwrap(), 3);
}

#[tokio::test]
async fn client_that_has_said_all_still_gets_its_answers() {
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let mut stream = connect(addr).await;
    stream
        .write_all(&[framed(&query(1, ZONE, SOA)), framed(&query(2, ZONE, AXFR))].concat())
        .await
        .unwrap();
    stream.shutdown().await.unwrap();
    let mut ids = vec![
        id(&read_message(&mut stream).await.unwrap()),
        id(&read_message(&mut stream).await.unwrap()),
    ];
    ids.sort_unstable();
    assert_eq!(ids, [1, 2]);
}

#[tokio::test]
async fn transfer_goes_to_listed_addresses_only() {
    let context = context(limits());
    for (to, rcode) in [("127.0.0.1/32", 0), ("192.0.2.1/32", 5)] {
        let mut listener = listener(Transport::Udp, "127.0.0.1:0");
        listener.transfer[0].to = vec![to.parse().unwrap()];
        let (_front, addr) = start(&listener, &context);
        let mut stream = connect(addr).await;
        stream
            .write_all(&framed(&query(1, ZONE, AXFR)))
            .await
            .unwrap();
        assert_eq!(
            read_message(&mut stream).await.unwrap()[3] & 0x0f,
            rcode,
            "{to}"
        );
    }
}

#[tokio::test]
async fn too_short_a_message_ends_the_connection() {
    let context = context(limits());
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let mut stream = connect(addr).await;
    stream
        .write_all(&[framed(&query(1, ZONE, SOA)), vec![0, 11]].concat())
        .await
        .unwrap();
    assert_answer(&read_message(&mut stream).await.unwrap(), 1);
    assert_closed(&mut stream).await;
}

#[tokio::test]
async fn silent_and_dripping_clients_are_cut() {
    let context = context(Limits {
        idle: Duration::from_millis(300),
        ..limits()
    });
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let mut silent = connect(addr).await;
    let dripping = connect(addr).await;
    let (mut read, mut write) = dripping.into_split();
    let drip = tokio::spawn(async move {
        // A message that never ends.
        let _ = write.write_all(&[0xff, 0xff]).await;
        while write.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    assert_closed(&mut silent).await;
    let ended = timeout(PATIENCE, read.read_u8())
        .await
        .expect("the dripping client is kept");
    assert!(ended.is_err());
    timeout(PATIENCE, drip).await.unwrap().unwrap();
}

/// A client that asks and never reads fills the socket's buffers, and is then cut.
#[tokio::test]
async fn client_that_does_not_read_is_cut() {
    let context = context(Limits {
        write: Duration::from_millis(200),
        ..limits()
    });
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let mut stream = connect(addr).await;
    let flood: Vec<u8> = (0..1000)
        .flat_map(|id| framed(&query(id, ZONE, SOA)))
        .collect();
    let cut = async { while stream.write_all(&flood).await.is_ok() {} };
    timeout(PATIENCE, cut).await.expect("the client is kept");
}

#[tokio::test]
async fn further_connection_takes_the_place_of_the_most_silent() {
    let context = context(Limits {
        connections: 2,
        ..limits()
    });
    let (_front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let mut streams = Vec::new();
    for i in 0..2 {
        let mut stream = connect(addr).await;
        stream
            .write_all(&framed(&query(i, ZONE, SOA)))
            .await
            .unwrap();
        assert_answer(&read_message(&mut stream).await.unwrap(), i);
        streams.push(stream);
        // Silence is told apart by the millisecond.
        let begun = Instant::now();
        eventually("time passes", || begun.elapsed() > Duration::from_millis(5)).await;
    }
    let mut third = connect(addr).await;
    third
        .write_all(&framed(&query(9, ZONE, SOA)))
        .await
        .unwrap();
    assert_answer(&read_message(&mut third).await.unwrap(), 9);
    assert_closed(&mut streams[0]).await;
    streams[1]
        .write_all(&framed(&query(8, ZONE, SOA)))
        .await
        .unwrap();
    assert_answer(&read_message(&mut streams[1]).await.unwrap(), 8);
    assert_eq!(
        metric(
            &context,
            "subm_dns_connections_refused_total{server=\"dns://:53\",proto=\"tcp\"}"
        ),
        Some(1.0)
    );
    // The client may see the end before the thread that served it has counted it.
    eventually("the closed connection is not counted", || {
        let open = metric(
            &context,
            "subm_dns_connections_open{server=\"dns://:53\",proto=\"tcp\"}",
        );
        open == Some(2.0)
    })
    .await;
}

#[tokio::test]
async fn tls_pipelines_too() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Tls);
    let (front, addr) = start(&listener, &context);
    let mut stream = tls_connect(addr, dir.path(), b"dot").await.unwrap();
    let both = [framed(&query(1, ZONE, SOA)), framed(&query(2, ZONE, SOA))].concat();
    stream.write_all(&both).await.unwrap();
    stream.flush().await.unwrap();
    assert_answer(&read_message(&mut stream).await.unwrap(), 1);
    assert_answer(&read_message(&mut stream).await.unwrap(), 2);
    // Idle connections do not hold up the end.
    timeout(PATIENCE, front.drain(Instant::now() + PATIENCE * 2))
        .await
        .expect("draining waits for an idle client");
    assert!(read_message(&mut stream).await.is_err());
}

#[tokio::test]
async fn silent_handshake_is_cut() {
    let context = context(Limits {
        handshake: Duration::from_millis(200),
        ..limits()
    });
    let (listener, _dir) = with_certificate(Transport::Tls);
    let (_front, addr) = start(&listener, &context);
    assert_closed(&mut connect(addr).await).await;
}

#[tokio::test]
async fn client_that_never_stops_asking_does_not_hold_up_the_end() {
    let context = context(limits());
    let (front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    let (mut read, mut write) = connect(addr).await.into_split();
    let asking = tokio::spawn(async move {
        let some = framed(&query(1, ZONE, SOA)).repeat(50);
        while write.write_all(&some).await.is_ok() {}
    });
    let reading = tokio::spawn(async move { while read_message(&mut read).await.is_ok() {} });
    timeout(PATIENCE, front.drain(Instant::now() + PATIENCE * 2))
        .await
        .expect("draining waits for a busy client");
    timeout(PATIENCE, async { tokio::join!(asking, reading) })
        .await
        .expect("the connection stays open")
        .0
        .unwrap();
}

#[tokio::test]
async fn client_may_resume_however_many_came_after_it() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Tls);
    let (_front, addr) = start(&listener, &context);
    let ask = async |config: &Arc<rustls::ClientConfig>| {
        let tcp = connect(addr).await;
        let connector = tokio_rustls::TlsConnector::from(Arc::clone(config));
        let mut stream = connector
            .connect("localhost".try_into().unwrap(), tcp)
            .await
            .unwrap();
        stream
            .write_all(&framed(&query(1, ZONE, SOA)))
            .await
            .unwrap();
        stream.flush().await.unwrap();
        assert_answer(&read_message(&mut stream).await.unwrap(), 1);
        stream.get_ref().1.handshake_kind()
    };
    let client = || Arc::new(client_config(dir.path(), b"dot"));
    let first = client();
    assert_eq!(ask(&first).await, Some(rustls::HandshakeKind::Full));
    for _ in 0..150 {
        assert_eq!(ask(&client()).await, Some(rustls::HandshakeKind::Full));
    }
    assert_eq!(ask(&first).await, Some(rustls::HandshakeKind::Resumed));
}
