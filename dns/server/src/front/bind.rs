//! Sockets, and why one cannot be had.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::udp::batch::want_packet_info;

/// Queries of some hundred milliseconds at full load; the kernel may give less (`net.core.rmem_max`).
const RECEIVE_BUFFER: usize = 8 << 20;
/// How often a UDP worker looks whether it is to stop.
const TICK: Duration = Duration::from_millis(200);
const BACKLOG: i32 = 1024;

#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} ({proto}): {remedy}")]
pub struct BindError {
    pub addr: SocketAddr,
    pub proto: &'static str,
    remedy: &'static str,
    #[source]
    source: io::Error,
}

fn explain(addr: SocketAddr, proto: &'static str, source: io::Error) -> BindError {
    let remedy = match source.kind() {
        io::ErrorKind::AddrInUse => {
            "the port is in use; stop the other server (`ss -lnp` names it) or choose another port"
        }
        io::ErrorKind::PermissionDenied => {
            "not permitted; ports below 1024 need the capability NET_BIND_SERVICE, or choose a higher one"
        }
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        _ => "the system refused; see the cause",
    };
    BindError {
        addr,
        proto,
        remedy,
        source,
    }
}

/// How to treat `[::]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stack {
    /// IPv4 clients come to it too.
    Dual,
    /// `0.0.0.0` has a listener of its own on that port.
    V6Only,
}

/// `workers` sockets that share an address.
pub(super) fn udp(
    addr: SocketAddr,
    stack: Stack,
    workers: usize,
) -> Result<Vec<UdpSocket>, BindError> {
    let addr = usable(addr, "udp")?;
    // Sockets that share a port would also share it with another process: look first that nobody has it.
    let probe = open(addr, stack, Type::DGRAM).and_then(|socket| {
        socket.bind(&addr.into())?;
        Ok(socket)
    });
    let probe = probe.map_err(|error| explain(addr, "udp", error))?;
    let bound = probe
        .local_addr()
        .ok()
        .and_then(|addr| addr.as_socket())
        .unwrap_or(addr);
    drop(probe);
    (0..workers.max(1))
        .map(|_| worker(bound, stack).map_err(|error| explain(addr, "udp", error)))
        .collect()
}

fn worker(addr: SocketAddr, stack: Stack) -> io::Result<UdpSocket> {
    let socket = open(addr, stack, Type::DGRAM)?;
    socket.set_reuse_port(true)?;
    socket.set_read_timeout(Some(TICK))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    if addr.ip().is_unspecified() {
        want_packet_info(&socket, addr.is_ipv6())?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// One socket that tokio can drive, for QUIC.
pub(super) fn quic(addr: SocketAddr, stack: Stack) -> Result<UdpSocket, BindError> {
    let addr = usable(addr, "quic")?;
    let bind = || {
        let socket = open(addr, stack, Type::DGRAM)?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        socket.set_nonblocking(true)?;
        socket.bind(&addr.into())?;
        Ok(socket.into())
    };
    bind().map_err(|error| explain(addr, "quic", error))
}

/// `workers` sockets that share an address; the kernel spreads connections over them.
pub(super) fn tcp(
    addr: SocketAddr,
    stack: Stack,
    workers: usize,
) -> Result<Vec<TcpListener>, BindError> {
    let addr = usable(addr, "tcp")?;
    let failed = |error| explain(addr, "tcp", error);
    // As with UDP: look first that nobody else has the port.
    let probe = || {
        let socket = open(addr, stack, Type::STREAM)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.local_addr()
    };
    let bound = probe().map_err(failed)?.as_socket().unwrap_or(addr);
    (0..workers.max(1))
        .map(|_| acceptor(bound, stack).map_err(failed))
        .collect()
}

fn acceptor(addr: SocketAddr, stack: Stack) -> io::Result<TcpListener> {
    let socket = open(addr, stack, Type::STREAM)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    // Connections inherit it. Replies are written whole; waiting for more of them only delays.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn open(addr: SocketAddr, stack: Stack, kind: Type) -> io::Result<Socket> {
    let protocol = if kind == Type::STREAM {
        Protocol::TCP
    } else {
        Protocol::UDP
    };
    let socket = Socket::new(Domain::for_address(addr), kind, Some(protocol))?;
    if addr.is_ipv6() {
        let all = addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && stack == Stack::Dual;
        socket.set_only_v6(!all)?;
    }
    Ok(socket)
}

/// `0.0.0.0` in place of `[::]` on a machine without IPv6.
fn usable(addr: SocketAddr, proto: &'static str) -> Result<SocketAddr, BindError> {
    if addr.ip() != IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
        return Ok(addr);
    }
    let try_v6 = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))
        .and_then(|socket| socket.bind(&SocketAddr::new(addr.ip(), 0).into()));
    match try_v6 {
        Ok(()) => Ok(addr),
        Err(error)
            if error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(libc::EAFNOSUPPORT) =>
        {
            Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), addr.port()))
        }
        Err(error) => Err(explain(addr, proto, error)),
    }
}
