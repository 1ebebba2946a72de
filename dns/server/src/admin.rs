//! Health, readiness and metrics over HTTP, at CoreDNS's addresses and paths.

mod readiness;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::stats::Stats;

pub use readiness::Readiness;

#[derive(Debug, thiserror::Error)]
#[error(
    "cannot listen on {addr} for {what}; free the port, or choose another address (off switches it off)"
)]
pub struct AdminError {
    addr: SocketAddr,
    what: String,
    source: std::io::Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Page {
    Health,
    Ready,
    Metrics,
}

impl Page {
    fn path(self) -> &'static str {
        match self {
            Self::Health => "/health",
            Self::Ready => "/ready",
            Self::Metrics => "/metrics",
        }
    }
}

/// The HTTP listeners. Pages that share an address share a listener.
pub struct Admin {
    stats: Arc<Stats>,
    readiness: Arc<Readiness>,
    listeners: BTreeMap<SocketAddr, (BTreeSet<Page>, CancellationToken)>,
}

impl Admin {
    /// Listens on every configured address, or on none. Must be called within a tokio runtime.
    pub fn start(
        config: &Config,
        stats: &Arc<Stats>,
        readiness: &Arc<Readiness>,
    ) -> Result<Self, AdminError> {
        let mut admin = Self {
            stats: Arc::clone(stats),
            readiness: Arc::clone(readiness),
            listeners: BTreeMap::new(),
        };
        admin.replace(config)?;
        Ok(admin)
    }

    /// Goes over to other addresses; on an error everything stays as it was.
    pub fn replace(&mut self, config: &Config) -> Result<(), AdminError> {
        let wanted = pages(config);
        let mut fresh = Vec::new();
        for (addr, pages) in &wanted {
            if !self.listeners.contains_key(addr) {
                fresh.push((*addr, listen(*addr, pages)?));
            }
        }
        // An address that stays, with other pages, is let go and taken again.
        self.listeners.retain(|addr, (pages, stop)| {
            let stays = wanted.get(addr) == Some(pages);
            if !stays {
                stop.cancel();
            }
            stays
        });
        for (addr, pages) in wanted {
            if self.listeners.contains_key(&addr) {
                continue;
            }
            let at = fresh.iter().position(|(of, _)| *of == addr);
            let listener = match at {
                Some(at) => fresh.swap_remove(at).1,
                None => listen(addr, &pages)?,
            };
            let stop = self.serve(listener, &pages);
            self.listeners.insert(addr, (pages, stop));
        }
        Ok(())
    }

    pub fn stop(self) {
        for (_, stop) in self.listeners.into_values() {
            stop.cancel();
        }
    }

    fn serve(
        &self,
        listener: tokio::net::TcpListener,
        pages: &BTreeSet<Page>,
    ) -> CancellationToken {
        let mut router = Router::new();
        for page in pages {
            let (stats, readiness) = (Arc::clone(&self.stats), Arc::clone(&self.readiness));
            let page = *page;
            router = router.route(
                page.path(),
                get(async move || render(page, &stats, &readiness)),
            );
        }
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        tokio::spawn(async move {
            let served = tokio::select! {
                served = axum::serve(listener, router) => served,
                () = stopped => Ok(()),
            };
            if let Err(error) = served {
                tracing::error!(%error, "an HTTP listener ended");
            }
        });
        stop
    }
}

fn pages(config: &Config) -> BTreeMap<SocketAddr, BTreeSet<Page>> {
    let mut pages: BTreeMap<SocketAddr, BTreeSet<Page>> = BTreeMap::new();
    let health = config.health.map(|health| health.addr);
    for (addr, page) in [
        (health, Page::Health),
        (config.ready, Page::Ready),
        (config.metrics, Page::Metrics),
    ] {
        if let Some(addr) = addr {
            pages.entry(addr).or_default().insert(page);
        }
    }
    pages
}

fn listen(addr: SocketAddr, pages: &BTreeSet<Page>) -> Result<tokio::net::TcpListener, AdminError> {
    let listen = || -> std::io::Result<_> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(addr),
            socket2::Type::STREAM,
            None,
        )?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(128)?;
        socket.set_nonblocking(true)?;
        tokio::net::TcpListener::from_std(socket.into())
    };
    listen().map_err(|source| {
        let paths: Vec<_> = pages.iter().map(|page| page.path()).collect();
        AdminError {
            addr,
            what: paths.join(" and "),
            source,
        }
    })
}

fn render(page: Page, stats: &Stats, readiness: &Readiness) -> axum::response::Response {
    let status = |good| {
        if good {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        }
    };
    match page {
        Page::Health if readiness.is_lameduck() => (status(false), "stopping\n").into_response(),
        Page::Health => "OK".into_response(),
        Page::Ready => {
            let (ready, detail) = readiness.report();
            (status(ready), detail).into_response()
        }
        Page::Metrics => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            stats.render(),
        )
            .into_response(),
    }
}

#[cfg(test)]
mod tests;
