//! dig and kdig, over every transport.

use anyhow::Result;
use subm_test_support::{kdig, random_loopback};

use crate::common::{
    Lighthouse, PORT, certificate, copy_of_examples, examples, many_endpoints, text,
};

#[tokio::test(flavor = "multi_thread")]
async fn dig_gets_the_same_over_udp_and_tcp() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    for transport in ["+notcp", "+tcp"] {
        let a = us
            .dig(&[transport, "+norec", "db.shop.svc.clusterset.local", "A"])
            .await?;
        assert_eq!(a.status, "NOERROR");
        assert_eq!(a.answers("A"), ["10.1.0.11", "10.1.0.12", "10.2.0.12"]);
        assert_eq!(a.flags, ["qr", "aa"]);
        let aaaa = us
            .dig(&[transport, "rooms.chat.svc.clusterset.local", "AAAA"])
            .await?;
        assert_eq!(aaaa.answers("AAAA"), ["fd00:10:1::41", "fd00:10:2::41"]);
        assert_eq!(aaaa.flags, ["qr", "aa", "rd"]);
        let srv = us
            .dig(&[transport, "_http._tcp.web.shop.svc.clusterset.local", "SRV"])
            .await?;
        assert_eq!(
            srv.answers("SRV"),
            ["0 50 80 web.shop.svc.clusterset.local."]
        );
        assert!(
            srv.additional
                .iter()
                .any(|record| record.ends_with(" A 243.0.0.10")),
            "{}",
            srv.text
        );
        let nodata = us
            .dig(&[transport, "db.shop.svc.clusterset.local", "AAAA"])
            .await?;
        assert_eq!(
            (&*nodata.status, nodata.authority.len()),
            ("NOERROR", 1),
            "{}",
            nodata.text
        );
        let nxdomain = us
            .dig(&[transport, "nope.shop.svc.clusterset.local", "A"])
            .await?;
        assert_eq!(
            (&*nxdomain.status, nxdomain.authority.len()),
            ("NXDOMAIN", 1),
            "{}",
            nxdomain.text
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dig_finds_edns_as_the_norms_have_it() -> Result<()> {
    let us = Lighthouse::examples(&["--nsid", "east-1"]).await?;
    let web = "web.shop.svc.clusterset.local";
    let nsid = us.dig(&["+nsid", web]).await?;
    assert!(nsid.text.contains("(\"east-1\")"), "{}", nsid.text);
    assert!(!us.dig(&[web]).await?.text.contains("NSID"));
    let cookie = us.dig(&["+cookie=0123456789abcdef", web]).await?;
    let line = cookie
        .text
        .lines()
        .find(|line| line.contains("; COOKIE: 0123456789abcdef"));
    // dig says (good) where the server's part has come and ours is as we sent it.
    assert!(
        line.is_some_and(|line| line.ends_with("(good)")),
        "{}",
        cookie.text
    );
    let unknown = us
        .dig(&["+ednsopt=65001:cafe", "+ednsflags=0x4000", web])
        .await?;
    assert_eq!(unknown.answers("A"), ["243.0.0.10"]);
    assert!(!unknown.text.contains("; OPT=65001"), "{}", unknown.text);
    let version = us.dig(&["+edns=1", "+noednsnegotiation", web]).await?;
    assert_eq!(version.status, "BADVERS");
    let old = us.dig(&["+noedns", web]).await?;
    assert!(!old.text.contains("OPT PSEUDOSECTION"), "{}", old.text);
    let dnssec = us.dig(&["+dnssec", web]).await?;
    assert!(
        dnssec.text.contains("flags: do; udp: 1232"),
        "{}",
        dnssec.text
    );
    let elsewhere = us.dig(&["example.org"]).await?;
    assert_eq!(elsewhere.status, "REFUSED");
    assert!(
        elsewhere.text.contains("EDE: 20 (Not Authoritative)"),
        "{}",
        elsewhere.text
    );
    let transfer = us.dig(&["+edns=0", "clusterset.local", "AXFR"]).await?;
    assert!(
        transfer.text.contains("Transfer failed"),
        "{}",
        transfer.text
    );
    let opcode = us.dig(&["+opcode=2", web]).await?;
    assert_eq!(opcode.status, "NOTIMP");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn any_is_minimal_and_chaos_hidden_unless_asked_for() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    let any = us
        .dig(&["+notcp", "db.shop.svc.clusterset.local", "ANY"])
        .await?;
    assert_eq!(
        (any.answers("A").len(), any.answer.len()),
        (3, 3),
        "{}",
        any.text
    );
    let version = ["version.bind", "CH", "TXT"];
    assert_eq!(us.dig(&version).await?.status, "REFUSED");

    let folder = tempfile::tempdir()?;
    let conf = folder.path().join("Corefile");
    let ip = random_loopback();
    std::fs::write(
        &conf,
        format!("clusterset.local {{\n bind {ip}\n lighthouse\n chaos ours-1\n}}\n"),
    )?;
    let us = Lighthouse::configured(ip, &conf, &examples(), &[]).await?;
    assert_eq!(us.dig(&version).await?.answers("TXT"), ["\"ours-1\""]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn kdig_gets_the_same_over_every_transport() -> Result<()> {
    let manifests = copy_of_examples()?;
    std::fs::write(manifests.path().join("many.yaml"), many_endpoints(120))?;
    let folder = tempfile::tempdir()?;
    let (certificate, key) = certificate(folder.path())?;
    let ip = random_loopback();
    let listen = |transport: &str, port: u16| format!("{transport}://{ip}:{port}");
    let us = Lighthouse::serving_on(
        ip,
        manifests.path(),
        &[
            "--listen",
            &listen("tls", 8853),
            "--listen",
            &listen("https", 8443),
            "--listen",
            &listen("quic", 8853),
            "--tls-cert",
            text(&certificate),
            "--tls-key",
            text(&key),
        ],
    )
    .await?;
    let ca = format!("+tls-ca={}", certificate.display());
    let trusting = [&*ca, "+tls-hostname=dns.example"];
    let transports: [(u16, &[&str]); 7] = [
        // Over TCP where the answer is too large, as dig does it.
        (PORT, &[]),
        (PORT, &["+tcp"]),
        (8853, &["+tls"]),
        (8853, &["+tls", trusting[0], trusting[1]]),
        (8443, &["+https"]),
        (8443, &["+https", "+https-get", trusting[0], trusting[1]]),
        (8853, &["+quic"]),
    ];
    for question in [
        ["db.shop.svc.clusterset.local", "A"],
        ["rooms.chat.svc.clusterset.local", "SRV"],
        ["many.test.svc.clusterset.local", "A"],
        ["db.shop.svc.clusterset.local", "AAAA"],
        ["nope.shop.svc.clusterset.local", "A"],
        ["example.org", "A"],
    ] {
        let expected = us.dig(&question).await?;
        for (port, flags) in transports {
            let args = [flags, &question].concat();
            let reply = kdig((ip, port).into(), &args).await?;
            assert_eq!(reply.status, expected.status, "{args:?}: {}", reply.text);
            assert_eq!(
                reply.answers(question[1]),
                expected.answers(question[1]),
                "{args:?}: {}",
                reply.text
            );
            assert_eq!(
                reply.authority, expected.authority,
                "{args:?}: {}",
                reply.text
            );
        }
    }
    let distrusting = [
        "+tls",
        trusting[0],
        "+tls-hostname=other.example",
        "web.shop.svc.clusterset.local",
    ];
    let refused = kdig((ip, 8853).into(), &distrusting).await?;
    assert_eq!(
        refused.status, "",
        "kdig does check certificates: {}",
        refused.text
    );
    Ok(())
}
