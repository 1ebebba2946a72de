//! Where a container's process runs: its own root folder, host name and process ids, in a pod's network namespace.
//!
//! The root is the machine's, seen anew: every entry of `/` is bound into a fresh tmpfs, read-only, but for `/run` and
//! `/tmp`, which are empty. Mounts of a pod are placed in there; where a folder for one is missing, its parent is taken
//! apart in the same way. Nothing of it is visible outside, and all of it ends with the last process inside.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{chroot, sethostname};

use crate::netns::NetNs;

/// A file or folder of the machine at another place inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) at: PathBuf,
    pub(crate) source: PathBuf,
    pub(crate) read_only: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Sandbox {
    pub(crate) netns: Arc<NetNs>,
    pub(crate) host_name: String,
    pub(crate) mounts: Vec<Mount>,
    /// Whether nothing but mounts can be written to.
    pub(crate) read_only: bool,
    /// Whether the network's kernel parameters can be set. Those of the whole machine cannot.
    pub(crate) sysctls: bool,
    /// An empty folder that becomes the root.
    pub(crate) root: PathBuf,
}

/// A lighter place: the machine's files as they are, but the network, `/sys`, `/run`, host name and process ids of a node.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) netns: Arc<NetNs>,
    pub(crate) host_name: String,
}

/// Where a process is to run.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Sandbox(Sandbox),
    View(View),
}

impl Place {
    /// Has `command` run inside. To be called on the thread that then spawns it and lasts as long.
    pub(crate) fn prepare(&self, command: &mut Command) -> Result<()> {
        match self {
            Self::Sandbox(sandbox) => sandbox.prepare(command),
            Self::View(view) => view.enter(),
        }
    }
}

impl View {
    /// As [`Sandbox::enter`].
    fn enter(&self) -> Result<()> {
        enter(&self.netns, &self.host_name)?;
        bind_flags(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        sysfs(Path::new("/sys"))?;
        // Sockets and locks that programs have under one name on every node.
        tmpfs(Path::new("/run"))
    }
}

/// Moves the calling thread into a network namespace, and into new ones for all that else distinguishes a machine.
fn enter(netns: &NetNs, host_name: &str) -> Result<()> {
    netns.enter()?;
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWPID)
        .context("unshare")?;
    sethostname(host_name).context("sethostname")
}

/// Links followed on the way to one place.
const MAX_LINKS: usize = 40;

impl Sandbox {
    /// Moves the calling thread inside, where it stays. Its children will have process ids of their own, and all end with
    /// the first of them.
    fn enter(&self) -> Result<()> {
        enter(&self.netns, &self.host_name)?;
        let root = Root::build(&self.root)?;
        root.protect_sysctls(self.sysctls)?;
        root.finish(&self.mounts, self.read_only)?;
        chroot(&self.root).context("chroot")?;
        std::env::set_current_dir("/")?;
        Ok(())
    }

    fn prepare(&self, command: &mut Command) -> Result<()> {
        self.enter()?;
        // Its folder outside is not there.
        command.current_dir("/");
        Ok(())
    }
}

/// A root in the making.
struct Root<'a> {
    path: &'a Path,
    /// Folders in which an entry can be made without anybody outside seeing it.
    private: BTreeSet<PathBuf>,
}

impl<'a> Root<'a> {
    fn build(path: &'a Path) -> Result<Self> {
        // Nothing is to travel from here to the machine.
        bind_flags(Path::new("/"), MsFlags::MS_REC | MsFlags::MS_PRIVATE)?;
        tmpfs(path)?;
        // Binding a parent of it must not bind it too.
        bind_flags(path, MsFlags::MS_UNBINDABLE)?;
        let mut root = Self {
            path,
            private: BTreeSet::from([path.to_owned()]),
        };
        for entry in fs::read_dir("/")? {
            let entry = entry?;
            let at = path.join(entry.file_name());
            match entry.file_name().to_str() {
                Some("run" | "tmp" | "sys") => {}
                Some("dev" | "proc") => copy(&entry.path(), &at)?,
                _ => {
                    copy(&entry.path(), &at)?;
                    if !at.is_symlink() {
                        read_only(&at)?;
                    }
                }
            }
        }
        for (name, mode) in [("run", 0o755), ("tmp", 0o1777)] {
            let at = path.join(name);
            make_dir(&at)?;
            fs::set_permissions(&at, fs::Permissions::from_mode(mode))?;
            root.private.insert(at);
        }
        // The machine's shows the links of the machine's network namespace.
        let sys = path.join("sys");
        make_dir(&sys)?;
        sysfs(&sys)?;
        Ok(root)
    }

