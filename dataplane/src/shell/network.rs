//! Keeps the kernel's network like a plan: at once, when the kernel tells of a change, and from time to time.

use std::collections::BTreeMap;
use std::sync::Arc;

use subm_reconcile::{Reconciler, Status, Timing};
use subm_routing::{Error, Hints, Kernel, Key, Object};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) type Objects = BTreeMap<Key, Object>;

/// `hints`: of a kernel's changes; where there are none they are only looked for. Tells how far it is.
pub(super) fn keep(
    tasks: &mut JoinSet<()>,
    name: &'static str,
    kernel: Kernel,
    hints: Result<Hints, Error>,
    desired: watch::Receiver<Option<Arc<Objects>>>,
) -> watch::Receiver<Status<Key, Object>> {
    let reconciler = Reconciler::new(name, kernel, desired, Timing::default());
    let (hint, status) = (reconciler.hint(), reconciler.status());
    tasks.spawn(async move {
        reconciler.run(std::future::pending()).await;
    });
    tasks.spawn(async move {
        let error = match hints {
            Ok(mut hints) => loop {
                match hints.changed().await {
                    Ok(()) => hint.give(),
                    Err(error) => break error,
                }
            },
            Err(error) => error,
        };
        tracing::warn!("changes of the kernel are not heard, only looked for: {error}");
    });
    status
}
