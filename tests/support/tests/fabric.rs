//! Clusters without Kubernetes on a fabric: who reaches whom, as whom, and what goes wrong on order.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_test_support::lan::{Cni, Node, Pod, Ranges};
use subm_test_support::whereami::{self, Identity, Server};
use subm_test_support::{
    Capture, Fabric, KernelState, NetNs, Packets, Protocol, Site, can_delay, eventually, save_pcap,
};

const PORT: u16 = 8080;
const SOON: Duration = Duration::from_secs(30);
/// Long enough for an answer over some veth pairs, short enough to wait for one that must not come.
const NO_ANSWER: Duration = Duration::from_millis(300);

/// Two clusters of a gateway, a worker and a pod on each.
fn two_sites(cni: Cni) -> Result<(Fabric, Site, Site)> {
    let fabric = Fabric::new()?;
    let site = |name| {
        let site = fabric.site(name).gateways(1).workers(1).pods(1);
        site.cni(cni).start()
    };
    let (c1, c2) = (site("c1")?, site("c2")?);
    Ok((fabric, c1, c2))
}

fn serve(netns: &NetNs, name: &str) -> Result<Server> {
    let identity = Identity {
        pod: name.to_owned(),
        ..Identity::default()
    };
    Server::start(netns, identity, PORT)
}

/// As whom the server at `to` sees a client.
fn seen(from: &NetNs, to: impl Into<IpAddr>) -> Result<IpAddr> {
    let to = SocketAddr::new(to.into(), PORT);
    let tcp = whereami::ask(from, to, SOON)?;
    let udp = whereami::ask_udp(from, to, SOON)?;
    ensure!(tcp.client == udp.client, "{tcp:?}, but {udp:?}");
    Ok(tcp.client)
}

fn is_silent(from: &NetNs, to: impl Into<IpAddr>) -> bool {
    whereami::ask(from, SocketAddr::new(to.into(), PORT), NO_ANSWER).is_err()
}

async fn answers(from: &NetNs, to: impl Into<IpAddr>) -> Result<Duration> {
    let (start, to) = (Instant::now(), SocketAddr::new(to.into(), PORT));
    eventually(SOON, || {
        std::future::ready(whereami::ask(from, to, Duration::from_secs(1)))
    })
    .await?;
    Ok(start.elapsed())
}

fn parts<'a>(site: &'a Site, node: &str) -> Result<(&'a Node, &'a Pod)> {
    let node = site.node(node)?;
    Ok((&node.net, &node.pods[0]))
}

#[test]
fn a_topology_is_ready_well_within_a_second_and_routes_as_clusters_do() -> Result<()> {
    // Others may use this machine: one quick time out of some will do.
    let mut times = Vec::new();
    let (_fabric, c1, c2) = loop {
        let start = Instant::now();
        let made = two_sites(Cni::Kindnet)?;
        times.push(start.elapsed());
        if times.last() < Some(&Duration::from_secs(1)) {
            break made;
        }
        ensure!(times.len() < 20, "{times:?}");
    };
    println!("2 clusters of 2 nodes and 2 pods: {times:?}");
    let (gateway, _) = parts(&c1, "c1-gw1")?;
    let (worker, pod) = parts(&c1, "c1-w1")?;
    let (far_gateway, far_pod) = parts(&c2, "c2-gw1")?;
    let _servers = [
        serve(gateway.netns(), "gateway")?,
        serve(pod.netns(), "pod")?,
        serve(far_gateway.netns(), "far gateway")?,
        serve(far_pod.netns(), "far pod")?,
    ];
    // Within a cluster everybody keeps the own address.
    let near = c1.node("c1-gw1")?.pods[0].netns();
    assert_eq!(seen(near, pod.ip())?, c1.node("c1-gw1")?.pods[0].ip());
    assert_eq!(seen(near, pod.ip6())?, c1.node("c1-gw1")?.pods[0].ip6());
    assert_eq!(seen(worker.netns(), gateway.ip6())?, worker.ip6());
    // Nodes reach each other over the fabric.
    assert_eq!(seen(worker.netns(), far_gateway.ip())?, worker.ip());
    assert_eq!(seen(worker.netns(), far_gateway.ip6())?, worker.ip6());
    // Pods do so as their nodes.
    assert_eq!(seen(pod.netns(), far_gateway.ip())?, worker.ip());
    assert_eq!(seen(pod.netns(), far_gateway.ip6())?, worker.ip6());
    // Nobody reaches pods of the other cluster.
    assert!(is_silent(pod.netns(), far_pod.ip()));
    assert!(is_silent(gateway.netns(), far_pod.ip6()));
    Ok(())
}

