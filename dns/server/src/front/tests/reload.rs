use std::net::UdpSocket;

use super::super::tls::{CertificateStore, TlsError};
use super::*;

#[tokio::test]
async fn kept_socket_answers_with_the_new_configuration() {
    let context = context(limits());
    let before = listener(Transport::Udp, "127.0.0.1:0");
    let (mut front, addr) = start(&before, &context);
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut after = before.clone();
    after.authority = Authority::new(vec![Zone::new(WireName::parse("other.example").unwrap())]);
    front.replace(&[after]).unwrap();
    assert_eq!(front.local_addr(&before), Some(addr));
    let mut buffer = [0; 512];
    client
        .send_to(&query(1, "other.example", SOA), addr)
        .unwrap();
    let (len, _) = client.recv_from(&mut buffer).unwrap();
    assert_answer(&buffer[..len], 1);
    client.send_to(&query(2, ZONE, SOA), addr).unwrap();
    client.recv_from(&mut buffer).unwrap();
    assert_eq!(buffer[3] & 0x0f, 5, "the old zone is still served");
}

#[tokio::test]
async fn failed_replacement_changes_nothing() {
    let context = context(limits());
    let good = listener(Transport::Udp, "127.0.0.1:0");
    let (mut front, addr) = start(&good, &context);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bad = listener(Transport::Udp, &taken.local_addr().unwrap().to_string());
    assert!(front.replace(&[bad]).is_err());
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.send_to(&query(1, ZONE, SOA), addr).unwrap();
    let mut buffer = [0; 512];
    let (len, _) = client.recv_from(&mut buffer).unwrap();
    assert_answer(&buffer[..len], 1);
}

#[tokio::test]
async fn removed_listener_frees_its_port() {
    let context = context(limits());
    let (mut front, addr) = start(&listener(Transport::Udp, "127.0.0.1:0"), &context);
    front.replace(&[]).unwrap();
    eventually("the port is free", || {
        UdpSocket::bind(addr).is_ok() && std::net::TcpListener::bind(addr).is_ok()
    })
    .await;
}

#[tokio::test]
async fn changed_certificate_is_used_and_a_bad_one_is_not() {
    let context = context(limits());
    let (listener, dir) = with_certificate(Transport::Tls);
    let (_front, addr) = start(&listener, &context);
    let old = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join("tls.crt"), old.path().join("tls.crt")).unwrap();
    tls_connect(addr, old.path(), b"dot").await.unwrap();
    write_certificate(dir.path());
    let deadline = Instant::now() + PATIENCE;
    while tls_connect(addr, dir.path(), b"dot").await.is_err() {
        assert!(
            Instant::now() < deadline,
            "the new certificate is never used"
        );
    }
    assert!(
        tls_connect(addr, old.path(), b"dot").await.is_err(),
        "the old certificate is still used"
    );
}

#[test]
fn bad_pair_keeps_the_old_one() {
    let (listener, dir) = with_certificate(Transport::Tls);
    let store = CertificateStore::open(Transport::Tls, listener.tls.as_ref()).unwrap();
    let before = store.current();
    std::fs::write(dir.path().join("tls.crt"), "rubbish").unwrap();
    assert!(store.refresh().is_none());
    assert!(Arc::ptr_eq(&before, &store.current()));
    write_certificate(dir.path());
    assert!(store.refresh().is_some());
    assert!(!Arc::ptr_eq(&before, &store.current()));
    assert!(store.refresh().is_none(), "nothing has changed since");
}

#[test]
fn faults_of_certificates_are_told_apart() {
    let open =
        |listener: &Listener| CertificateStore::open(Transport::Tls, listener.tls.as_ref()).err();
    let (mut listener, dir) = with_certificate(Transport::Tls);
    let certificate = dir.path().join("tls.crt");
    let other = tempfile::tempdir().unwrap();
    write_certificate(other.path());
    std::fs::copy(other.path().join("tls.key"), dir.path().join("tls.key")).unwrap();
    assert!(matches!(open(&listener), Some(TlsError::Mismatch { .. })));
    std::fs::copy(other.path().join("tls.crt"), dir.path().join("tls.key")).unwrap();
    assert!(matches!(open(&listener), Some(TlsError::NoKey { .. })));
    std::fs::write(&certificate, "").unwrap();
    assert!(
        matches!(open(&listener), Some(TlsError::NoCertificate { path }) if path == certificate)
    );
    std::fs::remove_file(&certificate).unwrap();
    assert!(matches!(open(&listener), Some(TlsError::Read { path, .. }) if path == certificate));
    listener.tls = None;
    assert!(matches!(open(&listener), Some(TlsError::Missing)));
}
