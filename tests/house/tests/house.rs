//! Who may depend on whom, what may come in, where `unsafe` may stand, how long a file may be.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("tests/house has two parents")
        .to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .exec()
        .expect("cargo metadata runs here")
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
    let allowed = ["foldhash", "hashbrown", "siphasher", "smallvec"]
        .map(String::from)
        .into();
    assert_eq!(
        dependencies["subm-dns-core"], allowed,
        "subm-dns-core knows no runtime, socket or Kubernetes"
    );
    // Libraries never depend on programs.
    for library in [
        "subm-api",
        "subm-install",
        "subm-kube",
        "subm-reconcile",
        "subm-routing",
        "subm-nat",
        "subm-tunnel",
        "subm-dns-core",
    ] {
        for program in [
            "subm-dns",
            "subm-lighthouse-agent",
            "subm-subctl",
            "subm-bench",
        ] {
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
    for runtime in ["tokio", "kube", "subm-kube"] {
        assert!(
            !dependencies["subm-install"].contains(runtime),
            "subm-install says what to install; somebody else does it"
        );
    }
    assert!(
        !dependencies["subm-api"].contains("subm-kube"),
        "subm-api is below subm-kube"
    );
    // What makes a node's network as desired knows no Kubernetes, and what reconciles no network.
    for library in ["subm-reconcile", "subm-routing", "subm-tunnel"] {
        for kubernetes in ["kube", "k8s-openapi", "subm-api", "subm-kube"] {
            assert!(
                !dependencies[library].contains(kubernetes),
                "{library} knows no Kubernetes"
            );
        }
    }
    for kubernetes in ["kube", "k8s-openapi", "subm-api", "subm-kube"] {
        assert!(
            !dependencies["subm-nettest"].contains(kubernetes),
            "subm-nettest looks and measures; what it means is for subctl to say"
        );
    }
    let allowed = ["rand", "thiserror", "tokio", "tracing"]
        .map(String::from)
        .into();
    assert_eq!(
        dependencies["subm-reconcile"], allowed,
        "subm-reconcile knows no network and no files"
    );
    for foreign in [
        "kube",
        "k8s-openapi",
        "subm-api",
        "subm-kube",
        "subm-routing",
        "rtnetlink",
        "nftables",
    ] {
        assert!(
            !dependencies["subm-nat"].contains(foreign),
            "subm-nat is values and nft: it knows no {foreign}"
        );
    }
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
    // rustls with aws-lc-rs is the one TLS; serde_yaml is unmaintained.
    const BANNED: [&str; 6] = [
        "openssl-sys",
        "native-tls",
        "async-std",
        "serde_yaml",
        "ring",
        "hickory-server",
    ];
    // Used as it is published: nothing of it is changed or copied.
    const EXCEPTIONS: [(&str, &str); 1] = [("gotatun", "MPL-2.0")];
    // What the release binaries are made of; `cargo metadata` would add features of tests.
    let tree = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "-p",
            "subm-dns",
            "-p",
            "subm-subctl",
            "-p",
            "subm-dataplane",
            "-e",
            "normal,build",
            "--prefix",
            "none",
            "--format",
            "{p}|{l}",
        ])
        .current_dir(root())
        .output()
        .expect("cargo tree runs here");
    let tree = String::from_utf8(tree.stdout).expect("cargo prints UTF-8");
    let packages: BTreeSet<(&str, &str)> = tree
        .lines()
        .filter_map(|line| line.trim_end_matches(" (*)").split_once('|'))
        .collect();
    assert!(packages.len() > 50, "cargo tree lists the dependencies");
    let mut wrong = Vec::new();
    for (package, licence) in packages {
        let name = package.split(' ').next().unwrap_or(package);
        if BANNED.contains(&name) {
            wrong.push(format!("{package} is banned"));
        }
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
        if !licence.split(" AND ").all(any) && !EXCEPTIONS.contains(&(name, licence)) {
            wrong.push(format!("{package} has the licence {licence:?}"));
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

/// The agent's core waits for nothing, sends nothing and reads no clock.
#[test]
fn the_agents_core_is_pure() {
    let core = sources()
        .into_iter()
        .filter(|(path, _)| path.contains("lighthouse-agent/src/core/"));
    let mut files = 0;
    for (path, text) in core {
        files += 1;
        for banned in [
            "tokio",
            "kube::Client",
            "kube::Api",
            "std::fs",
            "std::process",
            "std::env",
            "TcpStream",
            "Timestamp::now",
            "Instant",
            "async ",
        ] {
            assert!(!text.contains(banned), "{path} has {banned:?}");
        }
    }
    assert!(files > 10, "only {files} files");
}

#[test]
fn the_data_planes_planners_are_pure() {
    let planners = sources().into_iter().filter(|(path, _)| {
        path.starts_with("dataplane/src/") && !path.contains("/shell/") && !path.contains("/bin/")
    });
    let mut seen = 0;
    for (path, text) in planners {
        seen += 1;
        for word in [
            "tokio",
            "kube::",
            "Instant",
            "SystemTime",
            "std::fs",
            "async ",
        ] {
            assert!(!text.contains(word), "{path}: {word} is for the shell");
        }
    }
    assert!(seen > 3, "the planners are elsewhere now");
}

/// What decides about cables takes the time as a parameter and touches nothing.
#[test]
fn decisions_about_cables_are_pure() {
    let pure = [
        "cable.rs",
        "connection.rs",
        "refusal.rs",
        "vxlan.rs",
        "vxlan/vteps.rs",
        "health/path.rs",
        "health/rtt.rs",
        "wireguard/account.rs",
        "wireguard/liveness.rs",
        "wireguard/peers.rs",
    ]
    .map(|file| format!("libsubm/tunnel/src/{file}"));
    let sources: Vec<_> = sources()
        .into_iter()
        .filter(|(path, _)| pure.contains(path))
        .collect();
    assert_eq!(sources.len(), pure.len());
    for (path, text) in sources {
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        for banned in ["tokio", "UdpSocket", "std::fs", "std::process", "::now()"] {
            assert!(!text.contains(banned), "{path} has {banned:?}");
        }
    }
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
