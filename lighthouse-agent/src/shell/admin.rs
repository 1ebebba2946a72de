//! `/metrics`, `/healthz` and `/readyz`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, TextEncoder};
use tokio::net::TcpListener;

use super::metrics::Metrics;

/// What the pages tell; the agent's one task sets it.
#[derive(Debug, Default)]
pub struct Health {
    /// This cluster has been read.
    pub home: AtomicBool,
    /// The broker can be read. Not needed to be ready: what is here is served without it.
    pub broker: AtomicBool,
    pub leads: AtomicBool,
}

#[derive(Clone)]
struct Pages {
    health: Arc<Health>,
    metrics: Metrics,
}

pub(super) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    metrics: Metrics,
) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state(Pages { health, metrics });
    axum::serve(listener, pages).await
}

/// On a node without IPv6 "all addresses" are those of IPv4.
pub(super) async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        listener => listener,
    }
}

async fn readyz(State(pages): State<Pages>) -> Response {
    let health = &pages.health;
    let line = |good: bool, text: &str| format!("[{}]{text}\n", if good { '+' } else { '-' });
    let home = health.home.load(Ordering::Relaxed);
    let text = [
        line(home, "this cluster has been read"),
        line(
            health.broker.load(Ordering::Relaxed),
            "the broker can be read (not needed to be ready)",
        ),
        line(
            health.leads.load(Ordering::Relaxed),
            "this replica writes (not needed to be ready)",
        ),
    ]
    .concat();
    let status = if home {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text).into_response()
}

async fn exposition(State(pages): State<Pages>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&pages.metrics.registry.gather(), &mut text) {
        Ok(()) => (
            [(header::CONTENT_TYPE, encoder.format_type().to_owned())],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
