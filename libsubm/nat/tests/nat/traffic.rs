//! What packets meet: a pod, its node, and a pod of another cluster behind the node's `vx-submariner`; connections of both families.
//!
//! ```text
//!  pod 10.8.1.2 ── cni0 10.8.1.1 [node] 240.0.0.2 vx-submariner (MTU 1450) ── remote 10.9.0.2
//!      fd08:0:0:1::2       fd08:0:0:1::1                                             fd09::2
//! ```
//!
//! On the node stand tables as kube-proxy and a CNI make them. Each test first sees what happens without ours.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use subm_nat::node::{GLOBALNET_MARK, GLOBALNET_PRIORITY};
use subm_nat::{
    Chain, DataType, Hook, KeyType, Kind, Match, Name, NatTo, Rule, Ruleset, Selector, Set,
    Statement,
};
use subm_test_support::{Capture, NetNs, Packet};

use crate::kernel::{inside, net, some_node};

struct World {
    pod: NetNs,
    node: NetNs,
    remote: NetNs,
}

/// Places in the lists below: IPv4, IPv6.
const FAMILIES: [usize; 2] = [0, 1];
const POD: [&str; 2] = ["10.8.1.2", "fd08:0:0:1::2"];
const NODE: [&str; 2] = ["10.8.1.1", "fd08:0:0:1::1"];
const REMOTE: [&str; 2] = ["10.9.0.2", "fd09::2"];
/// Services of the pod's cluster.
const SERVICE: [&str; 2] = ["10.88.0.80", "fd88::80"];
/// By which the node's own processes go out.
const VTEP: [&str; 2] = ["240.0.0.2", "fd99::2"];

/// As kube-proxy (here for one Service) and a CNI do it, in iptables' tables.
const OTHERS: &str = "
table FAMILY nat {
    chain KUBE-POSTROUTING {
        meta mark & 0x4000 != 0x4000 return
        meta mark set meta mark ^ 0x4000
        masquerade fully-random
    }
    chain POSTROUTING {
        type nat hook postrouting priority 100
        jump KUBE-POSTROUTING
        FAMILY saddr PODS FAMILY daddr != PODS masquerade
    }
    chain PREROUTING {
        type nat hook prerouting priority -100
        FAMILY saddr != PODS FAMILY daddr SERVICE tcp dport 80 meta mark set meta mark | 0x4000
        FAMILY daddr SERVICE tcp dport 80 dnat to POD
    }
}
";

