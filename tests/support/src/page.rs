//! Pages of a program's admin port.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A page that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Status and body of an HTTP page.
pub async fn page(server: SocketAddr, path: &str) -> Result<(u16, String)> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        // HTTP/1.0: the server closes after the one reply.
        let request = format!("GET {path} HTTP/1.0\r\nHost: {server}\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    let reply = timeout(PATIENCE, exchange)
        .await
        .with_context(|| format!("{path} is not answered"))??;
    let (head, body) = reply.split_once("\r\n\r\n").context("half a reply")?;
    let status = head.split(' ').nth(1).context("no status line")?;
    Ok((status.parse()?, body.to_owned()))
}

/// Labels and value of each sample of a metric in Prometheus' text form.
pub fn samples<'a>(exposition: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
    exposition.lines().filter_map(move |line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (of, labels) = series.split_once('{').unwrap_or((series, ""));
        (of == name).then_some((labels, value))
    })
}
