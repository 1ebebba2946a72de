//! Making something be as it should be, and keeping it so.
//!
//! *Desired* and *observed* are maps of values by key. What differs between them is a [`Plan`]; applying it gives a
//! [`Report`]. The same few rules then serve kernel networks, packet filters, WireGuard peers and address bindings:
//!
//! * A plan is the difference over the **union** of both sides, so what is no longer desired is found and removed.
//! * What comes goes before what goes: creations and changes by ascending [`Key::rank`], then removals by descending rank
//!   (make before break).
//! * A failed step does not end a plan. What depends on it is skipped, the rest is done, and the report says so.
//! * An empty plan does nothing and says nothing.
//!
//! ```text
//!  desired (watch) ---+                      +-> plan -> apply -> report
//!  hints of drift  ---+-> Schedule: when? -> observe                |
//!  resync timer    ---+      ^                                      |
//!                            +---- converged? failed? retry --------+
//! ```
//!
//! It is not a controller framework: it knows no network, no Kubernetes and no files. What to observe and how to change it
//! says an implementation of [`Target`].
//!
//! Start with [`diff`], then [`Target`] and [`Reconciler`]. [`Schedule`] decides when the loop looks; it is a state machine
//! that takes the time as a parameter.
//!
//! ```
//! use std::collections::BTreeMap;
//! use subm_reconcile::diff;
//!
//! let desired = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
//! let observed = BTreeMap::from([("b".to_owned(), 3), ("c".to_owned(), 4)]);
//! let plan: Vec<_> = diff(&desired, &observed).iter().map(ToString::to_string).collect();
//! assert_eq!(plan, ["create a", "change b", "delete c"]);
//! assert!(diff(&desired, &desired).is_empty());
//! ```
#![forbid(unsafe_code)]

mod plan;
mod reconciler;
mod report;
mod schedule;
mod target;

pub use plan::{Change, Key, Plan, State, diff};
pub use reconciler::{Desired, Hint, Reconciler, Standing, Status};
pub use report::{Outcome, Report, Step};
pub use schedule::{Look, Schedule, Timing};
pub use target::{Target, Unsettled, converge};
