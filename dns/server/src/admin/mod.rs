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
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

pub use self::readiness::Readiness;
use crate::config::Config;
use crate::front::Places;
use crate::stats::Stats;

/// Connections of an address at once; a further one takes the place of the one that has been silent longest.
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

/// Addresses that are bound and not served yet.
pub struct Prepared {
    wanted: BTreeMap<SocketAddr, Pages>,
    fresh: BTreeMap<SocketAddr, (TcpListener, SocketAddr)>,
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
        let prepared = admin.prepare(config)?;
        admin.commit(prepared);
        Ok(admin)
    }

    /// Binds the addresses of `config` that are new. Nothing changes before [`Admin::commit`].
    pub fn prepare(&self, config: &Config) -> Result<Prepared, AdminError> {
        let wanted = pages_of(config);
        let mut fresh = BTreeMap::new();
        for (&addr, &pages) in wanted
            .iter()
            .filter(|(addr, _)| !self.serving.contains_key(addr))
        {
            let failed = |source| AdminError {
                addr,
                pages: pages.to_string(),
                source,
            };
            let listener = std::net::TcpListener::bind(addr).map_err(failed)?;
            listener.set_nonblocking(true).map_err(failed)?;
            let local = listener.local_addr().map_err(failed)?;
            fresh.insert(
                addr,
                (TcpListener::from_std(listener).map_err(failed)?, local),
            );
        }
        Ok(Prepared { wanted, fresh })
    }

    /// Goes over to what was prepared.
    pub fn commit(&mut self, prepared: Prepared) {
        let Prepared { wanted, fresh } = prepared;
        self.serving.retain(|addr, _| wanted.contains_key(addr));
        for (addr, (listener, local)) in fresh {
            self.serving.insert(addr, self.serve(listener, local));
        }
        for (addr, pages) in wanted {
            if let Some(serving) = self.serving.get(&addr) {
                serving.pages.store(Arc::new(pages));
            }
        }
    }

    fn serve(&self, listener: TcpListener, local: SocketAddr) -> Serving {
        let pages = Arc::new(ArcSwap::from_pointee(Pages::default()));
        let site = Site {
            pages: Arc::clone(&pages),
            readiness: Arc::clone(&self.readiness),
            stats: Arc::clone(&self.stats),
        };
        let router = Router::new().fallback(page).with_state(site);
        let task = tokio::spawn(accept(listener, router));
        Serving { pages, local, task }
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
    let places = Places::new(CONNECTIONS, Arc::default());
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(router.clone());
                // If need be, that of the connection that has been silent longest: probes must get through.
                let place = places.take();
                connections.spawn(async move {
                    let mut http = http1::Builder::new();
                    http.keep_alive(false);
                    // Broken or slow requests are the client's affair.
                    tokio::select! {
                        _ = timeout(REQUEST, http.serve_connection(TokioIo::new(stream), service)) => {}
                        () = place.wanted() => {}
                    }
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
