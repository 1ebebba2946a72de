//! Clients that are fast, slow, silent or broken.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use domain::base::iana::Rtype;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::common::Lighthouse;
use crate::common::wire::{framed, query, read};

const WEB: &str = "web.shop.svc.clusterset.local.";
/// The server cuts at ten seconds.
const CUT: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_queries_are_all_answered() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    let mut stream = TcpStream::connect(us.dns()).await?;
    let mut sent = BTreeMap::new();
    let mut octets = Vec::new();
    for id in 0..500_u16 {
        let (name, rtype) = match id % 3 {
            0 => (WEB, Rtype::A),
            1 => ("_sql._tcp.db.shop.svc.clusterset.local.", Rtype::SRV),
            _ => ("nope.shop.svc.clusterset.local.", Rtype::AAAA),
        };
        sent.insert(id, query(id, name, rtype));
        octets.extend(framed(&sent[&id]));
    }
    // In pieces that end anywhere, while replies come.
    let (mut reader, mut writer) = stream.split();
    let writing = async {
        for piece in octets.chunks(777) {
            writer.write_all(piece).await?;
        }
        Ok::<_, anyhow::Error>(())
    };
    let reading = async {
        while !sent.is_empty() {
            let length = reader.read_u16().await?;
            let mut reply = vec![0; usize::from(length)];
            reader.read_exact(&mut reply).await?;
            let asked = sent.remove(&u16::from_be_bytes([reply[0], reply[1]]));
            let asked = asked.ok_or_else(|| anyhow::anyhow!("an id twice or never sent"))?;
            let question = 12..asked.len();
            ensure!(
                reply[question.clone()] == asked[question],
                "the question of another query"
            );
            ensure!(reply[2] & 0x80 != 0);
        }
        Ok(())
    };
    let ((), ()) = timeout(CUT, async { tokio::try_join!(writing, reading) }).await??;
    Ok(())
}

/// Until the server closes, having sent nothing.
async fn cut(stream: &mut TcpStream) -> Result<Duration> {
    let start = Instant::now();
    let mut octet = [0];
    let read = timeout(CUT, stream.read(&mut octet)).await?;
    ensure!(!matches!(read, Ok(1)), "an octet came");
    Ok(start.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_and_slow_clients_are_cut() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    let mut silent = TcpStream::connect(us.dns()).await?;
    let mut used = TcpStream::connect(us.dns()).await?;
    used.write_all(&framed(&query(1, WEB, Rtype::A))).await?;
    read(&mut used).await?;
    let slow = TcpStream::connect(us.dns()).await?;
    let dripping = async {
        let message = framed(&query(1, WEB, Rtype::A));
        let (mut reader, mut writer) = slow.into_split();
        // An octet a second would take half a minute; a message that never ends is no sign of life.
        let drip = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            for octet in message {
                ticks.tick().await;
                if writer.write_all(&[octet]).await.is_err() {
                    return;
                }
            }
        });
        let start = Instant::now();
        let mut octet = [0];
        let read = timeout(CUT, reader.read(&mut octet)).await?;
        drip.abort();
        ensure!(!matches!(read, Ok(1)), "an octet came");
        Ok(start.elapsed())
    };
    let (silent, used, slow) = tokio::try_join!(cut(&mut silent), cut(&mut used), dripping)?;
    for after in [silent, used, slow] {
        assert!(
            after > Duration::from_secs(5),
            "a client has time to think: {after:?}"
        );
    }
    assert_eq!(us.dig(&["+tcp", WEB]).await?.answers("A"), ["243.0.0.10"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_gets_formerr_or_silence() -> Result<()> {
    let mut us = Lighthouse::examples(&[]).await?;
    let socket = UdpSocket::bind((us.ip, 0)).await?;
    socket.connect(us.dns()).await?;
    let good = query(7, WEB, Rtype::A);
    let with = |changes: &[(usize, u8)]| {
        let mut message = good.clone();
        for &(at, octet) in changes {
            message[at] = octet;
        }
        message
    };
    let cases: [(Vec<u8>, Option<u8>); 10] = [
        (Vec::new(), None),
        (vec![0; 11], None),
        // QR=1: an answer to an answer would never end.
        (with(&[(2, 0x80)]), None),
        (with(&[(5, 0)]), Some(1)),
        (with(&[(5, 2)]), Some(1)),
        (with(&[(7, 9)]), Some(1)),
        (good[..20].to_vec(), Some(1)),
        // A pointer in the question.
        (with(&[(12, 0xc0)]), Some(1)),
        ([&good[..], b"left over"].concat(), Some(1)),
        // Opcode STATUS.
        (with(&[(2, 0x10)]), Some(4)),
    ];
    let mut reply = [0; 1500];
    for (message, rcode) in cases {
        socket.send(&message).await?;
        // A good query behind it: the first thing to come back tells whether the bad one was answered.
        socket.send(&query(8, WEB, Rtype::A)).await?;
        let mut first = None;
        loop {
            let length = timeout(CUT, socket.recv(&mut reply)).await??;
            if reply[..2] == [0, 8] {
                break;
            }
            ensure!(length >= 12, "a short reply");
            first = Some(reply[3] & 0x0f);
        }
        // Replies of different workers may overtake each other.
        if first.is_none() && rcode.is_some() {
            timeout(CUT, socket.recv(&mut reply)).await??;
            first = Some(reply[3] & 0x0f);
        }
        assert_eq!(first, rcode, "{message:02x?}");
    }
    // Any octets at all, the same in every run.
    let mut state = 0x9e37_79b9_u32;
    for length in 0..600 {
        let message: Vec<u8> = (0..length)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        socket.send(&message).await?;
    }
    let mut stream = TcpStream::connect(us.dns()).await?;
    // Octets that are no DNS at all: the connection ends, the server does not.
    stream.write_all(b"\0\x05GET / HTTP/1.1\r\n\r\n").await?;
    cut(&mut stream).await?;
    assert_eq!(us.dig(&["+tcp", WEB]).await?.answers("A"), ["243.0.0.10"]);
    assert_eq!(us.dig(&["+notcp", WEB]).await?.answers("A"), ["243.0.0.10"]);
    us.process.ensure_running()?;
    assert_eq!(us.metric("coredns_panics_total", &[]).await?, 0);
    Ok(())
}
