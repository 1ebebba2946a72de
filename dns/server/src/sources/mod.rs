//! Where the server learns what it serves: a folder of manifests, or a Kubernetes API server.
//!
//! ```text
//! manifests.rs   files   --+                                +--> Event::Facts
//!                          +--> convert.rs: object -> fact --+--> Event::Problems, per object
//! kubernetes.rs  watches --+                                +--> Event::Synced once, Event::Health
//! ```
//!
//! Both send what changes only: an object that vanished, even while nobody looked, is sent as a
//! fact without content.

pub mod convert;
mod kubernetes;
mod manifests;

use std::path::PathBuf;
use std::time::Duration;

use subm_dns_core::facts::{Fact, Problem};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::config::Source;

/// What a source tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// What changed.
    Facts(Vec<Fact>),
    /// All that is wrong with an object (or a file) now, in place of what was said of it before.
    Problems {
        object: String,
        problems: Vec<Problem>,
    },
    /// Everything has been read once, but for local slices; never said again.
    Synced,
    /// Local slices have been read once since they are wanted, or cannot be had.
    LocalSlicesRead,
    /// Whether changes of this kind of object reach us. Said when it changes.
    Health {
        kind: &'static str,
        healthy: bool,
        detail: String,
    },
}

/// What a source needs beside its place.
#[derive(Clone, Debug)]
pub struct Options {
    /// Whether Kubernetes' own slices are wanted ([`Fact::LocalSlice`]): they are many, and only
    /// Globalnet needs them. Manifests are read whole anyway.
    pub want_local_slices: watch::Receiver<bool>,
}

/// What waiting does not heal.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("cannot read the manifests in {}; name a folder of YAML or JSON files", path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(transparent)]
    Connect(#[from] subm_kube::ConnectError),
    #[error("the source of objects ended by itself; this is a defect, please report it")]
    Ended,
    #[error("the API server could not be read within {} s: {detail}", .after.as_secs())]
    Timeout { after: Duration, detail: String },
}

/// Reads `source` and follows it until `shutdown`, or until nobody receives events any more.
pub async fn run(
    source: Source,
    options: Options,
    events: mpsc::Sender<Event>,
    shutdown: CancellationToken,
) -> Result<(), SourceError> {
    let receiver = events.clone();
    let work = async {
        match source {
            Source::Manifests(path) => manifests::follow(path, events).await,
            Source::Kubernetes {
                kubeconfig,
                context,
            } => {
                let client = subm_kube::connect(kubeconfig.as_deref(), context.as_deref()).await?;
                // Six watches are a large value.
                Box::pin(kubernetes::follow(client, options, events)).await;
                Ok(())
            }
        }
    };
    tokio::select! {
        result = work => result,
        () = shutdown.cancelled() => Ok(()),
        () = receiver.closed() => Ok(()),
    }
}

/// Facts and problems of one manifest's text, for programs that have it from elsewhere than a folder; a name that ends
/// in `.json` is read as JSON.
pub fn read_manifest(name: &str, text: &str) -> (Vec<Fact>, Vec<Problem>) {
    manifests::read_text(name, text)
}

/// How long [`read_once`] waits for an API server.
const READ_ONCE: Duration = Duration::from_secs(15);

/// Everything that `source` holds now, local slices included, for commands that look and leave.
pub async fn read_once(source: Source) -> Result<(Vec<Fact>, Vec<Problem>), SourceError> {
    if let Source::Manifests(path) = source {
        return manifests::read_once(path).await;
    }
    let (_want, want_local_slices) = watch::channel(true);
    let (events, mut received) = mpsc::channel(64);
    let stop = CancellationToken::new();
    let _stop_on_return = stop.clone().drop_guard();
    let running = tokio::spawn(run(source, Options { want_local_slices }, events, stop));

    let (mut facts, mut problems) = (Vec::new(), Vec::new());
    let mut trouble = std::collections::BTreeMap::new();
    let collect = async {
        while let Some(event) = received.recv().await {
            match event {
                Event::Facts(more) => facts.extend(more),
                Event::Problems { problems: more, .. } => problems.extend(more),
                Event::Health {
                    kind,
                    healthy: false,
                    detail,
                } => {
                    trouble.insert(kind, detail);
                }
                Event::Health { kind, .. } => {
                    trouble.remove(kind);
                }
                Event::LocalSlicesRead => {}
                Event::Synced => return true,
            }
        }
        false
    };
    match tokio::time::timeout(READ_ONCE, collect).await {
        Ok(true) => Ok((facts, problems)),
        // The source ended by itself: its error says why.
        Ok(false) => match running.await {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) | Err(_) => Ok((facts, problems)),
        },
        Err(_) => {
            let detail: Vec<_> = trouble
                .iter()
                .map(|(kind, detail)| format!("{kind}: {detail}"))
                .collect();
            let detail = if detail.is_empty() {
                "no answer".to_owned()
            } else {
                detail.join("; ")
            };
            Err(SourceError::Timeout {
                after: READ_ONCE,
                detail,
            })
        }
    }
}
