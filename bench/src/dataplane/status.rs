//! What a gateway says of its cable, as somebody hears it who watches.

use std::pin::pin;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use kube::Client;
use kube::runtime::watcher;
use subm_test_support::objects;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::world::HOME;

/// Whether a cluster's active gateway says `connected`, and since when.
pub struct Told {
    said: watch::Receiver<(bool, Instant)>,
    /// Ends with this.
    _watch: JoinSet<()>,
}

impl Told {
    /// Watches from now on.
    pub fn watch(client: &Client) -> Self {
        let mut watching = JoinSet::new();
        let (to, said) = watch::channel((false, Instant::now()));
        let api = objects::api(client, "Gateway", Some(HOME));
        watching.spawn(async move {
            let mut events = pin!(watcher(api, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let connected = match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                        is_connected(&object.data["status"])
                    }
                    Ok(watcher::Event::Delete(_)) => false,
                    Ok(_) => continue,
                    Err(error) => {
                        eprintln!("Gateways are not heard: {error}");
                        continue;
                    }
                };
                to.send_if_modified(|said| {
                    let news = said.0 != connected;
                    if news {
                        *said = (connected, Instant::now());
                    }
                    news
                });
            }
        });
        Self {
            said,
            _watch: watching,
        }
    }

    /// Waits until it says so; when it began to.
    pub async fn until(&mut self, connected: bool, limit: Duration) -> Result<Instant> {
        let said = self.said.wait_for(|(now, _)| *now == connected);
        let said = timeout(limit, said)
            .await
            .with_context(|| format!("a gateway does not say connected: {connected}"))?;
        Ok(said?.1)
    }
}

fn is_connected(status: &serde_json::Value) -> bool {
    let connections = status["connections"].as_array();
    let mut connections = connections.into_iter().flatten();
    connections.any(|connection| connection["status"] == "connected")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_connected_is_connected() {
        let with = |status: &str| json!({"connections": [{"status": status}]});
        assert!(is_connected(&with("connected")));
        assert!(!is_connected(&with("connecting")) && !is_connected(&json!({"connections": null})));
    }
}
