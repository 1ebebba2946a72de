//! The cluster's CoreDNS, which forwards our zone to us.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use subm_test_support::{Binaries, Process, dig, eventually, random_loopback};

use crate::common::{
    Lighthouse, PORT, SOON, copy_of_examples, dig_until, folder_with, get, many_endpoints,
};

/// A CoreDNS that forwards clusterset.local. While its health check fails it does not even try.
async fn forwarding_to(upstream: Ipv4Addr, folder: &Path) -> Result<(Process, SocketAddrV4)> {
    let ip = random_loopback();
    let corefile = folder.join("Corefile");
    std::fs::write(
        &corefile,
        format!(
            "clusterset.local:{PORT} {{
                bind {ip}
                errors
                prometheus {ip}:9153
                forward . {upstream}:{PORT} {{
                    health_check 0.5s
                    max_fails 1
                    failfast_all_unhealthy_upstreams
                }}
            }}"
        ),
    )?;
    let mut command = Command::new(Binaries::find("coredns")?);
    command.arg("-conf").arg(&corefile);
    let mut process = Process::spawn(command)?;
    process.wait_for_line("CoreDNS-", SOON).await?;
    Ok((process, SocketAddrV4::new(ip, PORT)))
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_pass_through_a_forward() -> Result<()> {
    let manifests = copy_of_examples()?;
    std::fs::write(manifests.path().join("many.yaml"), many_endpoints(120))?;
    let us = Lighthouse::serving(manifests.path(), &[]).await?;
    let folder = tempfile::tempdir()?;
    let (_coredns, forwarder) = forwarding_to(us.ip, folder.path()).await?;

    for args in [
        ["web.shop.svc.clusterset.local", "A"],
        ["web.shop.svc.clusterset.local", "AAAA"],
        ["rooms.chat.svc.clusterset.local", "AAAA"],
        ["db-0.west.db.shop.svc.clusterset.local", "A"],
        ["_sql._tcp.db.shop.svc.clusterset.local", "SRV"],
        ["dns-version.clusterset.local", "TXT"],
        ["clusterset.local", "SOA"],
        ["clusterset.local", "NS"],
        ["db.shop.svc.clusterset.local", "AAAA"],
        ["nope.shop.svc.clusterset.local", "A"],
        ["nope.shop.svc.clusterset.local", "SRV"],
    ] {
        for transport in ["+notcp", "+tcp"] {
            let args = [transport, args[0], args[1]];
            let (ours, theirs) = (us.dig(&args).await?, dig(forwarder.into(), &args).await?);
            assert_eq!(ours.status, theirs.status, "{}", theirs.text);
            assert_eq!(
                ours.answers(args[2]),
                theirs.answers(args[2]),
                "{}",
                theirs.text
            );
            // No TTL: CoreDNS caches nothing here, so it is ours.
            assert_eq!(ours.authority, theirs.authority, "{}", theirs.text);
        }
    }
    let absent = dig(forwarder.into(), &["nope.shop.svc.clusterset.local"]).await?;
    assert_eq!(absent.status, "NXDOMAIN");
    assert!(absent.authority[0].contains("SOA"), "{}", absent.text);

    let many = ["many.test.svc.clusterset.local", "A"];
    let cut = dig(forwarder.into(), &["+ignore", "+notcp", many[0], many[1]]).await?;
    assert!(cut.has_flag("tc"), "{}", cut.text);
    // dig asks again over TCP, and so does CoreDNS.
    let whole = dig(forwarder.into(), &many).await?;
    assert_eq!(whole.answers("A").len(), 120);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forward_finds_us_healthy_again_after_a_restart() -> Result<()> {
    let manifests = folder_with("many.yaml", &many_endpoints(3))?;
    let mut us = Lighthouse::serving(manifests.path(), &[]).await?;
    let folder = tempfile::tempdir()?;
    let (_coredns, forwarder) = forwarding_to(us.ip, folder.path()).await?;
    let question = ["many.test.svc.clusterset.local", "A"];
    assert_eq!(
        dig(forwarder.into(), &question).await?.answers("A").len(),
        3
    );

    us.process.kill();
    let metrics = (*forwarder.ip(), 9153).into();
    eventually(SOON, || async {
        let reply = dig(forwarder.into(), &question).await?;
        ensure!(reply.status == "SERVFAIL", "{}", reply.text);
        let (_, text) = get(metrics, "/metrics").await?;
        let gave_up = |line: &str| {
            line.starts_with("coredns_forward_healthcheck_broken_total") && !line.ends_with(" 0")
        };
        ensure!(
            text.lines().any(gave_up),
            "the health check has not failed often enough yet"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;

    let us = Lighthouse::serving_on(us.ip, manifests.path(), &[]).await?;
    let reply = dig_until(forwarder.into(), &question, |reply| {
        reply.status == "NOERROR"
    })
    .await?;
    assert_eq!(reply.answers("A").len(), 3, "{}", reply.text);
    // What brought us back was `. NS`, the health check: it is refused, and that is an answer.
    assert!(
        us.metric("coredns_dns_responses_total", &["rcode=\"REFUSED\""])
            .await?
            > 0
    );
    Ok(())
}
