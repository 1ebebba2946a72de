use proptest::prelude::*;
use subm_reconcile::Change;

use super::*;
use crate::key::PrivateKey;

const OLD: Duration = Duration::from_secs(1_000);
const YOUNG: Duration = Duration::from_secs(1);

fn key(n: u8) -> PublicKey {
    PublicKey::from_bytes([n; 32])
}

fn secret() -> PresharedKey {
    PresharedKey::from_text("the cluster set's").unwrap()
}

fn cable(n: u8, subnets: &[&str]) -> Cable {
    Cable::new(
        format!("cable-c{n}"),
        format!("c{n}"),
        [172, 31, n, 11].into(),
        4500,
    )
    .public_key(key(n))
    .subnets(subnets.iter().map(|net| net.parse().unwrap()))
}

fn wanted(cables: &[Cable]) -> (BTreeMap<PublicKey, Peer>, Refusals) {
    desired(key(100), &secret(), cables)
}

/// A device as it would be.
#[derive(Clone, Debug, Default)]
struct Device(BTreeMap<PublicKey, ObservedPeer>);

impl Device {
    fn apply(&mut self, plan: &Plan<PublicKey, Peer>) {
        for change in plan {
            match change {
                Change::Delete { key, .. } => {
                    self.0.remove(key);
                }
                Change::Create { key, to } | Change::Update { key, to, .. } => {
                    // A subnet has one peer: the last one that was given it.
                    for (other, seen) in &mut self.0 {
                        if other != key {
                            seen.peer.allowed.retain(|net| !to.allowed.contains(net));
                        }
                    }
                    let seen = self.0.entry(*key).or_insert_with(|| ObservedPeer {
                        peer: to.clone(),
                        handshake: None,
                        traffic: Traffic::default(),
                    });
                    seen.peer = to.clone();
                }
            }
        }
    }

    fn peers(&self) -> BTreeMap<PublicKey, Peer> {
        self.0
            .iter()
            .map(|(key, seen)| (*key, seen.peer.clone()))
            .collect()
    }
}

fn told(desired: &BTreeMap<PublicKey, Peer>) -> BTreeMap<PublicKey, SocketAddr> {
    desired
        .iter()
        .filter_map(|(key, peer)| Some((*key, peer.endpoint?)))
        .collect()
}

#[test]
fn a_peer_is_submariners() {
    let (peers, refusals) = wanted(&[cable(2, &["10.9.0.0/16", "10.99.0.0/16", "fd09::/48"])]);
    assert!(refusals.is_empty());
    let peer = &peers[&key(2)];
    assert_eq!(peer.endpoint, "172.31.2.11:4500".parse().ok());
    assert_eq!(peer.keepalive, 10);
    assert_eq!(peer.allowed.len(), 3);
    assert_eq!(peer.preshared_key, Some(secret()));
}

#[test]
fn a_subnet_that_another_has_is_refused() {
    let cables = [
        cable(2, &["10.9.0.0/16"]),
        cable(3, &["10.10.0.0/16", "10.9.4.0/24"]),
        cable(4, &["10.11.0.0/16"]),
    ];
    let (peers, refusals) = wanted(&cables);
    assert_eq!(peers.keys().collect::<Vec<_>>(), [&key(2), &key(4)]);
    assert_eq!(
        refusals["cable-c3"].to_string(),
        "its subnet 10.9.4.0/24 is reached by cable-c2 already"
    );
}

#[test]
fn keys_that_are_missing_or_taken_are_refused() {
    let mut bare = cable(2, &["10.9.0.0/16"]);
    bare.public_key = None;
    let cables = [
        bare,
        cable(3, &[]),
        cable(4, &[]).public_key(key(3)),
        cable(5, &[]).public_key(key(100)),
    ];
    let (peers, refusals) = wanted(&cables);
    assert_eq!(peers.len(), 1);
    assert!(matches!(refusals["cable-c2"], Refusal::NoKey(_)));
    assert!(
        refusals["cable-c4"]
            .to_string()
            .ends_with("is that of cable-c3")
    );
    assert!(
        refusals["cable-c5"]
            .to_string()
            .ends_with("is that of this gateway")
    );
}

/// Defect 8: a change of subnets is a change.
#[test]
fn d8_other_subnets_change_that_peer_only() {
    let (before, _) = wanted(&[cable(2, &["10.9.0.0/16"]), cable(3, &["10.10.0.0/16"])]);
    let mut device = Device::default();
    device.apply(&diff(&before, &device.0, &BTreeMap::new()));
    let (after, _) = wanted(&[
        cable(2, &["10.9.0.0/16", "10.12.0.0/16"]),
        cable(3, &["10.10.0.0/16"]),
    ]);
    let plan = diff(&after, &device.0, &told(&before));
    let changes: Vec<_> = plan.iter().collect();
    assert!(
        matches!(changes[..], [Change::Update { key: k, .. }] if *k == key(2)),
        "{changes:?}"
    );
}

