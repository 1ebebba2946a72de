//! Polling: how a test waits for something that another process does.

use std::fmt::Display;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

/// The pause between two attempts. Short, as most things that tests wait for take milliseconds.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `attempt` until it gives `Ok`, for `deadline` at most.
///
/// The error says how long it tried, how often, and what the last attempt said. An attempt that hangs is cut off at the
/// deadline.
///
/// ```
/// # async fn f(client: kube::Client) -> anyhow::Result<()> {
/// use std::time::Duration;
/// subm_test_support::eventually(Duration::from_secs(10), || async {
///     let version = client.apiserver_version().await?;
///     anyhow::ensure!(version.major == "1", "the major version is {}", version.major);
///     Ok::<_, anyhow::Error>(())
/// })
/// .await
/// # }
/// ```
pub async fn eventually<T, E, F>(deadline: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
where
    E: Display,
    // Not `AsyncFnMut`: futures over it could not be spawned.
    F: Future<Output = Result<T, E>>,
{
    let start = Instant::now();
    let mut attempts = 0_u32;
    let mut last = String::from("none: the first attempt did not end");
    loop {
        attempts += 1;
        let left = deadline.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, attempt()).await {
            Ok(Ok(value)) => return Ok(value),
            // The alternate form prints an anyhow error with its causes.
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => {}
        }
        if start.elapsed() >= deadline {
            return Err(anyhow!(
                "not within {deadline:?} ({attempts} attempts); last failure: {last}"
            ));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
