//! The socket of a userspace WireGuard, which also counts what comes from where: gotatun itself does not count empty packets.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use gotatun::packet::{Packet, PacketBufPool};
use gotatun::udp::socket::{UdpSocket, UdpSocketFactory};
use gotatun::udp::{UdpRecv, UdpTransportFactory, UdpTransportFactoryParams};

/// The first byte of a message that begins a handshake.
const INITIATION: u8 = 1;
/// That of one that carries data, or nothing.
const DATA: u8 = 4;
/// Anybody can send from any address: no more than this are remembered.
const SOURCES: usize = 4096;

/// How many messages came from somewhere, whoever sent them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Messages {
    pub(super) initiations: u64,
    pub(super) data: u64,
}

impl Messages {
    /// Those that came since there were so many.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            initiations: self.initiations.saturating_sub(before.initiations),
            data: self.data.saturating_sub(before.data),
        }
    }
}

/// Messages by where they came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<HashMap<SocketAddr, Messages>>>);

impl Heard {
    /// So many came from there.
    pub(super) fn from(&self, source: SocketAddr) -> Messages {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&source).copied().unwrap_or_default()
    }

    fn note<'a>(&self, packets: impl IntoIterator<Item = &'a (Packet, SocketAddr)>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (packet, source) in packets {
            let kind = packet.first();
            if kind != Some(&DATA) && kind != Some(&INITIATION) {
                continue;
            }
            if heard.len() >= SOURCES && !heard.contains_key(source) {
                heard.clear();
            }
            let messages = heard.entry(*source).or_default();
            if kind == Some(&DATA) {
                messages.data += 1;
            } else {
                messages.initiations += 1;
            }
        }
    }
}

/// Makes sockets that count.
pub(super) struct Sockets {
    pub(super) factory: UdpSocketFactory,
    pub(super) heard: Heard,
}

impl UdpTransportFactory for Sockets {
    type Send = UdpSocket;
    type Recv = Listener;

    async fn bind(
        &mut self,
        params: &UdpTransportFactoryParams,
    ) -> io::Result<(UdpSocket, Listener)> {
        let (sender, socket) = self.factory.bind(params).await?;
        let heard = self.heard.clone();
        Ok((sender, Listener { socket, heard }))
    }
}

/// A socket that counts what comes.
pub(super) struct Listener {
    socket: UdpSocket,
    heard: Heard,
}

impl UdpRecv for Listener {
    type RecvManyBuf = <UdpSocket as UdpRecv>::RecvManyBuf;

    async fn recv_from(&mut self, pool: &mut PacketBufPool) -> io::Result<(Packet, SocketAddr)> {
        let received = self.socket.recv_from(pool).await?;
        self.heard.note([&received]);
        Ok(received)
    }

    async fn recv_many_from(
        &mut self,
        buffer: &mut Self::RecvManyBuf,
        pool: &mut PacketBufPool,
        packets: &mut Vec<(Packet, SocketAddr)>,
    ) -> io::Result<()> {
        let before = packets.len();
        self.socket.recv_many_from(buffer, pool, packets).await?;
        self.heard.note(&packets[before..]);
        Ok(())
    }

    fn enable_udp_gro(&self) -> io::Result<()> {
        self.socket.enable_udp_gro()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_counted_by_source_and_strangers_do_not_fill_the_memory() {
        let heard = Heard::default();
        let packet = |kind: u8, source: u32| {
            let source = SocketAddr::from((source.to_be_bytes(), 4500));
            (Packet::copy_from([kind, 0, 0, 0].as_slice()), source)
        };
        heard.note(&[packet(4, 1), packet(4, 1), packet(1, 1), packet(4, 2)]);
        let seen = Messages {
            initiations: 1,
            data: 2,
        };
        assert_eq!(heard.from(packet(4, 1).1), seen);
        assert_eq!(heard.from(packet(4, 3).1), Messages::default());
        for source in 0..100_000 {
            heard.note(&[packet(4, source)]);
        }
        assert!(heard.0.lock().unwrap().len() <= SOURCES);
    }
}