/// Defect 17: an endpoint that changes under the same key is a change.
#[test]
fn d17_another_endpoint_of_the_same_key_is_told_even_if_the_peer_is_alive() {
    let (before, _) = wanted(&[cable(2, &["10.9.0.0/16"]), cable(3, &["10.10.0.0/16"])]);
    let mut device = Device::default();
    device.apply(&diff(&before, &device.0, &BTreeMap::new()));
    for seen in device.0.values_mut() {
        seen.handshake = Some(YOUNG);
    }
    for moved in [
        cable(2, &["10.9.0.0/16"]).using([198, 51, 100, 1].into(), true),
        Cable {
            port: 4501,
            ..cable(2, &["10.9.0.0/16"])
        },
    ] {
        let endpoint = moved.endpoint();
        let (after, _) = wanted(&[moved, cable(3, &["10.10.0.0/16"])]);
        let plan = diff(&after, &device.0, &told(&before));
        assert_eq!(plan.len(), 1);
        let change = plan.iter().next().unwrap();
        assert_eq!(change.to().unwrap().endpoint, Some(endpoint));
    }
}

#[test]
fn a_peer_that_moved_is_followed_while_it_is_alive() {
    let (peers, _) = wanted(&[cable(2, &["10.9.0.0/16"])]);
    let mut device = Device::default();
    device.apply(&diff(&peers, &device.0, &BTreeMap::new()));
    let seen = device.0.get_mut(&key(2)).unwrap();
    seen.peer.endpoint = "198.51.100.1:61234".parse().ok();
    for (age, known, changes) in [
        (Some(YOUNG), true, 0),
        (Some(YOUNG), false, 0),
        (Some(OLD), true, 1),
        (None, true, 1),
    ] {
        device.0.get_mut(&key(2)).unwrap().handshake = age;
        let told = if known { told(&peers) } else { BTreeMap::new() };
        assert_eq!(
            diff(&peers, &device.0, &told).len(),
            changes,
            "{age:?} {known}"
        );
    }
}

#[test]
fn a_new_key_is_made_before_the_old_one_goes() {
    let (before, _) = wanted(&[cable(2, &["10.9.0.0/16"])]);
    let mut device = Device::default();
    device.apply(&diff(&before, &device.0, &BTreeMap::new()));
    let fresh = PrivateKey::generate().public();
    let (after, _) = wanted(&[cable(2, &["10.9.0.0/16"]).public_key(fresh)]);
    let plan = diff(&after, &device.0, &told(&before));
    assert!(!plan.iter().next().unwrap().is_delete());
    device.apply(&plan);
    assert_eq!(device.peers(), after);
}

prop_compose! {
    fn any_cable()(n in 2_u8..7, key_of in 2_u8..8, port in 4500_u16..4503, nets in prop::collection::btree_set(0_u8..12, 0..4), v6: bool) -> Cable {
        let mut cable = Cable { port, ..cable(n, &[]) }.public_key(key(key_of));
        cable.name = format!("cable-c{n}-{key_of}-{port}");
        cable.subnets(nets.into_iter().map(|net| {
            let text = if v6 { format!("fd00:{net}::/32") } else { format!("10.{}.0.0/{}", net, if net % 3 == 0 { 15 } else { 16 }) };
            text.parse().unwrap()
        }))
    }
}

proptest! {
    /// Any course of wishes leaves the device as the last one alone would have; then there is nothing to do.
    #[test]
    fn any_sequence_is_the_last_one(wishes in prop::collection::vec(prop::collection::vec(any_cable(), 0..6), 1..6)) {
        let mut device = Device::default();
        let mut said = BTreeMap::new();
        let mut last = BTreeMap::new();
        for wish in &wishes {
            (last, _) = wanted(wish);
            device.apply(&diff(&last, &device.0, &said));
            said = told(&last);
            for seen in device.0.values_mut() {
                seen.handshake = Some(YOUNG);
            }
        }
        prop_assert_eq!(&device.peers(), &last);
        prop_assert!(diff(&last, &device.0, &said).is_empty());
    }

    /// Every cable is a peer or refused, and none of what is made overlaps.
    #[test]
    fn no_cable_is_lost(cables in prop::collection::vec(any_cable(), 0..10)) {
        let mut cables = cables;
        let mut names = BTreeSet::new();
        cables.retain(|cable| names.insert(cable.name.clone()));
        let (peers, refusals) = wanted(&cables);
        prop_assert_eq!(peers.len() + refusals.len(), cables.len());
        // Of one peer they may.
        let all: Vec<_> = peers.iter().flat_map(|(key, peer)| peer.allowed.iter().map(move |net| (key, net))).collect();
        for (at, (key, one)) in all.iter().enumerate() {
            for (_, other) in all[at + 1..].iter().filter(|(other, _)| other != key) {
                prop_assert!(!one.contains(*other) && !other.contains(*one), "{one} {other}");
            }
        }
    }
}
