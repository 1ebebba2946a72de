//! The pure part: from a view of this cluster and the broker to what should be written.
//!
//! ```text
//! objects of all kinds, in any order --> World --> plan(one service) --> diff --> writes
//! ```
//!
//! [`plan()`] reads top down what becomes of one service; its parts are [`export`] (our own export, judged), [`exporters`]
//! (those of all clusters), [`merge`] (who wins where they disagree), [`imports`], [`slices`], [`derived`] and [`conditions`].
//! Nothing here waits, sends or reads a clock.

pub mod cluster_set_ip;
pub mod clusters;
pub mod conditions;
pub mod derived;
pub mod diff;
pub mod export;
pub mod exporters;
pub mod global_ips;
pub mod imports;
mod key;
pub mod merge;
pub mod names;
pub mod objects;
mod packed;
mod plan;
pub mod pool;
pub mod settings;
pub mod slices;
pub mod trust;
pub mod valid;
pub mod view;
pub mod world;

pub use clusters::Clusters;
pub use diff::{Action, Write, diff};
pub use key::ServiceKey;
pub use objects::{ObjectId, ObjectKind, Place, Urgency};
pub use plan::{Plan, plan};
pub use pool::Pool;
pub use settings::Settings;
pub use world::{Source, World};
