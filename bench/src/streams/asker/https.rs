//! DNS over HTTPS, HTTP/2.

use std::sync::Arc;

use anyhow::{Context, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::message::check;
use super::tls::client_config;
use super::{Amount, Mode, Round};

const URI: &str = "https://localhost/dns-query";
const MESSAGE: &str = "application/dns-message";

impl Round<'_> {
    pub(super) async fn https(&self, mode: Mode, amount: Amount) -> anyhow::Result<usize> {
        let tls = TlsConnector::from(Arc::new(client_config(b"h2", false)?));
        let clients = (0..amount.clients).map(async |_| {
            let tcp = TcpStream::connect(self.addr).await?;
            tcp.set_nodelay(true)?;
            let stream = tls.connect(ServerName::try_from("localhost")?, tcp).await?;
            let (send, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
            let connection = tokio::spawn(connection);
            let askers = (0..amount.outstanding / amount.clients)
                .map(|_| self.requests_of(mode, send.clone()));
            let counts = futures::future::try_join_all(askers).await?;
            connection.abort();
            anyhow::Ok(counts.into_iter().sum::<usize>())
        });
        let counts = futures::future::try_join_all(clients).await?;
        Ok(counts.into_iter().sum())
    }

    async fn requests_of(
        &self,
        mode: Mode,
        mut send: SendRequest<Full<Bytes>>,
    ) -> anyhow::Result<usize> {
        let mut answered = 0;
        while !self.is_over() {
            let query = self.next_query();
            let request = if mode == Mode::Get {
                let uri = format!("{URI}?dns={}", BASE64_URL_SAFE_NO_PAD.encode(query));
                Request::get(uri).body(Full::default())
            } else {
                Request::post(URI)
                    .header("content-type", MESSAGE)
                    .body(Full::from(query.to_vec()))
            };
            send.ready().await.context("the connection has ended")?;
            let response = send.send_request(request?).await?;
            ensure!(response.status() == StatusCode::OK, "{}", response.status());
            check(&response.into_body().collect().await?.to_bytes())?;
            answered += 1;
        }
        Ok(answered)
    }
}
