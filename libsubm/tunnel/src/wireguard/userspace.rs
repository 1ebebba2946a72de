//! WireGuard in this process, by gotatun. It ends with the process, and its device with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use gotatun::device::{Device, DeviceBuilder, Error as Trouble, Peer as Gotatun};
use gotatun::udp::socket::UdpSocketFactory;
use gotatun::x25519;
use ipnet::IpNet;
use ipnetwork::IpNetwork;
use subm_reconcile::Change;
use tokio::sync::watch;

use super::account::{Account, Look};
use super::tun::{Inlet, Outlet};
use super::udp::{Heard, Sockets};
use super::{DEVICE, ObservedPeer, Peer};
use crate::Error;
use crate::connection::Traffic;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// Room for what comes while another thread has the core.
const SOCKET_BUFFER: usize = 4 << 20;
/// A handshake is begun within this, or by the next packet.
const BEGIN: Duration = Duration::from_millis(100);

type Running = Device<(Sockets, Outlet, Inlet)>;

/// A running device.
pub(super) struct Userspace {
    device: Running,
    mtu: watch::Sender<u16>,
    port: u16,
    heard: Heard,
    accounts: BTreeMap<PublicKey, Account>,
}

impl Userspace {
    /// Makes the TUN device and listens.
    pub(super) async fn start(key: &PrivateKey, port: u16, mtu: u16) -> Result<Self, Error> {
        let (outlet, inlet, mtu) =
            super::tun::create(DEVICE, mtu).map_err(|source| Error::Tun {
                device: DEVICE,
                source,
            })?;
        let heard = Heard::default();
        let sockets = Sockets {
            factory: UdpSocketFactory {
                recv_buffer_size: Some(SOCKET_BUFFER),
                send_buffer_size: Some(SOCKET_BUFFER),
            },
            heard: heard.clone(),
        };
        let device = DeviceBuilder::new()
            .with_udp(sockets)
            .with_ip_pair(outlet, inlet)
            .with_private_key(key.secret())
            .build()
            .await
            .map_err(|error| listening(error, port))?;
        // Without peers it would not listen: a port that is new makes it.
        let listens = device.set_listen_port(port).await;
        if let Err(error) = listens {
            device.stop().await;
            return Err(listening(error, port));
        }
        Ok(Self {
            device,
            mtu,
            port,
            heard,
            accounts: BTreeMap::new(),
        })
    }

    /// Whether it still works: its device may have been removed.
    pub(super) fn is_running(&mut self) -> bool {
        self.device.wait().now_or_never().is_none()
    }

    /// Sets key, port and MTU where they are others.
    pub(super) async fn configure(
        &mut self,
        key: &PrivateKey,
        port: u16,
        mtu: u16,
    ) -> Result<(), Error> {
        self.mtu
            .send_if_modified(|old| std::mem::replace(old, mtu) != mtu);
        if port == self.port {
            return Ok(());
        }
        let changed = self.device.write(async |device| {
            device.set_private_key(key.secret()).await;
            device.set_listen_port(port);
        });
        changed.await.map_err(|error| listening(error, port))?;
        self.port = port;
        Ok(())
    }

    pub(super) async fn peers(&mut self, now: Instant) -> BTreeMap<PublicKey, ObservedPeer> {
        let mut observed = BTreeMap::new();
        for seen in self.device.peers().await {
            let key = PublicKey::from_bytes(seen.peer.public_key.to_bytes());
            let source = seen.peer.endpoint;
            let look = Look {
                received: seen.stats.rx_bytes as u64,
                source,
                // After the bytes: what is among those has been heard.
                heard: source
                    .map(|source| self.heard.from(source))
                    .unwrap_or_default(),
                session: seen.stats.last_handshake,
            };
            let account = self.accounts.entry(key).or_default();
            let (handshake, received) = account.observe(look, now);
            let peer = Peer {
                endpoint: seen.peer.endpoint,
                allowed: seen.peer.allowed_ips.iter().filter_map(net).collect(),
                preshared_key: seen.peer.preshared_key.map(PresharedKey::from_bytes),
                keepalive: seen.peer.keepalive.unwrap_or_default(),
            };
            let sent = seen.stats.tx_bytes as u64;
            let traffic = Traffic { received, sent };
            observed.insert(
                key,
                ObservedPeer {
                    peer,
                    handshake,
                    traffic,
                },
            );
        }
        self.accounts.retain(|key, _| observed.contains_key(key));
        observed
    }

    pub(super) async fn apply(&mut self, change: &Change<PublicKey, Peer>) -> Result<(), Error> {
        let key = x25519::PublicKey::from(*change.key().as_bytes());
        let gone = |_| Error::Gone { device: DEVICE };
        match change {
            Change::Delete { .. } => self.device.remove_peer(&key).await.map(|_| ()),
            Change::Create { to, .. } => self.device.add_or_update_peer(peer(key, to)).await,
            Change::Update { from, to, .. } => {
                let changed = self.device.write(async |device| {
                    device
                        .modify_peer(&key, |peer| {
                            if from.endpoint != to.endpoint {
                                peer.set_endpoint(to.endpoint);
                            }
                            if from.preshared_key != to.preshared_key {
                                peer.set_preshared_key(secret(to));
                            }
                            if from.keepalive != to.keepalive {
                                peer.set_keepalive(keepalive(to));
                            }
                            if from.allowed != to.allowed {
                                peer.clear_allowed_ips();
                                peer.add_allowed_ips(to.allowed.iter().map(network));
                            }
                        })
                        .await
                });
                changed.await.map(|_| ())
            }
        }
        .map_err(gone)?;
        let moves = |to: &Peer| {
            let before = change.from().map(|from| from.endpoint);
            to.endpoint.is_some() && before != Some(to.endpoint)
        };
        if change.to().is_some_and(moves) {
            // As the kernel does: do not wait for the first packet. Whether it succeeds is seen later.
            let _ = tokio::time::timeout(BEGIN, self.device.force_handshake(&key)).await;
        }
        Ok(())
    }

    pub(super) async fn stop(self) {
        self.device.stop().await;
    }
}

fn listening(error: Trouble, port: u16) -> Error {
    let source = match error {
        Trouble::Bind(source, _) | Trouble::IoError(source) => source,
        other => std::io::Error::other(other),
    };
    Error::Listen { port, source }
}

fn peer(key: x25519::PublicKey, to: &Peer) -> Gotatun {
    let mut peer = Gotatun::new(key).with_allowed_ips(to.allowed.iter().map(network));
    peer.endpoint = to.endpoint;
    peer.preshared_key = secret(to);
    peer.keepalive = keepalive(to);
    peer
}

fn secret(peer: &Peer) -> Option<[u8; 32]> {
    peer.preshared_key.as_ref().map(|key| *key.as_bytes())
}

fn keepalive(peer: &Peer) -> Option<u16> {
    (peer.keepalive > 0).then_some(peer.keepalive)
}

fn network(net: &IpNet) -> IpNetwork {
    match net {
        IpNet::V4(net) => {
            ipnetwork::Ipv4Network::new_checked(net.network(), net.prefix_len()).map(IpNetwork::V4)
        }
        IpNet::V6(net) => {
            ipnetwork::Ipv6Network::new_checked(net.network(), net.prefix_len()).map(IpNetwork::V6)
        }
    }
    .expect("an IpNet has a prefix length of its family")
}

fn net(network: &IpNetwork) -> Option<IpNet> {
    IpNet::new(network.network(), network.prefix()).ok()
}
