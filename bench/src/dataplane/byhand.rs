//! The same paths as a person makes them with `ip` and `nft`, in namespaces without Kubernetes.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use subm_test_support::lan::Node;
use subm_test_support::{Binaries, Fabric, Process, Site, SiteNode};
use tempfile::TempDir;

use super::flow::{Answering, PORT};
use super::{Path, Paths};

/// Long enough for a device to be made.
const SOON: Duration = Duration::from_secs(10);

/// What is between the gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The router of the fabric knows the pods.
    Routes,
    /// A VXLAN device, and another one to the workers.
    Vxlan,
    /// wireguard-go, and VXLAN to the workers.
    WireGuardGo,
}

pub struct ByHand {
    sites: [Site; 2],
    pub at_worker: Answering,
    pub at_gateway: Answering,
    /// Those that run cables.
    pub processes: Vec<Process>,
    _keys: TempDir,
    _fabric: Fabric,
}

impl ByHand {
    pub fn new(between: Between) -> Result<Self> {
        let fabric = Fabric::new()?;
        let site = |name| fabric.site(name).gateways(1).workers(1).pods(1).start();
        let sites = [site("c1")?, site("c2")?];
        let keys = tempfile::tempdir()?;
        let mut processes = Vec::new();
        for (here, there) in [(0, 1), (1, 0)] {
            let (here, there) = (&sites[here], &sites[there]);
            for node in &here.nodes {
                let exempted = format!(
                    "add element inet kindnet-ipmasq noMasqV4 {{ {} }}\n",
                    there.ranges().pods
                );
                node.net.netns().nft(&exempted)?;
            }
            match between {
                Between::Routes => route(&fabric, here)?,
                Between::Vxlan => {
                    cable_of_vxlan(here, there)?;
                    to_workers(here, there, 1410)?;
                }
                Between::WireGuardGo => {
                    processes.push(cable_of_wireguard(here, there, &keys)?);
                    to_workers(here, there, 1380)?;
                }
            }
        }
        let far = &sites[1];
        Ok(Self {
            at_worker: Answering::start(worker(far)?.pods[0].netns())?,
            at_gateway: Answering::start(gateway(far)?.pods[0].netns())?,
            sites,
            processes,
            _keys: keys,
            _fabric: fabric,
        })
    }

    pub fn paths(&self) -> Result<Paths> {
        let [c1, c2] = &self.sites;
        let path = |from: &SiteNode, to: &SiteNode| Path {
            from: Arc::clone(from.pods[0].netns()),
            to: (to.pods[0].ip(), PORT).into(),
        };
        Ok(Paths {
            workers: path(worker(c1)?, worker(c2)?),
            gateways: path(gateway(c1)?, gateway(c2)?),
        })
    }
}

fn gateway(site: &Site) -> Result<&SiteNode> {
    site.gateways().next().context("a gateway")
}

fn worker(site: &Site) -> Result<&SiteNode> {
    site.workers().next().context("a worker")
}

fn route(fabric: &Fabric, site: &Site) -> Result<()> {
    let gateway = gateway(site)?.net.ip();
    let pods = site.ranges().pods;
    fabric
        .router()
        .ip(&format!("route add {pods} via {gateway}"))
}

fn cable_of_vxlan(here: &Site, there: &Site) -> Result<()> {
    let (own, far) = (&gateway(here)?.net, &gateway(there)?.net);
    own.netns().ip(&format!(
        "link add cable type vxlan id 1000 dstport 4500 local {} remote {} dev eth0\n\
         addr add 192.168.100.{}/24 dev cable\nlink set cable up\nroute add {} via 192.168.100.{} dev cable",
        own.ip(),
        far.ip(),
        number(own),
        there.ranges().pods,
        number(far),
    ))
}

/// The second octet of a site's pods, by which all of it is numbered.
fn number(node: &Node) -> u8 {
    node.pod_cidr().network().octets()[1]
}

/// From the worker to its gateway; what comes back is routed as the CNI has it. And the MSS that fits into the cable.
fn to_workers(here: &Site, there: &Site, mss: u16) -> Result<()> {
    let (gateway, worker) = (&gateway(here)?.net, &worker(here)?.net);
    for (node, other, own, way) in [
        (gateway, worker, 1, None),
        (worker, gateway, 2, Some("192.168.99.1")),
    ] {
        node.netns().ip(&format!(
            "link add nodes type vxlan id 100 dstport 4800 local {} remote {} dev eth0\n\
             addr add 192.168.99.{own}/24 dev nodes\nlink set nodes up",
            node.ip(),
            other.ip()
        ))?;
        if let Some(way) = way {
            let pods = there.ranges().pods;
            node.netns().ip(&format!("route add {pods} via {way}"))?;
        }
        node.netns().sysctl(&[
            ("ipv4/conf/all/rp_filter", "2"),
            ("ipv4/conf/eth0/rp_filter", "2"),
        ])?;
        node.netns().nft(&format!(
            "table ip by-hand {{\nchain forward {{\ntype filter hook forward priority mangle;\n\
             tcp flags syn / syn,rst tcp option maxseg size set {mss}\n}}\n}}\n"
        ))?;
    }
    Ok(())
}

/// `wireguard-go` in a gateway's network; its socket is the machine's, where `wg` finds it.
fn cable_of_wireguard(here: &Site, there: &Site, keys: &TempDir) -> Result<Process> {
    let (own, far) = (&gateway(here)?.net, &gateway(there)?.net);
    let name = |node: &Node| format!("bench{}-{}", std::process::id() % 10_000, number(node));
    let device = name(own);
    let mut command = Command::new(Binaries::find("nsenter")?);
    command
        .arg(format!("--net={}", own.netns().path()))
        .arg(Binaries::find("wireguard-go")?)
        .args(["--foreground", &device])
        .env("LOG_LEVEL", "error");
    let process = Process::spawn(command)?;
    let key = |node: &Node| -> Result<(std::path::PathBuf, String)> {
        let path = keys.path().join(name(node));
        if !path.exists() {
            std::fs::write(&path, own.netns().output("wg", &["genkey"])?)?;
        }
        let text = std::fs::File::open(&path)?;
        let output = Command::new(Binaries::find("wg")?)
            .arg("pubkey")
            .stdin(text)
            .output()?;
        Ok((path, String::from_utf8(output.stdout)?.trim().to_owned()))
    };
    let (private, _) = key(own)?;
    let (_, public) = key(far)?;
    let began = Instant::now();
    loop {
        let mut set = Command::new(Binaries::find("wg")?);
        set.args(["set", &device, "listen-port", "4500", "private-key"])
            .arg(&private)
            .args(["peer", &public, "endpoint", &format!("{}:4500", far.ip())])
            .args(["allowed-ips", &there.ranges().pods.to_string()]);
        let output = set.output()?;
        if output.status.success() {
            break;
        }
        ensure!(
            began.elapsed() < SOON,
            "wg set: {}{}",
            String::from_utf8_lossy(&output.stderr),
            process.output()?
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    own.netns().ip(&format!(
        "link set {device} mtu 1420 up\nroute add {} dev {device}",
        there.ranges().pods
    ))?;
    Ok(process)
}
