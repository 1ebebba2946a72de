//! Outside: starts the guest and hears how its test ended.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use subm_test_support::{NetNs, Process};

use crate::init::EXIT;
use crate::kernel::Kernel;
use crate::{TEST, block_on};

/// From the start of the kernel to its end. A busy machine is slow, and a guest slower.
const LIMIT: Duration = Duration::from_mins(3);
const MEMORY: &str = "384M";

/// Boots a guest that runs the named test of this very program; an error with all that it printed if that fails.
pub(crate) fn run(kernel: &Kernel, test: &str) -> Result<()> {
    let program = std::env::current_exe()?;
    let program = program.to_str().context("a path that is not UTF-8")?;
    let mut command = Command::new(kernel.path());
    command
        .args([&format!("mem={MEMORY}"), "rootfstype=hostfs", "ro", "quiet"])
        .args(["con=null", "con0=null,fd:1", "panic=-1"])
        .arg(format!("init={program}"))
        // What the kernel does not know it hands to the first process.
        .arg(format!("{TEST}={test}"));
    for name in ["RUST_BACKTRACE", "RUST_LOG"] {
        if let Ok(value) = std::env::var(name) {
            command.arg(format!("{name}={value}"));
        }
    }
    // Two guests of one name in one folder would disturb each other.
    let folder;
    let mut guest = if let Ok(netns) = NetNs::new() {
        // With process ids and a /run of its own nothing of the guest is left, whatever happens. That takes root; nothing else
        // does.
        command.args(["umid=guest", "uml_dir=/run/"]);
        Arc::new(netns).spawn("guest", command)
    } else {
        folder = tempfile::Builder::new().prefix("subm-guest-").tempdir()?;
        command.arg("umid=guest");
        command.arg(format!("uml_dir={}/", folder.path().display()));
        Process::spawn(command)
    }?;
    let ended = block_on(guest.wait(LIMIT));
    let output = guest.output()?.replace('\r', "");
    if let Err(error) = ended {
        bail!("{error:#}\n{output}");
    }
    let code = output
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix(EXIT));
    match code.map(str::trim) {
        Some("0") => Ok(()),
        Some(code) => bail!("the test failed in the guest ({code})\n{output}"),
        None => bail!("the guest ended before its test\n{output}"),
    }
}
