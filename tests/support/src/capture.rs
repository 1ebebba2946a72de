//! Packets on a link, recorded: what proves that something is encrypted, or takes another way.

use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::netns::NetNs;
use crate::{eventually, sys};

/// Longer than any packet that offloading puts together.
const LONGEST: usize = 128 * 1024;
const VXLAN_HEADER: usize = 8;

/// A recording that goes on until [`Capture::stop`], or until this is dropped.
///
/// ```no_run
/// # async fn f(node: &subm_test_support::lan::Node) -> anyhow::Result<()> {
/// use std::time::Duration;
/// use subm_test_support::{Capture, Protocol};
/// let capture = Capture::start(node.netns(), "eth0")?;
/// // … traffic …
/// capture.wait_for(Duration::from_secs(5), |packet| packet.is_port(4800)).await?;
/// let packets = capture.stop()?;
/// assert!(packets.iter().all(|packet| packet.protocol == Protocol::Udp));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Capture {
    device: String,
    socket: Arc<OwnedFd>,
    packets: Arc<Mutex<Vec<Packet>>>,
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// What is above the network layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Icmp,
    Icmpv6,
    Esp,
    /// An IP protocol by its number; the later parts of a fragmented packet too.
    Other(u8),
    /// ARP, for example.
    NotIp,
}

/// A packet as it was on the link.
#[derive(Clone)]
pub struct Packet {
    pub at: SystemTime,
    /// Whether it left the namespace by the link, instead of arriving.
    pub outgoing: bool,
    /// From the Ethernet header on, or from the IP header on links that have no other (tunnels).
    pub bytes: Vec<u8>,
    /// Nothing if it is no IP.
    pub addresses: Option<(IpAddr, IpAddr)>,
    pub protocol: Protocol,
    /// Source and destination, of TCP and UDP.
    pub ports: Option<(u16, u16)>,
    payload: Range<usize>,
}

