//! Writes to an API server: many objects at once, or one change at a time.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use http::Request;
use http::header::CONTENT_TYPE;
use kube::Client;
use tokio::task::JoinSet;

use super::service::{Change, Object};

/// Who create at the same time.
const HANDS: usize = 64;

/// Creates the objects that `make` gives for these numbers, many at a time over several connections; how long that took.
pub async fn create(
    client: &Client,
    numbers: Range<usize>,
    make: impl Fn(usize) -> Object + Send + Sync + 'static,
) -> Result<Duration> {
    let began = Instant::now();
    let make = Arc::new(make);
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let mut hands = JoinSet::new();
    for _ in 0..HANDS {
        let (client, make, next) = (client.clone(), make.clone(), next.clone());
        hands.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return anyhow::Ok(());
                }
                post(&client, &make(number)).await?;
            }
        });
    }
    while let Some(hand) = hands.join_next().await {
        hand??;
    }
    Ok(began.elapsed())
}

async fn post(client: &Client, object: &Object) -> Result<()> {
    let request = Request::post(&object.collection)
        .header(CONTENT_TYPE, "application/json")
        .body(serde_json::to_vec(&object.json)?)?;
    // The object that comes back is not read.
    client
        .request_text(request)
        .await
        .with_context(|| format!("cannot create {}", object.path))?;
    Ok(())
}

/// Makes one change; returns when the API server has acknowledged it.
pub async fn patch(client: &Client, change: &Change) -> Result<()> {
    let request = Request::patch(&change.path)
        .header(CONTENT_TYPE, "application/json-patch+json")
        .body(serde_json::to_vec(&change.patch)?)?;
    client
        .request_text(request)
        .await
        .with_context(|| format!("cannot change {}", change.path))?;
    Ok(())
}
