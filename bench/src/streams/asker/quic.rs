//! DNS over QUIC.

use std::net::Ipv4Addr;
use std::sync::Arc;

use quinn::crypto::rustls::QuicClientConfig;

use super::message::{check, framed};
use super::tls::client_config;
use super::{Amount, Mode, Round};

impl Round<'_> {
    pub(super) async fn quic(&self, mode: Mode, amount: Amount) -> anyhow::Result<usize> {
        let crypto = QuicClientConfig::try_from(client_config(b"doq", false)?)?;
        let mut endpoint = quinn::Endpoint::client((Ipv4Addr::LOCALHOST, 0).into())?;
        endpoint.set_default_client_config(quinn::ClientConfig::new(Arc::new(crypto)));
        let clients = (0..amount.clients).map(async |_| {
            if mode == Mode::QuicHandshakes {
                return self.connections_over(&endpoint).await;
            }
            let connection = endpoint.connect(self.addr, "localhost")?.await?;
            let askers =
                (0..amount.outstanding / amount.clients).map(|_| self.streams_of(&connection));
            let counts = futures::future::try_join_all(askers).await?;
            anyhow::Ok(counts.into_iter().sum())
        });
        let counts: Vec<usize> = futures::future::try_join_all(clients).await?;
        Ok(counts.into_iter().sum())
    }

    async fn connections_over(&self, endpoint: &quinn::Endpoint) -> anyhow::Result<usize> {
        let mut answered = 0;
        while !self.is_over() {
            let connection = endpoint.connect(self.addr, "localhost")?.await?;
            self.stream(&connection).await?;
            connection.close(0_u32.into(), b"");
            answered += 1;
        }
        Ok(answered)
    }

    async fn streams_of(&self, connection: &quinn::Connection) -> anyhow::Result<usize> {
        let mut answered = 0;
        while !self.is_over() {
            self.stream(connection).await?;
            answered += 1;
        }
        Ok(answered)
    }

    async fn stream(&self, connection: &quinn::Connection) -> anyhow::Result<()> {
        let (mut send, mut receive) = connection.open_bi().await?;
        send.write_all(&framed(self.next_query())).await?;
        send.finish()?;
        let reply = receive.read_to_end(2 + 0xffff).await?;
        check(reply.get(2..).unwrap_or_default())
    }
}
