//! The kernel's WireGuard: what to say to it, and what it says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use ipnet::IpNet;
use netlink_packet_wireguard::{
    WireguardAddressFamily, WireguardAllowedIp, WireguardAllowedIpAttr, WireguardAttribute,
    WireguardCmd, WireguardMessage, WireguardPeer, WireguardPeerAttribute, WireguardPeerFlags,
    WireguardTimeSpec,
};
use subm_reconcile::Change;
use zeroize::Zeroize as _;

use super::genl::Connection;
use super::{DEVICE, ObservedPeer, Peer};
use crate::Error;
use crate::connection::Traffic;
use crate::key::{PresharedKey, PrivateKey, PublicKey};

/// So many subnets fit into one message: an attribute is at most 64 KiB, an IPv6 subnet 40 bytes.
const SUBNETS: usize = 1000;

/// The device in the kernel. It is made and removed by who applies the plan.
pub(super) struct Kernel(Connection);

/// What the kernel says of the device.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    key: Option<PublicKey>,
    port: u16,
    peers: BTreeMap<PublicKey, ObservedPeer>,
}

impl Kernel {
    pub(super) async fn open() -> Result<Self, Error> {
        Connection::open().await.map(Self)
    }

    /// Sets key and port where they are others.
    pub(super) async fn configure(&mut self, key: &PrivateKey, port: u16) -> Result<(), Error> {
        let seen = self.look().await?;
        let mut attributes = Vec::new();
        if seen.key != Some(key.public()) {
            attributes.push(WireguardAttribute::PrivateKey(*key.to_bytes()));
        }
        if seen.port != port {
            attributes.push(WireguardAttribute::ListenPort(port));
        }
        if attributes.is_empty() {
            return Ok(());
        }
        self.set(attributes).await
    }

    pub(super) async fn peers(&mut self) -> Result<BTreeMap<PublicKey, ObservedPeer>, Error> {
        Ok(self.look().await?.peers)
    }

    pub(super) async fn apply(&mut self, change: &Change<PublicKey, Peer>) -> Result<(), Error> {
        for attributes in messages(change) {
            self.set(vec![attributes]).await?;
        }
        Ok(())
    }

    async fn look(&mut self) -> Result<Seen, Error> {
        let parts = self
            .0
            .get(message(WireguardCmd::GetDevice, Vec::new()))
            .await;
        Ok(seen(parts.map_err(refused)?, SystemTime::now()))
    }

    async fn set(&mut self, attributes: Vec<WireguardAttribute>) -> Result<(), Error> {
        let message = message(WireguardCmd::SetDevice, attributes);
        self.0.set(message).await.map_err(refused)
    }
}

fn refused(error: Error) -> Error {
    match error {
        Error::Netlink(source) if source.raw_os_error().is_some() => Error::Refused {
            device: DEVICE,
            source,
        },
        error => error,
    }
}

fn message(cmd: WireguardCmd, attributes: Vec<WireguardAttribute>) -> WireguardMessage {
    let mut all = vec![WireguardAttribute::IfName(DEVICE.as_str().to_owned())];
    all.extend(attributes);
    WireguardMessage {
        cmd,
        attributes: all,
    }
}

/// What to say for a change of one peer. Only what changes is said: to set an endpoint is to send there.
fn messages(change: &Change<PublicKey, Peer>) -> Vec<WireguardAttribute> {
    use WireguardPeerAttribute as Attribute;
    let key = Attribute::PublicKey(*change.key().as_bytes());
    let Some(to) = change.to() else {
        let remove = Attribute::Flags(WireguardPeerFlags::RemoveMe);
        return vec![peers([key, remove])];
    };
    let from = change.from();
    let differs = |of: fn(&Peer, &Peer) -> bool| from.is_none_or(|from| of(from, to));
    let mut attributes = vec![key.clone()];
    if differs(|from, to| from.preshared_key != to.preshared_key) {
        let secret = to.preshared_key.as_ref().map(PresharedKey::as_bytes);
        attributes.push(Attribute::PresharedKey(secret.copied().unwrap_or_default()));
    }
    if let Some(endpoint) = to.endpoint
        && differs(|from, to| from.endpoint != to.endpoint)
    {
        attributes.push(Attribute::Endpoint(endpoint));
    }
    if differs(|from, to| from.keepalive != to.keepalive) {
        attributes.push(Attribute::PersistentKeepalive(to.keepalive));
    }
    if !differs(|from, to| from.allowed != to.allowed) {
        return vec![peers(attributes)];
    }
    // To replace is to be without any for a moment.
    let before = from
        .map(|from| &from.allowed)
        .filter(|before| before.is_subset(&to.allowed));
    let new = |subnet: &&IpNet| before.is_none_or(|before| !before.contains(*subnet));
    let subnets: Vec<_> = to.allowed.iter().filter(new).map(allowed).collect();
    let mut chunks = subnets.chunks(SUBNETS);
    if before.is_none() {
        attributes.push(Attribute::Flags(WireguardPeerFlags::ReplaceAllowedIps));
    }
    attributes.push(Attribute::AllowedIps(
        chunks.next().unwrap_or_default().to_vec(),
    ));
    let more = chunks.map(|chunk| peers([key.clone(), Attribute::AllowedIps(chunk.to_vec())]));
    std::iter::once(peers(attributes)).chain(more).collect()
}

