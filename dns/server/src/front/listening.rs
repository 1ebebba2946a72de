//! One listener at work: its sockets, threads and tasks.

use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use quinn::Endpoint;
use subm_dns_core::ledger::Writers;
use subm_dns_core::respond::Transport;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bind::{self, Stack};
use super::desk::{Desk, canonical};
use super::limits::{Limits, Place, Places};
use super::threads::Threads;
use super::tls::CertificateStore;
use super::udp::Worker;
use super::{Context, FrontError, https, quic, stream};
use crate::config::Listener;
use crate::stats::proto_label;

pub(super) struct Listening {
    addr: SocketAddr,
    /// One per thread for connections.
    desks: Vec<Arc<Desk>>,
    /// What UDP workers look at once per batch.
    listener: Arc<ArcSwap<Listener>>,
    certificates: Arc<ArcSwapOption<CertificateStore>>,
    stop_workers: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
    drain: CancellationToken,
    /// Ends every task at once.
    abort: CancellationToken,
    tasks: TaskTracker,
    /// To hand it a new certificate.
    endpoint: Option<(Endpoint, Duration)>,
}

impl Listening {
    pub(super) fn start(
        listener: Listener,
        stack: Stack,
        context: &Context,
        threads: &Threads,
    ) -> Result<Self, FrontError> {
        let transport = listener.transport;
        let store = match transport {
            Transport::Udp | Transport::Tcp => None,
            _ => Some(open_store(&listener)?),
        };
        let streams_as = if transport == Transport::Udp {
            Transport::Tcp
        } else {
            transport
        };
        let listener = Arc::new(listener);
        let ledger = context.stats.ledger(Writers::Many);
        let desks = threads.handles().iter().map(|_| {
            Desk::new(
                streams_as,
                Arc::clone(&listener),
                Arc::clone(&context.shared),
                Arc::clone(&context.stats),
                Arc::clone(&ledger),
                context.log.clone(),
            )
        });
        let mut listening = Self {
            addr: listener.addr,
            desks: desks.collect(),
            listener: Arc::new(ArcSwap::new(Arc::clone(&listener))),
            certificates: Arc::new(ArcSwapOption::new(store)),
            stop_workers: Arc::default(),
            workers: Vec::new(),
            drain: CancellationToken::new(),
            abort: CancellationToken::new(),
            tasks: TaskTracker::new(),
            endpoint: None,
        };
        if transport == Transport::Quic {
            listening.start_quic(bind::quic(listener.addr, stack)?, context)?;
        } else {
            let tcp = bind::tcp(listener.addr, stack, threads.handles().len())?;
            if let Some(Ok(addr)) = tcp.first().map(StdTcpListener::local_addr) {
                listening.addr = addr;
            }
            if transport == Transport::Udp {
                let sockets = bind::udp(listening.addr, stack, context.workers)?;
                listening.start_workers(sockets, &listener, context)?;
            }
            listening.start_streams(tcp, context, threads)?;
        }
        listening.watch_certificates(context.limits.certificate_poll);
        Ok(listening)
    }

    fn start_workers(
        &mut self,
        sockets: Vec<UdpSocket>,
        listener: &Listener,
        context: &Context,
    ) -> Result<(), FrontError> {
        for (i, socket) in sockets.into_iter().enumerate() {
            let socket = Arc::new(socket);
            context.stats.watch_socket(&listener.label, &socket);
            let worker = Worker {
                socket,
                listener: Arc::clone(&self.listener),
                shared: Arc::clone(&context.shared),
                stats: Arc::clone(&context.stats),
                ledger: context.stats.ledger(Writers::One),
                log: context.log.clone(),
                stop: Arc::clone(&self.stop_workers),
            };
            let thread = std::thread::Builder::new()
                .name(format!("udp-{i}"))
                .spawn(move || worker.run());
            self.workers
                .push(thread.map_err(|source| FrontError::Start {
                    addr: listener.addr,
                    source,
                })?);
        }
        Ok(())
    }

    fn start_streams(
        &mut self,
        sockets: Vec<StdTcpListener>,
        context: &Context,
        threads: &Threads,
    ) -> Result<(), FrontError> {
        let places = self.places(context);
        for ((tcp, desk), thread) in sockets.into_iter().zip(&self.desks).zip(threads.handles()) {
            let _inside = thread.enter();
            let tcp = TcpListener::from_std(tcp).map_err(|source| FrontError::Start {
                addr: self.addr,
                source,
            })?;
            let server = Server {
                desk: Arc::clone(desk),
                certificates: Arc::clone(&self.certificates),
                limits: context.limits,
                places: Arc::clone(&places),
                drain: self.drain.clone(),
                abort: self.abort.clone(),
                tasks: self.tasks.clone(),
            };
            self.tasks.spawn(accept(tcp, Arc::new(server)));
        }
        Ok(())
    }

    fn start_quic(&mut self, socket: UdpSocket, context: &Context) -> Result<(), FrontError> {
        let failed = |source| FrontError::Start {
            addr: self.addr,
            source,
        };
        let Some(store) = self.certificates.load_full() else {
            return Ok(());
        };
        let desk = Arc::clone(self.first_desk());
        let idle = desk.idle_limit(&context.limits);
        let endpoint = quic::endpoint(socket, store.current(), idle).map_err(failed)?;
        self.addr = endpoint.local_addr().map_err(failed)?;
        let serving = quic::accept(
            endpoint.clone(),
            desk,
            self.places(context),
            context.limits,
            self.drain.clone(),
            self.tasks.clone(),
        );
        self.tasks.spawn(serving);
        self.endpoint = Some((endpoint, idle));
        Ok(())
    }

