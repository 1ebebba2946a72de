//! The part that waits and sends: watches in, writes out.
//!
//! ```text
//! watches ──▶ Brain (one task, owns the World) ──▶ lanes: one per service and API server, each with its own retries
//!                 ▲                                     │
//!                 └────────── what came of it ──────────┘
//! ```

mod answers;
mod brain;
pub mod environment;
mod health;
mod lanes;
mod metrics;
mod presence;
mod reports;
pub mod run;
mod watches;
mod words;
mod writer;