fn peers(attributes: impl Into<Vec<WireguardPeerAttribute>>) -> WireguardAttribute {
    WireguardAttribute::Peers(vec![WireguardPeer(attributes.into())])
}

fn allowed(subnet: &IpNet) -> WireguardAllowedIp {
    let family = match subnet {
        IpNet::V4(_) => WireguardAddressFamily::Ipv4,
        IpNet::V6(_) => WireguardAddressFamily::Ipv6,
    };
    WireguardAllowedIp(vec![
        WireguardAllowedIpAttr::Family(family),
        WireguardAllowedIpAttr::IpAddr(subnet.network()),
        WireguardAllowedIpAttr::Cidr(subnet.prefix_len()),
    ])
}

/// Puts the parts of a list together: a peer with many subnets is in several.
fn seen(parts: Vec<WireguardMessage>, now: SystemTime) -> Seen {
    let mut seen = Seen::default();
    for attribute in parts.into_iter().flat_map(|part| part.attributes) {
        match attribute {
            WireguardAttribute::PublicKey(key) if key != [0; 32] => {
                seen.key = Some(PublicKey::from_bytes(key));
            }
            WireguardAttribute::PrivateKey(mut key) => key.zeroize(),
            WireguardAttribute::ListenPort(port) => seen.port = port,
            WireguardAttribute::Peers(peers) => {
                for peer in peers {
                    add(&mut seen.peers, peer, now);
                }
            }
            _ => {}
        }
    }
    seen
}

fn add(peers: &mut BTreeMap<PublicKey, ObservedPeer>, peer: WireguardPeer, now: SystemTime) {
    use WireguardPeerAttribute as Attribute;
    let key = peer.iter().find_map(|attribute| match attribute {
        Attribute::PublicKey(key) => Some(PublicKey::from_bytes(*key)),
        _ => None,
    });
    let Some(key) = key else { return };
    let seen = peers.entry(key).or_insert_with(|| ObservedPeer {
        peer: Peer {
            endpoint: None,
            allowed: BTreeSet::new(),
            preshared_key: None,
            keepalive: 0,
        },
        handshake: None,
        traffic: Traffic::default(),
    });
    for attribute in peer.0 {
        match attribute {
            Attribute::PresharedKey(mut secret) => {
                if secret != [0; 32] {
                    seen.peer.preshared_key = Some(PresharedKey::from_bytes(secret));
                }
                secret.zeroize();
            }
            Attribute::Endpoint(endpoint) => seen.peer.endpoint = Some(endpoint),
            Attribute::PersistentKeepalive(seconds) => seen.peer.keepalive = seconds,
            Attribute::LastHandshake(time) => seen.handshake = age(time, now),
            Attribute::RxBytes(bytes) => seen.traffic.received = bytes,
            Attribute::TxBytes(bytes) => seen.traffic.sent = bytes,
            Attribute::AllowedIps(subnets) => {
                seen.peer.allowed.extend(subnets.iter().filter_map(subnet));
            }
            _ => {}
        }
    }
}

/// The kernel says when, by the clock on the wall; a clock that was set meanwhile is believed.
fn age(time: WireguardTimeSpec, now: SystemTime) -> Option<Duration> {
    if time == WireguardTimeSpec::default() {
        return None;
    }
    let seconds = Duration::from_secs(u64::try_from(time.seconds).ok()?);
    let nanos = Duration::from_nanos(u64::try_from(time.nano_seconds).ok()?);
    let when = SystemTime::UNIX_EPOCH
        .checked_add(seconds)?
        .checked_add(nanos)?;
    Some(now.duration_since(when).unwrap_or_default())
}

fn subnet(attributes: &WireguardAllowedIp) -> Option<IpNet> {
    let (mut address, mut length): (Option<IpAddr>, Option<u8>) = (None, None);
    for attribute in &attributes.0 {
        match attribute {
            WireguardAllowedIpAttr::IpAddr(ip) => address = Some(*ip),
            WireguardAllowedIpAttr::Cidr(bits) => length = Some(*bits),
            _ => {}
        }
    }
    IpNet::new(address?, length?).ok()
}

#[cfg(test)]
mod tests;
