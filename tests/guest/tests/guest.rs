//! What the guest is for, done in it.

use std::net::SocketAddr;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_test_guest::block_on;
use subm_test_support::lan::{Cni, Node};
use subm_test_support::whereami::{self, Identity, Server};
use subm_test_support::{Capture, Fabric, NetNs, can_delay, eventually};

const SOON: Duration = Duration::from_secs(30);
const PORT: u16 = 8080;

fn the_kernel_is_another_one() -> Result<()> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    ensure!(release.starts_with("6.12."), "{release}");
    let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
    ensure!(cpus.contains("User Mode Linux"), "{cpus}");
    // What is written goes nowhere.
    std::fs::write("/etc/written-by-a-guest", "")?;
    Ok(())
}

fn devices_that_machines_often_lack_are_there() -> Result<()> {
    let node = NetNs::new()?;
    for kind in ["wireguard", "dummy", "vxlan id 1 dstport 4800", "bridge"] {
        node.ip(&format!(
            "link add probe type {kind}\nlink set probe up\nlink del probe"
        ))?;
    }
    node.nft(
        "table netdev x { chain e { type filter hook egress device \"lo\" priority 0; drop; }; }",
    )?;
    node.ip("xfrm policy add src 10.1.0.0/16 dst 10.2.0.0/16 dir out tmpl src 172.20.1.11 dst 172.20.2.11 proto esp mode tunnel")
}

fn links_can_be_slow() -> Result<()> {
    ensure!(can_delay()?);
    let fabric = Fabric::new()?;
    let c1 = fabric.site("c1").workers(1).start()?;
    let c2 = fabric.site("c2").workers(1).start()?;
    let (from, far) = (&c1.nodes[0].net, &c2.nodes[0].net);
    let _server = Server::start(far.netns(), Identity::default(), PORT)?;
    let ask = || -> Result<Duration> {
        let start = Instant::now();
        whereami::ask_udp(from.netns(), (far.ip(), PORT).into(), SOON)?;
        Ok(start.elapsed())
    };
    // Neighbours are asked for.
    ask()?;
    let quick = ask()?;
    let by = Duration::from_millis(300);
    let delay = c1.lan().uplink()?.delay(by)?;
    let slow = ask()?;
    delay.heal()?;
    let healed = ask()?;
    ensure!(
        quick < by && slow >= by && healed < by,
        "{quick:?} {slow:?} {healed:?}"
    );
    Ok(())
}

fn wg(node: &Node, words: &str) -> Result<String> {
    let words: Vec<&str> = words.split(' ').collect();
    node.netns().output("wg", &words)
}

fn kernel_wireguard_joins_the_pods_of_two_clusters() -> Result<()> {
    block_on(async {
        let fabric = Fabric::new()?;
        let site = |name| fabric.site(name).gateways(1).pods(1).cni(Cni::Bare).start();
        let (c1, c2) = (site("c1")?, site("c2")?);
        let (one, two) = (&c1.nodes[0], &c2.nodes[0]);
        let mut public = Vec::new();
        for node in [one, two] {
            let name = node.net.name();
            node.net.netns().ip("link add submariner type wireguard")?;
            let key = format!("/run/{name}.key");
            std::fs::write(&key, wg(&node.net, "genkey")?)?;
            wg(
                &node.net,
                &format!("set submariner listen-port 4500 private-key {key}"),
            )?;
            public.push(
                wg(&node.net, "show submariner public-key")?
                    .trim()
                    .to_owned(),
            );
        }
        for (node, other, key, pods) in [
            (one, two, &public[1], c2.ranges().pods),
            (two, one, &public[0], c1.ranges().pods),
        ] {
            let endpoint = SocketAddr::from((other.net.ip(), 4500));
            wg(
                &node.net,
                &format!("set submariner peer {key} endpoint {endpoint} allowed-ips {pods}"),
            )?;
            node.net.netns().ip(&format!(
                "link set submariner up\nroute add {pods} dev submariner"
            ))?;
        }
        let identity = Identity {
            pod: "a secret".to_owned(),
            ..Identity::default()
        };
        let (from, to) = (&one.pods[0], &two.pods[0]);
        let _server = Server::start(to.netns(), identity, PORT)?;
        let between = Capture::start(c1.lan().netns(), "up0")?;
        let answer = eventually(SOON, || {
            let to = SocketAddr::from((to.ip(), PORT));
            std::future::ready(whereami::ask(from.netns(), to, Duration::from_secs(5)))
        })
        .await?;
        ensure!(answer.client == from.ip(), "{answer:?}");
        ensure!(answer.server.pod == "a secret");
        between.wait_for(SOON, |p| p.is_port(4500)).await?;
        let packets = between.stop()?;
        ensure!(
            packets.iter().all(|p| !p.contains(b"a secret")),
            "{packets:?}"
        );
        ensure!(packets.iter().all(|p| !p.is_port(PORT)), "{packets:?}");
        let handshake = wg(&one.net, "show submariner latest-handshakes")?;
        let time = handshake
            .split_whitespace()
            .nth(1)
            .context("no handshake")?;
        ensure!(time != "0", "{handshake}");
        Ok(())
    })
}

fn programs_run_in_it_on_nodes() -> Result<()> {
    block_on(async {
        let fabric = Fabric::new()?;
        let c1 = fabric.site("c1").workers(1).start()?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "hostname; ls /sys/class/net"]);
        let mut process = c1.nodes[0].net.spawn(command)?;
        process.wait_for_line("c1-w1", SOON).await?;
        process.wait_for_line("cni0", SOON).await?;
        Ok(())
    })
}

subm_test_guest::tests![
    the_kernel_is_another_one,
    devices_that_machines_often_lack_are_there,
    links_can_be_slow,
    kernel_wireguard_joins_the_pods_of_two_clusters,
    programs_run_in_it_on_nodes,
];
