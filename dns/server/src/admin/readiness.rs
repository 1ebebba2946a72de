//! Whether the server is fit to be asked, and why not.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Ready once everything has been read, and from then on until the end.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    synced: bool,
    lameduck: bool,
    /// Kinds of objects of which no changes reach us, and what is wrong.
    lost: BTreeMap<&'static str, String>,
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    /// Everything has been read once and is served.
    pub fn set_synced(&self) {
        self.state().synced = true;
    }

    /// Whether changes of a kind of object reach us; a ready server stays so, and says it.
    pub fn set_source(&self, kind: &'static str, healthy: bool, detail: &str) {
        let mut state = self.state();
        if healthy {
            state.lost.remove(kind);
        } else {
            state.lost.insert(kind, detail.to_owned());
        }
    }

    /// From now on `/health` and `/ready` say that this server is about to leave.
    pub fn start_lameduck(&self) {
        self.state().lameduck = true;
    }

    /// The body of `/health`; an error if this server is about to leave.
    pub(super) fn health(&self) -> Result<String, String> {
        if self.state().lameduck {
            Err("shutting down".into())
        } else {
            Ok("OK".into())
        }
    }

    /// The body of `/ready`: `OK` and what is amiss, or the reasons against, one a line.
    pub(super) fn ready(&self) -> Result<String, String> {
        let state = self.state();
        let mut lines = Vec::from([match (state.lameduck, state.synced) {
            (true, _) => "shutting down".to_owned(),
            (false, true) => "OK".to_owned(),
            (false, false) => "the first synchronisation is not complete".to_owned(),
        }]);
        lines.extend(
            state
                .lost
                .iter()
                .map(|(kind, detail)| format!("{kind}: no changes reach us: {detail}")),
        );
        let body = lines.join("\n");
        if state.synced && !state.lameduck {
            Ok(body)
        } else {
            Err(body)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
