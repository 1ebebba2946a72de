//! Tests of which the outcome is known: what the harness makes of them is a test of its own.

use anyhow::{Result, bail, ensure};

fn passes() -> Result<()> {
    ensure!(std::fs::exists("/proc/self")?);
    Ok(())
}

fn fails() -> Result<()> {
    bail!("this failure is part of the test")
}

fn panics() -> Result<()> {
    panic!("this panic is part of the test")
}

subm_test_guest::tests![passes, fails, panics];
