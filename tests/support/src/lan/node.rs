//! A node's side of the network, and its pods'.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use anyhow::{Context as _, Result};
use ipnet::{Ipv4Net, Ipv6Net};

use super::{
    Cni, Lan, NODE_PREFIX, NODE_PREFIX6, Place, do_not_filter_bridges, host6, isolate, set_mac,
    without_dad,
};
use crate::Process;
use crate::cluster::nth;
use crate::netns::NetNs;

/// The network of a node: its namespace, and the addresses for its pods.
#[derive(Debug)]
pub struct Node {
    name: String,
    netns: Arc<NetNs>,
    place: Place,
    lan: Arc<Lan>,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Host numbers in use.
    hosts: Vec<u32>,
    last: u32,
    links: u32,
    pods: Vec<Weak<NetNs>>,
}

/// The network of a pod. Its address comes free when this is dropped.
#[derive(Debug)]
pub struct Pod {
    netns: Arc<NetNs>,
    ip: Ipv4Addr,
    ip6: Ipv6Addr,
    link: String,
    node: Arc<Node>,
    host: u32,
    plugged: AtomicBool,
}

impl Node {
    pub(crate) fn new(lan: &Arc<Lan>, name: &str, cni: Cni) -> Result<Arc<Self>> {
        let netns = Arc::new(NetNs::bare()?);
        without_dad(&netns, true)?;
        let place = lan.join(name, &netns)?;
        let node = Arc::new(Self {
            name: name.to_owned(),
            netns,
            place,
            lan: Arc::clone(lan),
            taken: Mutex::default(),
        });
        let (cni0, cni06) = node.cni_address();
        // A bridge without a hardware address of its own takes the least of its ports', and another when a port comes or
        // goes: those that remember the old one then talk to nobody for a minute or two.
        let v4 = lan.v4(format!("addr add {cni0}/{NODE_PREFIX} dev cni0\n"));
        node.netns.ip(&format!(
            "link add cni0 type bridge\n{}{v4}\
             addr add {cni06}/{NODE_PREFIX6} dev cni0 nodad\nlink set cni0 up",
            set_mac("cni0", 0x10, place.number)
        ))?;
        node.netns.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            // Neighbours could talk directly; they must not, see above.
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/cni0/send_redirects", "0"),
        ])?;
        // What programs under test make is to be as on any node.
        without_dad(&node.netns, false)?;
        do_not_filter_bridges(&node.netns)?;
        cni.masquerade(&node.netns, lan.ranges(), (place.pods, place.pods6))?;
        lan.joined(&node)?;
        Ok(node)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn netns(&self) -> &Arc<NetNs> {
        &self.netns
    }

    /// Its addresses on the LAN, on the device `eth0`.
    pub fn ip(&self) -> Ipv4Addr {
        self.place.ip
    }

    pub fn ip6(&self) -> Ipv6Addr {
        self.place.ip6
    }

    /// Where its pods have their addresses.
    pub fn pod_cidr(&self) -> Ipv4Net {
        self.place.pods
    }

    pub fn pod_cidr6(&self) -> Ipv6Net {
        self.place.pods6
    }

    /// The addresses of the bridge to its pods, `cni0`: what a CNI interface is known by.
    pub fn cni_address(&self) -> (Ipv4Addr, Ipv6Addr) {
        let first = nth(self.place.pods, 1).expect("a /24 has a first address");
        (first, host6(self.place.pods6, 1))
    }

    pub fn lan(&self) -> &Arc<Lan> {
        &self.lan
    }

    /// Starts a program on this node. See [`NetNs::spawn`].
    pub fn spawn(&self, command: Command) -> Result<Process> {
        self.netns.spawn(&self.name, command)
    }

    /// Off the LAN for good, whoever still holds its namespace.
    pub(crate) fn unplug(&self) -> Result<()> {
        self.lan.leave(&self.name)
    }

    /// A namespace with addresses for a pod, connected.
    pub fn add_pod(self: &Arc<Self>) -> Result<Pod> {
        let netns = Arc::new(NetNs::bare()?);
        without_dad(&netns, true)?;
        let (host, link) = self.take(&netns)?;
        let pod = Pod {
            ip: nth(self.place.pods, host)?,
            ip6: host6(self.place.pods6, host),
            link: format!("pod{link}"),
            netns,
            node: Arc::clone(self),
            host,
            plugged: AtomicBool::new(true),
        };
        // Hardware addresses that a pod of this address always has: others remember them.
        let mac = |kind: u8| format!("02:{kind}:00:00:{:02x}:{host:02x}", self.place.number);
        self.netns.ip(&format!(
            "link add {link} address {} type veth peer name eth0 address {} netns {}\n\
             link set {link} addrgenmode none\nlink set {link} master cni0 up",
            mac(11),
            mac(12),
            pod.netns.path(),
            link = pod.link
        ))?;
        let (gateway, gateway6) = self.cni_address();
        let (ip, ip6) = (pod.ip, pod.ip6);
        let v4 = self.lan.v4(format!(
            "addr add {ip}/32 dev eth0\nroute add {gateway} dev eth0 scope link\nroute add default via {gateway}\n"
        ));
        pod.netns.ip(&format!(
            "link set lo up\naddr add {ip6}/128 dev eth0 nodad\nlink set eth0 up\n{v4}\
             route add {gateway6} dev eth0\nroute add default via {gateway6}"
        ))?;
        // As container runtimes have it: port 53 needs no capability.
        pod.netns
            .sysctl(&[("ipv4/ip_unprivileged_port_start", "0")])?;
        // After it is in the list: see Lan::change_unreachable.
        let state = self.lan.state();
        if !state.unreachable.is_empty() {
            isolate(&pod.netns, &state.unreachable)?;
        }
        drop(state);
        Ok(pod)
    }

    /// Its own and those of its pods.
    pub(super) fn namespaces(&self) -> Vec<Arc<NetNs>> {
        let mut taken = self.taken();
        taken.pods.retain(|pod| pod.strong_count() > 0);
        let pods = taken.pods.iter().filter_map(Weak::upgrade);
        std::iter::once(Arc::clone(&self.netns))
            .chain(pods)
            .collect()
    }

    /// The next free address, round and round: one that has just come free may be remembered somewhere.
    fn take(&self, netns: &Arc<NetNs>) -> Result<(u32, u32)> {
        let mut taken = self.taken();
        let hosts = (1 << (32 - NODE_PREFIX)) - 3;
        let free = (0..hosts)
            .map(|n| (taken.last + n) % hosts + 2)
            .find(|host| !taken.hosts.contains(host))
            .context("the node has no address left for a pod")?;
        taken.hosts.push(free);
        taken.last = free - 1;
        taken.links += 1;
        taken.pods.push(Arc::downgrade(netns));
        Ok((free, taken.links))
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pod {
    pub fn netns(&self) -> &Arc<NetNs> {
        &self.netns
    }

    pub fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    pub fn ip6(&self) -> Ipv6Addr {
        self.ip6
    }

    /// The node's end of its link.
    pub fn link(&self) -> &str {
        &self.link
    }

    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Takes its link away, as a CNI plugin does when a pod ends: not only when the kernel has let go of its namespace, which a
    /// connection that nobody answers any more can hold for minutes.
    pub(crate) fn unplug(&self) {
        if self.plugged.swap(false, Ordering::Relaxed) {
            // It may be gone with its namespace.
            let _ = self.node.netns.ip(&format!("link del {}", self.link));
        }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.unplug();
        let host = self.host;
        self.node.taken().hosts.retain(|have| *have != host);
    }
}
