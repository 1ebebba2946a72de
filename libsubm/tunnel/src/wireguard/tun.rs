//! The TUN device of a userspace WireGuard.
//!
//! With segmentation offload: the kernel hands over, and takes, many segments of a TCP connection in one call.

use std::io;
use std::iter::Take;
use std::sync::Arc;
use std::vec::IntoIter;

use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use tokio::sync::{mpsc, watch};
use tun_rs::{AsyncDevice, DeviceBuilder, GROTable, IDEAL_BATCH_SIZE, VIRTIO_NET_HDR_LEN};

use subm_routing::LinkName;

/// The longest IP packet.
const LONGEST: usize = 65_535;
/// Packets that wait to be taken by the kernel.
const WAITING: usize = 1024;

/// Makes a device, which goes when both halves are dropped. The sender is what changes its MTU.
pub(super) fn create(name: LinkName, mtu: u16) -> io::Result<(Outlet, Inlet, watch::Sender<u16>)> {
    let device = DeviceBuilder::new()
        .name(name.as_str())
        .mtu(mtu)
        // Whoever applies the plan puts it up.
        .enable(false)
        .with(|builder| {
            builder.offload(true);
        })
        .build_async()?;
    let device = Arc::new(device);
    let (sender, mtu) = watch::channel(mtu);
    let (queue, packets) = mpsc::channel(WAITING);
    tokio::spawn(write(Arc::clone(&device), packets));
    Ok((Outlet(queue), Inlet::new(device, mtu), sender))
}

/// Where packets from the tunnel go.
#[derive(Clone)]
pub(super) struct Outlet(mpsc::Sender<Packet<Ip>>);

impl IpSend for Outlet {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "the TUN device is gone");
        self.0.send(packet).await.map_err(gone)
    }
}

/// Writes what waits in as few calls as possible.
async fn write(device: Arc<AsyncDevice>, mut packets: mpsc::Receiver<Packet<Ip>>) {
    let mut table = GROTable::default();
    let mut waiting = Vec::with_capacity(IDEAL_BATCH_SIZE);
    let mut buffers: Vec<Vec<u8>> = vec![Vec::new(); IDEAL_BATCH_SIZE];
    loop {
        let count = packets.recv_many(&mut waiting, IDEAL_BATCH_SIZE).await;
        if count == 0 {
            return;
        }
        for (buffer, packet) in buffers.iter_mut().zip(waiting.drain(..)) {
            buffer.clear();
            buffer.resize(VIRTIO_NET_HDR_LEN, 0);
            buffer.extend_from_slice(&packet.into_bytes());
        }
        let sent = device.send_multiple(&mut table, &mut buffers[..count], VIRTIO_NET_HDR_LEN);
        if let Err(error) = sent.await {
            // A device that is down takes nothing; packets are lost as on any wire. One that is gone ends the reader.
            tracing::debug!(%error, "the TUN device did not take a packet");
        }
    }
}

/// Where packets to the tunnel come from.
pub(super) struct Inlet {
    device: Arc<AsyncDevice>,
    mtu: watch::Receiver<u16>,
    raw: Vec<u8>,
    segments: Vec<Vec<u8>>,
    sizes: Vec<usize>,
}

impl Inlet {
    fn new(device: Arc<AsyncDevice>, mtu: watch::Receiver<u16>) -> Self {
        Self {
            device,
            mtu,
            raw: vec![0; VIRTIO_NET_HDR_LEN + LONGEST],
            segments: vec![vec![0; LONGEST]; IDEAL_BATCH_SIZE],
            sizes: vec![0; IDEAL_BATCH_SIZE],
        }
    }
}

impl IpRecv for Inlet {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        let (raw, segments, sizes) = (&mut self.raw, &mut self.segments, &mut self.sizes);
        let count = self.device.recv_multiple(raw, segments, sizes, 0).await?;
        let mut packets = Vec::with_capacity(count);
        for (segment, size) in segments.iter().zip(sizes.iter()).take(count) {
            let mut packet = pool.get();
            packet.buf_mut().clear();
            packet
                .buf_mut()
                .extend_from_slice(segment.get(..*size).unwrap_or_default());
            // What is not IP is not for us, and no reason to end.
            packets.extend(packet.try_into_ip().ok());
        }
        Ok::<Take<IntoIter<_>>, io::Error>(packets.into_iter().take(count))
    }

    fn mtu(&self) -> MtuWatcher {
        self.mtu.clone().into()
    }
}
