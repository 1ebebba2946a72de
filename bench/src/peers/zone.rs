//! The zone of lighthouse-dns as a zone file.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};
use subm_test_support::Binaries;

use crate::data::ZONE;

/// Takes a zone transfer and writes it as a zone file.
pub fn transfer(from: SocketAddr, to: &Path) -> anyhow::Result<()> {
    let output = Command::new(Binaries::find("kdig")?)
        .args([&format!("@{}", from.ip()), "-p", &from.port().to_string()])
        .args([ZONE, "AXFR", "+time=60"])
        .output()
        .context("cannot run kdig; tests/tools.sh installs it")?;
    let text = String::from_utf8(output.stdout).context("kdig prints no UTF-8")?;
    let zone = zone_file(&text).with_context(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("zone transfer from {from}: {}\n{errors}", output.status)
    })?;
    std::fs::write(to, zone).with_context(|| to.display().to_string())
}

/// The records that kdig printed, without the SOA that ends a transfer.
fn zone_file(transfer: &str) -> anyhow::Result<String> {
    let mut records: Vec<&str> = transfer
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with(';'))
        .collect();
    let last = records.pop();
    ensure!(
        last.is_some() && last == records.first().copied(),
        "it does not end with the SOA that it starts with"
    );
    let mut text = String::new();
    for record in records {
        // Writing to a String does not fail.
        let _ = writeln!(text, "{record}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_the_last_soa_are_left_out() -> anyhow::Result<()> {
        let text = ";; AXFR for z.\nz. 5 SOA x\na.z. 5 A 1.2.3.4\nz. 5 SOA x\n\n;; Received 1 B\n";
        assert_eq!(zone_file(text)?, "z. 5 SOA x\na.z. 5 A 1.2.3.4\n");
        Ok(())
    }

    #[test]
    fn a_transfer_that_breaks_off_is_an_error() {
        for text in [
            "",
            "; Transfer failed.\n",
            "z. 5 SOA x\n",
            "z. 5 SOA x\na.z. 5 A 1.2.3.4\n",
        ] {
            assert!(zone_file(text).is_err(), "{text:?}");
        }
    }
}
