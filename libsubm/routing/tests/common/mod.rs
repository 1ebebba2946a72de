//! Network namespaces that a test makes itself. They are gone with their handle, also when the test is killed.

#![allow(dead_code)] // Each test file uses its part.

use std::fs::File;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use subm_routing::{Kernel, Key, Network, Object, Settings};

pub(crate) struct NetNs(File);

impl NetNs {
    /// A new one with its loopback up.
    pub(crate) fn new() -> Self {
        let file = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("network namespaces need root");
            File::open("/proc/thread-self/ns/net").expect("/proc is mounted")
        });
        let made = Self(file);
        made.ip("link set lo up");
        made
    }

    pub(crate) fn handle(&self) -> File {
        self.0.try_clone().expect("a descriptor")
    }

    pub(crate) fn kernel(&self, settings: Settings) -> Kernel {
        Kernel::open_in(self.handle(), settings).expect("a kernel")
    }

    pub(crate) fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        on_thread(|| {
            setns(&self.0, CloneFlags::CLONE_NEWNET).expect("CAP_SYS_ADMIN");
            f()
        })
    }

    /// Runs a program in the namespace.
    pub(crate) fn output(&self, program: &str, arguments: &str) -> Output {
        self.run(|| {
            let arguments = arguments.split_whitespace();
            Command::new(program)
                .args(arguments)
                .output()
                .expect("iproute2 is installed")
        })
    }

    /// Runs `ip`, which must succeed, and gives what it prints.
    pub(crate) fn ip(&self, arguments: &str) -> String {
        let output = self.output("ip", arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "ip {arguments}: {said}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub(crate) fn sysctl(&self, path: &str) -> String {
        self.run(|| {
            std::fs::read_to_string(format!("/proc/sys/net/{path}"))
                .expect("a parameter")
                .trim()
                .to_owned()
        })
    }

    pub(crate) fn set_sysctl(&self, path: &str, value: &str) {
        self.run(|| std::fs::write(format!("/proc/sys/net/{path}"), value).expect("a parameter"));
    }

    /// All that a uninstallation has to leave as it was.
    pub(crate) fn snapshot(&self) -> String {
        let mut all = String::new();
        for arguments in [
            "-d link",
            "-d addr",
            "-4 -d route show table all",
            "-6 -d route show table all",
            "-4 rule",
            "-6 rule",
            "neigh show nud permanent",
        ] {
            all.push_str(&format!("# ip {arguments}\n{}", self.ip(arguments)));
        }
        let fdb = self.output("bridge", "fdb");
        all.push_str(&format!(
            "# bridge fdb\n{}",
            String::from_utf8_lossy(&fdb.stdout)
        ));
        all.push_str(&self.run(|| {
            let mut parameters = Vec::new();
            for folder in ["ipv4", "ipv6"] {
                let folder = format!("/proc/sys/net/{folder}/conf");
                for device in std::fs::read_dir(folder).expect("/proc/sys").flatten() {
                    for parameter in std::fs::read_dir(device.path())
                        .expect("/proc/sys")
                        .flatten()
                    {
                        // Some can be written only.
                        if let Ok(value) = std::fs::read_to_string(parameter.path()) {
                            parameters.push(format!("{}={value}", parameter.path().display()));
                        }
                    }
                }
            }
            parameters.sort();
            parameters.concat()
        }));
        // How long something will still be valid is no state.
        let clocks = |line: &str| !line.trim_start().starts_with("valid_lft");
        all.lines()
            .filter(|line| clocks(line))
            .map(|line| format!("{line}\n"))
            .collect()
    }
}

fn on_thread<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| match scope.spawn(f).join() {
        Ok(value) => value,
        Err(panic) => std::panic::resume_unwind(panic),
    })
}

/// Reconciles until there is nothing to do; everything must be done at once.
pub(crate) async fn install(kernel: &mut Kernel, network: &Network) {
    let report = kernel
        .apply(network)
        .await
        .expect("the kernel can be observed");
    assert!(report.all_done(), "{report}");
    settled(kernel, network).await;
}

/// There is nothing to do.
pub(crate) async fn settled(kernel: &mut Kernel, network: &Network) {
    let before = kernel.traffic().await.expect("open").writes;
    let report = kernel
        .apply(network)
        .await
        .expect("the kernel can be observed");
    let left: Vec<_> = report
        .steps
        .iter()
        .map(|step| {
            (
                step.to_string(),
                step.change.from().map(Object::to_string),
                step.change.to().map(Object::to_string),
            )
        })
        .collect();
    assert!(report.is_empty(), "{left:#?}");
    let after = kernel.traffic().await.expect("open").writes;
    assert_eq!(before, after, "nothing is written when nothing changed");
}

pub(crate) fn changes(report: &subm_reconcile::Report<Key, Object>) -> Vec<String> {
    assert!(report.all_done(), "{report}");
    report
        .steps
        .iter()
        .map(|step| step.change.to_string())
        .collect()
}

/// Tries until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !so() {
        assert!(Instant::now() < deadline, "not within 10 s: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
