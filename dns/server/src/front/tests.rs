//! Real octets over loopback sockets, through every transport.

mod https;
mod quic;
mod reload;
mod stream;
mod udp;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use subm_dns_core::authority::{Authority, Zone};
use subm_dns_core::catalog::{Catalog, Settings};
use subm_dns_core::name::WireName;
use subm_dns_core::respond::Transport;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout};

use super::{Context, Front, Limits};
use crate::config::{Listener, QueryLog, TlsFiles, TransferRule};
use crate::querylog::QueryLogWriter;
use crate::shared::Shared;
use crate::stats::Stats;

const SOA: u16 = 6;
const TXT: u16 = 16;
const AXFR: u16 = 252;
const ZONE: &str = "clusterset.local";
/// No step of a test takes so long.
const PATIENCE: Duration = Duration::from_secs(20);

fn limits() -> Limits {
    Limits {
        certificate_poll: Duration::from_millis(50),
        ..Limits::default()
    }
}

fn context(limits: Limits) -> Context {
    let shared = Arc::new(Shared::default());
    let mut catalog = Catalog::new(Settings {
        longest_zone: 18,
        ..Settings::default()
    });
    shared.publish(&catalog.publish(7));
    let stats = Stats::new(Arc::clone(&shared)).unwrap();
    let log = QueryLogWriter::start(std::io::sink(), Arc::new(AtomicU64::new(0))).unwrap();
    Context {
        shared,
        stats,
        log,
        limits,
        workers: 2,
    }
}

fn listener(transport: Transport, addr: &str) -> Listener {
    let zone = Zone::new(WireName::parse(ZONE).unwrap());
    Listener {
        transport,
        addr: addr.parse().unwrap(),
        authority: Authority::new(vec![zone]),
        tls: None,
        transfer: vec![TransferRule {
            to: vec!["127.0.0.0/8".parse().unwrap()],
            notify: Vec::new(),
        }],
        query_log: vec![Some(QueryLog {
            success: true,
            denial: true,
            error: true,
        })],
        label: "dns://:53".into(),
    }
}

/// A listener's certificate in a folder of its own.
fn with_certificate(transport: Transport) -> (Listener, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    write_certificate(dir.path());
    let mut listener = listener(transport, "127.0.0.1:0");
    listener.tls = Some(TlsFiles {
        certificate: dir.path().join("tls.crt"),
        key: dir.path().join("tls.key"),
        client_ca: None,
    });
    (listener, dir)
}

fn write_certificate(dir: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(dir.join("tls.crt"), made.cert.pem()).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
}

fn client_config(dir: &Path, alpn: &[u8]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(dir.join("tls.crt")).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    config
}

async fn tls_connect(
    addr: SocketAddr,
    dir: &Path,
    alpn: &[u8],
) -> std::io::Result<tokio_rustls::client::TlsStream<tokio::net::TcpStream>> {
    let tcp = tokio::net::TcpStream::connect(addr).await?;
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(dir, alpn)));
    timeout(
        PATIENCE,
        connector.connect("localhost".try_into().unwrap(), tcp),
    )
    .await?
}

fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(WireName::parse(name).unwrap().as_bytes());
    message.extend(qtype.to_be_bytes());
    message.extend([0, 1]);
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    super::stream::frame(message, &mut out);
    out
}

async fn read_message(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Vec<u8>> {
    let read = async {
        let len = stream.read_u16().await?;
        let mut message = vec![0; usize::from(len)];
        stream.read_exact(&mut message).await?;
        Ok(message)
    };
    timeout(PATIENCE, read).await?
}

fn id(message: &[u8]) -> u16 {
    u16::from_be_bytes([message[0], message[1]])
}

/// A reply (QR, AA) with code NOERROR and at least one answer.
fn assert_answer(message: &[u8], want_id: u16) {
    assert_eq!(id(message), want_id);
    assert_eq!(
        (message[2] & 0x84, message[3] & 0x0f),
        (0x84, 0),
        "{message:?}"
    );
    assert!(
        u16::from_be_bytes([message[6], message[7]]) >= 1,
        "{message:?}"
    );
}

/// Polls until `done`.
async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn start(listener: &Listener, context: &Context) -> (Front, SocketAddr) {
    let front = Front::start(std::slice::from_ref(listener), context.clone()).unwrap();
    let addr = front.local_addr(listener).unwrap();
    (front, addr)
}

/// A metric's value, by the start of its line.
fn metric(context: &Context, series: &str) -> Option<f64> {
    let text = context.stats.render();
    let line = text.lines().find(|line| line.starts_with(series))?;
    line.rsplit_once(' ')?.1.parse().ok()
}
