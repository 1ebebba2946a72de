//! Commands that print and exit.

use anyhow::Result;

use crate::common::{Finished, examples, folder_with, run, service, text};

/// A command on the examples.
async fn on_examples(args: &[&str]) -> Result<Finished> {
    let examples = examples();
    run(&[&["--manifests", text(&examples)], args].concat()).await
}

#[tokio::test]
async fn version_and_plugins_are_printed() -> Result<()> {
    for flag in ["--version", "-version", "-subm-version"] {
        let done = run(&[flag]).await?;
        let expected = format!("lighthouse-dns {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((done.code, done.stdout), (0, expected), "{flag}");
    }
    let done = run(&["--plugins"]).await?;
    assert_eq!(done.code, 0);
    for plugin in [
        "dns.lighthouse",
        "dns.kubernetes",
        "dns.health",
        "dns.transfer",
    ] {
        assert!(
            done.stdout.lines().any(|line| line == plugin),
            "{}",
            done.stdout
        );
    }
    assert_eq!(run(&["--no-such-flag"]).await?.code, 2);
    Ok(())
}

#[test]
fn a_full_disk_is_no_success() -> Result<()> {
    for args in [&["--version"][..], &["check", "--manifests", "examples"]] {
        let full = std::fs::File::options().write(true).open("/dev/full")?;
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_lighthouse-dns"))
            .args(args)
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
            .stdout(full)
            .output()?;
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && words.contains("standard output cannot be written"),
            "{args:?} {output:?}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn check_is_content_with_the_examples() -> Result<()> {
    let done = on_examples(&["check"]).await?;
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(
        done.stdout,
        "6 services, 15 endpoint addresses, 3 clusters\n"
    );
    assert_eq!(done.stderr, "");
    Ok(())
}

#[tokio::test]
async fn check_names_file_document_and_field() -> Result<()> {
    let manifests = [
        service("good", "243.0.0.1"),
        service("bad", "243.0.0.300"),
        "kind: ServiceImport\nmetadata: {name: [half\n".to_owned(),
    ];
    let folder = folder_with("shop.yaml", &manifests.join("---\n"))?;
    let done = run(&["check", "--manifests", text(folder.path())]).await?;
    assert_ne!(done.code, 0);
    let field = "shop.yaml document 2: ServiceImport test/bad: spec.ips[0]: \"243.0.0.300\"";
    assert!(done.stdout.contains(field), "{}", done.stdout);
    assert!(
        done.stdout.contains("shop.yaml document 3: line "),
        "{}",
        done.stdout
    );
    // The good part of what is there is counted.
    assert!(done.stdout.contains("2 services"), "{}", done.stdout);
    assert_eq!(done.stderr, "lighthouse-dns: 2 problems\n");
    Ok(())
}

#[tokio::test]
async fn check_reads_a_corefile() -> Result<()> {
    let folder = folder_with(
        "Corefile",
        "clusterset.local:53 {\n    lighthouse\n    helth\n}\n",
    )?;
    let conf = folder.path().join("Corefile");
    let done = on_examples(&["check", "--conf", text(&conf)]).await?;
    assert_ne!(done.code, 0);
    let expected = format!(
        "lighthouse-dns: {}:3: Unknown directive 'helth'; did you mean 'health'?\n",
        conf.display()
    );
    assert_eq!(done.stderr, expected);
    Ok(())
}

#[tokio::test]
async fn dump_prints_zones_in_master_file_form() -> Result<()> {
    let done = on_examples(&["dump", "--name-server", "192.0.2.53", "--ttl", "7"]).await?;
    assert_eq!(done.code, 0, "{}", done.stderr);
    let first = done.stdout.lines().next().unwrap_or_default();
    assert!(
        first.starts_with("clusterset.local. 7 IN SOA ns.dns.clusterset.local. "),
        "{first}"
    );
    for line in [
        "clusterset.local. 7 IN NS ns.dns.clusterset.local.",
        "ns.dns.clusterset.local. 7 IN A 192.0.2.53",
        "dns-version.clusterset.local. 28800 IN TXT \"1.0.0\"",
        "web.shop.svc.clusterset.local. 7 IN AAAA fd00:243::10",
        "db-0.west.db.shop.svc.clusterset.local. 7 IN A 10.2.0.12",
        "_sql._tcp.db.shop.svc.clusterset.local. 7 IN SRV 0 50 5432 db-0.west.db.shop.svc.clusterset.local.",
    ] {
        assert!(
            done.stdout.lines().any(|it| it == line),
            "no {line} in {}",
            done.stdout
        );
    }

    let blocks = ["a.example", "b.example"].map(|zone| format!("{zone} {{\n lighthouse\n}}\n"));
    let folder = folder_with("Corefile", &blocks.concat())?;
    let conf = folder.path().join("Corefile");
    let both = on_examples(&["dump", "--conf", text(&conf)]).await?;
    assert_eq!(both.stdout.matches(" SOA ").count(), 2);
    let one = on_examples(&["dump", "--conf", text(&conf), "--zone", "b.example"]).await?;
    assert_eq!(one.stdout.matches(" SOA ").count(), 1);
    assert!(
        one.stdout.lines().all(|line| line.contains("b.example. ")),
        "{}",
        one.stdout
    );
    let none = on_examples(&["dump", "--conf", text(&conf), "--zone", "c.example"]).await?;
    assert_ne!(none.code, 0);
    assert!(
        none.stderr.contains("a.example., b.example."),
        "{}",
        none.stderr
    );
    Ok(())
}

#[tokio::test]
async fn explain_says_which_rule_chose() -> Result<()> {
    for (args, expected) in [
        (
            &["cart.shop.svc.clusterset.local"][..],
            &[
                "gateway   Gateway submariner-operator/east-gw1",
                "local     east",
                "import    ServiceImport shop/cart: ClusterSetIP, port http 8080/tcp",
                "cluster   south: connected, weight 2",
                "EndpointSlice shop/cart-n642g: service IP: 10.102.192.103",
                "rule      round robin by weight",
                "A 242.2.255.250",
            ][..],
        ),
        (
            &["cart.shop.svc.clusterset.local", "A", "--from", "south"],
            &[
                "local     south",
                "cluster   south (local): connected",
                "rule      the local cluster's service IP",
            ],
        ),
        (
            &["west.cart.shop.svc.clusterset.local", "A"],
            &["rule      a name below the service", "A 10.102.192.103"],
        ),
        (
            &["_sql._tcp.db.shop.svc.clusterset.local", "SRV"],
            &[
                "db-1 10.2.0.13 (not ready)",
                "SRV 0 50 5432 db-0.west.db.shop.svc.clusterset.local.",
            ],
        ),
        (
            &["db.shop.svc.clusterset.local", "AAAA"],
            &["rule      headless", "answer    NODATA"],
        ),
        (
            &["nope.shop.svc.clusterset.local"],
            &[
                "service   shop/nope does not exist: no ServiceImport",
                "answer    NXDOMAIN",
            ],
        ),
        (
            &["example.org"],
            &["zone      none: example.org. is in none of clusterset.local."],
        ),
        (
            &["web.shop"],
            &[
                "zone      none: web.shop. is in none of clusterset.local.",
                "if a Service is meant, its name is web.shop.svc.clusterset.local.",
            ],
        ),
    ] {
        let done = on_examples(&[&["explain"], args].concat()).await?;
        assert_eq!(done.code, 0, "{}", done.stderr);
        for line in expected {
            assert!(
                done.stdout.contains(line),
                "no {line:?} for {args:?} in\n{}",
                done.stdout
            );
        }
    }
    let done = on_examples(&[
        "explain",
        "cart.shop.svc.clusterset.local",
        "A",
        "--from",
        "south",
    ])
    .await?;
    assert!(
        done.stdout.ends_with("A 242.2.255.250\n") && !done.stdout.contains("A 10.102.192.103\n"),
        "{}",
        done.stdout
    );
    for wrong in [
        ["explain", "web.shop.svc.clusterset.local", "NONE"],
        ["explain", "a..b", "A"],
    ] {
        assert_eq!(on_examples(&wrong).await?.code, 1);
    }
    Ok(())
}
