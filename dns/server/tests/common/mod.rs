//! The program under test, started as its users start it, and what tests ask of it.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary compiles this file and uses a part of it"
)]

pub mod wire;

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
pub use subm_test_support::page as get;
use subm_test_support::{Process, Reply, dig, eventually, random_loopback, samples};
use tempfile::TempDir;

/// For whatever takes the program milliseconds when the machine has nothing else to do.
pub const SOON: Duration = Duration::from_secs(20);
/// A port above 1023, so that tests need no rights; addresses are the tests' own.
pub const PORT: u16 = 5300;

/// A running `lighthouse-dns` with an address of its own: DNS on [`PORT`], health, readiness and metrics on their usual
/// ports.
pub struct Lighthouse {
    pub process: Process,
    pub ip: Ipv4Addr,
}

impl Lighthouse {
    /// Serves the set of three clusters in `examples/`, with further flags.
    pub async fn examples(args: &[&str]) -> Result<Self> {
        Self::serving(&examples(), args).await
    }

    /// Serves a folder of manifests, with further flags, and waits until it is ready.
    pub async fn serving(manifests: &Path, args: &[&str]) -> Result<Self> {
        Self::serving_on(random_loopback(), manifests, args).await
    }

    /// As [`Lighthouse::serving`], on an address that the test knows already.
    pub async fn serving_on(ip: Ipv4Addr, manifests: &Path, args: &[&str]) -> Result<Self> {
        let listen = format!("{ip}:{PORT}");
        let mut command = on_own_address(ip);
        command.arg("--manifests").arg(manifests);
        command.args(["--listen", &listen]).args(args);
        Self::ready(ip, command).await
    }

    /// Serves by a Corefile that binds to `ip` and says where the objects are.
    pub async fn of_corefile(ip: Ipv4Addr, conf: &Path) -> Result<Self> {
        let mut command = on_own_address(ip);
        command.arg("-conf").arg(conf);
        command.args(["-dns.port", &PORT.to_string()]);
        Self::ready(ip, command).await
    }

    /// Serves by a Corefile, which must `bind` to `ip`.
    pub async fn configured(
        ip: Ipv4Addr,
        conf: &Path,
        manifests: &Path,
        args: &[&str],
    ) -> Result<Self> {
        let mut command = on_own_address(ip);
        command.arg("--manifests").arg(manifests);
        let port = PORT.to_string();
        command.arg("-conf").arg(conf);
        command.args(["-dns.port", &port]).args(args);
        Self::ready(ip, command).await
    }

    async fn ready(ip: Ipv4Addr, command: Command) -> Result<Self> {
        let mut process = Process::spawn(command)?;
        process
            .wait_for_line("everything has been read", SOON)
            .await?;
        Ok(Self { process, ip })
    }

    /// Where DNS is served over UDP and TCP.
    pub fn dns(&self) -> SocketAddr {
        (self.ip, PORT).into()
    }

    pub async fn dig(&self, args: &[&str]) -> Result<Reply> {
        dig(self.dns(), args).await
    }

    /// Digs until `good` holds, for a change that takes a moment.
    pub async fn dig_until(&self, args: &[&str], good: impl Fn(&Reply) -> bool) -> Result<Reply> {
        dig_until(self.dns(), args, good).await
    }

    /// Status and body of `/health`, `/ready` or `/metrics`.
    pub async fn page(&self, path: &str) -> Result<(u16, String)> {
        let port = match path {
            "/health" => 8080,
            "/ready" => 8181,
            _ => 9153,
        };
        get((self.ip, port).into(), path).await
    }

    /// The sum of a metric's samples whose labels contain all of `labels`, such as `zone="clusterset.local."`. An error for
    /// one that has no samples at all: its name may be misspelt.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<u64> {
        let (_, text) = self.page("/metrics").await?;
        let mut sum = None;
        for (its, value) in samples(&text, name) {
            let counts = labels.iter().all(|label| its.contains(label));
            let value = if counts { value.parse()? } else { 0 };
            *sum.get_or_insert(0_u64) += value;
        }
        sum.with_context(|| format!("no {name} in {text}"))
    }
}

