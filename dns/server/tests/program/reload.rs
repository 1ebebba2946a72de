//! A new Corefile while the server runs, by SIGHUP or `reload`, and new certificates.

use std::fs;
use std::net::Ipv4Addr;

use anyhow::{Result, ensure};
use subm_test_support::{eventually, kdig, random_loopback};

use crate::common::{Lighthouse, SOON, certificate, examples, replace, text};

const WEB: &str = "web.shop.svc.clusterset.local";
const ELSEWHERE: &str = "web.shop.svc.other.example";

fn ttl(record: Option<&String>) -> &str {
    record
        .and_then(|record| record.split(' ').nth(1))
        .unwrap_or("")
}

fn block(zone: &str, ip: Ipv4Addr, ttl: u32, more: &str) -> String {
    format!(
        "{zone} {{\n    bind {ip}\n    lighthouse {{\n        ttl {ttl}\n    }}\n    {more}\n}}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn sighup_puts_a_new_corefile_in_force_and_a_bad_one_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("Corefile");
    let ip = random_loopback();
    fs::write(&conf, block("clusterset.local", ip, 5, ""))?;
    let mut us = Lighthouse::configured(ip, &conf, &examples(), &[]).await?;
    assert_eq!(us.dig(&[ELSEWHERE]).await?.status, "REFUSED");

    fs::write(
        &conf,
        block("clusterset.local", ip, 30, "") + &block("other.example", ip, 60, ""),
    )?;
    us.process.signal(libc::SIGHUP)?;
    us.dig_until(&[ELSEWHERE], |reply| ttl(reply.answer.first()) == "60")
        .await?;
    assert_eq!(ttl(us.dig(&[WEB]).await?.answer.first()), "30");
    us.process
        .wait_for_line("configuration reloaded", SOON)
        .await?;
    assert_eq!(us.metric("coredns_reload_total", &[]).await?, 1);

    fs::write(&conf, block("clusterset.local", ip, 9999, ""))?;
    us.process.signal(libc::SIGHUP)?;
    let line = us
        .process
        .wait_for_line("the old one stays in force", SOON)
        .await?;
    assert!(
        line.contains("Corefile:4: plugin/lighthouse: ttl must be in range"),
        "{line}"
    );
    assert_eq!(ttl(us.dig(&[WEB]).await?.answer.first()), "30");
    assert_eq!(us.metric("coredns_reload_failed_total", &[]).await?, 1);

    fs::write(&conf, block("clusterset.local", ip, 8, ""))?;
    us.process.signal(libc::SIGHUP)?;
    us.dig_until(&[WEB], |reply| ttl(reply.answer.first()) == "8")
        .await?;
    assert_eq!(us.dig(&[ELSEWHERE]).await?.status, "REFUSED");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn reload_notices_a_new_corefile() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("Corefile");
    let ip = random_loopback();
    fs::write(&conf, block("clusterset.local", ip, 5, "reload 2s 1s"))?;
    let mut us = Lighthouse::configured(ip, &conf, &examples(), &[]).await?;

    replace(
        &conf,
        &block("clusterset.local", ip, 6, "reload 2s 1s\n    helth"),
    )?;
    let line = us
        .process
        .wait_for_line("the old one stays in force", SOON)
        .await?;
    assert!(line.contains("did you mean 'health'?"), "{line}");
    assert_eq!(ttl(us.dig(&[WEB]).await?.answer.first()), "5");

    replace(&conf, &block("clusterset.local", ip, 7, "reload 2s 1s"))?;
    us.dig_until(&[WEB], |reply| ttl(reply.answer.first()) == "7")
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn no_query_is_lost_by_reloads() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("Corefile");
    let ip = random_loopback();
    fs::write(&conf, block("clusterset.local", ip, 5, ""))?;
    let us = Lighthouse::configured(ip, &conf, &examples(), &[]).await?;
    for ttl_now in 10..20 {
        fs::write(&conf, block("clusterset.local", ip, ttl_now, ""))?;
        us.process.signal(libc::SIGHUP)?;
        // While it reloads: dig tries once.
        for transport in ["+notcp", "+tcp"] {
            let reply = us.dig(&[transport, WEB]).await?;
            assert_eq!(reply.answers("A"), ["243.0.0.10"], "{}", reply.text);
        }
    }
    us.dig_until(&[WEB], |reply| ttl(reply.answer.first()) == "19")
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_read_again_when_they_change() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (certificate_file, key) = certificate(folder.path())?;
    let first = folder.path().join("first.pem");
    fs::copy(&certificate_file, &first)?;
    let ip = random_loopback();
    let listen = format!("tls://{ip}:8853");
    let mut us = Lighthouse::serving_on(
        ip,
        &examples(),
        &[
            "--listen",
            &listen,
            "--tls-cert",
            text(&certificate_file),
            "--tls-key",
            text(&key),
        ],
    )
    .await?;
    let ask = async |ca: &str| {
        let ca = format!("+tls-ca={ca}");
        kdig(
            (ip, 8853).into(),
            &["+tls", &ca, "+tls-hostname=dns.example", WEB],
        )
        .await
    };
    assert_eq!(ask(text(&first)).await?.status, "NOERROR");

    // One of the two files, then the other: what does not fit is not used.
    let other = tempfile::tempdir()?;
    let (new_certificate, new_key) = certificate(other.path())?;
    replace(&certificate_file, &fs::read_to_string(&new_certificate)?)?;
    us.process
        .wait_for_line("the changed certificate is not used", SOON)
        .await?;
    assert_eq!(ask(text(&first)).await?.status, "NOERROR");
    replace(&key, &fs::read_to_string(&new_key)?)?;
    eventually(SOON, || async {
        let reply = ask(text(&new_certificate)).await?;
        ensure!(reply.status == "NOERROR", "{}", reply.text);
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(
        ask(text(&first)).await?.status,
        "",
        "the old certificate is gone"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_never_read_gives_way_to_the_next() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let object = |name: &str| {
        format!(
            "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{type: ClusterSetIP, ips: [243.0.0.1], ports: []}}\n"
        )
    };
    for (dir, name) in [("first", "one"), ("last", "two")] {
        fs::create_dir(at(dir))?;
        fs::write(at(dir).join("a.yaml"), object(name))?;
    }
    // Nobody listens there: it is never read.
    fs::write(
        at("kubeconfig"),
        "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: \"https://127.0.0.1:1\"}}]\n\
         users: [{name: u, user: {token: t}}]\ncontexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n",
    )?;
    let ip = random_loopback();
    let conf = at("Corefile");
    let from = |source: &str| {
        let dir = folder.path().display();
        format!("clusterset.local {{\n bind {ip}\n lighthouse {{\n {source}\n }}\n}}\n")
            .replace("DIR", &dir.to_string())
    };
    fs::write(&conf, from("manifests DIR/first"))?;
    let mut us = Lighthouse::of_corefile(ip, &conf).await?;
    let is = |status: &'static str| move |reply: &subm_test_support::Reply| reply.status == status;
    us.dig_until(&["one.shop.svc.clusterset.local"], is("NOERROR"))
        .await?;

    fs::write(&conf, from("kubeconfig DIR/kubeconfig"))?;
    us.process.signal(libc::SIGHUP)?;
    us.process
        .wait_for_line("configuration reloaded", SOON)
        .await?;
    assert_eq!(
        us.dig(&["one.shop.svc.clusterset.local"]).await?.status,
        "NOERROR",
        "the old source serves on"
    );

    fs::write(&conf, from("manifests DIR/last"))?;
    us.process.signal(libc::SIGHUP)?;
    us.dig_until(&["two.shop.svc.clusterset.local"], is("NOERROR"))
        .await?;
    assert_eq!(
        us.dig(&["one.shop.svc.clusterset.local"]).await?.status,
        "NXDOMAIN"
    );

    // The first source is out for good: what changes there changes nothing here.
    fs::write(at("first").join("b.yaml"), object("three"))?;
    fs::write(at("last").join("b.yaml"), object("four"))?;
    us.dig_until(&["four.shop.svc.clusterset.local"], is("NOERROR"))
        .await?;
    assert_eq!(
        us.dig(&["three.shop.svc.clusterset.local"]).await?.status,
        "NXDOMAIN"
    );
    assert_eq!(
        us.dig(&["two.shop.svc.clusterset.local"]).await?.status,
        "NOERROR"
    );
    Ok(())
}
