//! Any text as a Corefile: an error or a configuration, never a panic.
#![no_main]

use std::collections::BTreeMap;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use subm_dns::config::Config;

fuzz_target!(|text: &str| {
    // `import` would read files that happen to be named so.
    if !text.contains("import") {
        let env = BTreeMap::from([("ZONE".to_owned(), "clusterset.local".to_owned())]);
        if let Err(error) = Config::check(Path::new("Corefile"), text, &env) {
            assert!(!error.to_string().is_empty());
        }
    }
});
