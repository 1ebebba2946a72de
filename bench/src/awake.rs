//! A core that never sleeps.
//!
//! To wake a sleeping core takes the machine, or the hypervisor below it, longer than a server takes for a query; it is
//! charged to the server that was waiting, in one round and not in the next. At rates that leave a core idle that is most
//! of what would be measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use anyhow::Context;

use crate::server::pin_thread;
use crate::sys;

/// Keeps a core awake until dropped, with a thread that gives way to everybody.
pub struct Awake(Arc<AtomicBool>);

impl Awake {
    pub fn keep(core: usize) -> anyhow::Result<Self> {
        let awake = Self(Arc::new(AtomicBool::new(true)));
        let wanted = Arc::clone(&awake.0);
        let (ready, outcome) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let priority = sys::be_idle().and_then(|()| Ok(pin_thread(core)?));
            let spin = priority.is_ok();
            // Whoever wants to know waits for it below.
            let _ = ready.send(priority);
            while spin && wanted.load(Relaxed) {
                std::hint::spin_loop();
            }
        });
        outcome
            .recv()?
            .with_context(|| format!("cannot keep core {core} awake"))?;
        Ok(awake)
    }
}

impl Drop for Awake {
    fn drop(&mut self) {
        self.0.store(false, Relaxed);
    }
}
