//! Unbound in front: it asks for a name label by label (QNAME minimisation, RFC 9156), mixes cases at random and insists
//! on getting them back (0x20), and believes an NXDOMAIN for everything below (RFC 8020).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use subm_test_support::{Binaries, Process, Reply, dig, random_loopback};

use crate::common::{Lighthouse, PORT, SOON, copy_of_examples, many_endpoints};

async fn resolver_before(us: &Lighthouse, folder: &Path) -> Result<(Process, SocketAddr)> {
    let ip = random_loopback();
    let conf = folder.join("unbound.conf");
    std::fs::write(
        &conf,
        format!(
            "server:
  interface: {ip}
  port: {PORT}
  access-control: 127.0.0.0/8 allow
  directory: \"{}\"
  chroot: \"\"
  username: \"\"
  pidfile: \"\"
  use-syslog: no
  do-daemonize: no
  num-threads: 1
  do-ip6: no
  module-config: \"iterator\"
  local-zone: \"local.\" nodefault
  do-not-query-localhost: no
  qname-minimisation: yes
  qname-minimisation-strict: yes
  use-caps-for-id: yes
  harden-below-nxdomain: yes
stub-zone:
  name: clusterset.local
  stub-addr: {}@{PORT}
remote-control:
  control-enable: no
",
            folder.display(),
            us.ip
        ),
    )?;
    let mut command = Command::new(Binaries::find("unbound")?);
    command.args(["-d", "-c"]).arg(&conf);
    let mut process = Process::spawn(command)?;
    process.wait_for_line("start of service", SOON).await?;
    Ok((process, (ip, PORT).into()))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_careful_resolver_finds_everything() -> Result<()> {
    let manifests = copy_of_examples()?;
    std::fs::write(manifests.path().join("many.yaml"), many_endpoints(120))?;
    let us = Lighthouse::serving(manifests.path(), &[]).await?;
    let folder = tempfile::tempdir()?;
    let (_unbound, resolver) = resolver_before(&us, folder.path()).await?;

    // Deep names first: a wrong NXDOMAIN on the way to them would stick.
    for (name, rtype) in [
        ("_sql._tcp.db-0.west.db.shop.svc.clusterset.local", "SRV"),
        ("_irc._tcp.rooms.chat.svc.clusterset.local", "SRV"),
        ("rtp.udp.stream.media.svc.clusterset.local", "SRV"),
        ("db-1.east.db.shop.svc.clusterset.local", "A"),
        ("web.shop.svc.clusterset.local", "A"),
        ("web.shop.svc.clusterset.local", "AAAA"),
        ("many.test.svc.clusterset.local", "A"),
        ("upload.media.svc.clusterset.local", "A"),
        ("ns.dns.clusterset.local", "A"),
        ("dns-version.clusterset.local", "TXT"),
        ("clusterset.local", "NS"),
    ] {
        let (ours, theirs) = (
            us.dig(&[name, rtype]).await?,
            dig(resolver, &[name, rtype]).await?,
        );
        assert_eq!(theirs.status, "NOERROR", "{}", theirs.text);
        // Targets have the case of the query, which Unbound has mixed.
        let lower = |reply: &Reply| reply.answers(rtype).join("\n").to_lowercase();
        assert_eq!(lower(&theirs), lower(&ours), "{}", theirs.text);
        assert!(
            !theirs.answer.is_empty() && !theirs.has_flag("aa"),
            "{}",
            theirs.text
        );
    }
    for (name, rtype, status) in [
        ("db.shop.svc.clusterset.local", "AAAA", "NOERROR"),
        ("db-0.east.db.shop.svc.clusterset.local", "AAAA", "NOERROR"),
        ("_tcp.db.shop.svc.clusterset.local", "A", "NOERROR"),
        ("svc.clusterset.local", "A", "NOERROR"),
        ("web.shop.svc.clusterset.local", "MX", "NOERROR"),
        ("nope.shop.svc.clusterset.local", "A", "NXDOMAIN"),
        ("a.b.c.nope.svc.clusterset.local", "A", "NXDOMAIN"),
        (
            "_nope._tcp.web.shop.svc.clusterset.local",
            "SRV",
            "NXDOMAIN",
        ),
    ] {
        let reply = dig(resolver, &[name, rtype]).await?;
        assert_eq!(reply.status, status, "{}", reply.text);
        assert!(reply.answer.is_empty(), "{}", reply.text);
        assert!(
            reply
                .authority
                .iter()
                .any(|record| record.contains(" SOA ")),
            "{}",
            reply.text
        );
    }
    // The resolver has really asked label by label.
    let minimised = us
        .metric("coredns_dns_requests_total", &["type=\"A\""])
        .await?;
    assert!(minimised > 20, "{minimised} queries for A");
    Ok(())
}
