//! Probes over UDP: sent from one node, looked for on another, whatever listens at the port there.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use socket2::Socket;
use subm_routing::Kernel;

use crate::gathered::Gathered;
use crate::packet;
use crate::report::{Path, Seen, Sent};

/// Of an IP packet, with both headers.
const SMALL: usize = 100;
const PAUSE: Duration = Duration::from_millis(200);
/// `sll_pkttype` of what this node sends itself.
const OUTGOING: u8 = 4;

/// What to send.
#[derive(Clone, Debug)]
pub struct Probe {
    pub to: SocketAddr,
    pub token: String,
    /// Of the small packet; the full one has the next.
    pub tag: u16,
    pub time: Duration,
}

/// Sends a small packet and one that fills the device's MTU, again and again until the time is over. Where there is no way it ends at
/// once.
pub async fn send(probe: &Probe) -> anyhow::Result<Sent> {
    let kernel = Kernel::open(subm_routing::Settings::new())?;
    let path = kernel.path_to(probe.to.ip()).await?.map(|path| Path {
        link: path.link.as_str().to_owned(),
        via: path.gateway,
        mtu: path.mtu,
    });
    if path.is_none() {
        anyhow::bail!("no route to {}", probe.to.ip());
    }
    let any = match probe.to {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let headers = if probe.to.is_ipv4() { 28 } else { 48 };
    // Loopback takes more than there can be.
    let full = path.as_ref().map_or(SMALL, |path| path.mtu as usize);
    let full = full.min(u16::MAX.into());
    let payloads = [SMALL, full.max(SMALL)].into_iter().zip(probe.tag..);
    let payloads: Vec<_> = payloads
        .map(|(size, tag)| packet::payload(&probe.token, tag, size - headers))
        .collect();
    let socket = UdpSocket::bind((any, 0))?;
    let mut sent = Sent {
        packets: 0,
        path,
        refused: None,
    };
    let end = Instant::now() + probe.time;
    loop {
        for payload in &payloads {
            match socket.send_to(payload, probe.to) {
                Ok(_) => sent.packets += 1,
                Err(error) => sent.refused = Some(error.to_string()),
            }
        }
        if Instant::now() >= end {
            return Ok(sent);
        }
        thread::sleep(PAUSE);
    }
}

/// What to look for.
#[derive(Clone, Debug)]
pub struct Watch {
    pub ports: Vec<u16>,
    pub token: String,
    /// It ends when it has seen so many different ones, each on whatever link.
    pub enough: usize,
    pub time: Duration,
}

/// Looks at what arrives on any device of this network namespace, before its packet filter does. Needs `NET_RAW`.
pub fn sniff(watch: &Watch) -> io::Result<Seen> {
    let socket = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::EthAll,
    )?;
    setsockopt(
        &socket,
        sockopt::ReceiveTimeout,
        &TimeVal::milliseconds(100),
    )?;
    let socket = Socket::from(socket);
    socket.attach_filter(&packet::filter(&watch.ports))?;
    let mut seen = Gathered::default();
    let mut buffer = vec![0; 65536];
    let end = Instant::now() + watch.time;
    while Instant::now() < end && seen.packets() < watch.enough {
        let (length, from) = match recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer) {
            Ok((length, Some(from))) => (length, from),
            Ok(_) | Err(Errno::EAGAIN | Errno::EINTR | Errno::ENETDOWN) => continue,
            Err(error) => return Err(error.into()),
        };
        if from.pkttype() == OUTGOING {
            continue;
        }
        let link = name(from.ifindex());
        if let Some(sighting) = packet::sighting(&buffer[..length], &watch.token, &link) {
            seen.add(sighting);
        }
    }
    Ok(seen.seen())
}

fn name(index: usize) -> String {
    let index = u32::try_from(index).unwrap_or_default();
    match nix::net::if_::if_indextoname(index) {
        Ok(name) => name.to_string_lossy().into_owned(),
        // It has gone meanwhile.
        Err(_) => format!("#{index}"),
    }
}

/// Whether a thing is there that only the superuser may do: what to say then.
pub fn explain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            format!("{error}: capturing packets needs the capability NET_RAW")
        }
        _ => error.to_string(),
    }
}
