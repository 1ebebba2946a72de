//! Where nobody can answer, nobody is asked; where nothing can be reached, it is said soon.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use subm_test_support::random_loopback;

use crate::common::{Desk, deaf};

/// Every command, so that a new one is not forgotten: `help` lists them.
const LINES: [&str; 17] = [
    "deploy-broker",
    "join broker-info.subm",
    "export service web",
    "export service web --wait",
    "unexport service web",
    "show all",
    "show all -o json",
    "explain export web",
    "diagnose all",
    "diagnose firewall inter-cluster --remotecontext a",
    "benchmark throughput",
    "benchmark latency --tocontext a",
    "uninstall",
    "uninstall --yes",
    "recover-broker-info",
    "version",
    "completion bash",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_ends_with_standard_input_closed_and_no_server() -> Result<()> {
    let desk = Desk::new(&[])?;
    // Nobody listens there.
    let server = format!("https://{}:6443", random_loopback());
    let kubeconfig = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "a",
        "clusters": [{"name": "a", "cluster": {"server": server}}],
        "users": [{"name": "a", "user": {"token": "x"}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
    });
    std::fs::write(desk.path("kubeconfig"), kubeconfig.to_string())?;
    std::fs::write(desk.path("broker-info.subm"), example().encode())?;
    for line in LINES {
        let start = Instant::now();
        let run = desk.subctl(line).await?;
        ensure!(
            start.elapsed() < Duration::from_secs(60),
            "{line} took {:?}",
            start.elapsed()
        );
        let local = line == "version" || line.starts_with("completion");
        ensure!(run.code == if local { 0 } else { 3 }, "{line}: {run:#?}");
        ensure!(
            local
                || run.err.ends_with(&format!(
                    "\nsubctl version: v{}\n",
                    env!("CARGO_PKG_VERSION")
                )),
            "{line}: {run:#?}"
        );
    }
    let help = desk.good("help").await?.out;
    for command in help
        .lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
    {
        let name = command.split_whitespace().next().unwrap_or_default();
        ensure!(
            name == "help" || LINES.iter().any(|line| line.starts_with(name)),
            "{name} is not in LINES"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_have_their_codes() -> Result<()> {
    let desk = Desk::new(&[])?;
    desk.fails("frobnicate", 2, "frobnicate").await?;
    desk.fails("show", 2, "Usage").await?;
    desk.fails("diagnose firewall inter-cluster", 2, "--remotecontext")
        .await?;
    desk.fails("--kubeconfig nowhere show all", 3, "nowhere")
        .await?;
    desk.fails("join nowhere.subm", 8, "nowhere.subm cannot be read")
        .await?;
    let run = desk.good("version").await?;
    ensure!(
        run.out == format!("subctl version: v{}\n", env!("CARGO_PKG_VERSION")),
        "{run:#?}"
    );
    // A disk that is full is not a success.
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_subctl"))
        .arg("version")
        .stdout(full)
        .output()?;
    let words = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(8) && words.contains("standard output cannot be written"),
        "{output:?}"
    );
    ensure!(
        desk.good("completion zsh")
            .await?
            .out
            .contains("deploy-broker")
    );
    Ok(())
}

/// Who reads progress may go before the end, and a disk may be full; the command and its code are the same.
#[tokio::test(flavor = "multi_thread")]
async fn progress_that_cannot_be_written_changes_nothing() -> Result<()> {
    let desk = Desk::new(&[])?;
    for line in [
        "version",
        "show all",
        "uninstall --yes",
        "frobnicate",
        "join nowhere.subm",
    ] {
        let want = desk.subctl(line).await?.code;
        for deaf in deaf()? {
            let got = desk.run(line, deaf).await?.code;
            ensure!(got == want, "{line}: {got}, not {want}");
        }
    }
    Ok(())
}

fn example() -> subm_install::BrokerInfo {
    subm_install::BrokerInfo {
        broker_url: "https://192.0.2.1:6443".to_owned(),
        client_token: serde_json::json!({"metadata": {"namespace": "b"}, "data": {"token": "eA=="}}),
        ipsec_psk: serde_json::Value::Null,
        service_discovery: true,
        components: vec!["service-discovery".to_owned()],
        custom_domains: Vec::new(),
        invitation: None,
    }
}
