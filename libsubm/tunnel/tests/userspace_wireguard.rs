//! WireGuard in userspace, in network namespaces, with real packets.

#![cfg(feature = "userspace")]

mod common;

use std::net::UdpSocket;

use anyhow::{Result, ensure};
use common::{Switch, cable, scenarios};
use subm_tunnel::PrivateKey;
use subm_tunnel::wireguard::Implementation::{Kernel, Userspace};

#[test]
fn traffic_passes_encrypted() -> Result<()> {
    scenarios::traffic_passes_encrypted([Userspace; 2])
}

#[test]
fn d8_d17_changes_disturb_nobody_else() -> Result<()> {
    scenarios::changes_disturb_nobody_else(Userspace)
}

#[test]
fn a_kept_key_needs_no_news() -> Result<()> {
    scenarios::a_kept_key_needs_no_news(Userspace)
}

#[test]
fn a_network_may_move() -> Result<()> {
    scenarios::a_network_may_move(Userspace)
}

#[test]
fn another_mtu_is_applied() -> Result<()> {
    scenarios::another_mtu_is_applied(Userspace)
}

#[test]
fn a_killed_gateway_is_followed() -> Result<()> {
    scenarios::a_killed_gateway_is_followed(Userspace)
}

#[test]
fn a_cut_is_told_within_six_seconds() -> Result<()> {
    scenarios::a_cut_is_told_within_six_seconds(Userspace)
}

#[test]
fn another_secret_is_no_connection() -> Result<()> {
    scenarios::another_secret_is_no_connection(Userspace)
}

#[test]
fn overlapping_networks_are_refused() -> Result<()> {
    scenarios::overlapping_networks_are_refused(Userspace)
}

#[test]
fn a_removed_device_comes_back() -> Result<()> {
    scenarios::a_removed_device_comes_back(Userspace)
}

#[test]
fn teardown_leaves_nothing() -> Result<()> {
    scenarios::teardown_leaves_nothing(Userspace)
}

#[test]
fn gateways_may_have_ipv6() -> Result<()> {
    scenarios::gateways_may_have_ipv6(Userspace)
}

#[test]
fn a_port_that_is_taken_is_said_and_tried_again() -> Result<()> {
    let switch = Switch::new()?;
    let keys = [PrivateKey::generate(), PrivateKey::generate()];
    let node = switch.node(1)?;
    let other = node.run(|| Ok(UdpSocket::bind("[::]:4500")?))?;
    let one = scenarios::gateway(1, node, &keys[0], "secret", Userspace)?;
    let error = one
        .apply(&[cable(2, Some(&keys[1]))])
        .unwrap_err()
        .to_string();
    ensure!(error.contains("UDP port 4500"), "{error}");
    drop(other);
    common::eventually(|| one.apply(&[cable(2, Some(&keys[1]))]))?;
    Ok(())
}

/// Where the kernel has none: said, and not silently something else.
#[test]
fn a_kernel_without_wireguard_is_told() -> Result<()> {
    let switch = Switch::new()?;
    let node = switch.node(1)?;
    if node.ip("link add probe type wireguard").is_ok() {
        // Then there is nothing to tell.
        return Ok(());
    }
    let Err(error) = scenarios::gateway(1, node, &PrivateKey::generate(), "secret", Kernel) else {
        anyhow::bail!("there is no kernel WireGuard");
    };
    ensure!(error.to_string().contains("has no WireGuard"), "{error}");
    Ok(())
}
