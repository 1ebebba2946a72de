//! WireGuard of a kernel, which that of the machine may lack: these run in a guest.

mod common;

use anyhow::Result;
use common::scenarios;
use subm_tunnel::wireguard::Implementation::{Auto, Kernel, Userspace};

fn traffic_passes_encrypted() -> Result<()> {
    scenarios::traffic_passes_encrypted([Kernel; 2])
}

fn kernel_and_userspace_understand_each_other() -> Result<()> {
    scenarios::traffic_passes_encrypted([Auto, Userspace])
}

fn d8_d17_changes_disturb_nobody_else() -> Result<()> {
    scenarios::changes_disturb_nobody_else(Kernel)
}

fn a_kept_key_needs_no_news() -> Result<()> {
    scenarios::a_kept_key_needs_no_news(Kernel)
}

fn an_idle_cable_stays_connected() -> Result<()> {
    scenarios::an_idle_cable_stays_connected([Kernel, Userspace])
}

fn a_network_may_move() -> Result<()> {
    scenarios::a_network_may_move(Kernel)
}

fn another_mtu_is_applied() -> Result<()> {
    scenarios::another_mtu_is_applied(Kernel)
}

fn a_killed_gateway_is_followed() -> Result<()> {
    scenarios::a_killed_gateway_is_followed(Kernel)
}

fn a_cut_is_told_within_six_seconds() -> Result<()> {
    scenarios::a_cut_is_told_within_six_seconds(Kernel)
}

fn another_secret_is_no_connection() -> Result<()> {
    scenarios::another_secret_is_no_connection(Kernel)
}

fn overlapping_networks_are_refused() -> Result<()> {
    scenarios::overlapping_networks_are_refused(Kernel)
}

fn a_removed_device_comes_back() -> Result<()> {
    scenarios::a_removed_device_comes_back(Kernel)
}

fn teardown_leaves_nothing() -> Result<()> {
    scenarios::teardown_leaves_nothing(Kernel)
}

fn gateways_may_have_ipv6() -> Result<()> {
    scenarios::gateways_may_have_ipv6(Kernel)
}

subm_test_guest::tests![
    traffic_passes_encrypted,
    kernel_and_userspace_understand_each_other,
    d8_d17_changes_disturb_nobody_else,
    a_kept_key_needs_no_news,
    an_idle_cable_stays_connected,
    a_network_may_move,
    another_mtu_is_applied,
    a_killed_gateway_is_followed,
    a_cut_is_told_within_six_seconds,
    another_secret_is_no_connection,
    overlapping_networks_are_refused,
    a_removed_device_comes_back,
    teardown_leaves_nothing,
    gateways_may_have_ipv6,
];