/// As [`Cni`]'s documentation has it.
#[test]
fn masquerade_is_that_of_the_plugin() -> Result<()> {
    for cni in [
        Cni::Bare,
        Cni::Kindnet,
        Cni::KindMasqAgent,
        Cni::Flannel,
        Cni::Calico,
        Cni::Cilium,
    ] {
        let (fabric, c1, c2) = two_sites(cni)?;
        let (worker, pod) = parts(&c1, "c1-w1")?;
        let (far, far_pod) = parts(&c2, "c2-w1")?;
        let (gateway, gateway_pod) = parts(&c1, "c1-gw1")?;
        let _servers = [
            serve(far.netns(), "far")?,
            serve(gateway_pod.netns(), "pod")?,
            serve(far_pod.netns(), "far pod")?,
        ];
        // Plain routes, as if Submariner had made them.
        let (pods, far_pods) = (c1.ranges().pods, c2.ranges().pods);
        fabric.router().ip(&format!(
            "route add {far_pods} via {}\nroute add {pods} via {}",
            far.ip(),
            gateway.ip()
        ))?;
        let pod_ip = IpAddr::from(pod.ip());
        let leaving = seen(pod.netns(), far.ip())?;
        match cni {
            Cni::Bare => assert_eq!(leaving, pod_ip),
            _ => assert_eq!(leaving, worker.ip(), "{cni:?}"),
        }
        // What comes from elsewhere, through another node of the cluster.
        let arriving = seen(far.netns(), pod_to_reach(&c1)?)?;
        let expected: IpAddr = match cni {
            Cni::Flannel => gateway.ip().into(),
            _ => far.ip().into(),
        };
        assert_eq!(arriving, expected, "{cni:?}");
    }
    Ok(())
}

