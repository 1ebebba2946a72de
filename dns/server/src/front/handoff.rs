//! Queries that `respond()` leaves to plugins that take their time: zone transfers.

use crate::config::Listener;
use crate::plugins::Request;

/// The messages of the first handler of zone number `zone` that answers. `None`: the core's own reply is due.
pub(crate) async fn messages(
    listener: &Listener,
    zone: usize,
    request: Request<'_>,
) -> Option<Vec<Vec<u8>>> {
    for handler in listener.handlers(zone) {
        if let Some(messages) = handler.handle(request).await {
            return Some(messages);
        }
    }
    None
}
