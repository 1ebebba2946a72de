//! A test that never ends: it is to be killed.

use std::time::Duration;

use anyhow::Result;

fn hangs() -> Result<()> {
    loop {
        std::thread::sleep(Duration::from_secs(7777));
    }
}

subm_test_guest::tests![hangs];
