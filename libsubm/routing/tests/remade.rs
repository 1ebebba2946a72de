//! A tunnel device that is removed and made anew, as after a change of the gateway's role and back.
//!
//! With a random hardware address its peers go on sending to the old one until their neighbour entries fail, for about nine
//! seconds. With the address that belongs to the tunnel address they notice nothing.

mod common;

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use common::{NetNs, install, ip, net};
use subm_routing::{Address, Forward, Link, LinkName, MacAddr, Network, Settings, Vxlan};

const TUN: LinkName = LinkName::from_static("vxlan-tunnel");
const PATIENCE: Duration = Duration::from_secs(1);

fn end(me: u8, other: u8, mac: Option<MacAddr>) -> Network {
    let mut link = Link::vxlan(TUN, Vxlan::new(1000, 4500)).mtu(1450);
    link.mac = mac;
    Network::new()
        .with(link)
        .with(Address::new(TUN, net(&format!("241.0.0.{me}/8"))))
        .with(Forward::flood(TUN, ip(&format!("192.0.2.{other}"))))
}

/// Whether a datagram from `sender` arrives at `receiver`, with a try every 20 ms.
fn arrives(sender: &UdpSocket, receiver: &UdpSocket) -> bool {
    let deadline = Instant::now() + PATIENCE;
    receiver
        .set_read_timeout(Some(Duration::from_millis(20)))
        .unwrap();
    while Instant::now() < deadline {
        sender.send_to(b"hello", "241.0.0.1:7000").unwrap();
        if receiver.recv(&mut [0; 16]).is_ok() {
            return true;
        }
    }
    false
}

/// Whether the peer reaches the device after it was made anew.
async fn reached_after_remaking(mac: Option<MacAddr>) -> bool {
    let (here, peer) = (NetNs::new(), NetNs::new());
    here.ip(&format!(
        "link add wire type veth peer name wire netns {}",
        peer.path()
    ));
    for (node, address) in [(&here, "192.0.2.1/24"), (&peer, "192.0.2.2/24")] {
        node.ip(&format!("addr add {address} dev wire"));
        node.ip("link set wire up");
    }
    let mut kernel = here.kernel(Settings::new());
    install(&mut kernel, &end(1, 2, mac)).await;
    install(&mut peer.kernel(Settings::new()), &end(2, 1, None)).await;
    let receiver = here.run(|| UdpSocket::bind("241.0.0.1:7000").unwrap());
    let sender = peer.run(|| UdpSocket::bind("241.0.0.2:0").unwrap());
    assert!(arrives(&sender, &receiver), "the tunnel works");
    // The first datagram of all waited for the neighbour; from here on it is known.
    while receiver.recv(&mut [0; 16]).is_ok() {}
    install(&mut kernel, &Network::new()).await;
    install(&mut kernel, &end(1, 2, mac)).await;
    arrives(&sender, &receiver)
}

#[tokio::test]
async fn a_device_with_the_address_of_its_vtep_is_reached_at_once() {
    assert!(reached_after_remaking(Some(MacAddr::for_vtep(ip("241.0.0.1")))).await);
    // That this can fail: what happens without.
    assert!(
        !reached_after_remaking(None).await,
        "a random address would do too"
    );
}
