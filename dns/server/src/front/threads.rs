//! The threads that connections live on. Each has an event loop of its own: a connection stays on one core, and neither
//! waits for what the rest of the process does nor wakes another thread.

use std::io;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// Running until dropped.
pub(super) struct Threads {
    handles: Vec<Handle>,
    stop: CancellationToken,
}

impl Threads {
    pub(super) fn start(count: usize) -> io::Result<Self> {
        let mut threads = Self {
            handles: Vec::new(),
            stop: CancellationToken::new(),
        };
        for i in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            threads.handles.push(runtime.handle().clone());
            let stop = threads.stop.clone();
            std::thread::Builder::new()
                .name(format!("streams-{i}"))
                .spawn(move || runtime.block_on(stop.cancelled()))?;
        }
        Ok(threads)
    }

    pub(super) fn handles(&self) -> &[Handle] {
        &self.handles
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
