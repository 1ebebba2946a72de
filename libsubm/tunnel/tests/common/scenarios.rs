//! What WireGuard must do, whatever runs it.

use std::net::TcpListener;

use std::io::{Read as _, Write as _};

use subm_routing::LinkName;
use subm_test_support::{Capture, KernelState};
use subm_tunnel::wireguard::{DEVICE, Implementation, KEEPALIVE, Settings, WireGuard};
use subm_tunnel::{ConnectionStatus, PresharedKey};

use super::*;

pub fn gateway(
    n: u8,
    netns: Arc<NetNs>,
    key: &PrivateKey,
    secret: &str,
    by: Implementation,
) -> Result<Gateway> {
    let settings = Settings::new(key.clone(), PresharedKey::from_text(secret)?).implementation(by);
    Gateway::start(n, netns, move || WireGuard::open(settings))
}

/// Gateways 1, 2, ... with their keys.
struct Set {
    switch: Switch,
    keys: Vec<PrivateKey>,
    gateways: Vec<Gateway>,
}

impl Set {
    fn new(by: &[Implementation]) -> Result<Self> {
        let switch = Switch::new()?;
        let keys: Vec<_> = by.iter().map(|_| PrivateKey::generate()).collect();
        let gateways = (1..)
            .zip(by)
            .zip(&keys)
            .map(|((n, by), key)| gateway(n, switch.node(n)?, key, "secret", *by))
            .collect::<Result<_>>()?;
        Ok(Self {
            switch,
            keys,
            gateways,
        })
    }

    fn cable(&self, n: u8) -> Cable {
        cable(n, Some(&self.keys[usize::from(n) - 1]))
    }

    /// What gateway N wants when it wants all.
    fn cables(&self, n: u8) -> Vec<Cable> {
        let all = 1..=u8::try_from(self.keys.len()).expect("a few");
        all.filter(|other| *other != n)
            .map(|other| self.cable(other))
            .collect()
    }

    fn gateway(&self, n: u8) -> &Gateway {
        &self.gateways[usize::from(n) - 1]
    }

    fn apply_all(&self) -> Result<()> {
        for n in 1..=u8::try_from(self.keys.len()).expect("a few") {
            let applied = self.gateway(n).apply(&self.cables(n))?;
            ensure!(applied.troubles.is_empty(), "{applied}");
        }
        Ok(())
    }

    fn pods(&self, from: u8, to: u8) -> ((&Gateway, IpAddr), (&Gateway, IpAddr)) {
        ((self.gateway(from), pod(from)), (self.gateway(to), pod(to)))
    }

    fn reaches(&self, from: u8, to: u8) -> Result<()> {
        let (from, to) = self.pods(from, to);
        reaches(from, to)
    }
}

fn becomes(gateway: &Gateway, cable: &str, status: ConnectionStatus) -> Result<Connection> {
    eventually(|| {
        let connection = gateway.connection(cable)?;
        ensure!(connection.status == status, "{connection:?}");
        Ok(connection)
    })
}

/// Both families, all sizes, and nothing of it readable on the wire.
pub fn traffic_passes_encrypted(by: [Implementation; 2]) -> Result<()> {
    const SECRET: &[u8] = b"what pods say to each other";
    let set = Set::new(&by)?;
    let wire = Capture::start(&set.gateway(1).netns, "eth0")?;
    set.apply_all()?;
    set.reaches(1, 2)?;
    for (n, cable) in [(1, "cable-c2"), (2, "cable-c1")] {
        let connected = becomes(set.gateway(n), cable, ConnectionStatus::Connected)?;
        ensure!(
            connected.handshake.is_some() && connected.message.is_empty(),
            "{connected:?}"
        );
    }
    reaches((set.gateway(2), pod6(2)), (set.gateway(1), pod6(1)))?;

    // Much of it, in one connection: segments are merged and split on the way.
    let sent: Vec<u8> = SECRET.iter().copied().cycle().take(8 << 20).collect();
    let listener = set.gateway(2).netns.listen((pod(2), 0).into())?;
    let to = listener.local_addr()?;
    let received = std::thread::spawn(move || -> Result<Vec<u8>> {
        let mut received = Vec::new();
        accept(&listener)?.read_to_end(&mut received)?;
        Ok(received)
    });
    let mut stream = set.gateway(1).netns.connect(to, SOON)?;
    stream.write_all(&sent)?;
    drop(stream);
    let received = received.join().expect("no panic")?;
    ensure!(
        received == sent,
        "{} of {} bytes",
        received.len(),
        sent.len()
    );

    let traffic = set
        .gateway(1)
        .connection("cable-c2")?
        .traffic
        .context("traffic")?;
    ensure!(
        traffic.sent > sent.len() as u64 && traffic.received > 0,
        "{traffic:?}"
    );
    let packets = wire.stop()?;
    ensure!(packets.iter().any(|packet| packet.is_port(4500)));
    ensure!(packets.iter().all(|packet| !packet.contains(SECRET)));
    ensure!(
        packets
            .iter()
            .all(|packet| !packet.is_to(pod(2)) && !packet.is_to(pod6(2)))
    );
    Ok(())
}

