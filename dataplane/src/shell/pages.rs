//! Pages of metrics and health, of either program.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use prometheus::Registry;
use prometheus::core::Collector;
use subm_kube::admin::{self, Pages};
use tokio::task::JoinSet;

/// Serves them on every address of the node.
pub(super) async fn serve(
    tasks: &mut JoinSet<()>,
    port: u16,
    pages: Arc<impl Pages>,
) -> Result<()> {
    let address: SocketAddr = (Ipv6Addr::UNSPECIFIED, port).into();
    let listener = admin::listen(address)
        .await
        .with_context(|| format!("SUBMARINER_METRICSPORT: cannot listen on {address}"))?;
    tasks.spawn(async move {
        if let Err(error) = admin::serve(listener, pages).await {
            tracing::error!("the pages of metrics and health ended: {error}");
        }
    });
    Ok(())
}

pub(super) fn register<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> prometheus::Result<C> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
