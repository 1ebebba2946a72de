//! Inside: the first process. It makes the machine's files a root that can be written to, runs the test, and turns the guest
//! off.

use std::fs::create_dir_all;
use std::path::Path;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::unistd::{chdir, chroot};

use crate::TEST;

/// The last line that counts.
pub(crate) const EXIT: &str = "guest: exit ";
/// A folder that every machine has.
const ASIDE: &str = "/mnt";

pub(crate) fn run(test: &str) -> ExitCode {
    let ended = boot().and_then(|()| run_test(test));
    match ended {
        Ok(how) => println!("{EXIT}{how}"),
        Err(error) => println!("{EXIT}{error:#}"),
    }
    // It does not come back from this.
    let error = reboot(RebootMode::RB_POWER_OFF);
    eprintln!("the guest cannot be turned off: {error:?}");
    ExitCode::FAILURE
}

fn boot() -> Result<()> {
    mount_at("tmpfs", ASIDE, "")?;
    let [upper, work, root] = ["upper", "work", "root"].map(|name| format!("{ASIDE}/{name}"));
    for folder in [&upper, &work, &root] {
        create_dir_all(folder)?;
    }
    let layers = format!("lowerdir=/,upperdir={upper},workdir={work}");
    mount_at("overlay", &root, &layers)?;
    chroot(root.as_str())?;
    chdir("/")?;
    for (kind, at) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("devpts", "/dev/pts"),
        ("tmpfs", "/dev/shm"),
        ("tmpfs", "/run"),
    ] {
        create_dir_all(at)?;
        mount_at(kind, at, "")?;
    }
    create_dir_all("/run/tmp")?;
    Ok(())
}

fn mount_at(kind: &str, at: &str, data: &str) -> Result<()> {
    let flags = MsFlags::empty();
    mount(Some(kind), Path::new(at), Some(kind), flags, Some(data))
        .with_context(|| format!("{kind} on {at}"))
}

/// 0, or what went wrong.
fn run_test(test: &str) -> Result<String> {
    let program = std::env::args_os().next().context("no name")?;
    let status = Command::new(program)
        .env(TEST, test)
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("HOME", "/root")
        .env("TMPDIR", "/run/tmp")
        .status()?;
    Ok(match status.code() {
        Some(code) => code.to_string(),
        None => status.to_string(),
    })
}
