//! What waits, asks and applies.

pub mod agent;
mod facts;
mod filter;
pub mod gateway;
mod network;
mod store;

use tokio::sync::watch;

/// News only: the same again wakes nobody.
fn set<T: PartialEq>(to: &watch::Sender<T>, value: T) {
    to.send_if_modified(|old| {
        let news = *old != value;
        *old = value;
        news
    });
}
