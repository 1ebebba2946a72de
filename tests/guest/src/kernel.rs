//! Where the guest's kernel is.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::Result;
use sha2::{Digest as _, Sha256};
use subm_test_support::cache_dir;

/// What it is built from. The script names them too, and a test compares.
pub(crate) const SERIES: &str = "6.12";
pub(crate) const FRAGMENT: &str = include_str!("../kernel.config");

/// A User-Mode Linux kernel, a program of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel(PathBuf);

/// Why there is none, and what helps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Kernel {
    /// The one that `SUBM_GUEST_KERNEL` names, or else the one in the cache. Nothing is built here.
    pub fn find() -> Result<Self, Missing> {
        if let Some(path) = std::env::var_os("SUBM_GUEST_KERNEL") {
            return Self::at(Path::new(&path));
        }
        let folder = cache_dir("guest").map_err(|error| Missing(format!("{error:#}")))?;
        Self::at(&folder.join(file_name()))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    fn at(path: &Path) -> Result<Self, Missing> {
        if path.exists() {
            return Ok(Self(path.to_owned()));
        }
        let failed = path.with_added_extension("failed");
        let why = match std::fs::read_to_string(failed) {
            Ok(why) => format!("it could not be built: {}", why.trim()),
            Err(_) => "build it with tests/guest/build-kernel.sh".to_owned(),
        };
        Err(Missing(format!(
            "no guest kernel {}: {why}",
            path.display()
        )))
    }
}

/// A kernel of another series or configuration is another file.
fn file_name() -> String {
    let mut hash = String::new();
    for byte in &Sha256::digest(FRAGMENT)[..8] {
        let _ = write!(hash, "{byte:02x}");
    }
    format!("linux-{SERIES}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn script() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("build-kernel.sh")
    }

    #[test]
    fn script_and_harness_mean_the_same_file() {
        let output = Command::new(script()).arg("--name").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), file_name());
    }

    #[test]
    fn what_is_missing_is_said_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linux");
        let said = Kernel::at(&path).unwrap_err().to_string();
        assert!(said.contains("tests/guest/build-kernel.sh"), "{said}");
        std::fs::write(folder.path().join("linux.failed"), "no compiler\n").unwrap();
        let said = Kernel::at(&path).unwrap_err().to_string();
        assert!(
            said.ends_with("it could not be built: no compiler"),
            "{said}"
        );
        std::fs::write(&path, "").unwrap();
        assert_eq!(Kernel::at(&path), Ok(Kernel(path)));
    }
}
