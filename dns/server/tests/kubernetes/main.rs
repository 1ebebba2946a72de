//! lighthouse-dns end to end: the program itself, real API servers, and clients that ask.
//!
//! ```text
//! objects.rs --> API server --> (a proxy) --> lighthouse-dns <-- dig, asker.rs
//!                                             server.rs
//! ```
//!
//! | file | what happens there |
//! |---|---|
//! | `answers.rs` | imports, slices and properties change |
//! | `outages.rs` | the API server, or the way to it, goes and comes back |
//! | `rights.rs` | the service account may not read |
//! | `definitions.rs` | CRDs come late, and their versions come and go |
//! | `scale.rs` | ten thousand services |

mod answers;
mod asker;
mod definitions;
mod objects;
mod outages;
mod rights;
mod scale;
mod server;

use std::time::Duration;

/// For what takes a moment on a quiet machine; a busy one is slower by far.
const SOON: Duration = Duration::from_secs(40);
