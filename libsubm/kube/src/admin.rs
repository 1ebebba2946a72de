//! `/metrics`, `/healthz` and `/readyz`.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::proto::MetricFamily;
use prometheus::{Encoder as _, TextEncoder};
use tokio::net::TcpListener;

/// One thing that `/readyz` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    pub good: bool,
    pub text: &'static str,
    /// Without it the program is not ready; else it is only told.
    pub needed: bool,
}

/// What a program has to say when it is asked.
pub trait Pages: Send + Sync + 'static {
    fn checks(&self) -> Vec<Check>;
    fn metrics(&self) -> Vec<MetricFamily>;
}

/// Serves them until the listener fails.
pub async fn serve(listener: TcpListener, pages: Arc<impl Pages>) -> std::io::Result<()> {
    let pages = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(exposition))
        .with_state(pages);
    axum::serve(listener, pages).await
}

/// On a node without IPv6 "all addresses" are those of IPv4.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(_) if address.ip() == Ipv6Addr::UNSPECIFIED => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        listener => listener,
    }
}

async fn readyz<P: Pages>(State(pages): State<Arc<P>>) -> Response {
    let checks = pages.checks();
    let line = |check: &Check| {
        let sign = if check.good { '+' } else { '-' };
        let rest = if check.needed {
            ""
        } else {
            " (not needed to be ready)"
        };
        format!("[{sign}]{}{rest}\n", check.text)
    };
    let text: String = checks.iter().map(line).collect();
    let status = if checks.iter().all(|check| check.good || !check.needed) {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, text).into_response()
}

async fn exposition<P: Pages>(State(pages): State<Arc<P>>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&pages.metrics(), &mut text) {
        Ok(()) => (
            [(header::CONTENT_TYPE, encoder.format_type().to_owned())],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
