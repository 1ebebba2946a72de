//! Keeps the packet filter as desired.

use std::time::Duration;

use subm_nat::{Nft, Ruleset};
use tokio::sync::watch;

use super::set;

/// Somebody may have removed our table; nothing tells.
const RESYNC: Duration = Duration::from_secs(60);
const RETRY: Duration = Duration::from_secs(2);

/// How far it is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Loaded {
    /// What was tried last.
    pub(super) ruleset: Option<Ruleset>,
    /// Why it is not loaded.
    pub(super) trouble: Option<String>,
}

/// Until nobody desires anything any more. What was loaded stays.
pub(super) async fn keep(
    mut desired: watch::Receiver<Option<Ruleset>>,
    loaded: watch::Sender<Loaded>,
) {
    let nft = Nft::new();
    let mut troubled = false;
    loop {
        let ruleset = desired.borrow_and_update().clone();
        let mut wait = RESYNC;
        if let Some(ruleset) = ruleset {
            let trouble = match nft.reconcile(&ruleset).await {
                Ok(plan) => {
                    if !plan.is_empty() {
                        tracing::info!("packet filter: {plan}");
                    }
                    troubled = false;
                    None
                }
                Err(error) => {
                    if !std::mem::replace(&mut troubled, true) {
                        tracing::warn!(
                            "the packet filter cannot be loaded, and will be tried again: {error}"
                        );
                    }
                    wait = RETRY;
                    Some(format!("the packet filter cannot be loaded: {error}"))
                }
            };
            let ruleset = Some(ruleset);
            set(&loaded, Loaded { ruleset, trouble });
        }
        tokio::select! {
            changed = desired.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(wait) => {}
        }
    }
}
