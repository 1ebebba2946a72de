use netlink_packet_core::NLM_F_ACK;
use netlink_packet_generic::GenlMessage;

use super::super::genl::encode;
use super::*;

fn peer(subnets: &[&str]) -> Peer {
    Peer {
        endpoint: "172.31.2.11:4500".parse().ok(),
        allowed: subnets.iter().map(|net| net.parse().unwrap()).collect(),
        preshared_key: Some(PresharedKey::from_bytes([2; 32])),
        keepalive: 10,
    }
}

fn key() -> PublicKey {
    PublicKey::from_bytes([1; 32])
}

fn bytes(attribute: WireguardAttribute) -> Vec<u8> {
    let mut request = GenlMessage::from_payload(message(WireguardCmd::SetDevice, vec![attribute]));
    request.set_resolved_family_id(0x1f);
    encode(request, NLM_F_ACK, 7).to_vec()
}

/// By hand from `linux/wireguard.h` and `linux/netlink.h`.
#[cfg(target_endian = "little")]
#[test]
fn a_new_peer_is_what_the_kernel_reads() {
    let change = Change::Create {
        key: key(),
        to: peer(&["10.9.0.0/16", "fd09::/48"]),
    };
    let messages = messages(&change);
    assert_eq!(messages.len(), 1);
    let mut expected = Vec::new();
    let mut put = |part: &[u8]| expected.extend_from_slice(part);
    put(&[224, 0, 0, 0, 0x1f, 0, 5, 0, 7, 0, 0, 0, 0, 0, 0, 0]); // header: REQUEST | ACK, number 7
    put(&[1, 1, 0, 0]); // WG_CMD_SET_DEVICE, version 1
    put(&[15, 0, 2, 0]); // WGDEVICE_A_IFNAME
    put(b"submariner\0\0");
    put(&[188, 0, 8, 0x80]); // WGDEVICE_A_PEERS, nested
    put(&[184, 0, 0, 0x80]); // the first of them, nested
    put(&[36, 0, 1, 0]); // WGPEER_A_PUBLIC_KEY
    put(&[1; 32]);
    put(&[36, 0, 2, 0]); // WGPEER_A_PRESHARED_KEY
    put(&[2; 32]);
    put(&[20, 0, 4, 0]); // WGPEER_A_ENDPOINT: AF_INET, port, address
    put(&[2, 0, 0x11, 0x94, 172, 31, 2, 11, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(&[6, 0, 5, 0, 10, 0, 0, 0]); // WGPEER_A_PERSISTENT_KEEPALIVE_INTERVAL
    put(&[8, 0, 3, 0, 2, 0, 0, 0]); // WGPEER_A_FLAGS: REPLACE_ALLOWEDIPS
    put(&[72, 0, 9, 0x80]); // WGPEER_A_ALLOWEDIPS, nested
    put(&[
        28, 0, 0, 0x80, 6, 0, 1, 0, 2, 0, 0, 0, 8, 0, 2, 0, 10, 9, 0, 0, 5, 0, 3, 0, 16, 0, 0, 0,
    ]);
    put(&[
        40, 0, 0, 0x80, 6, 0, 1, 0, 10, 0, 0, 0, 20, 0, 2, 0, 0xfd, 0x09,
    ]);
    put(&[0; 14]);
    put(&[5, 0, 3, 0, 48, 0, 0, 0]);
    let made = bytes(messages.into_iter().next().unwrap());
    assert_eq!(made, expected);
}

fn said(change: &Change<PublicKey, Peer>) -> Vec<Vec<WireguardPeerAttribute>> {
    messages(change)
        .into_iter()
        .map(|attribute| match attribute {
            WireguardAttribute::Peers(mut peers) => peers.remove(0).0,
            other => panic!("{other:?}"),
        })
        .collect()
}

/// Setting an endpoint makes WireGuard send there; setting subnets anew interrupts them.
#[test]
fn only_what_changes_is_said() {
    use WireguardPeerAttribute as A;
    let from = peer(&["10.9.0.0/16"]);
    let update = |to: Peer| {
        said(&Change::Update {
            key: key(),
            from: from.clone(),
            to,
        })
    };
    let more = update(Peer {
        allowed: peer(&["10.9.0.0/16", "10.12.0.0/16"]).allowed,
        ..from.clone()
    });
    assert!(
        matches!(&more[0][..], [A::PublicKey(_), A::AllowedIps(nets)] if nets.len() == 1),
        "those that are there stay: {more:?}"
    );
    let fewer = update(Peer {
        allowed: peer(&["10.12.0.0/16"]).allowed,
        ..from.clone()
    });
    assert!(
        matches!(&fewer[0][..], [A::PublicKey(_), A::Flags(flags), A::AllowedIps(nets)]
        if *flags == WireguardPeerFlags::ReplaceAllowedIps && nets.len() == 1),
        "{fewer:?}"
    );
    let moved = update(Peer {
        endpoint: "[fd00::1]:4501".parse().ok(),
        ..from.clone()
    });
    assert!(
        matches!(&moved[0][..], [A::PublicKey(_), A::Endpoint(to)] if to.port() == 4501),
        "{moved:?}"
    );
    let secret = update(Peer {
        preshared_key: None,
        ..from.clone()
    });
    assert!(
        matches!(&secret[0][..], [A::PublicKey(_), A::PresharedKey([0, ..])]),
        "{secret:?}"
    );
    let gone = said(&Change::Delete { key: key(), from });
    assert!(
        matches!(&gone[0][..], [A::PublicKey(_), A::Flags(flags)] if *flags == WireguardPeerFlags::RemoveMe)
    );
}

/// An attribute has 16 bits for its length.
#[test]
fn many_subnets_are_said_in_parts_and_heard_in_parts() {
    let allowed: BTreeSet<IpNet> = (0..2500_u32)
        .map(|n| format!("fd00:{n:x}::/32").parse().unwrap())
        .collect();
    let to = Peer {
        allowed: allowed.clone(),
        ..peer(&[])
    };
    let change = Change::Create {
        key: key(),
        to: to.clone(),
    };
    let messages = messages(&change);
    assert_eq!(messages.len(), 3);
    let flags = said(&change)
        .iter()
        .filter(|part| {
            part.iter()
                .any(|a| matches!(a, WireguardPeerAttribute::Flags(_)))
        })
        .count();
    assert_eq!(flags, 1, "only the first replaces");
    let parts = messages.into_iter().map(|attribute| {
        assert!(bytes(attribute.clone()).len() < 1 << 16);
        message(WireguardCmd::GetDevice, vec![attribute])
    });
    let seen = seen(parts.collect(), SystemTime::now());
    assert_eq!(seen.peers[&key()].peer, to);
}

#[test]
fn what_the_kernel_says_is_understood() {
    use WireguardPeerAttribute as A;
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000);
    let full = vec![
        A::PublicKey([1; 32]),
        A::PresharedKey([2; 32]),
        A::Endpoint("172.31.2.11:4500".parse().unwrap()),
        A::PersistentKeepalive(10),
        A::LastHandshake(WireguardTimeSpec {
            seconds: 990,
            nano_seconds: 500_000_000,
        }),
        A::RxBytes(92),
        A::TxBytes(148),
        A::AllowedIps(vec![allowed(&"10.9.0.0/16".parse().unwrap())]),
    ];
    let fresh = vec![
        A::PublicKey([3; 32]),
        A::PresharedKey([0; 32]),
        A::LastHandshake(WireguardTimeSpec::default()),
    ];
    let attributes = vec![
        WireguardAttribute::PublicKey([9; 32]),
        WireguardAttribute::ListenPort(4500),
        WireguardAttribute::Peers(vec![
            WireguardPeer(full),
            WireguardPeer(fresh),
            WireguardPeer(Vec::new()),
        ]),
    ];
    let seen = seen(vec![message(WireguardCmd::GetDevice, attributes)], now);
    assert_eq!(
        (seen.key, seen.port, seen.peers.len()),
        (Some(PublicKey::from_bytes([9; 32])), 4500, 2)
    );
    let one = &seen.peers[&key()];
    assert_eq!(one.peer, peer(&["10.9.0.0/16"]));
    assert_eq!(one.handshake, Some(Duration::from_millis(9_500)));
    assert_eq!(
        one.traffic,
        Traffic {
            received: 92,
            sent: 148
        }
    );
    let other = &seen.peers[&PublicKey::from_bytes([3; 32])];
    assert_eq!(
        (other.handshake, other.peer.preshared_key.clone()),
        (None, None)
    );
}

/// The clock on the wall may be set back, and the kernel's answer may be nonsense.
#[test]
fn ages_are_never_negative() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
    let at = |seconds, nano_seconds| {
        age(
            WireguardTimeSpec {
                seconds,
                nano_seconds,
            },
            now,
        )
    };
    assert_eq!(at(20, 0), Some(Duration::ZERO));
    assert_eq!(at(-1, 0), None);
    assert_eq!(at(1, -1), None);
    assert_eq!(at(i64::MAX, i64::MAX), None);
}
