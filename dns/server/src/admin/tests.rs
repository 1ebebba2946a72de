use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn get(addr: SocketAddr, path: &str) -> String {
    let mut stream = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// All pages on one address, of any port.
fn on(addr: SocketAddr) -> Config {
    Config {
        listeners: Vec::new(),
        source: crate::config::Source::Manifests("m".into()),
        cluster_id: None,
        health: Some(crate::config::Health {
            addr,
            lameduck: Duration::ZERO,
        }),
        ready: Some(addr),
        metrics: Some(addr),
        reload: None,
        files: Vec::new(),
    }
}

#[tokio::test]
async fn silent_clients_do_not_keep_probes_out() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let stats = Stats::new(Arc::default()).unwrap();
    let admin = Admin::start(&on(any), &stats, &Arc::new(Readiness::new())).unwrap();
    let addr = admin.local_addr(any).unwrap();
    let mut silent = Vec::new();
    for _ in 0..2 * CONNECTIONS {
        silent.push(tokio::net::TcpStream::connect(addr).await.unwrap());
    }
    let health = timeout(REQUEST / 4, get(addr, "/health")).await;
    assert!(
        health
            .expect("an answer at once")
            .starts_with("HTTP/1.1 200")
    );
}

#[tokio::test]
async fn what_is_prepared_changes_nothing_yet() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let stats = Stats::new(Arc::default()).unwrap();
    let admin = Admin::start(&on(any), &stats, &Arc::new(Readiness::new())).unwrap();
    let addr = admin.local_addr(any).unwrap();
    let elsewhere = SocketAddr::from(([127, 0, 0, 2], addr.port()));
    drop(admin.prepare(&on(elsewhere)).unwrap());
    assert!(get(addr, "/health").await.starts_with("HTTP/1.1 200"));
    assert!(tokio::net::TcpStream::connect(elsewhere).await.is_err());
}

#[tokio::test]
async fn pages_of_a_shared_address() {
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let config = on(any);
    let readiness = Arc::new(Readiness::new());
    let stats = Stats::new(Arc::default()).unwrap();
    let admin = Admin::start(&config, &stats, &readiness).unwrap();
    let addr = admin.local_addr(any).unwrap();
    assert!(get(addr, "/health").await.starts_with("HTTP/1.1 200"));
    let early = get(addr, "/ready").await;
    assert!(
        early.starts_with("HTTP/1.1 503") && early.ends_with("synchronisation is not complete"),
        "{early}"
    );
    readiness.set_synced();
    assert!(get(addr, "/ready").await.ends_with("\r\n\r\nOK"));
    // Once ready, a lost source changes the body only.
    readiness.set_source("Gateway", false, "connection lost");
    let amiss = get(addr, "/ready").await;
    let body = "OK\nGateway: no changes reach us: connection lost";
    assert!(
        amiss.starts_with("HTTP/1.1 200") && amiss.ends_with(body),
        "{amiss}"
    );
    let metrics = get(addr, "/metrics").await;
    assert!(metrics.contains("coredns_build_info{"), "{metrics}");
    assert!(
        metrics.contains("process_resident_memory_bytes "),
        "{metrics}"
    );
    assert!(get(addr, "/else").await.starts_with("HTTP/1.1 404"));
    readiness.start_lameduck();
    assert!(get(addr, "/health").await.starts_with("HTTP/1.1 503"));
}
