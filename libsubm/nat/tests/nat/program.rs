//! What is said when the program is not what it should be. Shell scripts stand for it.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use subm_nat::{Error, Nft, Observed, Plan, Ruleset, Set, Version};

/// A folder with a program that does this; it lives as long as the test.
struct Script(PathBuf);

impl Script {
    fn new(name: &str, text: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("subm-nat-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let program = folder.join("nft");
        std::fs::write(&program, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        Self(folder)
    }

    fn nft(&self) -> Nft {
        Nft::new()
            .program(self.0.join("nft"))
            .limit(Duration::from_secs(5))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn some() -> Plan {
    let mut desired = Ruleset::new();
    desired.sets.insert(
        subm_nat::Name::literal("ports"),
        Set::of(subm_nat::KeyType::Port),
    );
    Plan::new(&desired, &Observed::absent()).unwrap()
}

#[tokio::test]
async fn missing() {
    let error = Nft::new()
        .program("/nowhere/nft")
        .check()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "/nowhere/nft cannot be run; is the package nftables installed?"
    );
    assert!(!error.is_retryable() && std::error::Error::source(&error).is_some());
}

#[tokio::test]
async fn too_old() {
    let script = Script::new("old", "echo 'nftables v0.9.3 (Topsy)'");
    let error = script.nft().check().await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::TooOld {
                found: Version(0, 9, 3),
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .ends_with("is version 0.9.3; at least 1.0.6 is needed"),
        "{error}"
    );
    assert!(!error.is_retryable());
}

#[tokio::test]
async fn something_else() {
    let script = Script::new("else", "echo hello");
    assert!(matches!(script.nft().check().await, Err(Error::Shape(_))));
    assert!(matches!(
        script.nft().observe().await,
        Err(Error::Unreadable(_))
    ));
}

#[tokio::test]
async fn refusing() {
    let script = Script::new(
        "refusing",
        "echo 'Operation not permitted (you must be root)' >&2; exit 1",
    );
    let error = script.nft().observe().await.unwrap_err().to_string();
    assert!(
        error.contains("list tables inet failed (exit status: 1): Operation not permitted"),
        "{error}"
    );
    let error = script.nft().apply(&some()).await.unwrap_err();
    assert!(error.to_string().contains("-j -f - failed"), "{error}");
    assert!(error.is_retryable());
}

/// It neither hangs with the program nor leaves it behind.
#[tokio::test]
async fn hanging() {
    let script = Script::new(
        "hanging",
        "echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 600",
    );
    let start = Instant::now();
    let limit = Duration::from_secs(1);
    let error = script.nft().limit(limit).apply(&some()).await.unwrap_err();
    assert!(
        matches!(error, Error::TimedOut { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(5));
    let pid = std::fs::read_to_string(script.0.join("pid")).unwrap();
    let process = format!("/proc/{}/stat", pid.trim());
    let gone = || {
        let stat = std::fs::read_to_string(&process).unwrap_or_default();
        let state = stat.rsplit(") ").next().unwrap_or_default().chars().next();
        std::future::ready(if matches!(state, None | Some('Z' | 'X')) {
            Ok(())
        } else {
            Err(stat)
        })
    };
    subm_test_support::eventually(Duration::from_secs(5), gone)
        .await
        .unwrap();
}

/// A program that reads nothing and ends early is heard, not waited for.
#[tokio::test]
async fn deaf() {
    let script = Script::new("deaf", "exec 0<&-; echo no >&2; exit 3");
    let mut set = Set::of(subm_nat::KeyType::Mark);
    (0..100_000).for_each(|mark| set.insert(subm_nat::Key::Mark(mark)));
    let mut desired = Ruleset::new();
    desired.sets.insert(subm_nat::Name::literal("marks"), set);
    let plan = Plan::new(&desired, &Observed::absent()).unwrap();
    let error = script.nft().apply(&plan).await.unwrap_err();
    assert!(
        matches!(&error, Error::Refused { stderr, .. } if stderr == "no"),
        "{error:?}"
    );
}
