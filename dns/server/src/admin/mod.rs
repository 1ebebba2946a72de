//! `/health`, `/ready` and `/metrics`, each on its own address or together on one.

mod readiness;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

pub use self::readiness::Readiness;
use crate::config::Config;
use crate::stats::Stats;

/// Connections of an address at once; further ones wait.
const CONNECTIONS: usize = 64;
/// For a request and its answer.
const REQUEST: Duration = Duration::from_secs(10);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Which pages an address has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pages {
    health: bool,
    ready: bool,
    metrics: bool,
}

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {addr} (http, {pages}): is the port in use, or the address not one of this machine?"
)]
pub struct AdminError {
    addr: SocketAddr,
    pages: String,
    #[source]
    source: std::io::Error,
}

/// The pages, served until this is dropped or stopped.
pub struct Admin {
    readiness: Arc<Readiness>,
    stats: Arc<Stats>,
    serving: BTreeMap<SocketAddr, Serving>,
}

struct Serving {
    pages: Arc<ArcSwap<Pages>>,
    local: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Site {
    pages: Arc<ArcSwap<Pages>>,
    readiness: Arc<Readiness>,
    stats: Arc<Stats>,
}

impl Admin {
    /// Serves the addresses of `config`. Must be called within a tokio runtime.
    pub fn start(
        config: &Config,
        stats: &Arc<Stats>,
        readiness: &Arc<Readiness>,
    ) -> Result<Self, AdminError> {
        let mut admin = Self {
            readiness: Arc::clone(readiness),
            stats: Arc::clone(stats),
            serving: BTreeMap::new(),
        };
        admin.replace(config)?;
        Ok(admin)
    }

    /// Goes over to the addresses of `config`. On an error everything stays as it was.
    pub fn replace(&mut self, config: &Config) -> Result<(), AdminError> {
        let wanted = pages_of(config);
        let mut fresh = BTreeMap::new();
        for (&addr, &pages) in wanted
            .iter()
            .filter(|(addr, _)| !self.serving.contains_key(addr))
        {
            fresh.insert(addr, self.serve(addr, pages)?);
        }
        self.serving.retain(|addr, _| wanted.contains_key(addr));
        self.serving.extend(fresh);
        for (addr, pages) in wanted {
            if let Some(serving) = self.serving.get(&addr) {
                serving.pages.store(Arc::new(pages));
            }
        }
        Ok(())
    }

    fn serve(&self, addr: SocketAddr, pages: Pages) -> Result<Serving, AdminError> {
        let failed = |source| AdminError {
            addr,
            pages: pages.to_string(),
            source,
        };
        let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let local = listener.local_addr().map_err(failed)?;
        let listener = TcpListener::from_std(listener).map_err(failed)?;
        let pages = Arc::new(ArcSwap::from_pointee(pages));
        let site = Site {
            pages: Arc::clone(&pages),
            readiness: Arc::clone(&self.readiness),
            stats: Arc::clone(&self.stats),
        };
        let router = Router::new().fallback(page).with_state(site);
        let task = tokio::spawn(accept(listener, router));
        Ok(Serving { pages, local, task })
    }

    /// Closes all pages.
    pub fn stop(self) {
        drop(self);
    }

    /// The address in use for a configured one, whose port may have been left to the system.
    pub fn local_addr(&self, addr: SocketAddr) -> Option<SocketAddr> {
        self.serving.get(&addr).map(|serving| serving.local)
    }
}

/// One request per connection and little time for it: these ports are for probes and scrapers, and must not eat the
/// descriptors that DNS needs.
async fn accept(listener: TcpListener, router: Router) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        // Never closed.
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                connections.spawn(async move {
                    let mut http = http1::Builder::new();
                    http.keep_alive(false);
                    // Broken or slow requests are the client's affair.
                    let _ = timeout(
                        REQUEST,
                        http.serve_connection(TokioIo::new(stream), service),
                    )
                    .await;
                    drop(place);
                });
            }
            // Out of descriptors, say: nothing that is waited for, only no reason to take a whole core.
            Err(error) => {
                tracing::warn!(%error, "cannot take an HTTP connection");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        while connections.try_join_next().is_some() {}
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn pages_of(config: &Config) -> BTreeMap<SocketAddr, Pages> {
    let mut pages: BTreeMap<SocketAddr, Pages> = BTreeMap::new();
    if let Some(health) = config.health {
        pages.entry(health.addr).or_default().health = true;
    }
    if let Some(addr) = config.ready {
        pages.entry(addr).or_default().ready = true;
    }
    if let Some(addr) = config.metrics {
        pages.entry(addr).or_default().metrics = true;
    }
    pages
}

impl std::fmt::Display for Pages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = [
            (self.health, "/health"),
            (self.ready, "/ready"),
            (self.metrics, "/metrics"),
        ];
        let names: Vec<_> = names
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, name)| *name)
            .collect();
        f.write_str(&names.join(", "))
    }
}

async fn page(State(site): State<Site>, uri: Uri) -> Response {
    let pages = **site.pages.load();
    let say = |result: Result<String, String>| match result {
        Ok(body) => body.into_response(),
        Err(body) => (StatusCode::SERVICE_UNAVAILABLE, body).into_response(),
    };
    match uri.path() {
        "/health" if pages.health => say(site.readiness.health()),
        "/ready" if pages.ready => say(site.readiness.ready()),
        "/metrics" if pages.metrics => {
            let kind = [(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)];
            (kind, site.stats.render()).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

#[cfg(test)]
mod tests;
