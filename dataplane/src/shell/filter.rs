//! Keeps the packet filter as desired.

use std::time::Duration;

use subm_nat::{Nft, Ruleset};
use tokio::sync::watch;

/// Somebody may have removed our table; nothing tells.
const RESYNC: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);

/// Until nobody desires anything any more. What was loaded stays.
pub(super) async fn keep(mut desired: watch::Receiver<Option<Ruleset>>) {
    let nft = Nft::new();
    let mut troubled = false;
    loop {
        let ruleset = desired.borrow_and_update().clone();
        let mut wait = RESYNC;
        if let Some(ruleset) = ruleset {
            match nft.reconcile(&ruleset).await {
                Ok(plan) => {
                    if !plan.is_empty() {
                        tracing::info!("packet filter: {plan}");
                    }
                    troubled = false;
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        tracing::warn!(
                            "the packet filter cannot be loaded, and will be tried again: {error}"
                        );
                    }
                    wait = RETRY;
                }
            }
        }
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}
