//! Where commands are typed. What is typed and what comes back is kept: the transcript.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use subm_test_support::Cluster;
use tempfile::TempDir;
use tokio::process::Command;

/// A folder, a kubeconfig with a context for each cluster, and a record.
#[derive(Debug)]
pub struct Desk {
    folder: TempDir,
    programs: PathBuf,
    transcript: Mutex<String>,
    since: Instant,
}

/// What a command gave.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    /// Contexts are called `kind-NAME`, as kind calls them.
    pub fn new(programs: &Path, clusters: &[(&str, &Cluster)]) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("subm-test-desk-")
            .tempdir()?;
        // It has an administrator's credentials.
        let mut kubeconfig = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(folder.path().join("kubeconfig"))?;
        kubeconfig.write_all(Cluster::merged_kubeconfig(clusters)?.as_bytes())?;
        Ok(Self {
            folder,
            programs: programs.to_owned(),
            transcript: Mutex::default(),
            since: Instant::now(),
        })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder with our programs.
    pub fn programs(&self) -> &Path {
        &self.programs
    }

    /// Runs `subctl` with these words, which must succeed.
    pub async fn subctl(&self, words: &str) -> Result<Ran> {
        let ran = self.try_subctl(words).await?;
        ensure!(
            ran.code == 0,
            "subctl {words} ended with {}:\n{}{}",
            ran.code,
            ran.out,
            ran.err
        );
        Ok(ran)
    }

    /// The same; it may fail.
    pub async fn try_subctl(&self, words: &str) -> Result<Ran> {
        let output = Command::new(self.programs.join("subctl"))
            .args(words.split_whitespace())
            .current_dir(self.folder())
            .env("KUBECONFIG", self.folder().join("kubeconfig"))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output()
            .await
            .context("subctl cannot be started")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran {
            code: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        };
        self.note(&format!("$ subctl {words}\n{}{}", ran.err, ran.out));
        Ok(ran)
    }

    /// Adds to the transcript.
    pub fn note(&self, text: &str) {
        let mut transcript = self
            .transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // Writing to a String does not fail.
        let _ = writeln!(transcript, "{}", text.trim_end());
    }

    /// Begins a row of the walk-through. When it did is told beside the transcript, which is the same every time.
    pub fn row(&self, rows: &str, what: &str) {
        eprintln!("{:6.1} s: row {rows}", self.since.elapsed().as_secs_f32());
        self.note(&format!("\n### {rows} {what}\n"));
    }

    pub fn transcript(&self) -> String {
        self.transcript
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
