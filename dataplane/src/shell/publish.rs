//! Writes a status object, one write at a time.

use std::time::Duration;

use kube::Resource;
use kube::core::ApiResource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use subm_api::Kind;
use subm_kube::with_causes;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::server::{Server, is_overtaken};
use crate::status::Stale;

/// A write that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// What came of a write.
#[derive(Debug)]
pub(super) struct Publication<K> {
    /// Our object as it is now, if it was written.
    pub(super) written: Option<K>,
    /// What failed, in words.
    pub(super) troubles: Vec<String>,
}

/// Writes an object, then deletes those that nobody keeps: what cannot be deleted must not keep ours from being fresh.
pub(super) async fn publish<K>(
    server: &Server,
    object: Option<K>,
    stale: Vec<Stale>,
) -> Publication<K>
where
    K: Kind + Resource<DynamicType = ApiResource> + Serialize + DeserializeOwned,
{
    let kind = K::KIND.kind;
    let mut publication = Publication {
        written: None,
        troubles: Vec::new(),
    };
    if let Some(object) = object {
        match server.put(&object).await {
            Ok(written) => publication.written = Some(written),
            // What is new will be read.
            Err(error) if is_overtaken(&error) => {}
            Err(error) => publication.troubles.push(format!(
                "the {kind} object cannot be written: {}",
                with_causes(&error)
            )),
        }
    }
    for stale in stale {
        let name = stale.name.clone();
        match server.remove(&K::KIND, stale).await {
            Ok(true) => tracing::info!("deleted {kind} {name}, which nobody keeps any more"),
            Ok(false) => {}
            Err(error) if is_overtaken(&error) => {}
            Err(error) => publication.troubles.push(format!(
                "{kind} {name}, which nobody keeps any more, cannot be deleted: {}",
                with_causes(&error)
            )),
        }
    }
    publication
}

/// The writes of one object of kind `K`.
pub(super) struct Publisher<K> {
    writing: JoinSet<Publication<K>>,
    not_before: Instant,
    troubled: bool,
}

impl<K: Send + 'static> Publisher<K> {
    pub(super) fn new() -> Self {
        Self {
            writing: JoinSet::new(),
            not_before: Instant::now(),
            troubled: false,
        }
    }

    /// Whether something may be written now.
    pub(super) fn is_free(&self) -> bool {
        self.writing.is_empty() && Instant::now() >= self.not_before
    }

    pub(super) fn begin(&mut self, write: impl Future<Output = Publication<K>> + Send + 'static) {
        self.writing.spawn(write);
    }

    /// Waits for the end of a write: the object, if it was written. `None` if no write is under way.
    pub(super) async fn ended(&mut self) -> Option<Option<K>> {
        let publication = loop {
            match self.writing.join_next().await? {
                Ok(publication) => break publication,
                Err(error) => tracing::error!("a write ended by itself: {error}"),
            }
        };
        let before = std::mem::replace(&mut self.troubled, !publication.troubles.is_empty());
        if self.troubled {
            if !before {
                for trouble in publication.troubles {
                    tracing::warn!("{trouble}");
                }
            }
            self.not_before = Instant::now() + RETRY;
        }
        Some(publication.written)
    }
}

#[cfg(test)]
mod tests;
