//! What can be observed and changed.

use std::collections::BTreeSet;
use std::fmt::Debug;

use crate::{Change, Key, Outcome, Plan, Report, State, Step, diff};

/// Something whose objects can be observed and changed: a kernel's network, a packet filter, the peers of a device.
pub trait Target: Send {
    type Key: Key;
    type Value: Clone + PartialEq + Debug + Send + Sync + 'static;
    type Error: std::error::Error + Send + Sync + 'static;

    /// All objects that it owns, and no others.
    ///
    /// `desired` is for what carries no mark of its owner: there, what is desired tells what to look at. It must not
    /// otherwise influence the answer.
    fn observe(
        &mut self,
        desired: &State<Self::Key, Self::Value>,
    ) -> impl Future<Output = Result<State<Self::Key, Self::Value>, Self::Error>> + Send;

    /// Makes one change. Making it twice does no harm.
    fn apply(
        &mut self,
        change: &Change<Self::Key, Self::Value>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// What differs. Only for a target with an order of its own there is a reason to write this.
    fn plan(
        &self,
        desired: &State<Self::Key, Self::Value>,
        observed: &State<Self::Key, Self::Value>,
    ) -> Plan<Self::Key, Self::Value> {
        diff(desired, observed)
    }

    /// The objects without which `change` is not worth trying. When one of them could not be made in the same plan, the
    /// change is skipped.
    fn needs(&self, change: &Change<Self::Key, Self::Value>) -> Vec<Self::Key> {
        let _ = change;
        Vec::new()
    }

    /// Carries out a plan, step by step. Only a target that makes several changes at once has a reason to write this.
    fn carry_out(
        &mut self,
        plan: Plan<Self::Key, Self::Value>,
    ) -> impl Future<Output = Report<Self::Key, Self::Value>> + Send {
        async move {
            let mut steps = Vec::with_capacity(plan.len());
            let mut missing = BTreeSet::new();
            for change in plan {
                let needs = if missing.is_empty() {
                    Vec::new()
                } else {
                    self.needs(&change)
                };
                let outcome = match needs.into_iter().find(|key| missing.contains(key)) {
                    Some(because) => Outcome::Skipped { because },
                    None => Outcome::of(self.apply(&change).await),
                };
                if !outcome.is_done() && !change.is_delete() {
                    missing.insert(change.key().clone());
                }
                steps.push(Step { change, outcome });
            }
            Report { steps }
        }
    }

    /// Observes, plans and applies, once.
    fn reconcile(
        &mut self,
        desired: &State<Self::Key, Self::Value>,
    ) -> impl Future<Output = Result<Report<Self::Key, Self::Value>, Self::Error>> + Send {
        async move {
            let observed = self.observe(desired).await?;
            let plan = self.plan(desired, &observed);
            if plan.is_empty() {
                return Ok(Report::default());
            }
            Ok(self.carry_out(plan).await)
        }
    }
}

/// After several rounds there was still work to do.
#[derive(Debug, thiserror::Error)]
#[error("not as desired after {rounds} rounds; the last one: {last}")]
#[non_exhaustive]
pub struct Unsettled {
    pub rounds: u32,
    /// The words of the last report or error.
    pub last: String,
}

/// Reconciles until a look finds nothing to do: for installing and removing by a program that then ends.
///
/// Between rounds that had trouble it waits for 100 ms, and twice as long each time.
pub async fn converge<T: Target>(
    target: &mut T,
    desired: &State<T::Key, T::Value>,
    rounds: u32,
) -> Result<(), Unsettled> {
    let mut last = String::from("none");
    let mut pause = std::time::Duration::from_millis(100);
    for round in 0..rounds {
        let trouble = match target.reconcile(desired).await {
            Ok(report) if report.is_empty() => return Ok(()),
            Ok(report) => {
                last = report.to_string();
                !report.all_done()
            }
            Err(error) => {
                last = crate::report::words(&error);
                true
            }
        };
        if trouble && round + 1 < rounds {
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
    Err(Unsettled { rounds, last })
}
