//! The harness itself: what is seen of tests that pass, fail, panic, or cannot run.

use std::process::{Command, ExitCode};

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Completion, Failed, Trial};
use subm_test_guest::Kernel;

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

fn main() -> ExitCode {
    let failed = |error| Failed::from(format!("{error:?}"));
    let tests = vec![
        Trial::test(
            "without_a_kernel_tests_count_as_ignored_and_say_why",
            move || without_a_kernel_tests_count_as_ignored_and_say_why().map_err(failed),
        ),
        Trial::ignorable_test("what_fails_in_the_guest_fails", move || {
            match Kernel::find() {
                Ok(_) => what_fails_in_the_guest_fails()
                    .map(|()| Completion::Completed)
                    .map_err(failed),
                Err(missing) => Ok(Completion::ignored_with(missing)),
            }
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), tests).exit_code()
}
