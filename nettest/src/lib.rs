//! What `subctl benchmark` and `subctl diagnose` run in pods of their own, and what those pods answer.
//!
//! ```text
//!  subctl ── creates ──▶ pod: subm-nettest serve | throughput | latency | sniff | send | look
//!     ▲                                │
//!     └── status.containerStatuses ◀───┘ the answer as JSON in the termination message
//! ```
//!
//! An answer has to fit into 4096 bytes, which is what Kubernetes keeps of a termination message. It needs no right and no log:
//! who may see the pod sees it.
//!
//! What it is not: it judges nothing and knows no Kubernetes. What an answer means is `subctl`'s to say.
//!
//! Start with [`report`], the answers.

#![forbid(unsafe_code)]

pub mod benchmark;
mod gathered;
pub mod look;
pub mod packet;
pub mod probe;
pub mod report;
