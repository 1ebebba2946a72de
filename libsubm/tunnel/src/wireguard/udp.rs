//! The socket of a userspace WireGuard, which also counts from where data comes: gotatun itself does not count empty packets.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use gotatun::packet::{Packet, PacketBufPool};
use gotatun::udp::socket::{UdpSocket, UdpSocketFactory};
use gotatun::udp::{UdpRecv, UdpTransportFactory, UdpTransportFactoryParams};

/// The first byte of a message that carries data, or nothing.
const DATA: u8 = 4;
/// Anybody can send from any address: no more than this are remembered.
const SOURCES: usize = 4096;

/// Data messages by where they came from.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<Mutex<HashMap<SocketAddr, u64>>>);

impl Heard {
    /// So many came from there.
    pub(super) fn from(&self, source: SocketAddr) -> u64 {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.get(&source).copied().unwrap_or_default()
    }

    fn note<'a>(&self, packets: impl IntoIterator<Item = &'a (Packet, SocketAddr)>) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (packet, source) in packets {
            if packet.first() != Some(&DATA) {
                continue;
            }
            if heard.len() >= SOURCES && !heard.contains_key(source) {
                heard.clear();
            }
            *heard.entry(*source).or_default() += 1;
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
        assert_eq!(heard.from(packet(4, 1).1), 2);
        assert_eq!(heard.from(packet(4, 3).1), 0);
        for source in 0..100_000 {
            heard.note(&[packet(4, source)]);
        }
        assert!(heard.0.lock().unwrap().len() <= SOURCES);
    }
}