impl Capture {
    /// Records what passes a device, in both directions, from now on.
    pub fn start(netns: &NetNs, device: &str) -> Result<Self> {
        let socket = netns
            .run(|| {
                let index = nix::net::if_::if_nametoindex(device)?;
                Ok(sys::packet_socket(index)?)
            })
            .with_context(|| format!("a capture on {device}"))?;
        let socket = Arc::new(socket);
        let packets = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = UnixStream::pair()?;
        let (to, from) = (Arc::clone(&packets), Arc::clone(&socket));
        let thread = std::thread::spawn(move || record(&from, &to, &stopped));
        Ok(Self {
            device: device.to_owned(),
            socket,
            packets,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// What was recorded so far.
    pub fn packets(&self) -> Vec<Packet> {
        self.lock().clone()
    }

    /// The first packet of a kind, those recorded already included.
    pub async fn wait_for(
        &self,
        deadline: Duration,
        want: impl Fn(&Packet) -> bool,
    ) -> Result<Packet> {
        let found = eventually(deadline, || {
            let found = self.lock().iter().find(|packet| want(packet)).cloned();
            std::future::ready(found.context("no such packet"))
        })
        .await;
        found.with_context(|| format!("on {}:\n{}", self.device, list(&self.lock())))
    }

    /// Ends the recording; an error if packets came faster than they could be recorded, as then nothing can be said about
    /// what there was not.
    pub fn stop(mut self) -> Result<Vec<Packet>> {
        self.end();
        let lost = sys::packets_lost(&self.socket)?;
        ensure!(
            lost == 0,
            "the capture on {} lost {lost} packets",
            self.device
        );
        Ok(std::mem::take(&mut *self.lock()))
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Packet>> {
        self.packets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        self.end();
    }
}

fn record(socket: &OwnedFd, packets: &Mutex<Vec<Packet>>, stop: &UnixStream) {
    let mut buffer = vec![0; LONGEST];
    loop {
        let mut fds = [socket.as_fd(), stop.as_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(_) => return,
        }
        let ending = fds[1].any() == Some(true);
        // All that is there, also at the end. Errors tell of the device: it went down, or away.
        loop {
            match sys::receive_packet(socket, &mut buffer) {
                Ok(Some((length, meta))) => {
                    let packet = Packet::parse(&buffer[..length], meta.outgoing, meta.ethernet);
                    packets
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(packet);
                }
                Ok(None) => break,
                Err(_) if ending => break,
                Err(_) => {
                    std::thread::sleep(Duration::from_millis(1));
                    break;
                }
            }
        }
        if ending {
            return;
        }
    }
}

impl Packet {
    fn parse(bytes: &[u8], outgoing: bool, ethernet: bool) -> Self {
        let mut packet = Self {
            at: SystemTime::now(),
            outgoing,
            bytes: bytes.to_vec(),
            addresses: None,
            protocol: Protocol::NotIp,
            ports: None,
            payload: 0..bytes.len(),
        };
        let sliced = if ethernet {
            SlicedPacket::from_ethernet(bytes)
        } else {
            SlicedPacket::from_ip(bytes)
        };
        let Ok(sliced) = sliced else { return packet };
        let (addresses, number, payload): ((IpAddr, IpAddr), u8, &[u8]) = match &sliced.net {
            Some(NetSlice::Ipv4(ip)) => (
                (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                ip.payload().ip_number.0,
                ip.payload().payload,
            ),
            Some(NetSlice::Ipv6(ip)) => (
                (
                    ip.header().source_addr().into(),
                    ip.header().destination_addr().into(),
                ),
                ip.payload().ip_number.0,
                ip.payload().payload,
            ),
            _ => return packet,
        };
        packet.addresses = Some(addresses);
        packet.protocol = Protocol::Other(number);
        if number == 50 {
            packet.protocol = Protocol::Esp;
        }
        let mut data = payload;
        match &sliced.transport {
            Some(TransportSlice::Tcp(tcp)) => {
                packet.protocol = Protocol::Tcp;
                packet.ports = Some((tcp.source_port(), tcp.destination_port()));
                data = tcp.payload();
            }
            Some(TransportSlice::Udp(udp)) => {
                packet.protocol = Protocol::Udp;
                packet.ports = Some((udp.source_port(), udp.destination_port()));
                data = udp.payload();
            }
            Some(TransportSlice::Icmpv4(_)) => packet.protocol = Protocol::Icmp,
            Some(TransportSlice::Icmpv6(_)) => packet.protocol = Protocol::Icmpv6,
            None => {}
        }
        let start = data.as_ptr().addr() - bytes.as_ptr().addr();
        packet.payload = start..start + data.len();
        packet
    }

    /// Behind the header of TCP or UDP, or else of IP; the whole frame if it is no IP.
    pub fn payload(&self) -> &[u8] {
        &self.bytes[self.payload.clone()]
    }

    pub fn is_from(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.addresses.is_some_and(|(source, _)| source == address)
    }

    pub fn is_to(&self, address: impl Into<IpAddr>) -> bool {
        let address = address.into();
        self.addresses.is_some_and(|(_, to)| to == address)
    }

    /// From one to the other, in either direction.
    pub fn is_between(&self, one: impl Into<IpAddr>, other: impl Into<IpAddr>) -> bool {
        let (one, other) = (one.into(), other.into());
        self.addresses
            .is_some_and(|have| have == (one, other) || have == (other, one))
    }

    /// From or to a port of TCP or UDP.
    pub fn is_port(&self, port: u16) -> bool {
        self.ports
            .is_some_and(|(from, to)| from == port || to == port)
    }

    /// The network identifier and the packet inside, if this is VXLAN by its looks: to UDP port `port`, with a VXLAN header.
    pub fn vxlan(&self, port: u16) -> Option<(u32, Self)> {
        let to_port = self.protocol == Protocol::Udp && self.ports?.1 == port;
        let data = self.payload();
        // "I" is the only flag that may be set.
        if !to_port || data.len() < VXLAN_HEADER || data[..4] != [0x08, 0, 0, 0] {
            return None;
        }
        let id = u32::from_be_bytes([0, data[4], data[5], data[6]]);
        let mut inner = Self::parse(&data[VXLAN_HEADER..], self.outgoing, true);
        inner.at = self.at;
        Some((id, inner))
    }

    /// Whether `text` is in it, wherever: it is not if the packet is encrypted.
    pub fn contains(&self, text: &[u8]) -> bool {
        !text.is_empty() && self.bytes.windows(text.len()).any(|piece| piece == text)
    }
}

/// As one line, like tcpdump's.
impl fmt::Display for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.outgoing { "out " } else { "in  " })?;
        if let Some((from, to)) = self.addresses {
            let (from_port, to_port) = self
                .ports
                .map(|(from, to)| (format!(".{from}"), format!(".{to}")))
                .unwrap_or_default();
            write!(f, "{from}{from_port} > {to}{to_port} ")?;
        }
        write!(
            f,
            "{:?} {} bytes, length {}",
            self.protocol,
            self.bytes.len(),
            self.payload().len()
        )
    }
}

impl fmt::Debug for Packet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn list(packets: &[Packet]) -> String {
    let last = packets.iter().skip(packets.len().saturating_sub(40));
    last.map(Packet::to_string).collect::<Vec<_>>().join("\n")
}

/// Writes packets to a file for Wireshark and tcpdump, in the format pcap.
pub fn save_pcap(packets: &[Packet], path: &Path) -> Result<()> {
    const ETHERNET: u32 = 1;
    let mut file = File::create(path).with_context(|| path.display().to_string())?;
    let header: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 0x0004_0000, ETHERNET];
    for word in header {
        file.write_all(&word.to_ne_bytes())?;
    }
    for packet in packets {
        let at = packet
            .at
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let length = u32::try_from(packet.bytes.len())?;
        let seconds = u32::try_from(at.as_secs())?;
        for word in [seconds, at.subsec_micros(), length, length] {
            file.write_all(&word.to_ne_bytes())?;
        }
        file.write_all(&packet.bytes)?;
    }
    Ok(())
}
