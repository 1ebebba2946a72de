//! A server that says where it is and whom it talks to, and the client for it: `curl whereami` of a cluster set.
//!
//! The same server runs as the program `whereami` in pods of that image ([`serve`]) and inside of a test for a
//! [`crate::lan::Pod`] ([`Server::start`]). It answers HTTP over TCP and single datagrams over UDP, on IPv4 and IPv6.

use std::io::{IoSlice, IoSliceMut, Read as _, Write as _};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::sockopt::Ipv6RecvPacketInfo;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn6, recvmsg, sendmsg, setsockopt,
};
use serde::{Deserialize, Serialize};

use crate::netns::NetNs;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Identity {
    pub cluster: String,
    pub node: String,
    pub pod: String,
}

/// What a client is told, as one line of JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    #[serde(flatten)]
    pub server: Identity,
    /// The client's address as the server saw it.
    pub client: IpAddr,
    pub port: u16,
}

impl Answer {
    fn new(server: &Identity, client: SocketAddr) -> Self {
        Self {
            server: server.clone(),
            // A socket for both families shows IPv4 as a part of IPv6.
            client: client.ip().to_canonical(),
            port: client.port(),
        }
    }

    fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("strings and numbers");
        line.push('\n');
        line
    }
}

impl Identity {
    /// From `CLUSTER_NAME`, `NODE_NAME` and `POD_NAME` (or `HOSTNAME`), as a manifest gives them.
    pub fn of_environment() -> Self {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            cluster: get("CLUSTER_NAME").unwrap_or_default(),
            node: get("NODE_NAME").unwrap_or_default(),
            pod: get("POD_NAME")
                .or_else(|| get("HOSTNAME"))
                .unwrap_or_default(),
        }
    }
}

struct Sockets {
    tcp: TcpListener,
    udp: UdpSocket,
}

impl Sockets {
    /// On all addresses of the calling thread's namespace.
    fn bind(port: u16) -> Result<Self> {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let bound = Self {
            tcp: TcpListener::bind(all).with_context(|| format!("TCP port {port}"))?,
            udp: UdpSocket::bind(all).with_context(|| format!("UDP port {port}"))?,
        };
        bound.tcp.set_nonblocking(true)?;
        bound.udp.set_nonblocking(true)?;
        setsockopt(&bound.udp, Ipv6RecvPacketInfo, &true)?;
        Ok(bound)
    }

    /// Until `stop` is closed on its other side.
    fn serve(&self, identity: &Identity, stop: &UnixStream) -> Result<()> {
        loop {
            let mut fds = [self.tcp.as_fd(), self.udp.as_fd(), stop.as_fd()]
                .map(|fd| PollFd::new(fd, PollFlags::POLLIN));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) => {}
                Err(nix::errno::Errno::EINTR) => continue,
                Err(error) => return Err(error.into()),
            }
            if fds[2].any() == Some(true) {
                return Ok(());
            }
            // Either fails for a client that is gone again.
            if let Ok((stream, client)) = self.tcp.accept() {
                let answer = Answer::new(identity, client);
                std::thread::spawn(move || answer_http(stream, &answer));
            }
            let _ = self.answer_datagram(identity);
        }
    }

    /// From the address that was asked: one with several would answer from the one that is nearest.
    fn answer_datagram(&self, identity: &Identity) -> nix::Result<()> {
        let mut request = [0; 2048];
        let mut into = [IoSliceMut::new(&mut request)];
        let mut space = nix::cmsg_space!(libc::in6_pktinfo);
        let socket = self.udp.as_raw_fd();
        let received =
            recvmsg::<SockaddrIn6>(socket, &mut into, Some(&mut space), MsgFlags::empty())?;
        let Some(client) = received.address else {
            return Ok(());
        };
        let asked = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv6PacketInfo(info) => Some(info),
            _ => None,
        });
        let from = asked.map(|mut info| {
            // The way back is for the routes to say.
            info.ipi6_ifindex = 0;
            info
        });
        let from = from.as_ref().map(ControlMessage::Ipv6PacketInfo);
        let to = SocketAddr::from((client.ip(), client.port()));
        let line = Answer::new(identity, to).line();
        let answer = [IoSlice::new(line.as_bytes())];
        sendmsg(
            socket,
            &answer,
            from.as_slice(),
            MsgFlags::empty(),
            Some(&client),
        )?;
        Ok(())
    }
}

fn answer_http(mut stream: TcpStream, answer: &Answer) -> Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = stream.read(&mut piece)?;
        ensure!(read > 0 && request.len() < 64 * 1024, "no request");
        request.extend_from_slice(&piece[..read]);
    }
    let line = answer.line();
    let length = line.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{line}"
    )?;
    Ok(())
}

/// Serves on a port of all addresses until the process ends: the program `whereami`.
pub fn serve(identity: &Identity, port: u16) -> Result<()> {
    let (stop, _kept) = UnixStream::pair()?;
    Sockets::bind(port)?.serve(identity, &stop)
}

/// A server in a network namespace, on a thread of this process. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(netns: &NetNs, identity: Identity, port: u16) -> Result<Self> {
        let sockets = netns.run(|| Sockets::bind(port))?;
        let (stop, stopped) = UnixStream::pair()?;
        let thread = std::thread::spawn(move || {
            if let Err(error) = sockets.serve(&identity, &stopped) {
                eprintln!("whereami: {error:#}");
            }
        });
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Asks a server over TCP from inside a namespace, on a connection of its own.
pub fn ask(from: &NetNs, server: SocketAddr, limit: Duration) -> Result<Answer> {
    let mut stream = from.connect(server, limit)?;
    stream.set_read_timeout(Some(limit))?;
    write!(
        stream,
        "GET / HTTP/1.1\r\nHost: {server}\r\nConnection: close\r\n\r\n"
    )?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply)?;
    let body = reply.split_once("\r\n\r\n").map(|(_, body)| body);
    let body = body.with_context(|| format!("no HTTP: {reply:?}"))?;
    serde_json::from_str(body).with_context(|| format!("no answer of whereami: {reply:?}"))
}

/// As [`ask`], over UDP: one datagram, which may be lost.
pub fn ask_udp(from: &NetNs, server: SocketAddr, limit: Duration) -> Result<Answer> {
    let any: IpAddr = match server {
        SocketAddr::V4(_) => [0, 0, 0, 0].into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = from.run(|| {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(limit))?;
    socket.send(b"where are you?")?;
    let mut reply = [0; 2048];
    let read = socket.recv(&mut reply)?;
    Ok(serde_json::from_slice(&reply[..read])?)
}
