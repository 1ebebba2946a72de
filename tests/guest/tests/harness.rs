//! The harness itself: what is seen of tests that pass, fail, panic, or cannot run.

use std::collections::BTreeSet;
use std::future::ready;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use subm_test_guest::{Kernel, block_on};
use subm_test_support::{Process, eventually};

const SOON: Duration = Duration::from_secs(60);

/// What the probe prints, and whether it succeeds.
fn probe(environment: &[(&str, &str)], args: &[&str]) -> Result<(String, bool)> {
    let output = Command::new(env!("CARGO_BIN_EXE_probe"))
        .args(args)
        .envs(environment.iter().copied())
        .output()?;
    let said =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Ok((said.concat(), output.status.success()))
}

fn without_a_kernel_tests_count_as_ignored_and_say_why() -> Result<()> {
    let (said, success) = probe(&[("SUBM_GUEST_KERNEL", "/nonexistent/linux")], &[])?;
    ensure!(success, "{said}");
    ensure!(said.contains("0 passed; 0 failed; 3 ignored"), "{said}");
    ensure!(
        said.contains("no guest kernel /nonexistent/linux"),
        "{said}"
    );
    ensure!(said.contains("build-kernel.sh"), "{said}");
    Ok(())
}

fn what_fails_in_the_guest_fails() -> Result<()> {
    let (said, success) = probe(&[], &[])?;
    ensure!(!success, "{said}");
    ensure!(said.contains("1 passed; 2 failed; 0 ignored"), "{said}");
    for part in ["this failure is part", "this panic is part", "(101)"] {
        ensure!(said.contains(part), "no {part:?} in\n{said}");
    }
    let (said, success) = probe(&[], &["passes"])?;
    ensure!(success && said.contains("1 passed"), "{said}");
    Ok(())
}

/// Processes that run a program.
fn running(program: &Path) -> BTreeSet<u32> {
    let ids = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|id| std::fs::read_link(format!("/proc/{id}/exe")).is_ok_and(|exe| exe == program))
        .collect()
}

/// Of the guest not even the processes that run its programs are left.
fn a_killed_guest_leaves_nothing() -> Result<()> {
    let kernel = Kernel::find().map_err(|missing| anyhow!("{missing}"))?;
    let kernel = kernel.path().to_owned();
    block_on(async {
        let before = running(&kernel);
        let mut probe = Process::spawn(Command::new(env!("CARGO_BIN_EXE_hangs")))?;
        let guest = eventually(SOON, || {
            let new: BTreeSet<u32> = running(&kernel).difference(&before).copied().collect();
            // The kernel, its helpers, and a process for each program inside: init and the test.
            ready(if new.len() >= 3 {
                Ok(new)
            } else {
                Err(format!("{new:?}"))
            })
        })
        .await?;
        probe.kill();
        eventually(SOON, || {
            let left: Vec<u32> = running(&kernel).intersection(&guest).copied().collect();
            ready(if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            })
        })
        .await
    })
}

/// A test that takes a kernel.
fn with_kernel(name: &str, test: fn() -> Result<()>) -> Trial {
    Trial::ignorable_test(name, move || match Kernel::find() {
        Ok(_) => outcome(test()).map(|()| Completion::Completed),
        Err(missing) => Ok(Completion::ignored_with(missing)),
    })
}

fn outcome(result: Result<()>) -> Result<(), Failed> {
    result.map_err(|error| Failed::from(format!("{error:?}")))
}

fn main() -> ExitCode {
    let tests = vec![
        Trial::test(
            "without_a_kernel_tests_count_as_ignored_and_say_why",
            || outcome(without_a_kernel_tests_count_as_ignored_and_say_why()),
        ),
        with_kernel(
            "what_fails_in_the_guest_fails",
            what_fails_in_the_guest_fails,
        ),
        with_kernel(
            "a_killed_guest_leaves_nothing",
            a_killed_guest_leaves_nothing,
        ),
    ];
    let mut arguments = Arguments::from_args();
    // One looks at all guests that there are.
    arguments.test_threads = Some(1);
    libtest_mimic::run(&arguments, tests).exit_code()
}