/// Digs until `good` holds.
pub async fn dig_until(
    server: SocketAddr,
    args: &[&str],
    good: impl Fn(&Reply) -> bool,
) -> Result<Reply> {
    eventually(SOON, || async {
        let reply = dig(server, args).await?;
        ensure!(good(&reply), "{}", reply.text);
        Ok::<_, anyhow::Error>(reply)
    })
    .await
}

/// The binary, without what the environment of whoever runs the tests would change.
pub fn lighthouse_dns() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lighthouse-dns"));
    for variable in ["SUBMARINER_CLUSTERID", "POD_IP", "LOG_LEVEL", "KUBECONFIG"] {
        command.env_remove(variable);
    }
    command
}

fn on_own_address(ip: Ipv4Addr) -> Command {
    let mut command = lighthouse_dns();
    for (flag, port) in [("--health", 8080), ("--ready", 8181), ("--metrics", 9153)] {
        command.arg(flag).arg(format!("{ip}:{port}"));
    }
    command
}

/// What a run of the program to its end gave.
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `lighthouse-dns ARGS` to its end, which must come soon.
pub async fn run(args: &[&str]) -> Result<Finished> {
    let output = tokio::process::Command::from(lighthouse_dns())
        .args(args)
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(SOON, output)
        .await
        .with_context(|| format!("lighthouse-dns {args:?} does not end"))??;
    Ok(Finished {
        code: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The folder that `make run` serves.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// A folder of a test's own with one file in it.
pub fn folder_with(file: &str, text: &str) -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    fs::write(folder.path().join(file), text)?;
    Ok(folder)
}

/// A copy of `examples/` that a test may change.
pub fn copy_of_examples() -> Result<TempDir> {
    let folder = tempfile::tempdir()?;
    for entry in fs::read_dir(examples())? {
        let path = entry?.path();
        if path.extension().is_some_and(|it| it == "yaml") {
            fs::copy(
                &path,
                folder.path().join(path.file_name().unwrap_or_default()),
            )?;
        }
    }
    Ok(folder)
}

/// A file's new content in one step, as kubelet and good editors write it.
pub fn replace(path: &Path, text: &str) -> Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text)?;
    fs::rename(&new, path).with_context(|| path.display().to_string())
}

/// ServiceImport `test/NAME` with an address of the whole cluster set, port `http` 80.
pub fn service(name: &str, address: &str) -> String {
    format!(
        "apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {{name: {name}, namespace: test}}
spec:
  type: ClusterSetIP
  ips: [{address}]
  ports: [{{name: http, port: 80, protocol: TCP}}]
"
    )
}

/// Headless `test/many` with `count` endpoints of cluster `east`: an answer too large for UDP from about 70 on.
pub fn many_endpoints(count: u8) -> String {
    let mut text = String::from(
        "apiVersion: multicluster.x-k8s.io/v1alpha1
kind: ServiceImport
metadata: {name: many, namespace: test}
spec: {type: Headless, ports: []}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: many-1
  namespace: test
  labels:
    endpointslice.kubernetes.io/managed-by: lighthouse-agent.submariner.io
    lighthouse.submariner.io/is-headless: \"true\"
    lighthouse.submariner.io/sourceNamespace: test
    multicluster.kubernetes.io/service-name: many
    multicluster.kubernetes.io/source-cluster: east
addressType: IPv4
ports: [{name: http, port: 80, protocol: TCP}]
endpoints:
",
    );
    for n in 0..count {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "- {{addresses: [10.3.0.{n}], hostname: pod-{n}, conditions: {{ready: true}}}}"
        );
    }
    text
}

/// A certificate for `dns.example`, signed by its own key, as two PEM files in `folder`.
pub fn certificate(folder: &Path) -> Result<(PathBuf, PathBuf)> {
    let made = rcgen::generate_simple_self_signed(["dns.example".to_owned()])?;
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    replace(&key, &made.signing_key.serialize_pem())?;
    replace(&certificate, &made.cert.pem())?;
    Ok((certificate, key))
}

/// A path as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are UTF-8")
}
