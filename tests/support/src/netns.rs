//! Network namespaces without names: they end with the last process or descriptor that holds them.
//!
//! A test that is killed leaves none: its descriptors go with it, and what it started inside is killed by the kernel.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::panic::resume_unwind;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::sandbox::View;
use crate::{Binaries, Process};

/// A network namespace; gone, with its links, when this and all that runs in it is.
///
/// It needs root.
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use subm_test_support::NetNs;
/// let node = NetNs::new()?;
/// node.ip("link add cni0 type bridge\naddr add 10.1.0.1/24 dev cni0\nlink set cni0 up")?;
/// node.nft("table inet mine { chain forward { type filter hook forward priority 0; }; }")?;
/// assert!(node.output("ip", &["route"])?.contains("10.1.0.0/24 dev cni0"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct NetNs(File);

impl NetNs {
    /// A new one with its loopback up.
    pub fn new() -> Result<Self> {
        let made = Self::bare()?;
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// A new one as the kernel makes it: for who runs `ip` anyway.
    pub(crate) fn bare() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "network namespaces need root: run the tests as root"
        );
        let fd = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET)")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })
        .context("a network namespace cannot be made; is CAP_SYS_ADMIN withheld?")?;
        Ok(Self(fd))
    }

    /// Moves the calling thread, for the rest of its life, into this namespace.
    pub fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("setns into a network namespace")
    }

    /// Runs `f` in this namespace, on a thread of its own. Sockets that it makes stay in the namespace.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            self.enter()?;
            f()
        })
    }

    /// A path that names this namespace to other processes.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs commands of `ip`, one a line, until one fails.
    pub fn ip(&self, commands: &str) -> Result<()> {
        let mut command = Command::new(Binaries::find("ip")?);
        command.args(["-batch", "-"]);
        self.feed(command, commands)
            .with_context(|| format!("ip:\n{commands}"))
    }

    /// Runs a script of `nft`, all or nothing.
    pub fn nft(&self, script: &str) -> Result<()> {
        let mut command = Command::new(Binaries::find("nft")?);
        command.args(["-f", "-"]);
        self.feed(command, script)
            .with_context(|| format!("nft:\n{script}"))
    }

    /// Runs a short program of this machine to its end and gives what it printed; it must succeed.
    pub fn output(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self.try_output(program, args)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{program} {args:?}: {}: {}", output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// As [`NetNs::output`], for a program that may fail.
    pub fn try_output(&self, program: &str, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(Binaries::find(program)?);
        command.args(args).stdin(Stdio::null());
        self.run(|| Ok(command.output()?))
            .with_context(|| format!("{program} {args:?}"))
    }

    /// Starts a program inside: with `/sys` of this namespace, an empty `/run` of its own, and the host name `host_name`. It
    /// and all that it starts end with the returned value, and with this process.
    ///
    /// As the first process of a container, it ignores SIGTERM unless it handles it.
    pub fn spawn(self: &Arc<Self>, host_name: &str, command: Command) -> Result<Process> {
        Process::spawn_viewing(
            View {
                netns: Arc::clone(self),
                host_name: host_name.to_owned(),
            },
            command,
        )
    }

    /// Runs a short program with `input`; it must succeed.
    pub(crate) fn feed(&self, mut command: Command, input: &str) -> Result<()> {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let output = self.run(|| {
            let mut child = command.spawn()?;
            // A program that ends early says why on standard error.
            let _ = child
                .stdin
                .take()
                .context("no pipe")?
                .write_all(input.as_bytes());
            Ok(child.wait_with_output()?)
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{}: {}", output.status, said.trim());
        }
        Ok(())
    }

    /// Sets kernel parameters below `/proc/sys/net`, such as `("ipv4/ip_forward", "1")`.
    pub fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in settings {
                std::fs::write(format!("/proc/sys/net/{name}"), value)
                    .with_context(|| format!("sysctl {name}"))?;
            }
            Ok(())
        })
    }

    /// A TCP listener inside, for use outside.
    pub fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        self.run(|| {
            TcpListener::bind(address)
                .with_context(|| format!("listening on {address} in a network namespace"))
        })
    }

    /// A TCP connection from inside, for use outside.
    pub fn connect(&self, address: SocketAddr, limit: Duration) -> Result<TcpStream> {
        self.run(|| Ok(TcpStream::connect_timeout(&address, limit)?))
    }
}

/// The caller's thread stays where it is.
fn on_thread<T: Send>(f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        scope
            .spawn(f)
            .join()
            .unwrap_or_else(|panic| resume_unwind(panic))
    })
}
