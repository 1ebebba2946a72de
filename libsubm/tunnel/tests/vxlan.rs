//! VXLAN cables in network namespaces, with real packets.

mod common;

use std::sync::Arc;

use anyhow::{Result, ensure};
use common::{Conversation, Gateway, Switch, cable, eventually, lan, pod, pod6, reaches};
use subm_test_support::{Capture, KernelState, NetNs};
use subm_tunnel::vxlan::{VTEPS, Vxlan};
use subm_tunnel::{Cable, ConnectionStatus};

fn gateway(n: u8, netns: Arc<NetNs>) -> Result<Gateway> {
    Gateway::start(n, netns, || async { Ok(Vxlan::new()) })
}

/// As a gateway of ours publishes it.
fn ours(n: u8) -> Cable {
    cable(n, None).vtep_mac(VTEPS.mac([172, 31, 0, n].into()))
}

/// As one of Submariner's does: without a hardware address, and IPv4 only.
fn submariners(n: u8) -> Cable {
    cable(n, None).subnets([format!("10.{n}.0.0/16").parse().unwrap()])
}

/// vxlan: "ConnectToEndpoint should create a Connection and add expected data-plane components"
#[test]
fn vxlan_92_pods_reach_each_other_by_both_families() -> Result<()> {
    let switch = Switch::new()?;
    let (one, two) = (gateway(1, switch.node(1)?)?, gateway(2, switch.node(2)?)?);
    one.apply(&[ours(2)])?;
    two.apply(&[ours(1)])?;
    reaches((&one, pod(1)), (&two, pod(2)))?;
    reaches((&two, pod6(2)), (&one, pod6(1)))?;
    let connection = one.connection("cable-c2")?;
    ensure!(
        connection.status == ConnectionStatus::Connected,
        "{connection:?}"
    );
    ensure!(
        connection.using == lan(2) && !connection.nat,
        "{connection:?}"
    );
    Ok(())
}

/// vxlan: "DisconnectFromEndpoint should remove the Connection and its data-plane components", "Cleanup should remove the VxLAN
/// link device"
#[test]
fn vxlan_116_132_what_is_not_wanted_any_more_goes() -> Result<()> {
    let switch = Switch::new()?;
    let node = switch.node(1)?;
    let before = KernelState::of(&node)?;
    let one = gateway(1, Arc::clone(&node))?;
    one.apply(&[])?;
    let alone = KernelState::of(&node)?;
    one.apply(&[ours(2), submariners(3)])?;
    let all = KernelState::of(&node)?;
    ensure!(
        all.changes(&alone).contains("172.31.0.2"),
        "{}",
        all.changes(&alone)
    );
    one.apply(&[])?;
    eventually(|| alone.ensure_same(&KernelState::of(&node)?))?;
    ensure!(one.observe()?.is_empty());
    one.teardown()?;
    eventually(|| before.ensure_same(&KernelState::of(&node)?))
}

/// Where both sides know each other's address, no third gateway sees a frame of them; with one of Submariner's it works by flooding.
#[test]
fn frames_go_where_they_belong() -> Result<()> {
    let switch = Switch::new()?;
    let [one, two, three] = [1, 2, 3].map(|n| switch.node(n).and_then(|node| gateway(n, node)));
    let (one, two, three) = (one?, two?, three?);
    one.apply(&[ours(2), submariners(3)])?;
    two.apply(&[ours(1)])?;
    three.apply(&[submariners(1)])?;
    let bystander = Capture::start(&three.netns, "eth0")?;
    for _ in 0..20 {
        reaches((&one, pod(1)), (&two, pod(2)))?;
    }
    let seen = bystander.stop()?;
    // What is for all, such as who listens to which group, goes to all of Submariner's.
    let theirs = seen
        .iter()
        .filter_map(|packet| packet.vxlan(4500))
        .find(|(_, inner)| inner.is_between(pod(1), pod(2)));
    ensure!(theirs.is_none(), "{theirs:?}");
    // Asked for by ARP, answered.
    reaches((&one, pod(1)), (&three, pod(3)))?;
    reaches((&three, pod(3)), (&one, pod(1)))
}

/// A device that is made anew is reached at once: its hardware address is the old one.
#[test]
fn a_device_made_anew_is_known() -> Result<()> {
    let switch = Switch::new()?;
    let (one, two) = (gateway(1, switch.node(1)?)?, gateway(2, switch.node(2)?)?);
    for far in [ours(2), submariners(2)] {
        one.apply(std::slice::from_ref(&far))?;
        two.apply(&[submariners(1)])?;
        reaches((&one, pod(1)), (&two, pod(2)))?;
        two.netns.ip("link del vxlan-tunnel")?;
        two.apply(&[submariners(1)])?;
        let start = std::time::Instant::now();
        reaches((&one, pod(1)), (&two, pod(2)))?;
        // Probing of a neighbour that is another one takes longer.
        ensure!(start.elapsed().as_secs() < 3, "{:?}", start.elapsed());
    }
    Ok(())
}