    /// `/proc/sys/net` is that of whoever looks: of the sandbox's network namespace.
    fn protect_sysctls(&self, but_for_net: bool) -> Result<()> {
        let sys = self.path.join("proc/sys");
        bind(&sys, &sys)?;
        read_only(&sys)?;
        if but_for_net {
            let net = sys.join("net");
            bind(&net, &net)?;
            bind_flags(&net, MsFlags::MS_BIND | MsFlags::MS_REMOUNT)?;
        }
        Ok(())
    }

    fn finish(mut self, mounts: &[Mount], whole_read_only: bool) -> Result<()> {
        // A mount below another comes after it.
        let mut sorted: Vec<&Mount> = mounts.iter().collect();
        sorted.sort_by_key(|mount| mount.at.components().count());
        let mut placed = Vec::new();
        for mount in sorted {
            let at = self
                .place(&mount.at, mount.source.is_dir())
                .and_then(|at| bind(&mount.source, &at).map(|()| at))
                .with_context(|| format!("mount at {}", mount.at.display()))?;
            if at.is_dir() {
                self.private.insert(at.clone());
            }
            placed.push((at, mount.read_only));
        }
        for (at, _) in placed.iter().filter(|(_, is_read_only)| *is_read_only) {
            read_only(at)?;
        }
        if whole_read_only {
            read_only(self.path)?;
        }
        Ok(())
    }

    /// The place of `wanted` below the root, links followed; made if it is not there.
    fn place(&mut self, wanted: &Path, dir: bool) -> Result<PathBuf> {
        let mut todo: Vec<PathBuf> = names(wanted);
        let mut at = self.path.to_owned();
        let mut links = 0;
        while let Some(name) = todo.pop() {
            let next = at.join(&name);
            match fs::symlink_metadata(&next) {
                Ok(meta) if meta.is_symlink() => {
                    links += 1;
                    if links > MAX_LINKS {
                        bail!("{} is a loop of links", wanted.display());
                    }
                    let target = fs::read_link(&next)?;
                    if target.is_absolute() {
                        self.path.clone_into(&mut at);
                    }
                    // Those of the link go first: the end of the list is the front of the path.
                    todo.extend(names(&target));
                }
                Ok(_) if name == OsStr::new("..") => {
                    at.pop();
                    if !at.starts_with(self.path) {
                        self.path.clone_into(&mut at);
                    }
                }
                Ok(_) => at = next,
                Err(_) => {
                    self.make_private(&at)?;
                    if dir || !todo.is_empty() {
                        make_dir(&next)?;
                        self.private.insert(next.clone());
                    } else {
                        File::create(&next)?;
                    }
                    at = next;
                }
            }
        }
        Ok(at)
    }

    /// Takes a folder apart: a fresh tmpfs with every entry bound to where it was.
    fn make_private(&mut self, dir: &Path) -> Result<()> {
        if self.private.contains(dir) {
            return Ok(());
        }
        let aside = self.path.join(".aside");
        make_dir(&aside)?;
        bind(dir, &aside)?;
        tmpfs(dir)?;
        for entry in fs::read_dir(&aside)? {
            let entry = entry?;
            copy(&entry.path(), &dir.join(entry.file_name()))?;
        }
        umount2(&aside, MntFlags::MNT_DETACH)?;
        fs::remove_dir(&aside)?;
        self.private.insert(dir.to_owned());
        Ok(())
    }
}

/// The names of a path, last first.
fn names(path: &Path) -> Vec<PathBuf> {
    path.components()
        .filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir))
        .map(|part| PathBuf::from(part.as_os_str()))
        .rev()
        .collect()
}

/// The entry `from` again at `to`: a link as it is, else a mount.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let meta = fs::symlink_metadata(from)?;
    if meta.is_symlink() {
        symlink(fs::read_link(from)?, to)?;
        return Ok(());
    }
    if meta.is_dir() {
        make_dir(to)?;
    } else {
        File::create(to)?;
    }
    bind(from, to)
}

fn make_dir(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("mkdir {}", path.display()))
}

fn tmpfs(at: &Path) -> Result<()> {
    mount(
        Some("tmpfs"),
        at,
        Some("tmpfs"),
        MsFlags::empty(),
        Some("mode=755"),
    )
    .with_context(|| format!("tmpfs on {}", at.display()))
}

/// Shows the links of the calling thread's network namespace.
fn sysfs(at: &Path) -> Result<()> {
    mount(
        Some("sysfs"),
        at,
        Some("sysfs"),
        MsFlags::empty(),
        None::<&str>,
    )
    .context("mount sysfs")
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(from), to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("bind {} to {}", from.display(), to.display()))
}

fn read_only(at: &Path) -> Result<()> {
    bind_flags(
        at,
        MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY,
    )
}

/// Changes a mount that is there.
fn bind_flags(at: &Path, flags: MsFlags) -> Result<()> {
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("mount flags {flags:?} of {}", at.display()))
}
