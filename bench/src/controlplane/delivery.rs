//! When a plain watch hears of changes: no server that follows the API server can know of them sooner.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use futures::{StreamExt as _, TryStreamExt as _};
use http::Request;
use kube::Client;
use kube::core::WatchEvent;
use serde_json::Value;
use tokio::task::JoinSet;

type Heard = Arc<Mutex<HashMap<Ipv4Addr, Instant>>>;

/// Watches of all that changes.
#[derive(Debug, Default)]
pub struct Delivery {
    /// When each new address was heard of.
    heard: Heard,
    watches: JoinSet<Result<()>>,
}

impl Delivery {
    /// Hears of all changes from now on; of those to imports in this version.
    pub async fn start(client: &Client, import_version: &str) -> Result<Self> {
        let mut delivery = Self::default();
        let imports = format!("/apis/multicluster.x-k8s.io/{import_version}/serviceimports");
        let slices = "/apis/discovery.k8s.io/v1/endpointslices".to_owned();
        // Where the objects are, and where in each the address that changes.
        for (path, field) in [
            (imports, "/spec/ips/0"),
            (slices, "/endpoints/0/addresses/0"),
        ] {
            let list = Request::get(format!("{path}?limit=1")).body(Vec::new())?;
            let list: Value = client.request(list).await?;
            let version = list["metadata"]["resourceVersion"]
                .as_str()
                .with_context(|| format!("{path}: no resourceVersion"))?;
            let watch = format!("{path}?watch=true&resourceVersion={version}");
            let watch = Request::get(watch).body(Vec::new())?;
            let (client, heard) = (client.clone(), delivery.heard.clone());
            delivery.watches.spawn(async move {
                let mut events = client.request_events::<Value>(watch).await?.boxed();
                while let Some(event) = events.try_next().await? {
                    let now = Instant::now();
                    if let WatchEvent::Modified(object) = event
                        && let Some(Value::String(address)) = object.pointer(field)
                    {
                        let mut heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
                        heard.insert(address.parse()?, now);
                    }
                }
                Ok(())
            });
        }
        Ok(delivery)
    }

    /// What was heard so far, and when.
    pub fn heard(&self) -> HashMap<Ipv4Addr, Instant> {
        self.heard
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
