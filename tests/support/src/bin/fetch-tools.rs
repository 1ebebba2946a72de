//! Fills the cache of binaries ahead of the tests: `cargo run -p subm-test-support --bin fetch-tools [NAME...]`.

use anyhow::Result;
use subm_test_support::Binaries;

fn main() -> Result<()> {
    let asked_for: Vec<String> = std::env::args().skip(1).collect();
    let names = if asked_for.is_empty() {
        Binaries::NAMES.map(String::from).to_vec()
    } else {
        asked_for
    };
    for name in names {
        println!("{name}: {}", Binaries::find(&name)?.display());
    }
    Ok(())
}