impl World {
    fn new() -> Result<Self> {
        let [pod, node, remote] = [NetNs::new()?, NetNs::new()?, NetNs::new()?];
        for netns in [&pod, &node, &remote] {
            netns.sysctl(&[("ipv6/conf/default/accept_dad", "0")])?;
        }
        node.sysctl(&[("ipv4/ip_forward", "1"), ("ipv6/conf/all/forwarding", "1")])?;
        node.ip(&format!(
            "link add cni0 type veth peer name eth0 netns {}
             link add vx-submariner mtu 1450 type veth peer name eth0 netns {}
             addr add 10.8.1.1/24 dev cni0
             addr add fd08:0:0:1::1/64 dev cni0 nodad
             addr add 240.0.0.2/8 dev vx-submariner
             addr add fd99::2/64 dev vx-submariner nodad
             link set cni0 up
             link set vx-submariner up
             route add 10.9.0.0/16 via 240.0.0.1 dev vx-submariner
             route add fd09::/48 via fd99::1 dev vx-submariner",
            pod.path(),
            remote.path(),
        ))?;
        pod.ip("addr add 10.8.1.2/24 dev eth0
             addr add fd08:0:0:1::2/64 dev eth0 nodad
             link set eth0 up
             route add default via 10.8.1.1
             route add default via fd08:0:0:1::1")?;
        remote.ip("addr add 240.0.0.1/8 dev eth0
             addr add fd99::1/64 dev eth0 nodad
             addr add 10.9.0.2/32 dev eth0
             addr add fd09::2/128 dev eth0 nodad
             link set eth0 up
             route add default via 240.0.0.2 src 10.9.0.2
             route add default via fd99::2 src fd09::2")?;
        for (family, pods, service, pod) in [
            ("ip", "10.8.0.0/16", SERVICE[0], "10.8.1.2:8080"),
            ("ip6", "fd08::/48", SERVICE[1], "[fd08:0:0:1::2]:8080"),
        ] {
            let script = OTHERS.replace("FAMILY", family).replace("PODS", pods);
            node.nft(&script.replace("SERVICE", service).replace("POD", pod))?;
        }
        Ok(Self { pod, node, remote })
    }

    fn load(&self, ruleset: &Ruleset) -> Result<()> {
        inside(&self.node, |nft| async move {
            Ok(nft.reconcile(ruleset).await?)
        })?;
        Ok(())
    }
}

/// The source that `to` sees of a connection to `asked`, at which it listens as `at`.
fn source(from: &NetNs, asked: (&str, u16), to: &NetNs, at: (&str, u16)) -> Result<IpAddr> {
    let address = |(address, port): (&str, u16)| {
        Ok::<_, anyhow::Error>(SocketAddr::new(address.parse()?, port))
    };
    let listener = to.listen(address(at)?)?;
    let _connection = from.connect(address(asked)?, Duration::from_secs(5))?;
    Ok(listener.accept()?.1.ip())
}

fn seen(text: &str) -> Result<IpAddr> {
    Ok(text.parse()?)
}

/// Pods see each other's own addresses, whoever begins, though a CNI masquerades what leaves and kube-proxy what comes for a Service.
#[test]
fn sources_stay_beside_masquerading_others() -> Result<()> {
    let world = World::new()?;
    let World { pod, node, remote } = &world;
    let out = |family: usize| source(pod, (REMOTE[family], 80), remote, (REMOTE[family], 80));
    let back = |family: usize| source(remote, (SERVICE[family], 80), pod, (POD[family], 8080));
    for family in FAMILIES {
        ensure!(out(family)? == seen(VTEP[family])?, "the CNI masquerades");
        ensure!(
            back(family)? == seen(NODE[family])?,
            "kube-proxy masquerades"
        );
    }
    world.load(&some_node().ruleset())?;
    for family in FAMILIES {
        ensure!(out(family)? == seen(POD[family])?);
        ensure!(back(family)? == seen(REMOTE[family])?);
    }
    // What is not for a remote cluster is masqueraded as ever.
    remote.ip("addr add 198.51.100.1/32 dev eth0")?;
    node.ip("route add 198.51.100.0/24 via 240.0.0.1")?;
    ensure!(source(pod, ("198.51.100.1", 80), remote, ("198.51.100.1", 80))? == seen(VTEP[0])?);
    // A cluster that went is a stranger again.
    let mut without = some_node();
    without.remote.clear();
    world.load(&without.ruleset())?;
    for family in FAMILIES {
        ensure!(out(family)? == seen(VTEP[family])?);
    }
    Ok(())
}

/// A source of 240.0.0.0/8 would be no address to answer to for another cluster.
#[test]
fn host_processes_speak_as_the_cni_address() -> Result<()> {
    let world = World::new()?;
    let World { node, remote, .. } = &world;
    let out = |family: usize| source(node, (REMOTE[family], 80), remote, (REMOTE[family], 80));
    ensure!(out(0)? == seen(VTEP[0])?);
    let mut facts = some_node();
    // The like of it for IPv6, where there is no such network by custom.
    facts
        .host_network
        .insert(net("fd99::/64"), NODE[1].parse()?);
    world.load(&facts.ruleset())?;
    for family in FAMILIES {
        ensure!(out(family)? == seen(NODE[family])?);
    }
    Ok(())
}

/// The MSS option of the first segment with SYN that came from `from`.
fn announced(packets: &[Packet], from: IpAddr) -> Option<u16> {
    packets
        .iter()
        .filter(|packet| !packet.outgoing && packet.is_from(from))
        .find_map(|packet| {
            let ip = packet.bytes.get(14..)?;
            let header = if ip.first()? >> 4 == 4 {
                usize::from(ip[0] & 15) * 4
            } else {
                40
            };
            let tcp = ip.get(header..)?;
            if tcp.get(13)? & 2 == 0 {
                return None;
            }
            let mut options = tcp.get(20..usize::from(tcp.get(12)? >> 4) * 4)?;
            while let [kind, rest @ ..] = options {
                match kind {
                    0 => break,
                    1 => options = rest,
                    2 => return Some(u16::from_be_bytes([*options.get(2)?, *options.get(3)?])),
                    _ => options = options.get(usize::from(*rest.first()?).max(2)..)?,
                }
            }
            None
        })
}

/// What MSS `to` is told by `from`, who begins; and what `from` is told in the answer.
async fn exchange(
    from: &NetNs,
    source_address: &str,
    to: &NetNs,
    address: &str,
) -> Result<(u16, u16)> {
    let (there, back) = (Capture::start(to, "eth0")?, Capture::start(from, "eth0")?);
    source(from, (address, 80), to, (address, 80))?;
    let mut told = Vec::new();
    for (capture, sender) in [(there, source_address), (back, address)] {
        let sender = sender.parse()?;
        let is_syn = |packet: &Packet| announced(std::slice::from_ref(packet), sender).is_some();
        capture.wait_for(Duration::from_secs(5), is_syn).await?;
        told.push(announced(&capture.stop()?, sender).context("a SYN")?);
    }
    Ok((told[0], told[1]))
}

/// Both ends are told what fits, in the SYN and in its answer, for each family; defect 15 on the wire.
#[tokio::test]
async fn both_ends_are_told_the_mss_that_fits() -> Result<()> {
    let world = World::new()?;
    let World { pod, remote, .. } = &world;
    let mut facts = some_node();
    let steps = [
        // Without us but with the CNI's masquerade off the path, so that sources are the same: no clamp at all.
        (None, [1460, 1440]),
        // The MTU of the path, 1450.
        (Some(None), [1410, 1390]),
        // The MTU of a cable further on.
        (Some(Some(1400)), [1360, 1340]),
        // A cable that could take more does not raise it.
        (Some(Some(9000)), [1410, 1390]),
    ];
    for (mtu, expected) in steps {
        let mut ruleset = Ruleset::new();
        if let Some(mtu) = mtu {
            facts.remote.values_mut().for_each(|one| *one = mtu);
            ruleset = facts.ruleset();
        } else {
            let whole = facts.ruleset();
            ruleset.sets = whole
                .sets
                .into_iter()
                .filter(|(name, _)| !name.as_str().starts_with("mss"))
                .collect();
            ruleset.chains = whole
                .chains
                .into_iter()
                .filter(|(name, _)| name.as_str() == "source")
                .collect();
        }
        world.load(&ruleset)?;
        for family in FAMILIES {
            let out = exchange(pod, POD[family], remote, REMOTE[family]).await?;
            let back = exchange(remote, REMOTE[family], pod, POD[family]).await?;
            let all = expected[family];
            ensure!(
                (out, back) == ((all, all), (all, all)),
                "{mtu:?}: {out:?} {back:?}, not {all}"
            );
        }
    }
    Ok(())
}

/// Globalnet's place: its chain comes first, and what it translates is not kept.
#[test]
fn globalnet_translates_before_sources_are_kept() -> Result<()> {
    let world = World::new()?;
    let World { pod, node, remote } = &world;
    let egress = Name::literal("egress");
    let mut addresses = Set::map(KeyType::Ipv4, DataType::Ipv4);
    addresses.insert_value(seen(POD[0])?, seen("242.254.1.1")?);
    let rules = [
        Rule::when([Match::destination(Name::literal("remote4"))])
            .then(Statement::SetMark(GLOBALNET_MARK)),
        Rule::when([Match::mark(GLOBALNET_MARK)]).then(Statement::Snat(NatTo::Map(
            Selector::Source,
            egress.clone(),
        ))),
    ];
    let mut globalnet = Ruleset::new();
    globalnet.sets.insert(egress, addresses);
    let chain = Chain::base(Kind::Nat, Hook::Postrouting, GLOBALNET_PRIORITY, rules);
    globalnet.chains.insert(Name::literal("globalnet"), chain);
    let mut ruleset = some_node().ruleset();
    ruleset.merge(globalnet)?;
    world.load(&ruleset)?;
    ensure!(source(pod, (REMOTE[0], 80), remote, (REMOTE[0], 80))? == seen("242.254.1.1")?);
    // Others have no element and are as before.
    ensure!(source(node, (REMOTE[0], 80), remote, (REMOTE[0], 80))? == seen(NODE[0])?);
    ensure!(source(pod, (REMOTE[1], 80), remote, (REMOTE[1], 80))? == seen(POD[1])?);
    Ok(())
}

/// What accepting cannot do, as documented; the counters tell that packets came so far.
#[test]
fn a_drop_of_others_stays_a_drop() -> Result<()> {
    let world = World::new()?;
    let World { pod, node, remote } = &world;
    world.load(&some_node().ruleset())?;
    ensure!(source(pod, (REMOTE[0], 80), remote, (REMOTE[0], 80))? == seen(POD[0])?);
    node.nft(
        "add table inet firewall
         add chain inet firewall forward { type filter hook forward priority 10; policy drop; }",
    )?;
    let _listener = remote.listen((REMOTE[0].parse::<IpAddr>()?, 81).into())?;
    let refused = pod.connect(
        (REMOTE[0].parse::<IpAddr>()?, 81).into(),
        Duration::from_millis(300),
    );
    ensure!(refused.is_err(), "the firewall dropped it");
    let forward = node.output("nft", &["list", "chain", "inet", "submariner", "forward"])?;
    let counted = forward
        .lines()
        .any(|line| line.contains("oifname \"vx-submariner\"") && !line.contains("packets 0 "));
    ensure!(counted, "{forward}");
    Ok(())
}
