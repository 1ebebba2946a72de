//! Keeps the kernel's network like a plan: at once, when the kernel tells of a change, and from time to time.

use std::collections::BTreeMap;
use std::sync::Arc;

use subm_reconcile::{Reconciler, Standing, Status, Timing};
use subm_routing::{Error, Hints, Kernel, Key, Network, Object};
use tokio::sync::watch;
use tokio::task::JoinSet;

pub(super) type Objects = BTreeMap<Key, Object>;

/// Desires this network, and gives it as the reconciler will know it: what was desired before, if that is the same.
pub(super) fn desire(
    desired: &watch::Sender<Option<Arc<Objects>>>,
    network: Network,
) -> Arc<Objects> {
    let wanted = Arc::new(network.into_objects());
    let mut now = Arc::clone(&wanted);
    desired.send_if_modified(|desired| match desired {
        // It may have been done already.
        Some(before) if **before == *wanted => {
            now = Arc::clone(before);
            false
        }
        desired => {
            *desired = Some(wanted);
            true
        }
    });
    now
}

/// Whether the kernel was made like that, as far as it could be.
pub(super) fn is_tried(status: &Status<Key, Object>, wanted: &Arc<Objects>) -> bool {
    let ours = status
        .desired
        .as_ref()
        .is_some_and(|desired| Arc::ptr_eq(desired, wanted));
    ours && status.standing != Standing::Waiting
}

/// What does not become as desired, in words.
pub(super) fn trouble(status: &Status<Key, Object>) -> Option<String> {
    match status.standing {
        Standing::Trouble => {
            let report = status.report.as_ref().map(ToString::to_string);
            Some(status.error.clone().or(report).unwrap_or_default())
        }
        _ => None,
    }
}

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