/// A pod with a server, on the worker: reached through the gateway.
fn pod_to_reach(site: &Site) -> Result<IpAddr> {
    let pod = site
        .workers()
        .next()
        .and_then(|node| node.pods.first())
        .context("no pod")?;
    // It lasts as long as the process.
    std::mem::forget(serve(pod.netns(), "worker's pod")?);
    Ok(pod.ip().into())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_cut_heals() -> Result<()> {
    let (_fabric, c1, c2) = two_sites(Cni::Kindnet)?;
    let (worker, _) = parts(&c1, "c1-w1")?;
    let (gateway, _) = parts(&c1, "c1-gw1")?;
    let (far, _) = parts(&c2, "c2-gw1")?;
    let _servers = [
        serve(far.netns(), "far")?,
        serve(gateway.netns(), "gateway")?,
    ];
    let before = KernelState::of(worker.netns())?;
    let from = worker.netns();
    answers(from, far.ip6()).await?;
    answers(from, gateway.ip6()).await?;

    let cut = c1.lan().uplink()?.cut()?;
    assert!(is_silent(from, far.ip()) && is_silent(from, far.ip6()));
    answers(from, gateway.ip()).await?;
    before.ensure_same(&KernelState::of(from)?)?;
    cut.heal()?;
    answers(from, far.ip()).await?;
    answers(from, far.ip6()).await?;

    // One node's link: it sees its carrier go, the others go on.
    let cut = c1.lan().node_link("c1-w1")?.cut()?;
    assert!(is_silent(from, gateway.ip()) && is_silent(from, far.ip()));
    assert!(from.output("ip", &["link"])?.contains("NO-CARRIER"));
    answers(gateway.netns(), far.ip()).await?;
    drop(cut);
    answers(from, gateway.ip()).await?;
    answers(from, far.ip6()).await?;

    c1.lan()
        .uplink()?
        .flap(2, Duration::from_millis(20))
        .await?;
    answers(from, far.ip()).await?;
    ensure!(c1.lan().node_link("nobody").is_err());
    Ok(())
}

#[test]
fn packets_are_dropped_by_protocol_port_and_direction() -> Result<()> {
    let (fabric, c1, c2) = two_sites(Cni::Kindnet)?;
    let (worker, _) = parts(&c1, "c1-w1")?;
    let (far, _) = parts(&c2, "c2-gw1")?;
    let _server = serve(far.netns(), "far")?;
    let to = SocketAddr::from((far.ip(), PORT));
    let to6 = SocketAddr::from((far.ip6(), PORT));
    let (from, uplink) = (worker.netns(), c1.lan().uplink()?);
    let udp = |to| whereami::ask_udp(from, to, NO_ANSWER).is_ok();
    let tcp = |to| whereami::ask(from, to, NO_ANSWER).is_ok();
    let state = |netns: &NetNs| netns.output("nft", &["list", "ruleset"]);
    // Neighbours are asked for.
    assert!(udp(to) && udp(to6) && tcp(to) && tcp(to6));

    let fault = uplink.drop_packets(Packets::udp(PORT))?;
    assert!(!udp(to) && !udp(to6) && tcp(to) && tcp(to6));
    let second = uplink.drop_packets(Packets::tcp(PORT))?;
    assert!(!tcp(to) && !tcp(to6));
    second.heal()?;
    assert!(!udp(to) && tcp(to));
    fault.heal()?;
    assert!(udp(to) && udp(to6));

    // One way only: the request arrives, the answer does not.
    let capture = Capture::start(far.netns(), "eth0")?;
    let fault = uplink.drop_packets(Packets::udp(PORT).arriving())?;
    assert!(!udp(to));
    let passed = capture.stop()?;
    let is_udp = |protocol| protocol == Protocol::Udp;
    assert_eq!(
        passed.iter().filter(|p| is_udp(p.protocol)).count(),
        2,
        "{passed:?}"
    );
    fault.heal()?;
    let capture = Capture::start(far.netns(), "eth0")?;
    let fault = uplink.drop_packets(Packets::udp(PORT).leaving())?;
    assert!(!udp(to));
    ensure!(capture.stop()?.iter().all(|p| !is_udp(p.protocol)));
    fault.heal()?;

    let fault = uplink.drop_packets(Packets::all())?;
    assert!(!tcp(to) && !udp(to6));
    drop(fault);
    let fault = c1.lan().node_link("c1-w1")?.drop_packets(Packets::icmp())?;
    assert!(tcp(to) && tcp(to6) && udp(to));
    drop(fault);
    for netns in [fabric.router(), c1.lan().netns(), worker.netns()] {
        ensure!(!state(netns)?.contains("lab-fault"), "rules are left");
    }
    Ok(())
}

#[test]
fn packets_are_lost_by_chance_and_flows_are_slowed() -> Result<()> {
    let (_fabric, c1, c2) = two_sites(Cni::Kindnet)?;
    let (worker, _) = parts(&c1, "c1-w1")?;
    let (far, _) = parts(&c2, "c2-gw1")?;
    let _server = serve(far.netns(), "far")?;
    let to = SocketAddr::from((far.ip(), PORT));
    let uplink = c1.lan().uplink()?;

    let (asked, capture) = (400, Capture::start(far.netns(), "eth0")?);
    let fault = uplink.lose_packets(Packets::udp(PORT).leaving(), 0.5)?;
    for _ in 0..asked {
        let _ = whereami::ask_udp(worker.netns(), to, Duration::from_millis(2));
    }
    fault.heal()?;
    let arrived = capture.stop()?;
    let arrived = arrived.iter().filter(|p| !p.outgoing && p.is_port(PORT));
    let arrived = arrived.count();
    // Six standard deviations around a half.
    ensure!((140..=260).contains(&arrived), "{arrived} of {asked}");
    ensure!(uplink.lose(1.5).is_err());

    let limit = uplink.limit(1_000_000)?;
    assert!(whereami::ask(worker.netns(), to, SOON).is_ok());
    limit.heal()?;

    let by = Duration::from_millis(50);
    if can_delay()? {
        let delay = uplink.delay(by)?;
        let start = Instant::now();
        whereami::ask_udp(worker.netns(), to, SOON)?;
        ensure!(start.elapsed() >= by, "{:?}", start.elapsed());
        delay.heal()?;
    } else {
        // The guest's kernel has it, and its tests use it: tests/guest.
        ensure!(uplink.delay(by).is_err());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_comes_back_at_its_place_with_nothing_of_before() -> Result<()> {
    let (_fabric, mut c1, c2) = two_sites(Cni::Kindnet)?;
    let (far, _) = parts(&c2, "c2-gw1")?;
    let _server = serve(far.netns(), "far")?;
    let (worker, pod) = parts(&c1, "c1-w1")?;
    let (ip, pod_ip) = (worker.ip(), pod.ip());
    let before = KernelState::of(worker.netns())?;
    let held = worker.netns().clone();
    worker
        .netns()
        .ip("rule add pref 150 lookup 150\nlink add left type bridge")?;

    let node = c1.reboot("c1-w1")?;
    assert_eq!((node.net.ip(), node.pods[0].ip()), (ip, pod_ip));
    before.ensure_same(&KernelState::of(node.net.netns())?)?;
    answers(node.net.netns(), far.ip()).await?;
    answers(node.pods[0].netns(), far.ip6()).await?;
    assert!(is_silent(&held, far.ip()));

    let added = c1.add_node("c1-w2", false, 1)?;
    let _server = serve(added.pods[0].netns(), "new")?;
    let new = added.pods[0].ip();
    assert_eq!(seen(c1.node("c1-w1")?.pods[0].netns(), new)?, pod_ip);
    c1.remove_node("c1-w2")?;
    ensure!(c1.node("c1-w2").is_err());
    Ok(())
}

#[test]
fn lans_of_a_fabric_are_distinct() -> Result<()> {
    let fabric = Fabric::new()?;
    let pods = "10.50.0.0/16".parse()?;
    let _one = fabric.site("c1").ranges(Ranges::of_pods(pods)).start()?;
    let twice = fabric.site("c2").ranges(Ranges::of_pods(pods)).start();
    let said = format!("{:#}", twice.err().context("it was accepted")?);
    ensure!(said.contains("172.20.50.0/24"), "{said}");
    // The same pods on another LAN: what Globalnet is for.
    fabric
        .site("c2")
        .ranges(Ranges::with_lan(pods, 51))
        .start()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn captures_show_what_was_on_the_link() -> Result<()> {
    let (_fabric, c1, c2) = two_sites(Cni::Kindnet)?;
    let (gateway, pod) = parts(&c1, "c1-gw1")?;
    let (worker, _) = parts(&c1, "c1-w1")?;
    let (far, _) = parts(&c2, "c2-gw1")?;
    let _server = serve(far.netns(), "plain text")?;
    // A tunnel by hand between the nodes of a cluster.
    for (node, other, tunnel) in [(gateway, worker, 1), (worker, gateway, 2)] {
        node.netns().ip(&format!(
            "link add vx type vxlan id 100 dstport 4800 local {} remote {}\n\
             addr add 240.0.0.{tunnel}/8 dev vx\nlink set vx up",
            node.ip(),
            other.ip()
        ))?;
    }
    let on_node = Capture::start(worker.netns(), "eth0")?;
    let on_bridge = Capture::start(c1.lan().netns(), c1.lan().node_link("c1-w1")?.device())?;
    let on_pod = Capture::start(gateway.netns(), pod.link())?;
    let in_tunnel = Capture::start(worker.netns(), "vx")?;
    let _in_tunnel = serve(worker.netns(), "in tunnel")?;
    assert_eq!(
        seen(gateway.netns(), [240, 0, 0, 2])?,
        IpAddr::from([240, 0, 0, 1])
    );
    seen(pod.netns(), far.ip())?;

    let encapsulated = on_node
        .wait_for(SOON, |p| p.vxlan(4800).is_some_and(|(id, _)| id == 100))
        .await?;
    let (_, inner) = encapsulated.vxlan(4800).context("VXLAN")?;
    assert_eq!(encapsulated.protocol, Protocol::Udp);
    ensure!(
        encapsulated.is_between(gateway.ip(), worker.ip()),
        "{encapsulated}"
    );
    ensure!(inner.protocol != Protocol::Udp || inner.is_port(PORT));
    on_bridge.wait_for(SOON, |p| p.is_port(4800)).await?;
    in_tunnel
        .wait_for(SOON, |p| p.is_from([240, 0, 0, 2]) && p.is_port(PORT))
        .await?;
    // VXLAN does not encrypt.
    ensure!(on_node.packets().iter().any(|p| p.contains(b"in tunnel")));
    let answer = on_pod
        .wait_for(SOON, |p| {
            p.contains(b"plain text") && p.protocol == Protocol::Tcp
        })
        .await?;
    ensure!(
        answer.is_from(far.ip()) && answer.is_to(pod.ip()) && answer.outgoing,
        "{answer}"
    );
    let said = on_pod
        .wait_for(NO_ANSWER, |p| p.is_port(4800))
        .await
        .expect_err("no VXLAN there");
    ensure!(format!("{said:#}").contains("Tcp"), "{said:#}");

    let folder = tempfile::tempdir()?;
    let file = folder.path().join("pod.pcap");
    let packets = on_pod.stop()?;
    save_pcap(&packets, &file)?;
    let bytes: usize = packets.iter().map(|p| 16 + p.bytes.len()).sum();
    assert_eq!(std::fs::metadata(&file)?.len(), 24 + bytes as u64);
    Ok(())
}

#[test]
fn state_is_the_same_until_something_changes_it() -> Result<()> {
    let (_fabric, c1, _c2) = two_sites(Cni::Flannel)?;
    let (worker, pod) = parts(&c1, "c1-w1")?;
    let netns = worker.netns();
    let before = KernelState::of(netns)?;
    // Traffic counts, and teaches neighbours.
    let _server = serve(pod.netns(), "pod")?;
    seen(c1.node("c1-gw1")?.pods[0].netns(), pod.ip())?;
    before.ensure_same(&KernelState::of(netns)?)?;

    let steps = [
        ("link add vx type vxlan id 7 dstport 4800", "link del vx"),
        (
            "addr add 10.99.0.1/32 dev eth0",
            "addr del 10.99.0.1/32 dev eth0",
        ),
        (
            "route add 10.99.0.0/16 dev eth0 table 150 proto 83",
            "route del 10.99.0.0/16 dev eth0 table 150",
        ),
        ("rule add pref 150 lookup 150", "rule del pref 150"),
        (
            "route add fd00:99::/32 dev eth0",
            "route del fd00:99::/32 dev eth0",
        ),
        (
            "neigh add 10.99.0.9 lladdr 02:00:00:00:00:09 dev eth0",
            "neigh del 10.99.0.9 dev eth0",
        ),
    ];
    let wants = [
        "+ link vx linkinfo.info_data.id=7",
        "+ address eth0 family=inet",
        "+ route ip dev=eth0 dst=10.99.0.0/16",
        "+ rule ip priority=150",
        "+ route ip6 dev=eth0 dst=fd00:99::/32",
        "+ neighbour ip dev=eth0 dst=10.99.0.9",
    ];
    for ((make, remove), want) in steps.into_iter().zip(wants) {
        netns.ip(make)?;
        let changes = before.changes(&KernelState::of(netns)?);
        ensure!(changes.contains(want), "after {make}:\n{changes}");
        netns.ip(remove)?;
        before
            .ensure_same(&KernelState::of(netns)?)
            .with_context(|| format!("after {remove}"))?;
    }
    netns.nft("table inet submariner { chain postrouting { type nat hook postrouting priority 80; ip daddr 10.0.0.0/8 counter accept; }; }")?;
    let changes = before.changes(&KernelState::of(netns)?);
    ensure!(
        changes.contains("+ nft table inet submariner chain postrouting 2: ip daddr 10.0.0.0/8"),
        "{changes}"
    );
    netns.nft("delete table inet submariner")?;
    netns.sysctl(&[("ipv4/conf/eth0/rp_filter", "2")])?;
    let said = before
        .ensure_same(&KernelState::of(netns)?)
        .expect_err("a change");
    ensure!(
        said.to_string()
            .contains("+ sysctl net/ipv4/conf/eth0/rp_filter 2"),
        "{said:#}"
    );
    let sysctls = before
        .only(|line| line.starts_with("sysctl "))
        .lines()
        .count();
    ensure!(sysctls > 300, "{sysctls}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_on_a_node_sees_the_node() -> Result<()> {
    let (_fabric, c1, _c2) = two_sites(Cni::Bare)?;
    let (worker, _) = parts(&c1, "c1-w1")?;
    let mut command = Command::new("/bin/sh");
    command.args([
        "-c",
        "hostname; ls /sys/class/net; ls /run | wc -l; mkdir /run/mine; echo up; sleep 7777",
    ]);
    let mut process = worker.spawn(command)?;
    process.wait_for_line("up", SOON).await?;
    let output = process.output()?;
    ensure!(output.starts_with("c1-w1\n"), "{output}");
    ensure!(
        output.contains("\ncni0\n") && output.contains("\n0\nup"),
        "{output}"
    );
    ensure!(!std::path::Path::new("/run/mine").exists());
    Ok(())
}

#[test]
fn a_pod_that_ends_leaves_no_link_whoever_holds_its_namespace() -> Result<()> {
    let fabric = Fabric::new()?;
    let site = fabric.site("c1").workers(1).start()?;
    let node = &site.workers().next().context("a worker")?.net;
    let before = node.netns().output("ip", &["-oneline", "link"])?;
    let pod = node.add_pod()?;
    let held = std::sync::Arc::clone(pod.netns());
    ensure!(
        node.netns()
            .output("ip", &["link", "show", pod.link()])
            .is_ok()
    );
    drop(pod);
    let after = node.netns().output("ip", &["-oneline", "link"])?;
    ensure!(
        after.lines().count() == before.lines().count(),
        "{before}, then {after}"
    );
    drop(held);
    Ok(())
}
