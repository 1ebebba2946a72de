//! The folder is watched: what happens to it is told without being asked for.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::Source;
use crate::sources::{Options, read_once, run};

const WEB: &str = "
apiVersion: multicluster.x-k8s.io/v1beta1
kind: ServiceImport
metadata: {name: web, namespace: shop}
spec: {type: Headless}
";
const DEADLINE: Duration = Duration::from_secs(30);

fn start(
    path: &Path,
) -> (
    Receiver<Event>,
    CancellationToken,
    tokio::task::JoinHandle<Result<(), SourceError>>,
) {
    let (events, received) = mpsc::channel(16);
    let (_, want_local_slices) = tokio::sync::watch::channel(false);
    let stop = CancellationToken::new();
    let source = Source::Manifests(path.to_owned());
    let running = tokio::spawn(run(
        source,
        Options { want_local_slices },
        events,
        stop.clone(),
    ));
    (received, stop, running)
}

async fn next(events: &mut Receiver<Event>) -> Event {
    timeout(DEADLINE, events.recv())
        .await
        .expect("an event in time")
        .expect("a running source")
}

#[tokio::test]
async fn changes_are_told_until_the_end() {
    let dir = TempDir::new().expect("a temporary folder");
    fs::write(dir.path().join("web.yaml"), WEB).expect("to write");
    let (mut events, stop, running) = start(dir.path());
    assert!(matches!(next(&mut events).await, Event::Facts(facts) if facts.len() == 2));
    assert_eq!(next(&mut events).await, Event::Synced);
    assert_eq!(next(&mut events).await, health(None));

    fs::write(dir.path().join("db.yaml"), WEB.replace("web", "db")).expect("to write");
    assert!(matches!(next(&mut events).await, Event::Facts(facts) if facts.len() == 1));

    stop.cancel();
    let result = timeout(DEADLINE, running)
        .await
        .expect("an end in time")
        .expect("no panic");
    assert!(result.is_ok());
}

#[tokio::test]
async fn a_folder_that_vanishes_is_said_and_found_again() {
    let dir = TempDir::new().expect("a temporary folder");
    let path = dir.path().join("manifests");
    fs::create_dir(&path).expect("to create");
    fs::write(path.join("web.yaml"), WEB).expect("to write");
    let (mut events, _stop, _running) = start(&path);
    while next(&mut events).await != health(None) {}

    fs::rename(&path, dir.path().join("away")).expect("to rename");
    let event = next(&mut events).await;
    assert!(
        matches!(&event, Event::Health { healthy: false, detail, .. } if detail.contains("the last good state is served")),
        "{event:?}"
    );
    // Another folder of that name, with other content.
    fs::create_dir(dir.path().join("new")).expect("to create");
    fs::write(dir.path().join("new/web.yaml"), WEB.replace("web", "db")).expect("to write");
    fs::rename(dir.path().join("new"), &path).expect("to rename");
    assert!(matches!(next(&mut events).await, Event::Facts(facts) if facts.len() == 2));
    assert_eq!(next(&mut events).await, health(None));
}

#[tokio::test]
async fn a_missing_folder_is_an_error_at_the_start() {
    let dir = TempDir::new().expect("a temporary folder");
    let path = dir.path().join("nowhere");
    let (_events, _stop, running) = start(&path);
    let error = running
        .await
        .expect("no panic")
        .expect_err("there is no such folder");
    assert!(error.to_string().contains("nowhere"), "{error}");
    assert!(read_once(Source::Manifests(path)).await.is_err());
}

#[tokio::test]
async fn the_examples_have_no_problems() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let (facts, problems) = read_once(Source::Manifests(path))
        .await
        .expect("the folder is there");
    assert_eq!(problems, []);
    assert!(facts.len() > 10);
}
