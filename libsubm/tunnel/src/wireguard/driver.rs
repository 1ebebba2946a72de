//! The driver: desired peers, the device that has them, and how they are.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Instant;

use subm_reconcile::Change;
use subm_routing::Network;

use super::kernel::Kernel;
use super::{DEVICE, Liveness, ObservedPeer, Peer, peers};
use crate::cable::distinct;
use crate::connection::{Connection, ConnectionStatus};
use crate::driver::{Applied, CableDriver, Capabilities};
use crate::key::{PresharedKey, PrivateKey, PublicKey};
use crate::{Cable, Error, Local, Refusals};

#[cfg(feature = "userspace")]
use super::userspace::Userspace;

/// What runs WireGuard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Implementation {
    /// The kernel if it has WireGuard, else this process.
    #[default]
    Auto,
    /// The kernel.
    Kernel,
    /// This process, by gotatun (feature `userspace`). The tunnel ends with it.
    Userspace,
}

/// What a [`WireGuard`] needs to know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// This gateway's key.
    pub private_key: PrivateKey,
    /// The cluster set's.
    pub preshared_key: PresharedKey,
    /// What runs it.
    pub implementation: Implementation,
}

impl Settings {
    /// With the implementation that is there.
    pub fn new(private_key: PrivateKey, preshared_key: PresharedKey) -> Self {
        Self {
            private_key,
            preshared_key,
            implementation: Implementation::Auto,
        }
    }

    /// With this one.
    #[must_use]
    pub fn implementation(mut self, implementation: Implementation) -> Self {
        self.implementation = implementation;
        self
    }
}

/// The driver of WireGuard cables.
///
/// It works in the network namespace of the thread that calls [`WireGuard::open`] and [`CableDriver::prepare`].
pub struct WireGuard {
    settings: Settings,
    backend: Backend,
    /// As of the last `ensure`.
    cables: Vec<Cable>,
    refusals: Refusals,
    /// Where each peer was last told to be.
    told: BTreeMap<PublicKey, SocketAddr>,
    liveness: BTreeMap<PublicKey, Liveness>,
    /// Peers whose last change failed.
    failed: BTreeSet<PublicKey>,
}

enum Backend {
    Kernel(Kernel),
    #[cfg(feature = "userspace")]
    Userspace(Option<Userspace>),
}

impl WireGuard {
    /// Finds out what is there; nothing is made yet.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        let backend = choose(settings.implementation).await?;
        let driver = Self {
            settings,
            backend,
            cables: Vec::new(),
            refusals: Refusals::new(),
            told: BTreeMap::new(),
            liveness: BTreeMap::new(),
            failed: BTreeSet::new(),
        };
        let implementation = driver.capabilities().implementation;
        tracing::info!(implementation, "WireGuard");
        Ok(driver)
    }

    fn is_userspace(&self) -> bool {
        match self.backend {
            Backend::Kernel(_) => false,
            #[cfg(feature = "userspace")]
            Backend::Userspace(_) => true,
        }
    }

    async fn peers(&mut self, now: Instant) -> Result<BTreeMap<PublicKey, ObservedPeer>, Error> {
        #[cfg(not(feature = "userspace"))]
        let _ = now;
        match &mut self.backend {
            Backend::Kernel(kernel) => kernel.peers().await,
            #[cfg(feature = "userspace")]
            Backend::Userspace(device) => Ok(running(device)?.peers(now).await),
        }
    }

    async fn configure(&mut self, local: &Local) -> Result<(), Error> {
        let (key, port) = (&self.settings.private_key, local.port);
        match &mut self.backend {
            Backend::Kernel(kernel) => kernel.configure(key, port).await,
            #[cfg(feature = "userspace")]
            Backend::Userspace(device) => running(device)?.configure(key, port, mtu(local)).await,
        }
    }

    async fn apply(&mut self, change: &Change<PublicKey, Peer>) -> Result<(), Error> {
        match &mut self.backend {
            Backend::Kernel(kernel) => kernel.apply(change).await,
            #[cfg(feature = "userspace")]
            Backend::Userspace(device) => running(device)?.apply(change).await,
        }
    }

    /// What is known of a cable that is not refused.
    fn look(
        &mut self,
        cable: &Cable,
        peers: &BTreeMap<PublicKey, ObservedPeer>,
        now: Instant,
    ) -> Connection {
        let Some((key, seen)) = cable
            .public_key
            .and_then(|key| Some((key, peers.get(&key)?)))
        else {
            let message = "its peer is not set up yet";
            return Connection::new(cable, ConnectionStatus::Connecting, message);
        };
        let liveness = self
            .liveness
            .entry(key)
            .or_insert_with(|| Liveness::new(seen.traffic, now));
        let (status, message) = liveness.observe(seen.handshake, seen.traffic, now);
        let mut connection = Connection::new(cable, status, message);
        connection.traffic = Some(seen.traffic);
        connection.handshake = seen.handshake;
        connection
    }
}

impl CableDriver for WireGuard {
    fn capabilities(&self) -> Capabilities {
        let implementation = if self.is_userspace() {
            "userspace (gotatun)"
        } else {
            "kernel"
        };
        Capabilities {
            name: "wireguard",
            implementation,
            device: DEVICE,
            encrypts: true,
            nat: true,
            routes: false,
            sees_traffic: true,
        }
    }

