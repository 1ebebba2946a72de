//! Pages of metrics and health, of either program.

use std::net::{Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use prometheus::Registry;
use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use subm_kube::admin::{self, Check, Pages};
use tokio::task::JoinSet;

/// How a program is: it writes that as it goes, and whoever asks for a page reads it.
#[derive(Debug, Default)]
pub(super) struct Shown<S>(Mutex<S>);

/// What pages say of a state. All is of one look, so nothing stays of what was.
pub(super) trait State: Send + 'static {
    fn checks(&self) -> Vec<Check>;
    fn metrics(&self) -> prometheus::Result<Vec<MetricFamily>>;
}

impl<S> Shown<S> {
    pub(super) fn state(&self) -> MutexGuard<'_, S> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: State> Pages for Shown<S> {
    fn checks(&self) -> Vec<Check> {
        self.state().checks()
    }

    fn metrics(&self) -> Vec<MetricFamily> {
        self.state().metrics().unwrap_or_else(|error| {
            tracing::warn!("no metrics: {error}");
            Vec::new()
        })
    }
}

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
