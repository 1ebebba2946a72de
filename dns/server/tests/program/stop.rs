//! The end: asked for, in order.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use subm_test_support::eventually;

use crate::common::{Lighthouse, SOON};

const WEB: &str = "web.shop.svc.clusterset.local";

#[tokio::test(flavor = "multi_thread")]
async fn lameduck_answers_while_health_says_503() -> Result<()> {
    let mut us = Lighthouse::examples(&["--lameduck", "2s"]).await?;
    let asked = Instant::now();
    us.process.signal(libc::SIGTERM)?;
    eventually(SOON, || async {
        let (status, _) = us.page("/health").await?;
        ensure!(status == 503, "/health is {status}");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    assert_eq!(us.page("/ready").await?.0, 503);
    for transport in ["+notcp", "+tcp"] {
        assert_eq!(
            us.dig(&[transport, WEB]).await?.answers("A"),
            ["243.0.0.10"]
        );
    }
    let status = us.process.wait(SOON).await?;
    assert_eq!(status.code(), Some(0));
    assert!(
        asked.elapsed() >= Duration::from_secs(2),
        "{:?}",
        asked.elapsed()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_lameduck_the_end_is_quick() -> Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT] {
        let mut us = Lighthouse::examples(&[]).await?;
        // A connection with nothing in flight does not hold it up.
        let _idle = tokio::net::TcpStream::connect(us.dns()).await?;
        us.process.signal(signal)?;
        let status = us.process.wait(Duration::from_secs(5)).await?;
        assert_eq!(status.code(), Some(0), "{}", us.process.output()?);
        assert!(us.process.output()?.contains("stopped"));
    }
    Ok(())
}
