//! Where the programs come from that tests run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A program that is built from its Go module when the machine has none.
struct Tool {
    name: &'static str,
    /// The folder below `go/` whose `go.mod` pins the version.
    module: &'static str,
    /// The Go package of the program.
    package: &'static str,
    /// The Go module that holds the package; its version is the program's.
    pinned: &'static str,
    /// A variable that takes the version at link time: Kubernetes' programs do not know their own otherwise.
    version_variable: Option<&'static str>,
}

const KUBERNETES_VERSION: Option<&str> = Some("k8s.io/component-base/version.gitVersion");

const TOOLS: [Tool; 5] = [
    Tool {
        name: "etcd",
        module: "etcd",
        package: "go.etcd.io/etcd/server/v3",
        pinned: "go.etcd.io/etcd/server/v3",
        version_variable: None,
    },
    Tool {
        name: "kube-apiserver",
        module: "controlplane",
        package: "k8s.io/kubernetes/cmd/kube-apiserver",
        pinned: "k8s.io/kubernetes",
        version_variable: KUBERNETES_VERSION,
    },
    Tool {
        name: "kube-controller-manager",
        module: "controlplane",
        package: "k8s.io/kubernetes/cmd/kube-controller-manager",
        pinned: "k8s.io/kubernetes",
        version_variable: KUBERNETES_VERSION,
    },
    Tool {
        name: "kube-proxy",
        module: "controlplane",
        package: "k8s.io/kubernetes/cmd/kube-proxy",
        pinned: "k8s.io/kubernetes",
        version_variable: KUBERNETES_VERSION,
    },
    Tool {
        name: "coredns",
        module: "coredns",
        package: "github.com/coredns/coredns",
        pinned: "github.com/coredns/coredns",
        version_variable: None,
    },
];

/// Finds the programs that tests run, and builds those of [`Binaries::NAMES`] once where they are missing.
#[derive(Debug)]
pub struct Binaries;

impl Binaries {
    /// What can be built. Other programs are only looked for.
    pub const NAMES: [&str; 5] = [
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-proxy",
        "coredns",
    ];

    /// The path of a program: from `KUBEBUILDER_ASSETS`, else from `PATH`, else from the cache, which is filled with
    /// `go build` if need be. That takes minutes the first time (kube-apiserver about four); processes that ask at the same
    /// time wait for each other.
    ///
    /// The error names the program and what would help.
    pub fn find(name: &str) -> Result<PathBuf> {
        if let Some(path) = on_this_machine(name) {
            return Ok(path);
        }
        let Some(tool) = TOOLS.iter().find(|tool| tool.name == name) else {
            bail!("{name} is not in PATH; `tests/tools.sh` (as root, on Debian) installs it");
        };
        tool.cached().with_context(|| {
            format!(
                "{name} is not to be had: it is neither in KUBEBUILDER_ASSETS ({}) nor in PATH, and could not be built; put \
                 it there, or make `go build` work in {}",
                std::env::var("KUBEBUILDER_ASSETS").unwrap_or_else(|_| "not set".into()),
                tool.dir().display()
            )
        })
    }
}

/// A program that somebody else installed. `PATH` of a user often lacks the folders of servers.
fn on_this_machine(name: &str) -> Option<PathBuf> {
    let assets = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let servers = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
    assets
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(servers)
        .map(|dir| dir.join(name))
        .find(|path| is_program(path))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Where things of a kind are kept that take long to make: `$SUBM_CACHE/subm/KIND`, by default below `$XDG_CACHE_HOME` or
/// `~/.cache`.
pub fn cache_dir(kind: &str) -> Result<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let base = set("SUBM_CACHE")
        .or_else(|| set("XDG_CACHE_HOME"))
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .context("no folder for the cache: set SUBM_CACHE or HOME")?;
    Ok(base.join("subm").join(kind))
}

impl Tool {
    fn dir(&self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("go")
            .join(self.module)
    }

    /// The version that go.mod pins, with its leading `v`.
    fn version(&self) -> Result<String> {
        let path = self.dir().join("go.mod");
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let found = text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("require") && words.next() == Some(self.pinned))
                .then(|| words.next())
                .flatten()
        });
        Ok(found
            .with_context(|| format!("{} has no `require {}`", path.display(), self.pinned))?
            .to_owned())
    }

    /// The program in the cache, built first if it is not there.
    fn cached(&self) -> Result<PathBuf> {
        let version = self.version()?;
        let cache = cache_dir("bin")?;
        let program = cache.join(format!("{}-{version}", self.name));
        if is_program(&program) {
            return Ok(program);
        }
        fs::create_dir_all(&cache).with_context(|| format!("cache {}", cache.display()))?;
        let lock = cache.join(format!("{}.lock", self.name));
        let lock = File::create(&lock).with_context(|| lock.display().to_string())?;
        lock.lock()?;
        if !is_program(&program) {
            eprintln!(
                "building {} {version}, which is kept in {}",
                self.name,
                cache.display()
            );
            self.build(&version, &program)?;
        }
        Ok(program)
    }

    fn build(&self, version: &str, program: &Path) -> Result<()> {
        let new = program.with_added_extension("new");
        let version = self
            .version_variable
            .map(|variable| format!(" -X {variable}={version}"));
        let flags = format!("-s -w{}", version.unwrap_or_default());
        let output = Command::new("go")
            .current_dir(self.dir())
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly -buildvcs=false")
            .env("GOWORK", "off")
            .args(["build", "-ldflags", &flags, "-o"])
            .arg(&new)
            .arg(self.package)
            .output()
            .context("running `go` (1.25 or later is needed)")?;
        if !output.status.success() {
            bail!(
                "`go build {}`: {}\n{}",
                self.package,
                output.status,
                String::from_utf8_lossy(&output.stderr)
            );
        }
        // In one step: a build that is cut off never looks like a program.
        fs::rename(&new, program).with_context(|| program.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_pinned_version() {
        let names: Vec<&str> = TOOLS.iter().map(|tool| tool.name).collect();
        assert_eq!(names, Binaries::NAMES);
        for tool in &TOOLS {
            let version = tool.version().unwrap();
            assert!(version.starts_with('v'), "{}: {version}", tool.name);
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_with_a_remedy() {
        let error = Binaries::find("no-such-program").unwrap_err().to_string();
        assert!(error.contains("no-such-program"), "{error}");
        assert!(error.contains("tests/tools.sh"), "{error}");
    }
}
