//! Facts from a folder of manifests: the view that one cluster's API server would give.
//!
//! `parse.rs` reads one file, `folder.rs` keeps the last good content of each and tells what
//! changed; here are the two clocks that make it look: the system's change notices, and a slow poll
//! for what those miss (network file systems, a folder that was replaced).

mod folder;
mod parse;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use subm_dns_core::facts::{Fact, Problem};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::time::{Instant, sleep, timeout};

use self::folder::Folder;
use super::{Event, SourceError};

const POLL: Duration = Duration::from_secs(2);
/// Editors and kubelet change several files in a row: look when it has been quiet this long,
const QUIET: Duration = Duration::from_millis(100);
/// or after this long at the latest.
const BUSY: Duration = Duration::from_secs(1);

/// Facts and problems of one file's text; a name that ends in `.json` is read as JSON.
pub(super) fn read_text(name: &str, text: &str) -> (Vec<Fact>, Vec<Problem>) {
    let content = parse::parse(Path::new(name), name, text);
    let facts = content.facts.into_iter().map(|said| said.fact).collect();
    (facts, [content.problems, content.broken].concat())
}

/// Everything in the folder now.
pub(super) async fn read_once(path: PathBuf) -> Result<(Vec<Fact>, Vec<Problem>), SourceError> {
    let (_, events) = look(Folder::new(path.clone())).await;
    let (mut facts, mut problems) = (Vec::new(), Vec::new());
    for event in events.map_err(|source| SourceError::Folder { path, source })? {
        match event {
            Event::Facts(more) => facts.extend(more),
            Event::Problems { problems: more, .. } => problems.extend(more),
            Event::Synced | Event::LocalSlicesRead | Event::Health { .. } => {}
        }
    }
    Ok((facts, problems))
}

/// Follows the folder until nobody receives events any more. Fails only if it cannot be read at
/// the start.
pub(super) async fn follow(path: PathBuf, events: Sender<Event>) -> Result<(), SourceError> {
    // Before the first look, so that no change falls in between.
    let mut notices = Notices::of(&path);
    let (mut folder, found) = look(Folder::new(path.clone())).await;
    let mut news = found.map_err(|source| SourceError::Folder {
        path: path.clone(),
        source,
    })?;
    news.push(Event::Synced);
    news.push(health(None));
    let mut healthy = true;
    loop {
        for event in news {
            if events.send(event).await.is_err() {
                return Ok(());
            }
        }
        tokio::select! {
            () = notices.settled() => {}
            () = sleep(POLL) => {}
        }
        let found;
        (folder, found) = look(folder).await;
        news = match found {
            Ok(found) if healthy => found,
            Ok(mut found) => {
                healthy = true;
                // The old ones belong to the folder that vanished.
                notices = Notices::of(&path);
                found.push(health(None));
                found
            }
            Err(error) if healthy => {
                healthy = false;
                let path = path.display();
                vec![health(Some(format!(
                    "cannot read {path}: {error}; the last good state is served"
                )))]
            }
            Err(_) => Vec::new(),
        };
    }
}

fn health(trouble: Option<String>) -> Event {
    let healthy = trouble.is_none();
    Event::Health {
        kind: "manifests",
        healthy,
        detail: trouble.unwrap_or_default(),
    }
}

/// Looks at the folder on a thread that may wait for a disk.
async fn look(mut folder: Folder) -> (Folder, io::Result<Vec<Event>>) {
    let looking = tokio::task::spawn_blocking(move || {
        let found = folder.look();
        (folder, found)
    });
    match looking.await {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Change notices of the system, while it gives them.
struct Notices {
    changes: Receiver<()>,
    _watcher: Option<RecommendedWatcher>,
}

impl Notices {
    fn of(path: &Path) -> Self {
        let (sender, changes) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                // A full channel holds a notice already.
                let _ = sender.try_send(());
            }
        });
        let watcher = watcher.and_then(|mut watcher| {
            watcher.watch(path, RecursiveMode::Recursive)?;
            Ok(watcher)
        });
        if let Err(error) = &watcher {
            tracing::warn!(path = %path.display(), %error, "no change notices; looking every {POLL:?}");
        }
        Self {
            changes,
            _watcher: watcher.ok(),
        }
    }

    /// Returns when there were changes and they have ended for now; never, if there are no notices.
    async fn settled(&mut self) {
        if self.changes.recv().await.is_none() {
            return std::future::pending().await;
        }
        let latest = Instant::now() + BUSY;
        while Instant::now() < latest {
            match timeout(QUIET, self.changes.recv()).await {
                Ok(Some(())) => {}
                Ok(None) | Err(_) => return,
            }
        }
    }
}

/// Our own reading makes notices too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests;