    fn first_desk(&self) -> &Arc<Desk> {
        // There is at least one thread.
        &self.desks[0]
    }

    fn places(&self, context: &Context) -> Arc<Places> {
        let desk = self.first_desk();
        let counts = context
            .stats
            .connections(&desk.listener().label, proto_label(desk.transport));
        Places::new(context.limits.connections, counts)
    }

    fn watch_certificates(&self, every: Duration) {
        if self.certificates.load().is_none() {
            return;
        }
        let certificates = Arc::clone(&self.certificates);
        let (drain, endpoint) = (self.drain.clone(), self.endpoint.clone());
        self.tasks.spawn(async move {
            let mut ticks = interval(every);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = drain.cancelled() => return,
                }
                let Some(store) = certificates.load_full() else {
                    return;
                };
                let read = tokio::task::spawn_blocking(move || store.refresh()).await;
                if let (Ok(Some(tls)), Some((endpoint, idle))) = (read, &endpoint) {
                    match quic::server_config(tls, *idle) {
                        Ok(config) => endpoint.set_server_config(Some(config)),
                        Err(error) => {
                            tracing::error!(%error, "the new certificate does not do for QUIC");
                        }
                    }
                }
            }
        });
    }

    /// The certificates for a changed configuration: the same store where the files are the same.
    pub(super) fn certificates_for(
        &self,
        listener: &Listener,
    ) -> Result<Option<Arc<CertificateStore>>, FrontError> {
        match self.certificates.load_full() {
            None => Ok(None),
            Some(store) if listener.tls.as_ref() == Some(store.files()) => Ok(Some(store)),
            Some(_) => open_store(listener).map(Some),
        }
    }

    pub(super) fn replace(&mut self, listener: Listener, store: Option<Arc<CertificateStore>>) {
        let listener = Arc::new(listener);
        for desk in &self.desks {
            desk.replace(Arc::clone(&listener));
        }
        self.listener.store(listener);
        if let (Some(store), Some((endpoint, idle))) = (&store, &self.endpoint)
            && let Ok(config) = quic::server_config(store.current(), *idle)
        {
            endpoint.set_server_config(Some(config));
        }
        self.certificates.store(store);
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.addr
    }

    pub(super) async fn drain(mut self, deadline: Instant) {
        self.stop_workers.store(true, Relaxed);
        self.drain.cancel();
        self.tasks.close();
        let workers = std::mem::take(&mut self.workers);
        let joined = tokio::task::spawn_blocking(move || {
            for worker in workers {
                if worker.join().is_err() {
                    tracing::error!("a UDP worker had panicked");
                }
            }
        });
        if timeout_at(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!(addr = %self.addr, "connections were closed before they had finished");
        }
        // Workers leave within a tick of their sockets, whatever the deadline.
        let _ = joined.await;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.stop_workers.store(true, Relaxed);
        self.drain.cancel();
        self.abort.cancel();
        if let Some((endpoint, _)) = &self.endpoint {
            endpoint.close(0_u32.into(), b"");
        }
    }
}

pub(super) fn open_store(listener: &Listener) -> Result<Arc<CertificateStore>, FrontError> {
    CertificateStore::open(listener.transport, listener.tls.as_ref()).map_err(|source| {
        FrontError::Tls {
            label: listener.label.clone(),
            source: Box::new(source),
        }
    })
}

/// What the connections of a TCP socket need.
struct Server {
    desk: Arc<Desk>,
    certificates: Arc<ArcSwapOption<CertificateStore>>,
    limits: Limits,
    places: Arc<Places>,
    drain: CancellationToken,
    abort: CancellationToken,
    tasks: TaskTracker,
}

async fn accept(tcp: TcpListener, server: Arc<Server>) {
    loop {
        let accepted = tokio::select! {
            accepted = tcp.accept() => accepted,
            () = server.drain.cancelled() => return,
        };
        match accepted {
            Ok((connection, client)) => {
                let this = Arc::clone(&server);
                server.tasks.spawn(async move {
                    let place = Arc::new(this.places.take());
                    tokio::select! {
                        () = serve(connection, canonical(client), &this, &place) => {}
                        () = place.wanted() => {}
                        () = this.abort.cancelled() => {}
                    }
                });
            }
            Err(error) => {
                // Mostly a lack of file descriptors, which only time or fewer connections mend.
                tracing::warn!(%error, "no connection can be taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(connection: TcpStream, client: SocketAddr, server: &Server, place: &Arc<Place>) {
    let Server {
        desk,
        limits,
        drain,
        ..
    } = server;
    let result = match server.certificates.load_full() {
        None => stream::serve(connection, client, desk, place, limits, drain).await,
        // Boxed, for plain connections to stay as small as they are.
        Some(store) => Box::pin(serve_tls(connection, client, server, place, &store)).await,
    };
    if let Err(error) = result {
        tracing::debug!(%client, %error, "connection ended");
    }
}

async fn serve_tls(
    connection: TcpStream,
    client: SocketAddr,
    server: &Server,
    place: &Arc<Place>,
    store: &CertificateStore,
) -> io::Result<()> {
    let Server {
        desk,
        limits,
        drain,
        ..
    } = server;
    let handshake = TlsAcceptor::from(store.current()).accept(connection);
    let connection = timeout(limits.handshake, handshake).await??;
    if desk.transport == Transport::Https {
        Box::pin(https::serve(connection, client, desk, place, limits, drain)).await;
        Ok(())
    } else {
        stream::serve(connection, client, desk, place, limits, drain).await
    }
}
