//! The peers of the device: what they should be, what they are, and what differs.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ipnet::IpNet;
use subm_reconcile::Plan;

use super::{KEEPALIVE, SESSION_LIMIT};
use crate::cable::distinct;
use crate::connection::Traffic;
use crate::key::{PresharedKey, PublicKey};
use crate::refusal::{clash, take};
use crate::{Cable, Claims, Refusal, Refusals};

/// What a peer of the device is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Where it is sent to.
    pub(super) endpoint: Option<SocketAddr>,
    /// What is sent to it, and accepted from it.
    pub(super) allowed: BTreeSet<IpNet>,
    /// The cluster set's shared key.
    pub(super) preshared_key: Option<PresharedKey>,
    /// In seconds; 0 for none.
    pub(super) keepalive: u16,
}

/// A peer as the device has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ObservedPeer {
    /// What it is set to; the endpoint is where it was last heard from.
    pub(super) peer: Peer,
    /// How long ago the latest handshake was.
    pub(super) handshake: Option<Duration>,
    /// What went through.
    pub(super) traffic: Traffic,
}

/// `publicKey` of a gateway.
impl subm_reconcile::Key for PublicKey {}

/// The peers for all cables, and the cables that cannot be. `own` is the key of this gateway.
pub(super) fn desired(
    own: PublicKey,
    preshared_key: &PresharedKey,
    cables: &[Cable],
) -> (BTreeMap<PublicKey, Peer>, Refusals) {
    let mut peers = BTreeMap::new();
    let mut refusals = Refusals::new();
    let mut claims = Claims::default();
    let mut keys = BTreeMap::from([(own, "this gateway")]);
    for cable in distinct(cables) {
        let refusal = match cable.public_key {
            None => Some(Refusal::NoKey("wireguard")),
            Some(key) => match keys.get(&key) {
                Some(of) => Some(Refusal::SameKey {
                    key,
                    of: (*of).to_owned(),
                }),
                None => clash(&claims, &cable.subnets),
            },
        };
        match (cable.public_key, refusal) {
            (Some(key), None) => {
                keys.insert(key, &cable.name);
                take(&mut claims, cable);
                let peer = Peer {
                    endpoint: Some(cable.endpoint()),
                    allowed: cable.subnets.clone(),
                    preshared_key: Some(preshared_key.clone()),
                    keepalive: KEEPALIVE,
                };
                peers.insert(key, peer);
            }
            (_, refusal) => {
                refusals.extend(refusal.map(|refusal| (cable.name.clone(), refusal)));
            }
        }
    }
    (peers, refusals)
}

/// What differs. A peer's endpoint that is another one than desired is left alone while the peer is alive there, unless `told`, where it
/// was last told to be, is another one too.
pub(super) fn diff(
    desired: &BTreeMap<PublicKey, Peer>,
    observed: &BTreeMap<PublicKey, ObservedPeer>,
    told: &BTreeMap<PublicKey, SocketAddr>,
) -> Plan<PublicKey, Peer> {
    let seen = observed
        .iter()
        .map(|(key, seen)| {
            let mut peer = seen.peer.clone();
            if let Some(wanted) = desired.get(key) {
                let news = told
                    .get(key)
                    .is_some_and(|told| Some(*told) != wanted.endpoint);
                let alive = seen.handshake.is_some_and(|age| age < SESSION_LIMIT);
                if alive && !news && peer.endpoint.is_some() {
                    peer.endpoint = wanted.endpoint;
                }
            }
            (*key, peer)
        })
        .collect();
    subm_reconcile::diff(desired, &seen)
}

#[cfg(test)]
mod tests;