    fn backend_config(&self, local: &Local) -> BTreeMap<String, String> {
        [
            ("interface-name", DEVICE.to_string()),
            ("publicKey", self.settings.private_key.public().to_string()),
            ("udp-port", local.port.to_string()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into()
    }

    fn plan(&self, local: &Local, cables: &[Cable]) -> (Network, Refusals) {
        let own = self.settings.private_key.public();
        let (_, refusals) = peers::desired(own, &self.settings.preshared_key, cables);
        (super::plan(local, self.is_userspace()), refusals)
    }

    async fn prepare(&mut self, local: &Local) -> Result<(), Error> {
        match &mut self.backend {
            Backend::Kernel(_) => {}
            #[cfg(feature = "userspace")]
            Backend::Userspace(device) => {
                if device.as_mut().is_some_and(Userspace::is_running) {
                    return Ok(());
                }
                if let Some(ended) = device.take() {
                    tracing::warn!(device = %DEVICE, "WireGuard's device was removed; it is made anew");
                    ended.stop().await;
                }
                let key = &self.settings.private_key;
                *device = Some(Userspace::start(key, local.port, mtu(local)).await?);
                self.told.clear();
                self.liveness.clear();
            }
        }
        let _ = local;
        Ok(())
    }

    async fn ensure(&mut self, local: &Local, cables: &[Cable]) -> Result<Applied, Error> {
        let own = self.settings.private_key.public();
        let (desired, refusals) = peers::desired(own, &self.settings.preshared_key, cables);
        self.cables = distinct(cables).cloned().collect();
        self.refusals = refusals;
        self.configure(local).await?;
        let mut observed = self.peers(Instant::now()).await?;
        for key in std::mem::take(&mut self.failed) {
            // Where it says it is counts for nothing.
            if let Some(seen) = observed.get_mut(&key) {
                seen.handshake = None;
            }
        }
        let plan = peers::diff(&desired, &observed, &self.told);
        // From now on another endpoint than this one is news.
        self.told = desired
            .iter()
            .filter_map(|(key, peer)| Some((*key, peer.endpoint?)))
            .collect();
        self.liveness.retain(|key, _| desired.contains_key(key));
        let mut applied = Applied::default();
        for change in &plan {
            if change.from().is_none() {
                self.liveness.remove(change.key());
            }
            let words = change.to_string();
            match self.apply(change).await {
                Ok(()) => applied.changes.push(words),
                Err(error) => {
                    let cause = std::error::Error::source(&error);
                    let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                    applied.troubles.push(format!("{words}: {error}{cause}"));
                    // Whatever it is now: it is to be told again.
                    self.failed.insert(*change.key());
                }
            }
        }
        Ok(applied)
    }

    async fn observe(&mut self, now: Instant) -> Result<Vec<Connection>, Error> {
        let peers = self.peers(now).await?;
        let cables = std::mem::take(&mut self.cables);
        let connections = cables
            .iter()
            .map(|cable| match self.refusals.get(&cable.name) {
                Some(refusal) => {
                    Connection::new(cable, ConnectionStatus::Error, refusal.to_string())
                }
                None => self.look(cable, &peers, now),
            })
            .collect();
        self.cables = cables;
        Ok(connections)
    }

    async fn teardown(&mut self) -> Result<(), Error> {
        self.cables.clear();
        self.refusals.clear();
        self.told.clear();
        self.liveness.clear();
        match &mut self.backend {
            Backend::Kernel(_) => {}
            #[cfg(feature = "userspace")]
            Backend::Userspace(device) => {
                if let Some(device) = device.take() {
                    device.stop().await;
                }
            }
        }
        Ok(())
    }
}

impl std::fmt::Debug for WireGuard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WireGuard")
            .field("settings", &self.settings)
            .field("cables", &self.cables)
            .finish_non_exhaustive()
    }
}

async fn choose(implementation: Implementation) -> Result<Backend, Error> {
    #[cfg(feature = "userspace")]
    if implementation == Implementation::Userspace {
        return Ok(Backend::Userspace(None));
    }
    match Kernel::open().await {
        Ok(kernel) if implementation != Implementation::Userspace => Ok(Backend::Kernel(kernel)),
        #[cfg(feature = "userspace")]
        Err(Error::NoKernelWireGuard) if implementation == Implementation::Auto => {
            tracing::warn!(
                "this kernel has no WireGuard; this process runs it (gotatun), which takes more CPU time"
            );
            Ok(Backend::Userspace(None))
        }
        Err(error) if implementation == Implementation::Kernel => Err(error),
        Err(Error::NoKernelWireGuard) | Ok(_) => Err(Error::NoUserspaceWireGuard),
        Err(error) => Err(error),
    }
}

#[cfg(feature = "userspace")]
fn running(device: &mut Option<Userspace>) -> Result<&mut Userspace, Error> {
    device
        .as_mut()
        .and_then(|running| running.is_running().then_some(running))
        .ok_or(Error::Gone { device: DEVICE })
}

#[cfg(feature = "userspace")]
fn mtu(local: &Local) -> u16 {
    u16::try_from(local.mtu.saturating_sub(super::OVERHEAD)).unwrap_or(u16::MAX)
}

#[cfg(all(test, feature = "userspace"))]
mod tests;