fn accept(listener: &TcpListener) -> Result<std::net::TcpStream> {
    let (stream, _) = listener.accept()?;
    stream.set_read_timeout(Some(SOON))?;
    Ok(stream)
}

/// Defects 8 and 17: what changes of a live peer is applied, and nobody else notices.
pub fn changes_disturb_nobody_else(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 3])?;
    set.apply_all()?;
    set.reaches(1, 2)?;
    let (one, three) = set.pods(1, 3);
    let talk = Conversation::start(one, three)?;

    // Nothing changed: nothing is done.
    let applied = set.gateway(1).apply(&set.cables(1))?;
    ensure!(applied == Applied::default(), "{applied:?}");

    // Another subnet.
    set.gateway(2).netns.ip("addr add 10.22.0.1/32 dev lo")?;
    let mut second = set.cable(2);
    second.subnets.insert("10.22.0.0/16".parse()?);
    let applied = set.gateway(1).apply(&[second.clone(), set.cable(3)])?;
    ensure!(applied.changes.len() == 1, "{applied:?}");
    reaches(one, (set.gateway(2), [10, 22, 0, 1].into()))?;

    // Another port of its gateway, and then another address.
    let moved = Local {
        port: 4501,
        ..local(2)
    };
    set.gateway(2).apply_as(&set.cables(2), moved)?;
    second.port = 4501;
    set.gateway(1).apply(&[second.clone(), set.cable(3)])?;
    set.reaches(1, 2)?;
    set.gateway(2).netns.ip("addr add 172.31.0.22/24 dev eth0\naddr del 172.31.0.2/24 dev eth0\naddr add 172.31.0.22/24 dev eth0")
        .or_else(|_| set.gateway(2).netns.ip("addr replace 172.31.0.22/24 dev eth0"))?;
    let second = second.using([172, 31, 0, 22].into(), false);
    set.gateway(1).apply(&[second.clone(), set.cable(3)])?;
    set.reaches(1, 2)?;

    // A new key, as of a gateway that does not keep its own.
    let fresh = PrivateKey::generate();
    let node = Arc::clone(&set.gateway(2).netns);
    set.gateway(2).teardown()?;
    let restarted = eventually(|| {
        let restarted = gateway(2, Arc::clone(&node), &fresh, "secret", by)?;
        restarted.apply(&set.cables(2))?;
        Ok(restarted)
    })?;
    let second = second.port(4500).public_key(fresh.public());
    let applied = set.gateway(1).apply(&[second, set.cable(3)])?;
    ensure!(
        applied.changes.len() == 2,
        "one peer comes, one goes: {applied:?}"
    );
    reaches(one, (&restarted, pod(2)))?;

    // It goes.
    let applied = set.gateway(1).apply(&[set.cable(3)])?;
    ensure!(applied.changes.len() == 1, "{applied:?}");
    let count = talk.end()?;
    ensure!(count > 10, "only {count} packets");
    Ok(())
}