/// Defect 8: what changes of a live cable is applied, and nobody else notices.
#[test]
fn d8_changes_disturb_nobody_else() -> Result<()> {
    let switch = Switch::new()?;
    let [one, two, three] = [1, 2, 3].map(|n| switch.node(n).and_then(|node| gateway(n, node)));
    let (one, two, three) = (one?, two?, three?);
    one.apply(&[ours(2), ours(3)])?;
    two.apply(&[ours(1)])?;
    three.apply(&[ours(1)])?;
    let talk = Conversation::start((&one, pod(1)), (&three, pod(3)))?;

    // Another subnet.
    two.netns.ip("addr add 10.22.0.1/32 dev lo")?;
    let mut second = ours(2);
    second.subnets.insert("10.22.0.0/16".parse()?);
    one.apply(&[second.clone(), ours(3)])?;
    reaches((&one, pod(1)), (&two, [10, 22, 0, 1].into()))?;

    // Another way to find its VTEP, and another address: its packets come from that, too.
    second.vtep_mac = None;
    one.apply(&[second.clone(), ours(3)])?;
    reaches((&one, pod(1)), (&two, pod(2)))?;
    two.netns.ip("addr add 172.31.0.22/24 dev eth0")?;
    let second = second.using([172, 31, 0, 22].into(), false);
    one.apply(&[second, ours(3)])?;
    reaches((&one, pod(1)), (&two, pod(2)))?;

    // It goes.
    one.apply(&[ours(3)])?;
    let count = talk.end()?;
    ensure!(count > 10, "only {count} packets");
    Ok(())
}

#[test]
fn vxlan_57_a_killed_process_is_followed() -> Result<()> {
    let switch = Switch::new()?;
    let (two, three) = (gateway(2, switch.node(2)?)?, gateway(3, switch.node(3)?)?);
    for other in [&two, &three] {
        other.apply(&[ours(1)])?;
    }
    let cables = [ours(2), ours(3)];
    let others = [&two, &three];
    common::a_killed_process_is_followed(&switch, |node| gateway(1, node), &cables, true, &others)
}

#[test]
fn a_cut_is_told_within_six_seconds() -> Result<()> {
    let switch = Switch::new()?;
    let (one, two) = (gateway(1, switch.node(1)?)?, gateway(2, switch.node(2)?)?);
    one.apply(&[ours(2)])?;
    two.apply(&[ours(1)])?;
    common::a_cut_is_told_within_six_seconds(&switch, (&one, &two))
}

/// Defect 16, as the status says it.
#[test]
fn d16_gateways_with_the_same_vtep_are_told_and_the_others_work() -> Result<()> {
    let switch = Switch::new()?;
    let (one, two) = (gateway(1, switch.node(1)?)?, gateway(2, switch.node(2)?)?);
    let double =
        Cable::new("cable-c9", "c9", [10, 31, 0, 2].into(), 4500).subnets(["10.9.0.0/16".parse()?]);
    one.apply(&[ours(2), double])?;
    two.apply(&[ours(1)])?;
    reaches((&one, pod(1)), (&two, pod(2)))?;
    let refused = one.connection("cable-c9")?;
    ensure!(refused.status == ConnectionStatus::Error, "{refused:?}");
    ensure!(
        refused.message.contains("is that of cable-c2"),
        "{refused:?}"
    );
    Ok(())
}

/// Many nodes are started with IPv6 disabled; the other cluster may have it.
#[test]
fn a_node_without_ipv6_has_cables_of_ipv4() -> Result<()> {
    let switch = Switch::new()?;
    let node = switch.node(1)?;
    node.sysctl(&[
        ("ipv6/conf/all/disable_ipv6", "1"),
        ("ipv6/conf/default/disable_ipv6", "1"),
    ])?;
    let before = KernelState::of(&node)?;
    let (one, two) = (gateway(1, Arc::clone(&node))?, gateway(2, switch.node(2)?)?);
    one.apply(&[ours(2)])?;
    two.apply(&[ours(1)])?;
    reaches((&one, pod(1)), (&two, pod(2)))?;
    one.teardown()?;
    eventually(|| before.ensure_same(&KernelState::of(&node)?))
}
