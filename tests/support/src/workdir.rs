//! Folders of fixtures, removed even when the process that made them could not do it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

/// All folders start with it, in the system's folder for temporary files.
const PREFIX: &str = "subm-test-";
/// Logs of failed tests, a folder each.
const FAILED: &str = "subm-failed-tests";
/// How long logs of failed tests are kept.
const KEEP_LOGS: Duration = Duration::from_hours(24);
const LOCK: &str = "lock";

/// A folder that is removed with this value; if the test is panicking, its `*.log` files are kept aside and their place is
/// printed.
///
/// A process that is killed removes nothing. The lock on a file inside says whether the folder's process still lives, and
/// the next process to make a folder removes those of the dead.
#[derive(Debug)]
pub(crate) struct WorkDir {
    path: PathBuf,
    _lock: File,
}

impl WorkDir {
    pub(crate) fn new() -> Result<Self> {
        static SWEEP: Once = Once::new();
        let parent = std::env::temp_dir();
        SWEEP.call_once(|| sweep(&parent));
        let path = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)
            .with_context(|| format!("temporary folder in {}", parent.display()))?
            .keep();
        // Locked under another name first: under its own it is never seen without its lock.
        let unnamed = path.join("lock.new");
        let lock = File::create(&unnamed)?;
        lock.lock()?;
        fs::rename(&unnamed, path.join(LOCK))?;
        Ok(Self { path, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder now. What is left on failure, the next process sweeps.
    pub(crate) fn remove(&self) {
        let _ = fs::remove_dir_all(&self.path);
    }

    fn keep_logs(&self) -> Result<PathBuf> {
        let name = self.path.file_name().context("a folder without a name")?;
        let kept = std::env::temp_dir().join(FAILED).join(name);
        fs::create_dir_all(&kept)?;
        for entry in fs::read_dir(&self.path)? {
            let path = entry?.path();
            if let Some(name) = path.file_name().filter(|_| is_log(&path)) {
                fs::copy(&path, kept.join(name))?;
            }
        }
        Ok(kept)
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        if std::thread::panicking() && self.path.exists() {
            match self.keep_logs() {
                Ok(kept) => eprintln!("the test failed; logs are in {}", kept.display()),
                Err(error) => eprintln!("the test failed; its logs are lost: {error:#}"),
            }
        }
        self.remove();
    }
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// Removes folders whose process is gone, and old logs. Best effort: other processes do the same at the same time.
fn sweep(parent: &Path) {
    for path in entries(parent) {
        let ours = path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if ours && owner_is_gone(&path) {
            let _ = fs::remove_dir_all(&path);
        }
    }
    for path in entries(&parent.join(FAILED)) {
        let age = fs::metadata(&path)
            .and_then(|meta| meta.modified())
            .map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
        if age.is_ok_and(|age| age > KEEP_LOGS) {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
}

/// A folder without a lock file is just being made.
fn owner_is_gone(dir: &Path) -> bool {
    File::open(dir.join(LOCK))
        .is_ok_and(|file| !matches!(file.try_lock(), Err(TryLockError::WouldBlock)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sweep_removes_only_folders_without_a_living_owner() {
        let parent = tempfile::tempdir().unwrap();
        let dir = |name: &str| {
            let path = parent.path().join(name);
            fs::create_dir(&path).unwrap();
            path
        };
        let (dead, alive, new) = (
            dir("subm-test-dead"),
            dir("subm-test-alive"),
            dir("subm-test-new"),
        );
        let foreign = dir("foreign");
        File::create(dead.join(LOCK)).unwrap();
        File::create(foreign.join(LOCK)).unwrap();
        let lock = File::create(alive.join(LOCK)).unwrap();
        lock.lock().unwrap();

        sweep(parent.path());

        assert!(!dead.exists());
        assert!(alive.exists() && new.exists() && foreign.exists());
    }
}
