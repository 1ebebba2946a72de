//! Which clusters answer: `strict`, and what becomes of one whose connection is lost.

use anyhow::Result;
use tempfile::TempDir;

use crate::common::{Lighthouse, copy_of_examples, replace};

const CART: &str = "cart.shop.svc.clusterset.local";
const DB: &str = "db.shop.svc.clusterset.local";

/// The examples' Gateway with other words for its connections to west and south.
fn connections(folder: &TempDir, west: &str, south: &str) -> Result<()> {
    let path = folder.path().join("cluster.yaml");
    let text = std::fs::read_to_string(crate::common::examples().join("cluster.yaml"))?;
    let mut parts = text.split("  - status: connected\n");
    let mut next = || parts.next().unwrap_or_default();
    let text = format!(
        "{}  - status: {west}\n{}  - status: {south}\n{}",
        next(),
        next(),
        next()
    );
    replace(&path, &text)
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_takes_cluster_names_away() -> Result<()> {
    let us = Lighthouse::examples(&[]).await?;
    let name = "west.cart.shop.svc.clusterset.local";
    assert_eq!(us.dig(&[name]).await?.answers("A"), ["10.102.192.103"]);
    let us = Lighthouse::examples(&["--strict"]).await?;
    assert_eq!(us.dig(&[name]).await?.status, "NXDOMAIN");
    // Host names stand below a cluster's name in any case.
    assert_eq!(
        us.dig(&["db-0.west.db.shop.svc.clusterset.local"])
            .await?
            .answers("A"),
        ["10.2.0.12"]
    );
    let above = us.dig(&["west.db.shop.svc.clusterset.local"]).await?;
    assert_eq!(
        (&*above.status, above.answer.len()),
        ("NOERROR", 0),
        "{}",
        above.text
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cluster_leaves_the_answers_and_comes_back() -> Result<()> {
    let folder = copy_of_examples()?;
    let us = Lighthouse::serving(folder.path(), &[]).await?;
    assert_eq!(
        us.dig(&[DB]).await?.answers("A"),
        ["10.1.0.11", "10.1.0.12", "10.2.0.12"]
    );
    connections(&folder, "error", "connected")?;
    us.dig_until(&[DB], |reply| {
        reply.answers("A") == ["10.1.0.11", "10.1.0.12"]
    })
    .await?;
    for _ in 0..6 {
        assert_eq!(us.dig(&[CART]).await?.answers("A"), ["242.2.255.250"]);
    }
    assert_eq!(us.metric("subm_dns_clusters_connected", &[]).await?, 2);
    // Asked for by name, it is given, and said to be lost.
    let named = us.dig(&["west.cart.shop.svc.clusterset.local"]).await?;
    assert_eq!(named.answers("A"), ["10.102.192.103"]);
    assert!(
        named.text.contains("EDE: 3 (Stale Answer)"),
        "{}",
        named.text
    );

    connections(&folder, "error", "error")?;
    let none = us
        .dig_until(&[CART], |reply| reply.answer.is_empty())
        .await?;
    assert_eq!(none.status, "NOERROR");
    assert!(
        none.text.contains("EDE: 22 (No Reachable Authority)"),
        "{}",
        none.text
    );

    connections(&folder, "connected", "connected")?;
    us.dig_until(&[DB], |reply| reply.answers("A").len() == 3)
        .await?;
    // Without a Gateway everything counts as connected.
    std::fs::remove_file(folder.path().join("cluster.yaml"))?;
    us.dig_until(&[DB], |reply| reply.answers("A").len() == 3)
        .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_keeps_a_lost_cluster() -> Result<()> {
    let folder = copy_of_examples()?;
    connections(&folder, "error", "error")?;
    let keep = Lighthouse::serving(folder.path(), &["--lost-cluster", "keep"]).await?;
    assert_eq!(keep.dig(&[DB]).await?.answers("A").len(), 3);
    let last_resort =
        Lighthouse::serving(folder.path(), &["--lost-cluster", "keep-last-resort"]).await?;
    // The local cluster has endpoints: no need of the lost one's.
    assert_eq!(
        last_resort.dig(&[DB]).await?.answers("A"),
        ["10.1.0.11", "10.1.0.12"]
    );
    let stale = last_resort.dig(&[CART]).await?;
    assert_eq!(stale.answers("A").len(), 1, "{}", stale.text);
    assert!(
        stale.text.contains("EDE: 3 (Stale Answer)"),
        "{}",
        stale.text
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn weights_share_out_what_is_asked_for() -> Result<()> {
    // Each worker takes turns of its own.
    let us = Lighthouse::examples(&["--workers", "1"]).await?;
    let mut south = 0;
    for _ in 0..9 {
        south += usize::from(us.dig(&[CART]).await?.answers("A") == ["242.2.255.250"]);
        // Asking for the other family does not take a turn.
        us.dig(&[CART, "AAAA"]).await?;
    }
    assert_eq!(south, 6, "two of three");
    Ok(())
}
