//! A TCP proxy that misbehaves on demand.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::broadcast;
use tokio::task::JoinHandle;

use crate::reach;

/// A TCP proxy on 127.0.0.1 in front of one server. Dropping it closes everything.
///
/// Its methods take `&mut self`: one test plays with it. It lives in the runtime in which it was started.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    front: Front,
    _reachable: reach::Registered,
}

/// Who holds the port.
#[derive(Debug)]
enum Front {
    Accepting(JoinHandle<()>),
    /// Bound, not listening: the kernel refuses connections, and nobody else gets the port.
    Refusing(TcpSocket),
    /// Between the two, or after a failure to get the port back.
    Gone,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    delay_ms: AtomicU64,
    accepted: AtomicUsize,
    open: AtomicUsize,
    end: broadcast::Sender<End>,
}

/// How open connections end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Close,
    Reset,
}

impl Proxy {
    /// Starts a proxy to `target`.
    pub async fn start(target: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            target,
            delay_ms: AtomicU64::new(0),
            accepted: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            end: broadcast::Sender::new(1),
        });
        let front = Front::Accepting(tokio::spawn(accept(listener, Arc::clone(&shared))));
        Ok(Self {
            addr,
            shared,
            front,
            _reachable: reach::register(addr),
        })
    }

    /// Where clients connect; the same for the proxy's whole life.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Holds every piece of data back for `delay` in each direction, from now on and on open connections too. Pieces do not
    /// overlap, so it also limits throughput to 64 KiB per delay.
    pub fn delay(&self, delay: Duration) {
        let ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        self.shared.delay_ms.store(ms, Ordering::Relaxed);
    }

    /// Closes open connections and refuses new ones until [`Proxy::restore`].
    pub async fn cut(&mut self) -> Result<()> {
        if let Front::Accepting(task) = std::mem::replace(&mut self.front, Front::Gone) {
            task.abort();
            // The listener is closed when the task has really ended.
            let _ = task.await;
        }
        self.end_connections(End::Close);
        self.front = Front::Refusing(self.bind()?);
        Ok(())
    }

    /// Resets open connections (RST). New ones are accepted as before.
    pub fn reset(&self) {
        self.end_connections(End::Reset);
    }

    /// Ends a cut and a delay.
    pub fn restore(&mut self) -> Result<()> {
        self.delay(Duration::ZERO);
        let socket = match std::mem::replace(&mut self.front, Front::Gone) {
            Front::Refusing(socket) => socket,
            Front::Gone => self.bind()?,
            accepting @ Front::Accepting(_) => {
                self.front = accepting;
                return Ok(());
            }
        };
        let listener = socket
            .listen(128)
            .with_context(|| format!("the proxy cannot listen on {} again", self.addr))?;
        let task = tokio::spawn(accept(listener, Arc::clone(&self.shared)));
        self.front = Front::Accepting(task);
        Ok(())
    }

    /// Connections accepted since the start.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(Ordering::Relaxed)
    }

    fn bind(&self) -> Result<TcpSocket> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket
            .bind(self.addr)
            .with_context(|| format!("the proxy lost its address {}", self.addr))?;
        Ok(socket)
    }

    fn end_connections(&self, end: End) {
        // An error means that no connection is open.
        let _ = self.shared.end.send(end);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Front::Accepting(task) = &self.front {
            task.abort();
        }
        self.end_connections(End::Close);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    // An error of accept concerns one connection, or file descriptors that come free again.
    loop {
        let Ok((client, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // Subscribed here, not in the task: a cut right after must reach this connection too.
        let end = shared.end.subscribe();
        tokio::spawn(serve(client, end, Arc::clone(&shared)));
    }
}

async fn serve(mut client: TcpStream, mut end: broadcast::Receiver<End>, shared: Arc<Shared>) {
    shared.open.fetch_add(1, Ordering::Relaxed);
    tokio::select! {
        // A failed connection to the server closes the client's; what else would the server's client see.
        _ = relay(&mut client, &shared) => {}
        end = end.recv() => {
            if end == Ok(End::Reset) {
                // With it, closing sends RST. It fails only on a connection that is gone.
                let _ = client.set_zero_linger();
            }
        }
    }
    shared.open.fetch_sub(1, Ordering::Relaxed);
}

async fn relay(client: &mut TcpStream, shared: &Shared) -> std::io::Result<()> {
    let mut server = TcpStream::connect(shared.target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    tokio::try_join!(
        copy(from_client, to_server, shared),
        copy(from_server, to_client, shared)
    )?;
    Ok(())
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    shared: &Shared,
) -> std::io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    loop {
        let n = from.read(&mut piece).await?;
        let delay = shared.delay_ms.load(Ordering::Relaxed);
        if delay > 0 {
            tokio::time::sleep(Duration::from_millis(delay)).await;
        }
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&piece[..n]).await?;
    }
}
