//! Whether the server can answer, and what it waits for.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};

/// Ready from the first full read on, for good: a lost source changes no answer, so taking the server out of service
/// would only make things worse. Lameduck ends it.
#[derive(Debug, Default)]
pub struct Readiness {
    synced: AtomicBool,
    lameduck: AtomicBool,
    /// Why changes of a kind of object do not reach us, or what else there is to say of it.
    sources: Mutex<BTreeMap<&'static str, (bool, String)>>,
}

impl Readiness {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn set_synced(&self) {
        self.synced.store(true, Relaxed);
    }

    pub fn set_source(&self, kind: &'static str, healthy: bool, detail: &str) {
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert(kind, (healthy, detail.to_owned()));
    }

    pub fn start_lameduck(&self) {
        self.lameduck.store(true, Relaxed);
    }

    pub fn is_lameduck(&self) -> bool {
        self.lameduck.load(Relaxed)
    }

    /// Ready or not, and why not, a line each; when ready, what is amiss all the same.
    pub fn report(&self) -> (bool, String) {
        let synced = self.synced.load(Relaxed);
        let ready = synced && !self.is_lameduck();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = match (ready, synced) {
            (true, _) => write!(text, "OK"),
            (false, true) => writeln!(text, "stopping"),
            (false, false) => writeln!(text, "not everything has been read yet"),
        };
        let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for (kind, (_, detail)) in sources.iter().filter(|(_, (healthy, _))| !healthy) {
            let lead = if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "\n"
            };
            let serving = if synced {
                "; serving what is known"
            } else {
                ""
            };
            let _ = write!(text, "{lead}{kind}: {detail}{serving}\n");
        }
        (ready, text)
    }
}
