//! What waits, asks and applies.

pub mod agent;
mod facts;
mod filter;
pub mod gateway;
mod network;
mod pages;
mod publish;
mod server;
mod store;

use std::time::{Duration, SystemTime};

use subm_tunnel::health::Monitor;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// News that come together are one plan, made so long after the first of them.
const GATHER: Duration = Duration::from_millis(10);

/// News only: the same again wakes nobody.
fn set<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|old| {
        let news = *old != value;
        *old = value;
        news
    });
}

/// Waits until then; without a time, for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits for a path to become another.
async fn turn(monitor: &mut Option<Monitor>) {
    let heard = match monitor {
        Some(monitor) => monitor.changed().await,
        None => false,
    };
    if !heard {
        std::future::pending::<()>().await;
    }
}

/// Of the environment; one that is empty counts as not set.
fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

/// The time since 1970.
fn epoch() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.unwrap_or_default()
}