/// A network moves from one cluster to another and back, in the order of their keys and against it.
pub fn a_network_may_move(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 3])?;
    set.apply_all()?;
    for n in [2, 3] {
        set.gateway(n).netns.ip("addr add 10.22.0.1/32 dev lo")?;
    }
    for with in [2, 3, 2] {
        let cables = [2, 3].map(|n| {
            let mut cable = set.cable(n);
            if n == with {
                cable.subnets.insert("10.22.0.0/16".parse().unwrap());
            }
            cable
        });
        set.gateway(1).apply(&cables)?;
        let applied = set.gateway(1).apply(&cables)?;
        ensure!(applied == Applied::default(), "{applied:?}");
        let there = set.gateway(with);
        reaches((set.gateway(1), pod(1)), (there, [10, 22, 0, 1].into()))?;
    }
    Ok(())
}

/// Another MTU of the uplink is applied to the device that is there.
pub fn another_mtu_is_applied(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 2])?;
    set.apply_all()?;
    let (one, two) = set.pods(1, 2);
    let talk = Conversation::start(one, two)?;
    let device = || {
        let output = set
            .gateway(1)
            .netns
            .try_output("ip", &["-o", "link", "show", DEVICE.as_str()])?;
        let text = String::from_utf8(output.stdout)?;
        let index = text.split(':').next().context("an index")?.to_owned();
        let mtu = text.split(" mtu ").nth(1).context("an MTU")?;
        let mtu = mtu.split(' ').next().context("an MTU")?.to_owned();
        Ok::<_, anyhow::Error>((index, mtu))
    };
    let before = device()?;
    ensure!(before.1 == "1420", "{before:?}");
    let narrow = Local {
        mtu: 1400,
        ..local(1)
    };
    set.gateway(1).apply_as(&set.cables(1), narrow)?;
    let after = device()?;
    ensure!(after == (before.0, "1320".to_owned()), "{after:?}");
    ensure!(talk.end()? > 1);
    Ok(())
}

/// See [`a_killed_process_is_followed`].
pub fn a_killed_gateway_is_followed(by: Implementation) -> Result<()> {
    let switch = Switch::new()?;
    let keys = [(); 3].map(|()| PrivateKey::generate());
    let start = |n: u8, node| gateway(n, node, &keys[usize::from(n) - 1], "secret", by);
    let (two, three) = (start(2, switch.node(2)?)?, start(3, switch.node(3)?)?);
    for other in [&two, &three] {
        other.apply(&[cable(1, Some(&keys[0]))])?;
    }
    let cables = [cable(2, Some(&keys[1])), cable(3, Some(&keys[2]))];
    let stays = by == Implementation::Kernel;
    let others = [&two, &three];
    a_killed_process_is_followed(&switch, |node| start(1, node), &cables, stays, &others)
}

/// See [`super::a_cut_is_told_within_six_seconds`].
pub fn a_cut_is_told_within_six_seconds(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 2])?;
    set.apply_all()?;
    super::a_cut_is_told_within_six_seconds(&set.switch, (set.gateway(1), set.gateway(2)))
}

/// A gateway that keeps its key is known when it starts again.
pub fn a_kept_key_needs_no_news(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 2])?;
    set.apply_all()?;
    set.reaches(1, 2)?;
    let node = Arc::clone(&set.gateway(2).netns);
    set.gateway(2).teardown()?;
    let kept = PrivateKey::from_bytes(&set.keys[1].to_bytes());
    let restarted = eventually(|| {
        let restarted = gateway(2, Arc::clone(&node), &kept, "secret", by)?;
        restarted.apply(&set.cables(2))?;
        Ok(restarted)
    })?;
    reaches((&restarted, pod(2)), (set.gateway(1), pod(1)))
}

