//! Writes a status object, one write at a time.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::server::is_overtaken;

/// A write that failed is tried again after this long.
const RETRY: Duration = Duration::from_secs(1);

/// The writes of one object of kind `K`.
pub(super) struct Publisher<K> {
    what: &'static str,
    writing: JoinSet<kube::Result<Option<K>>>,
    not_before: Instant,
    troubled: bool,
}

impl<K: Send + 'static> Publisher<K> {
    pub(super) fn new(what: &'static str) -> Self {
        Self {
            what,
            writing: JoinSet::new(),
            not_before: Instant::now(),
            troubled: false,
        }
    }

    /// Whether something may be written now.
    pub(super) fn is_free(&self) -> bool {
        self.writing.is_empty() && Instant::now() >= self.not_before
    }

    /// Begins a write, which gives the object as it is then, if there is one.
    pub(super) fn begin(
        &mut self,
        write: impl Future<Output = kube::Result<Option<K>>> + Send + 'static,
    ) {
        self.writing.spawn(write);
    }

    /// Waits for the end of a write: the object, if it was written. `None` if no write is under way.
    pub(super) async fn ended(&mut self) -> Option<Option<K>> {
        let result = loop {
            match self.writing.join_next().await? {
                Ok(result) => break result,
                Err(error) => tracing::error!("a write ended by itself: {error}"),
            }
        };
        match result {
            Ok(written) => {
                self.troubled = false;
                Some(written)
            }
            // What is new will be read.
            Err(error) if is_overtaken(&error) => Some(None),
            Err(error) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    let (what, error) = (self.what, subm_kube::with_causes(&error));
                    tracing::warn!("the {what} object cannot be written: {error}");
                }
                self.not_before = Instant::now() + RETRY;
                Some(None)
            }
        }
    }
}
