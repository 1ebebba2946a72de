//! Connections of one query.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustls::client::ClientConnection;
use rustls::pki_types::ServerName;
use rustls::{HandshakeKind, StreamOwned};

use super::message::{check, framed};
use super::tls::client_config;
use super::{Mode, Round};

impl Round<'_> {
    /// One thread per client; each opens connection after connection.
    pub(super) fn connections(&self, mode: Mode, clients: usize) -> anyhow::Result<usize> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..clients)
                .map(|_| scope.spawn(|| self.one_after_the_other(mode)))
                .collect();
            let counts = threads.into_iter().map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow::anyhow!("a client panicked")))
            });
            counts.sum()
        })
    }

    fn one_after_the_other(&self, mode: Mode) -> anyhow::Result<usize> {
        let tls = Arc::new(client_config(b"dot", mode == Mode::Resumed)?);
        let name = ServerName::try_from("localhost")?;
        let mut answered = 0;
        while !self.is_over() {
            let mut tcp = TcpStream::connect(self.addr).context("connecting")?;
            tcp.set_nodelay(true)?;
            tcp.set_read_timeout(Some(Duration::from_secs(10)))?;
            let query = self.next_query();
            if mode == Mode::Tcp {
                exchange(&mut tcp, query)?;
            } else {
                let connection = ClientConnection::new(Arc::clone(&tls), name.clone())?;
                let mut stream = StreamOwned::new(connection, tcp);
                exchange(&mut stream, query)?;
                let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
                ensure!(
                    resumed == (mode == Mode::Resumed && answered > 0),
                    "handshake {answered} is {:?}",
                    stream.conn.handshake_kind()
                );
                stream.conn.send_close_notify();
                stream.flush()?;
            }
            answered += 1;
        }
        Ok(answered)
    }
}

fn exchange(stream: &mut (impl Read + Write), query: &[u8]) -> anyhow::Result<()> {
    stream.write_all(&framed(query)).context("writing")?;
    stream.flush().context("writing")?;
    let mut length = [0; 2];
    stream.read_exact(&mut length).context("reading")?;
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).context("reading")?;
    check(&reply)
}
