//! The TUN device of a userspace WireGuard.
//!
//! Segmentation offload was tried and left out: it saved less than a twentieth of the CPU time, as packets come out of the tunnel one
//! by one.

use std::io;
use std::iter;
use std::sync::Arc;

use gotatun::packet::{Ip, Packet, PacketBufPool};
use gotatun::tun::{IpRecv, IpSend, MtuWatcher};
use subm_routing::LinkName;
use tokio::sync::watch;
use tun_rs::{AsyncDevice, DeviceBuilder};

/// The longest IP packet.
const LONGEST: usize = 65_535;

/// Makes a device, which goes when both halves are dropped. The sender is what changes its MTU.
pub(super) fn create(name: LinkName, mtu: u16) -> io::Result<(Outlet, Inlet, watch::Sender<u16>)> {
    let device = DeviceBuilder::new()
        .name(name.as_str())
        .mtu(mtu)
        // Whoever applies the plan puts it up.
        .enable(false)
        .build_async()?;
    let device = Arc::new(device);
    let (sender, mtu) = watch::channel(mtu);
    let inlet = Inlet {
        device: Arc::clone(&device),
        mtu,
        buffer: vec![0; LONGEST],
    };
    Ok((Outlet(device), inlet, sender))
}

/// Where packets from the tunnel go.
#[derive(Clone)]
pub(super) struct Outlet(Arc<AsyncDevice>);

impl IpSend for Outlet {
    async fn send(&mut self, packet: Packet<Ip>) -> io::Result<()> {
        if let Err(error) = self.0.send(&packet.into_bytes()).await {
            // A device that is down takes nothing; packets are lost as on any wire. One that is gone ends the reader.
            tracing::debug!(%error, "the TUN device did not take a packet");
        }
        Ok(())
    }
}

/// Where packets to the tunnel come from.
pub(super) struct Inlet {
    device: Arc<AsyncDevice>,
    mtu: watch::Receiver<u16>,
    buffer: Vec<u8>,
}

impl IpRecv for Inlet {
    async fn recv<'a>(
        &'a mut self,
        pool: &mut PacketBufPool,
    ) -> io::Result<impl Iterator<Item = Packet<Ip>> + Send + 'a> {
        loop {
            let length = self.device.recv(&mut self.buffer).await?;
            let mut packet = pool.get();
            // Buffers of the pool are shorter than the longest packet, and grow.
            packet.buf_mut().clear();
            packet.buf_mut().extend_from_slice(&self.buffer[..length]);
            // What is not IP is not for us, and no reason to end.
            if let Ok(packet) = packet.try_into_ip() {
                return Ok(iter::once(packet));
            }
        }
    }

    fn mtu(&self) -> MtuWatcher {
        self.mtu.clone().into()
    }
}
