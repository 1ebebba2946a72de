//! Health, readiness and metrics, as probes and Prometheus see them.

use anyhow::Result;
use subm_test_support::Process;

use crate::common::{Lighthouse, SOON, get, lighthouse_dns, text};

#[tokio::test(flavor = "multi_thread")]
async fn health_and_readiness_are_ok() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    assert_eq!(us.page("/health").await?, (200, "OK".into()));
    assert_eq!(us.page("/ready").await?, (200, "OK".into()));
    assert_eq!(get((us.ip, 8080).into(), "/ready").await?.0, 404);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn not_ready_and_servfail_until_everything_has_been_read() -> Result<()> {
    // An API server that takes connections and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("config");
    let cluster = format!(
        "{{name: c, cluster: {{server: \"http://{}\"}}}}",
        silent.local_addr()?
    );
    std::fs::write(
        &kubeconfig,
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{cluster}]\nusers: [{{name: u, user: {{}}}}]\n\
             contexts: [{{name: x, context: {{cluster: c, user: u}}}}]\n"
        ),
    )?;
    let ip = subm_test_support::random_loopback();
    let at = |port: u16| format!("{ip}:{port}");
    let mut command = lighthouse_dns();
    command.args(["--kubeconfig", text(&kubeconfig), "--listen", &at(5300)]);
    command.args([
        "--health",
        &at(8080),
        "--ready",
        &at(8181),
        "--metrics",
        &at(9153),
    ]);
    let mut process = Process::spawn(command)?;
    process.wait_for_line("listening", SOON).await?;
    let reply =
        subm_test_support::dig((ip, 5300).into(), &["web.shop.svc.clusterset.local"]).await?;
    assert_eq!(reply.status, "SERVFAIL", "{}", reply.text);
    assert!(reply.text.contains("EDE: 14 (Not Ready)"), "{}", reply.text);
    let (status, text) = get((ip, 8181).into(), "/ready").await?;
    assert_eq!(status, 503);
    assert!(
        text.contains("first synchronisation is not complete"),
        "{text}"
    );
    assert_eq!(get((ip, 8080).into(), "/health").await?.0, 200);
    assert_eq!(get((ip, 9153).into(), "/metrics").await?.0, 200);
    assert!(process.terminate(SOON).await?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_corednss_names_and_lighthouses() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    for args in [
        &["db.shop.svc.clusterset.local", "A"][..],
        &["+tcp", "db.shop.svc.clusterset.local", "A"],
        &["nope.shop.svc.clusterset.local", "AAAA"],
        &["+dnssec", "upload.media.svc.clusterset.local", "A"],
        &["example.org", "A"],
    ] {
        us.dig(args).await?;
    }
    let zone = "zone=\"clusterset.local.\"";
    let server = &*format!("server=\"dns://{}:5300\"", us.ip);
    for (name, labels, expected) in [
        (
            "coredns_dns_requests_total",
            &[zone, server, "proto=\"udp\"", "type=\"A\""][..],
            2,
        ),
        (
            "coredns_dns_requests_total",
            &[zone, "proto=\"tcp\"", "family=\"1\""],
            1,
        ),
        ("coredns_dns_requests_total", &["zone=\"dropped\""], 1),
        (
            "coredns_dns_responses_total",
            &[zone, "rcode=\"NOERROR\"", "plugin=\"lighthouse\""],
            3,
        ),
        (
            "coredns_dns_responses_total",
            &[zone, "rcode=\"NXDOMAIN\""],
            1,
        ),
        ("coredns_dns_responses_total", &["rcode=\"REFUSED\""], 1),
        ("coredns_dns_do_requests_total", &[zone], 1),
        ("coredns_dns_request_duration_seconds_count", &[zone], 4),
        ("coredns_dns_request_size_bytes_count", &[zone], 4),
        ("coredns_dns_response_size_bytes_count", &[zone], 4),
        ("coredns_build_info", &[], 1),
        ("coredns_panics_total", &[], 0),
        ("subm_dns_services", &[], 6),
        ("subm_dns_clusters", &[], 3),
        ("subm_dns_clusters_connected", &[], 3),
        ("subm_dns_source_healthy", &["source=\"manifests\""], 1),
        ("subm_dns_problems", &[], 0),
        (
            "submariner_service_discovery_query",
            &[
                "destination_service_name=\"upload\"",
                "destination_service_namespace=\"media\"",
                "source_cluster=\"east\"",
                "destination_cluster=\"south\"",
            ],
            1,
        ),
        (
            "submariner_service_discovery_query",
            &["destination_service_name=\"db\""],
            2,
        ),
    ] {
        assert_eq!(
            us.metric(name, labels).await?,
            expected,
            "{name} {labels:?} in {}",
            us.page("/metrics").await?.1
        );
    }
    let (_, text) = us.page("/metrics").await?;
    for name in [
        "subm_dns_snapshot_age_seconds",
        "subm_dns_build_duration_seconds_count",
        "subm_dns_endpoints",
        "process_open_fds",
    ] {
        assert!(
            text.lines().any(|line| line.starts_with(name)),
            "no {name} in {text}"
        );
    }
    let discovery = text
        .lines()
        .filter(|line| line.starts_with("submariner_service_discovery_query{"));
    assert!(
        discovery.clone().all(|line| !line.contains("_ip=")),
        "an address is no label: {text}"
    );
    assert!(discovery.count() >= 2, "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn cluster_names_are_counted() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    let count = || us.metric("subm_dns_cluster_name_queries_total", &[]);
    us.dig(&["cart.shop.svc.clusterset.local"]).await?;
    assert_eq!(count().await?, 0);
    us.dig(&["west.cart.shop.svc.clusterset.local"]).await?;
    us.dig(&["+tcp", "south.cart.shop.svc.clusterset.local"])
        .await?;
    assert_eq!(count().await?, 2);
    Ok(())
}
