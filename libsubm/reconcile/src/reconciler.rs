//! The loop.

use std::sync::Arc;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::report::words;
use crate::{Look, Report, Schedule, State, Target, Timing};

/// Tells a [`Reconciler`] that something may have changed. Any number of hints between two looks are one.
#[derive(Clone, Debug, Default)]
pub struct Hint(Arc<Notify>);

impl Hint {
    pub fn give(&self) {
        self.0.notify_one();
    }
}

/// How things stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Standing {
    /// Nothing is desired yet, or nobody has looked yet.
    #[default]
    Waiting,
    /// All changes were made; a look has yet to see that it is so.
    Applied,
    /// A look found nothing to do.
    Converged,
    /// Something failed, or does not last.
    Trouble,
}

/// What a [`Reconciler`] has to say.
#[derive(Debug)]
#[non_exhaustive]
pub struct Status<K, V> {
    pub standing: Standing,
    /// For what that is said.
    pub desired: Option<Arc<State<K, V>>>,
    /// The last report that was not empty.
    pub report: Option<Arc<Report<K, V>>>,
    /// Why the last look could not be made.
    pub error: Option<String>,
    /// How many looks there were.
    pub looks: u64,
}

impl<K, V> Default for Status<K, V> {
    fn default() -> Self {
        Self {
            standing: Standing::Waiting,
            desired: None,
            report: None,
            error: None,
            looks: 0,
        }
    }
}

impl<K, V> Clone for Status<K, V> {
    fn clone(&self) -> Self {
        Self {
            standing: self.standing,
            desired: self.desired.clone(),
            report: self.report.clone(),
            error: self.error.clone(),
            looks: self.looks,
        }
    }
}

impl<K, V> Status<K, V> {
    /// Whether a look found this very desire fulfilled.
    pub fn converged_to(&self, desired: &Arc<State<K, V>>) -> bool {
        self.standing == Standing::Converged
            && self
                .desired
                .as_ref()
                .is_some_and(|mine| Arc::ptr_eq(mine, desired))
    }
}

/// What a [`Reconciler`] is told to bring about. `None`: it is not known yet.
pub type Desired<T> = Option<Arc<State<<T as Target>::Key, <T as Target>::Value>>>;

/// Keeps a target as it is desired to be.
///
/// While what is desired is `None` it does nothing at all: not to know yet is not to want nothing. To want nothing is an
/// empty map, and removes all that is owned.
///
/// ```no_run
/// # async fn f(target: impl subm_reconcile::Target<Key = String, Value = u8> + 'static) {
/// use std::{collections::BTreeMap, sync::Arc};
/// use subm_reconcile::{Reconciler, Timing};
///
/// let (desired, receiver) = tokio::sync::watch::channel(None);
/// let reconciler = Reconciler::new("peers", target, receiver, Timing::default());
/// let mut status = reconciler.status();
/// let running = tokio::spawn(reconciler.run(std::future::pending()));
/// let wanted = Arc::new(BTreeMap::from([("a".to_owned(), 1)]));
/// desired.send_replace(Some(wanted.clone()));
/// let _ = status.wait_for(|status| status.converged_to(&wanted)).await;
/// # }
/// ```
#[derive(Debug)]
pub struct Reconciler<T: Target> {
    name: &'static str,
    target: T,
    desired: watch::Receiver<Desired<T>>,
    status: watch::Sender<Status<T::Key, T::Value>>,
    hint: Hint,
    schedule: Schedule,
}

impl<T: Target> Reconciler<T> {
    /// `name` is what log lines call the target.
    pub fn new(
        name: &'static str,
        target: T,
        desired: watch::Receiver<Desired<T>>,
        timing: Timing,
    ) -> Self {
        Self {
            name,
            target,
            desired,
            status: watch::Sender::new(Status::default()),
            hint: Hint::default(),
            schedule: Schedule::new(timing),
        }
    }

    /// For those who notice changes.
    pub fn hint(&self) -> Hint {
        self.hint.clone()
    }

    pub fn status(&self) -> watch::Receiver<Status<T::Key, T::Value>> {
        self.status.subscribe()
    }

    /// Until `stop`, or until nobody can desire anything any more. A plan that was begun is finished. What was made stays.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> T {
        tokio::pin!(stop);
        self.desired.mark_changed();
        loop {
            let next = self.schedule.next();
            let due = async {
                match next {
                    Some(next) => tokio::time::sleep_until(next).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = &mut stop => return self.target,
                changed = self.desired.changed() => {
                    if changed.is_err() {
                        return self.target;
                    }
                    if self.desired.borrow_and_update().is_some() {
                        self.schedule.desired(Instant::now());
                    }
                }
                () = due => self.look().await,
                () = self.hint.0.notified() => self.schedule.hint(Instant::now()),
            }
        }
    }

    async fn look(&mut self) {
        let Some(desired) = self.desired.borrow_and_update().clone() else {
            // It was taken back. What is there stays until somebody knows better.
            self.schedule = Schedule::new(self.schedule.timing());
            return;
        };
        let result = self.target.reconcile(&desired).await;
        let look = match &result {
            Ok(report) if report.is_empty() => Look::Nothing,
            Ok(report) if report.all_done() => Look::Done,
            Ok(_) | Err(_) => Look::Trouble,
        };
        self.schedule.looked(Instant::now(), look, rand::random());
        let standing = match look {
            _ if self.schedule.in_trouble() => Standing::Trouble,
            Look::Nothing => Standing::Converged,
            Look::Done | Look::Trouble => Standing::Applied,
        };
        self.log(&result);
        self.status.send_modify(|status| {
            status.standing = standing;
            status.desired = Some(desired);
            status.looks += 1;
            status.error = None;
            match result {
                Ok(report) if report.is_empty() => {}
                Ok(report) => status.report = Some(Arc::new(report)),
                Err(error) => status.error = Some(words(&error)),
            }
        });
    }

    fn log(&self, result: &Result<Report<T::Key, T::Value>, T::Error>) {
        let target = self.name;
        match result {
            Ok(report) if report.is_empty() => {}
            Ok(report) => {
                for step in &report.steps {
                    debug!(target, %step, "change");
                }
                for step in report.troubles() {
                    warn!(target, %step, "a change could not be made; it is tried again");
                }
                info!(
                    target,
                    done = report.done(),
                    of = report.steps.len(),
                    "changed"
                );
            }
            Err(error) => {
                warn!(
                    target,
                    error = words(error),
                    "the state cannot be observed; it is tried again"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests;
