//! Network namespaces without names: they end with the last process or descriptor that holds them.

use std::fs::File;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::panic::resume_unwind;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::sched::{CloneFlags, setns, unshare};

use crate::Binaries;

/// A network namespace; gone, with its links, when this and all that runs in it is.
#[derive(Debug)]
pub(crate) struct NetNs(File);

impl NetNs {
    /// A new one with its loopback up.
    pub(crate) fn new() -> Result<Self> {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "test nodes need root (network namespaces, mounts): run the tests as root"
        );
        let fd = on_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET).context("unshare(CLONE_NEWNET)")?;
            Ok(File::open("/proc/thread-self/ns/net")?)
        })
        .context("a network namespace cannot be made; is CAP_SYS_ADMIN withheld?")?;
        let made = Self(fd);
        made.ip("link set lo up")?;
        Ok(made)
    }

    /// Moves the calling thread, for the rest of its life, into this namespace.
    pub(crate) fn enter(&self) -> Result<()> {
        setns(&self.0, CloneFlags::CLONE_NEWNET).context("setns into a network namespace")
    }

    /// Runs `f` in this namespace, on a thread of its own. Sockets that it makes stay in the namespace.
    pub(crate) fn run<T: Send>(&self, f: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        on_thread(|| {
            self.enter()?;
            f()
        })
    }

    /// A path that names this namespace to other processes.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// Runs commands of `ip`, one a line, until one fails.
    pub(crate) fn ip(&self, commands: &str) -> Result<()> {
        let mut command = Command::new(Binaries::find("ip")?);
        command.args(["-batch", "-"]);
        self.feed(command, commands)
            .with_context(|| format!("ip:\n{commands}"))
    }

    /// Runs a short program with `input`; it must succeed.
    fn feed(&self, mut command: Command, input: &str) -> Result<()> {
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
    pub(crate) fn sysctl(&self, settings: &[(&str, &str)]) -> Result<()> {
        self.run(|| {
            for (name, value) in settings {
                std::fs::write(format!("/proc/sys/net/{name}"), value)
                    .with_context(|| format!("sysctl {name}"))?;
            }
            Ok(())
        })
    }

    pub(crate) fn listen(&self, address: SocketAddr) -> Result<TcpListener> {
        self.run(|| {
            TcpListener::bind(address)
                .with_context(|| format!("listening on {address} in a network namespace"))
        })
    }

    pub(crate) fn connect(&self, address: SocketAddr, limit: Duration) -> Result<TcpStream> {
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
