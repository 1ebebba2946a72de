//! Who may depend on whom, what may come in, where `unsafe` may stand, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/house has two parents")
        .to_owned()
}

fn metadata() -> Metadata {
    // What another platform would add is not shipped.
    let platform = [
        "--filter-platform".to_owned(),
        "x86_64-unknown-linux-gnu".to_owned(),
    ];
    let mut command = MetadataCommand::new();
    command
        .manifest_path(root().join("Cargo.toml"))
        .other_options(platform);
    command.exec().expect("cargo metadata runs here")
}

/// Direct normal dependencies of each workspace crate, by name.
fn dependencies(metadata: &Metadata) -> BTreeMap<String, BTreeSet<String>> {
    let normal = |package: &&cargo_metadata::Package| {
        let names = package
            .dependencies
            .iter()
            .filter(|dep| dep.kind == DependencyKind::Normal);
        (
            package.name.to_string(),
            names.map(|dep| dep.name.clone()).collect(),
        )
    };
    metadata.workspace_packages().iter().map(normal).collect()
}

#[test]
fn crate_walls_stand() {
    let dependencies = dependencies(&metadata());
    // The core of the DNS server is bytes and values.
    let allowed = ["foldhash", "hashbrown", "siphasher"]
        .map(String::from)
        .into();
    assert_eq!(
        dependencies["subm-dns-core"], allowed,
        "subm-dns-core knows no runtime, socket or Kubernetes"
    );
    // Libraries never depend on programs.
    for library in ["subm-api", "subm-kube", "subm-dns-core"] {
        for program in ["subm-dns", "subm-bench"] {
            assert!(
                !dependencies[library].contains(program),
                "{library} depends on the program {program}"
            );
        }
    }
    assert!(
        !dependencies["subm-api"].contains("tokio"),
        "subm-api holds types, nothing that runs"
    );
    assert!(
        !dependencies["subm-api"].contains("subm-kube"),
        "subm-api is below subm-kube"
    );
}

/// Packages that a release binary is made of.
fn shipped(metadata: &Metadata) -> BTreeSet<&PackageId> {
    let resolve = metadata.resolve.as_ref().expect("metadata has a graph");
    let edges: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let programs = metadata.workspace_packages();
    let mut queue: Vec<&PackageId> = programs
        .iter()
        .filter(|package| package.name.as_str() == "subm-dns")
        .map(|package| &package.id)
        .collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = queue.pop() {
        if seen.insert(id) {
            let normal = edges[id].deps.iter().filter(|dep| {
                dep.dep_kinds
                    .iter()
                    .any(|kind| kind.kind != DependencyKind::Development)
            });
            queue.extend(normal.map(|dep| &dep.pkg));
        }
    }
    seen
}

#[test]
fn licences_are_permissive_and_ecosystems_are_ours() {
    const LICENCES: [&str; 12] = [
        "Apache-2.0",
        "MIT",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "ISC",
        "Zlib",
        "Unicode-3.0",
        "OpenSSL",
        "CDLA-Permissive-2.0",
        "CC0-1.0",
        "Unlicense",
        "0BSD",
    ];
    // rustls is the one TLS; serde_yaml is unmaintained.
    const BANNED: [&str; 6] = [
        "openssl-sys",
        "native-tls",
        "async-std",
        "serde_yaml",
        "ring",
        "hickory-server",
    ];
    let metadata = metadata();
    let mut wrong = Vec::new();
    for id in shipped(&metadata) {
        let package = &metadata[id];
        if BANNED.contains(&package.name.as_str()) {
            wrong.push(format!("{} is banned", package.name));
        }
        let licence = package.license.as_deref().unwrap_or("none");
        // Of alternatives one must be allowed; of parts joined by AND each.
        let allowed = |part: &str| {
            let plain = part
                .trim_matches(['(', ')', ' '])
                .split(" WITH ")
                .next()
                .unwrap_or(part);
            LICENCES.contains(&plain)
        };
        let any = |part: &str| {
            part.split(" OR ")
                .flat_map(|part| part.split('/'))
                .any(allowed)
        };
        if !licence.split(" AND ").all(any) {
            wrong.push(format!("{} has the licence {licence}", package.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Source files of ours, relative to the root, with their text.
fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder)
            .expect("a folder of ours")
            .flatten()
        {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut found);
    let relative = |path: &Path| {
        path.strip_prefix(&root)
            .expect("below the root")
            .display()
            .to_string()
    };
    found
        .iter()
        .map(|path| {
            (
                relative(path),
                std::fs::read_to_string(path).expect("readable"),
            )
        })
        .collect()
}

#[test]
fn unsafe_stands_only_around_system_calls() {
    const ALLOWED: [&str; 4] = [
        "dns/server/src/front/udp/batch.rs",
        "dns/core/tests/allocations.rs",
        "tests/support/src/",
        "bench/src/",
    ];
    for (file, text) in sources() {
        let uses = text.lines().any(|line| {
            let code = line.split("//").next().unwrap_or(line);
            code.contains("unsafe {") || code.contains("unsafe fn") || code.contains("unsafe impl")
        });
        let allowed = ALLOWED.iter().any(|place| file.starts_with(place))
            || file == "tests/house/tests/house.rs";
        assert!(!uses || allowed, "{file} has unsafe code");
    }
}

#[test]
fn files_can_be_read_in_one_sitting() {
    let long: Vec<_> = sources()
        .into_iter()
        .map(|(file, text)| (text.lines().count(), file))
        .filter(|(lines, _)| *lines > 700)
        .collect();
    assert!(long.is_empty(), "longer than 700 lines: {long:?}");
}
