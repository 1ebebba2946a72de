//! Network namespaces that a test makes itself. They are gone with their handle, also when the test is killed.

#![allow(dead_code)] // Each test file uses its part.

use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsRawFd as _;
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

    /// A path that names it to other programs.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
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
            .collect::<Vec<_>>()
            .join(
                "
",
            )
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

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn net(text: &str) -> ipnet::IpNet {
    text.parse().unwrap()
}

/// A node: an uplink with a default route in both families, a container network's device, and things of others everywhere.
pub(crate) fn node() -> NetNs {
    let node = NetNs::new();
    node.ip("link add eth0 type veth peer name uplink");
    node.ip("link add cni0 type veth peer name pod");
    for device in ["eth0", "uplink", "cni0", "pod"] {
        // Without addresses that come when they like.
        node.ip(&format!("link set {device} addrgenmode none"));
        node.ip(&format!("link set {device} up"));
    }
    node.ip("addr add 172.31.1.11/24 dev eth0");
    node.ip("addr add fd00:31::11/64 dev eth0 nodad");
    node.ip("addr add 10.8.1.1/24 dev cni0");
    node.ip("addr add fd00:8:1::1/64 dev cni0 nodad");
    node.ip("route add default via 172.31.1.254 dev eth0");
    node.ip("route add default via fd00:31::fe dev eth0");
    // Of others: like ours but for the mark.
    node.ip("link add vx-other type vxlan id 7 dstport 4789 nolearning");
    node.ip("link set vx-other addrgenmode none");
    node.ip("addr add 10.200.0.1/24 dev vx-other");
    node.ip("link set vx-other up");
    node.ip("neigh add 10.200.0.9 lladdr 02:00:00:00:00:09 dev vx-other nud permanent");
    node.output(
        "bridge",
        "fdb append 00:00:00:00:00:00 dev vx-other dst 172.31.1.9",
    );
    node.ip("route add 10.77.0.0/16 via 172.31.1.77 dev eth0 proto static");
    node.ip("route add 10.78.0.0/16 via 172.31.1.77 dev eth0 table 100 proto bgp");
    node.ip("route add fd00:77::/48 via fd00:31::77 dev eth0 proto static");
    node.ip("route add unreachable 10.79.0.0/16 table 150");
    node.ip("rule add pref 90 from 10.77.0.0/16 lookup 77");
    node.ip("rule add pref 100 from all lookup 77");
    node.ip("-6 rule add pref 90 from fd00:77::/48 lookup 77");
    node.ip("neigh add 172.31.1.77 lladdr 02:00:00:00:00:77 dev eth0 nud permanent");
    node
}

/// Line by line, so that a difference can be read.
pub(crate) fn similar(before: &str, after: &str) {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let (before, after) = (lines(before), lines(after));
    let lost: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
    let new: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
    assert!(
        lost.is_empty() && new.is_empty(),
        "lost: {lost:#?}\nnew: {new:#?}"
    );
    assert_eq!(before, after);
}
