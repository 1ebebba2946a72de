//! What is logged.

use anyhow::Result;
use serde_json::Value;
use subm_test_support::{Process, Reply, random_loopback};

use crate::common::{
    Lighthouse, PORT, SOON, dig_until, examples, folder_with, lighthouse_dns, run, text,
};

const WEB: &str = "web.shop.svc.clusterset.local";

#[tokio::test(flavor = "multi_thread")]
async fn queries_are_logged_only_when_asked_for() -> Result<()> {
    let mut us = Lighthouse::examples(&[]).await?;
    us.dig(&[WEB]).await?;
    us.process.terminate(SOON).await?;
    assert!(
        !us.process.output()?.contains(WEB),
        "{}",
        us.process.output()?
    );

    let mut us = Lighthouse::examples(&["--query-log"]).await?;
    us.dig(&["+tcp", WEB, "AAAA"]).await?;
    let line = us.process.wait_for_line(WEB, SOON).await?;
    // [INFO] 127.0.0.1:40212 - 4711 "AAAA IN web… tcp 82 false 1232" NOERROR qr,aa,rd 110 0.000020000s
    assert!(
        line.starts_with("[INFO] 127.") && line.contains(&format!("\"AAAA IN {WEB}. tcp ")),
        "{line}"
    );
    assert!(
        line.contains("\" NOERROR qr,aa,rd ") && line.ends_with('s'),
        "{line}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn log_of_a_corefile_picks_classes() -> Result<()> {
    let ip = random_loopback();
    let text =
        format!("clusterset.local {{\n bind {ip}\n lighthouse\n log {{\n  class denial\n }}\n}}\n");
    let folder = folder_with("Corefile", &text)?;
    let conf = folder.path().join("Corefile");
    let mut us = Lighthouse::configured(ip, &conf, &examples(), &[]).await?;
    us.dig(&[WEB]).await?;
    us.dig(&["nope.shop.svc.clusterset.local"]).await?;
    let line = us.process.wait_for_line("nope.shop", SOON).await?;
    assert!(line.contains(" NXDOMAIN "), "{line}");
    assert!(
        !us.process.output()?.contains(WEB),
        "{}",
        us.process.output()?
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn json_logs_are_json() -> Result<()> {
    let folder = folder_with("broken.yaml", "kind: [\n")?;
    let mut us = Lighthouse::serving(folder.path(), &["--log-format", "json"]).await?;
    us.process.signal(libc::SIGHUP)?;
    us.process
        .wait_for_line("configuration reloaded", SOON)
        .await?;
    us.process.terminate(SOON).await?;
    let output = us.process.output()?;
    let mut warned = false;
    for line in output.lines() {
        let entry: Value = serde_json::from_str(line)?;
        assert!(
            entry["timestamp"].is_string() && entry["level"].is_string(),
            "{line}"
        );
        assert!(entry["fields"]["message"].is_string(), "{line}");
        warned |= entry["level"] == "WARN" && line.contains("broken.yaml document 1");
    }
    assert!(warned, "{output}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_says_nothing_while_all_is_well() -> Result<()> {
    let ip = random_loopback();
    let mut command = lighthouse_dns();
    command.args(["--quiet", "--manifests", text(&examples())]);
    command.args(["--listen", &format!("{ip}:{PORT}")]);
    command.args(["--health", "off", "--ready", "off", "--metrics", "off"]);
    let mut process = Process::spawn(command)?;
    let answered = |reply: &Reply| reply.status == "NOERROR";
    dig_until((ip, PORT).into(), &[WEB], answered).await?;
    assert!(process.terminate(SOON).await?.success());
    assert_eq!(process.output()?, "");

    // Why it ends is said all the same.
    let missing = run(&["--quiet", "--manifests", "no-such-folder", "check"]).await?;
    assert!(
        missing.stderr.starts_with("lighthouse-dns: cannot read"),
        "{}",
        missing.stderr
    );
    let filter = run(&["--log-level", "a=b=c", "check"]).await?;
    assert_eq!(filter.code, 1);
    assert!(
        filter
            .stderr
            .starts_with("lighthouse-dns: --log-level a=b=c: "),
        "{}",
        filter.stderr
    );
    Ok(())
}
