//! Ctrl-C, and being asked to end: the first one lets a command take back what it began, or say how far it came; a second one does
//! not wait for that.

use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// How many have something to take back, or to say.
static AT_WORK: AtomicUsize = AtomicUsize::new(0);
/// Once there is a handler the kernel's own does nothing any more, so there is one for as long as the process runs.
static SEEN: OnceLock<watch::Receiver<bool>> = OnceLock::new();

/// As shells have it for SIGINT.
const CODE: i32 = 130;

/// While it is there the first signal is for whoever asks with [`Work::interrupted`].
pub(super) struct Work(watch::Receiver<bool>);

impl Work {
    pub(super) fn begin() -> Self {
        AT_WORK.fetch_add(1, Ordering::SeqCst);
        let seen = SEEN.get_or_init(|| {
            let (tell, seen) = watch::channel(false);
            tokio::spawn(handle(tell));
            seen
        });
        Self(seen.clone())
    }

    pub(super) async fn interrupted(&mut self) {
        if self.0.wait_for(|seen| *seen).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        AT_WORK.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn handle(tell: watch::Sender<bool>) {
    let signals = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    );
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return;
    };
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if AT_WORK.load(Ordering::SeqCst) == 0 || tell.send_replace(true) {
            process::exit(CODE);
        }
    }
}
