//! Any text as a manifest, and what comes of it as a zone: problems are named, nothing panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use subm_dns::sources::read_manifest;
use subm_dns_core::authority::Zone;
use subm_dns_core::catalog::{Catalog, Settings};
use subm_dns_core::name::WireName;
use subm_dns_core::transfer;

fuzz_target!(|text: &str| {
    for name in ["fuzz.yaml", "fuzz.json"] {
        let (facts, _) = read_manifest(name, text);
        let zone = Zone::new(WireName::parse("clusterset.local").unwrap());
        let mut catalog = Catalog::new(Settings { cluster_id: None, longest_zone: zone.origin.wire_len() });
        facts.into_iter().for_each(|fact| catalog.apply(fact));
        let published = catalog.publish(1);
        let mut dump = String::new();
        transfer::dump(&zone, &published.snapshot, &published.status, &mut dump).unwrap();
        assert!(dump.starts_with("clusterset.local. 5 IN SOA"));
    }
});
