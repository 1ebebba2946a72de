//! The program, run as its users run it, and clusters for it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use subm_subctl::cluster::{Cluster as Api, annotation, kind, name, namespace, str_at};
use subm_test_support::Cluster;
use tempfile::TempDir;

/// For whatever the API server does by itself when the machine has little else to do.
pub(crate) const SOON: Duration = Duration::from_secs(30);

/// Held by a test for as long as it has clusters: all tests' control planes at once are more than two cores can carry.
pub(crate) static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// A folder in which subctl is run, and a kubeconfig with one context per cluster.
pub(crate) struct Desk {
    dir: TempDir,
}

/// What a run of subctl gave.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Desk {
    /// Contexts `kind-NAME`, as kind makes them; the first is the current one.
    pub(crate) fn new(clusters: &[(&str, &Cluster)]) -> Result<Self> {
        let dir = TempDir::new()?;
        let kubeconfig = Cluster::merged_kubeconfig(clusters)?;
        std::fs::write(dir.path().join("kubeconfig"), kubeconfig)?;
        Ok(Self { dir })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs subctl; standard input is closed. The words of `line` are its arguments.
    pub(crate) async fn subctl(&self, line: &str) -> Result<Run> {
        self.run(line, Stdio::piped()).await
    }

    /// As [`Desk::subctl`], with this as standard error.
    pub(crate) async fn run(&self, line: &str, stderr: Stdio) -> Result<Run> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_subctl"));
        command
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .stdin(Stdio::null())
            .stderr(stderr);
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        Ok(Run::from(&output))
    }

    /// As [`Desk::subctl`], interrupted as by Ctrl-C as soon as `begun` says so.
    pub(crate) async fn interrupted<F>(&self, line: &str, begun: impl Fn() -> F) -> Result<Run>
    where
        F: Future<Output = Result<()>>,
    {
        let child = Command::new(env!("CARGO_BIN_EXE_subctl"))
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .env("KUBECONFIG", self.path("kubeconfig"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let id = child.id().to_string();
        let waited = subm_test_support::eventually(SOON, begun).await;
        let kill = Command::new("kill").args(["-INT", &id]).status()?;
        ensure!(kill.success(), "`subctl {line}` has ended already");
        let output = tokio::task::spawn_blocking(move || child.wait_with_output()).await??;
        waited.with_context(|| format!("{output:#?}"))?;
        Ok(Run::from(&output))
    }

    /// As [`Desk::subctl`], and it must succeed.
    pub(crate) async fn good(&self, line: &str) -> Result<Run> {
        let run = self.subctl(line).await?;
        ensure!(run.code == 0, "`subctl {line}`: {run:#?}");
        Ok(run)
    }

    /// As [`Desk::subctl`], and it must fail with `code` and these words on standard error.
    pub(crate) async fn fails(&self, line: &str, code: i32, words: &str) -> Result<Run> {
        let run = self.subctl(line).await?;
        ensure!(
            run.code == code && run.err.contains(words),
            "`subctl {line}`, expected {code} and {words:?}: {run:#?}"
        );
        Ok(run)
    }

    /// As [`Desk::subctl`], and it must end with `code` and have these words in its answer.
    pub(crate) async fn answers(&self, line: &str, code: i32, words: &str) -> Result<Run> {
        let run = self.subctl(line).await?;
        ensure!(
            run.code == code && run.out.contains(words),
            "`subctl {line}`, expected {code} and {words:?}: {run:#?}"
        );
        Ok(run)
    }

    /// As [`Desk::good`], its answer read as JSON.
    pub(crate) async fn json(&self, line: &str) -> Result<Value> {
        let run = self.good(line).await?;
        serde_json::from_str(&run.out).with_context(|| format!("`subctl {line}`: {}", run.out))
    }
}

/// What cannot be written to: a pipe that nobody reads, and a disk that is full.
pub(crate) fn deaf() -> Result<[Stdio; 2]> {
    let (reader, writer) = std::io::pipe()?;
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full")?;
    Ok([writer.into(), full.into()])
}

impl From<&Output> for Run {
    fn from(output: &Output) -> Self {
        Self {
            // A signal is no code.
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// An administrator's way to a cluster.
pub(crate) async fn api(cluster: &Cluster) -> Result<Api> {
    Ok(Api::new(cluster.client().await?))
}

/// Does what kube-controller-manager does with Secrets for tokens of ServiceAccounts, until it is dropped.
pub(crate) struct TokenController(tokio::task::JoinHandle<()>);

impl TokenController {
    pub(crate) async fn start(cluster: &Cluster, broker_namespace: &'static str) -> Result<Self> {
        let api = api(cluster).await?;
        let file: Value = serde_json::from_str(&std::fs::read_to_string(cluster.kubeconfig())?)?;
        let ca = file["clusters"][0]["cluster"]["certificate-authority-data"].clone();
        Ok(Self(tokio::spawn(async move {
            loop {
                // What fails now is tried again.
                let _ = fill(&api, broker_namespace, &ca).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })))
    }
}

impl Drop for TokenController {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn fill(api: &Api, space: &str, ca: &Value) -> Result<()> {
    for mut secret in api.list(&kind::SECRETS, Some(space), "").await? {
        let account = annotation(&secret, "kubernetes.io/service-account.name").to_owned();
        if str_at(&secret, "/type") != "kubernetes.io/service-account-token"
            || !str_at(&secret, "/data/token").is_empty()
        {
            continue;
        }
        let request = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 7200}});
        let answer = api
            .post_to(&kind::ACCOUNTS, space, &account, "token", &request)
            .await?;
        let base64 = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
        secret["data"] = json!({
            "token": base64(str_at(&answer, "/status/token")),
            "namespace": base64(space),
            "ca.crt": ca,
        });
        api.replace(&kind::SECRETS, "", &secret).await?;
    }
    Ok(())
}

/// Everything of a kind, as `namespace/name`.
pub(crate) async fn names(api: &Api, kind: &subm_subctl::cluster::Kind) -> Result<Vec<String>> {
    let objects = api.list(kind, None, "").await?;
    let mut names: Vec<String> = objects
        .iter()
        .map(|object| format!("{}/{}", namespace(object).unwrap_or_default(), name(object)))
        .collect();
    names.sort();
    Ok(names)
}

/// A file's permissions.
pub(crate) fn mode(path: &Path) -> Result<u32> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::metadata(path)?.permissions().mode() & 0o777)
}