/// Nobody says anything but keepalives: one side is always first, and the other has no reason to. A kernel and a userspace do not have
/// the same clock ticks, so it is the same one each time.
pub fn an_idle_cable_stays_connected(by: [Implementation; 2]) -> Result<()> {
    let set = Set::new(&by)?;
    set.apply_all()?;
    set.reaches(1, 2)?;
    let ends = [(set.gateway(1), "cable-c2"), (set.gateway(2), "cable-c1")];
    for (gateway, cable) in ends {
        becomes(gateway, cable, ConnectionStatus::Connected)?;
    }
    // One keepalive answers the last data, then comes twice the keepalive without a byte.
    let end = Instant::now() + Duration::from_secs(3 * u64::from(KEEPALIVE) + 5);
    while Instant::now() < end {
        for (gateway, cable) in ends {
            let connection = gateway.connection(cable)?;
            ensure!(
                connection.status == ConnectionStatus::Connected,
                "{connection:?}"
            );
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

/// Another secret: no session, and the status says that there is none.
pub fn another_secret_is_no_connection(by: Implementation) -> Result<()> {
    let switch = Switch::new()?;
    let keys = [PrivateKey::generate(), PrivateKey::generate()];
    let one = gateway(1, switch.node(1)?, &keys[0], "secret", by)?;
    let two = gateway(2, switch.node(2)?, &keys[1], "another", by)?;
    let wire = Capture::start(&one.netns, "eth0")?;
    one.apply(&[cable(2, Some(&keys[1]))])?;
    two.apply(&[cable(1, Some(&keys[0]))])?;
    // They have talked: one initiation (148 bytes) from each, and a reply that is not believed (92).
    eventually(|| {
        let packets = wire.packets();
        for length in [148, 92] {
            let seen = packets
                .iter()
                .any(|p| p.is_port(4500) && p.payload().len() == length);
            ensure!(seen, "no handshake message of {length} bytes");
        }
        Ok(())
    })?;
    for (gateway, cable) in [(&one, "cable-c2"), (&two, "cable-c1")] {
        let connection = gateway.connection(cable)?;
        ensure!(
            connection.status == ConnectionStatus::Connecting,
            "{connection:?}"
        );
        ensure!(
            connection.message == "no initial handshake yet",
            "{connection:?}"
        );
    }
    Ok(())
}

/// Of two clusters that claim a network the first keeps it, and the second says why it is not connected.
pub fn overlapping_networks_are_refused(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 3])?;
    set.apply_all()?;
    let mut greedy = set.cable(3);
    greedy.subnets.insert("10.2.0.0/24".parse()?);
    set.gateway(1).apply(&[set.cable(2), greedy])?;
    let refused = set.gateway(1).connection("cable-c3")?;
    ensure!(refused.status == ConnectionStatus::Error, "{refused:?}");
    ensure!(
        refused.message == "its subnet 10.2.0.0/24 is reached by cable-c2 already",
        "{refused:?}"
    );
    set.reaches(1, 2)
}

/// A device that somebody removed is made again; the rest was not there.
pub fn a_removed_device_comes_back(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 2])?;
    set.apply_all()?;
    set.reaches(1, 2)?;
    set.gateway(1).netns.ip(&format!("link del {DEVICE}"))?;
    eventually(|| {
        set.gateway(1).apply(&set.cables(1))?;
        ensure!(exists(&set.gateway(1).netns, DEVICE)?);
        Ok(())
    })?;
    set.reaches(1, 2)
}

/// Nothing is left.
pub fn teardown_leaves_nothing(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 2])?;
    let before = KernelState::of(&set.gateway(1).netns)?;
    set.apply_all()?;
    set.reaches(1, 2)?;
    ensure!(exists(&set.gateway(1).netns, DEVICE)?);
    set.gateway(1).teardown()?;
    eventually(|| before.ensure_same(&KernelState::of(&set.gateway(1).netns)?))?;
    drop(set.switch);
    Ok(())
}

/// The gateways' addresses are IPv6, and the networks of both families.
pub fn gateways_may_have_ipv6(by: Implementation) -> Result<()> {
    let set = Set::new(&[by; 2])?;
    set.gateway(1)
        .apply(&[set.cable(2).using(lan6(2), false)])?;
    set.gateway(2)
        .apply(&[set.cable(1).using(lan6(1), false)])?;
    set.reaches(1, 2)?;
    reaches((set.gateway(2), pod6(2)), (set.gateway(1), pod6(1)))
}

fn exists(netns: &NetNs, device: LinkName) -> Result<bool> {
    let output = netns.try_output("ip", &["link", "show", device.as_str()])?;
    Ok(output.status.success())
}
