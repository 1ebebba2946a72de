//! The Corefile of the Submariner operator, with the flags of its Deployment.

use anyhow::Result;
use subm_test_support::{Process, dig, free_port, random_loopback};

use crate::common::{SOON, examples, get, lighthouse_dns, text};

/// What the operator writes for `clusterset.local` and one custom domain, but for the port: the operator's is 53.
fn corefile(port: u16) -> String {
    ["clusterset.local", "supercluster.local"]
        .map(|domain| {
            format!("{domain}:{port} {{\n    lighthouse\n    errors\n    health\n    ready\n    prometheus :9153\n}}\n")
        })
        .concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operators_corefile_serves_both_domains() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("Corefile");
    let port = free_port()?;
    std::fs::write(&conf, corefile(port))?;
    // The Corefile's :8080, :8181 and :9153 may be taken on the machine that runs the tests.
    let ip = random_loopback();
    let [health, ready, metrics] = [8080, 8181, 9153].map(|port| format!("{ip}:{port}"));
    let other = free_port()?.to_string();
    let mut command = lighthouse_dns();
    command.args([
        "-conf",
        text(&conf),
        "-dns.port",
        &other,
        "--manifests",
        text(&examples()),
    ]);
    command.args([
        "--health",
        &health,
        "--ready",
        &ready,
        "--metrics",
        &metrics,
    ]);
    let mut process = Process::spawn(command)?;
    process
        .wait_for_line("everything has been read", SOON)
        .await?;

    for domain in ["clusterset.local", "supercluster.local"] {
        // All addresses of the machine; the port of the block goes before -dns.port.
        for server in [
            format!("127.0.0.1:{port}"),
            format!("{ip}:{port}"),
            format!("[::1]:{port}"),
        ] {
            let reply = dig(server.parse()?, &[&format!("web.shop.svc.{domain}")]).await?;
            assert_eq!(reply.answers("A"), ["243.0.0.10"], "{}", reply.text);
            assert_eq!(
                reply.answer[0].split(' ').nth(1),
                Some("5"),
                "{}",
                reply.text
            );
        }
        let srv = dig(
            (ip, port).into(),
            &[&format!("_sql._tcp.db.shop.svc.{domain}"), "SRV"],
        )
        .await?;
        assert!(
            srv.answers("SRV")
                .iter()
                .all(|data| data.ends_with(&format!("{domain}."))),
            "{}",
            srv.text
        );
    }
    assert_eq!(
        dig((ip, port).into(), &["example.org"]).await?.status,
        "REFUSED"
    );
    assert_eq!(get(health.parse()?, "/health").await?, (200, "OK".into()));
    assert_eq!(get(ready.parse()?, "/ready").await?.0, 200);
    let (_, text) = get(metrics.parse()?, "/metrics").await?;
    for domain in ["clusterset.local", "supercluster.local"] {
        assert!(text.contains(&format!("zone=\"{domain}.\"")), "{text}");
    }
    Ok(())
}
