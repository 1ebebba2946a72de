//! The links and addresses of a node and its pods.
//!
//! ```text
//!   cluster's LAN (one namespace per cluster): bridge lan0 172.20.x.1/24
//!        │ veth
//!   node's namespace: eth0 172.20.x.11     kube-proxy, relays
//!        │ cni0, the first address of the node's /24
//!        │ veth each
//!   pod's namespace: eth0 a /32, everything by way of cni0
//! ```
//!
//! Pods reach even their neighbours through the node's routing, so that connections to a Service find their way back
//! without help of `br_netfilter`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use anyhow::{Context as _, Result, ensure};
use ipnet::Ipv4Net;

use crate::cluster::{ADVERTISED, nth};
use crate::netns::NetNs;
use crate::relay::Relays;

/// What a node's own `resolv.conf` names: nobody, which the node says at once, in a way that resolvers believe.
pub(super) const NO_RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);
/// The port in the endpoints of the Service `kubernetes`.
const API_PORT: u16 = 6443;
const NODE_PREFIX: u8 = 24;
/// A bridge without an address of its own takes the least of its ports', and another when a port comes or goes: those that
/// remember the old one then talk to nobody for a minute or two.
const BRIDGE_MAC: &str = "02:00:00:00:01:00";

/// The network between the nodes of one cluster.
#[derive(Debug)]
pub(crate) struct Lan {
    netns: NetNs,
    pods: Ipv4Net,
    members: Mutex<Vec<Member>>,
}

#[derive(Debug)]
struct Member {
    name: String,
    ip: Ipv4Addr,
    pods: Ipv4Net,
    netns: Weak<NetNs>,
}

impl Lan {
    /// Its addresses follow from those of the pods, so that clusters with pods of their own have nodes of their own.
    pub(crate) fn new(pods: Ipv4Net) -> Result<Self> {
        ensure!(
            pods.prefix_len() < NODE_PREFIX,
            "{pods} has no room for nodes, each with a /{NODE_PREFIX}"
        );
        let netns = NetNs::new()?;
        let router = lan_ip(pods, 1);
        netns.ip(&format!(
            "link add lan0 address {BRIDGE_MAC} type bridge\naddr add {router}/24 dev lan0\nlink set lan0 up"
        ))?;
        Ok(Self {
            netns,
            pods,
            members: Mutex::default(),
        })
    }

    /// A node that comes back has the addresses that it had.
    fn join(&self, name: &str, netns: &Arc<NetNs>) -> Result<(Ipv4Addr, Ipv4Net)> {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let known = members.iter().position(|member| member.name == name);
        let slot = known.unwrap_or(members.len());
        let number = u8::try_from(slot + 1).context("too many nodes")?;
        ensure!(number < 200, "too many nodes");
        if let Some(before) = known {
            ensure!(members[before].netns.strong_count() == 0, "it runs already");
            // The kernel may not have come to it yet.
            let _ = self.netns.ip(&format!("link del node{number}"));
        }
        let ip = lan_ip(self.pods, 10 + number);
        let first = nth(self.pods, u32::from(number) << (32 - NODE_PREFIX))?;
        let pods = Ipv4Net::new(first, NODE_PREFIX)?;
        self.netns.ip(&format!(
            "link add node{number} type veth peer name eth0 netns {}\nlink set node{number} master lan0 up",
            netns.path()
        ))?;
        // The others remember a node's hardware address.
        let mut commands = format!(
            "link set eth0 address 02:00:00:00:00:{number:02x}\naddr add {ip}/24 dev eth0\nlink set eth0 up\n\
             route add default via {}\n",
            lan_ip(self.pods, 1)
        );
        for member in members.iter().filter(|member| member.name != name) {
            if let Some(other) = member.netns.upgrade() {
                commands += &format!("route replace {} via {}\n", member.pods, member.ip);
                other.ip(&format!("route replace {pods} via {ip}"))?;
            }
        }
        netns.ip(&commands)?;
        let member = Member {
            name: name.to_owned(),
            ip,
            pods,
            netns: Arc::downgrade(netns),
        };
        match known {
            Some(before) => members[before] = member,
            None => members.push(member),
        }
        Ok((ip, pods))
    }
}

fn lan_ip(pods: Ipv4Net, host: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 20, pods.network().octets()[1], host)
}

/// A node's side.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) netns: Arc<NetNs>,
    pub(crate) ip: Ipv4Addr,
    pub(crate) pods: Ipv4Net,
    taken: Mutex<Taken>,
    _relays: Relays,
}

#[derive(Debug, Default)]
struct Taken {
    /// Host numbers in use.
    hosts: Vec<u32>,
    last: u32,
    links: u32,
}

/// A pod's side. Its address comes free when this is dropped.
#[derive(Debug)]
pub(crate) struct PodNetwork {
    pub(crate) netns: Arc<NetNs>,
    pub(crate) ip: Ipv4Addr,
    node: Arc<Network>,
    relays: Relays,
}

impl Network {
    /// Must be called in the runtime that the node lives in.
    pub(crate) fn new(lan: &Lan, name: &str, api_server: SocketAddr) -> Result<Self> {
        let netns = Arc::new(NetNs::new()?);
        let (ip, pods) = lan.join(name, &netns)?;
        netns.ip(&format!(
            "link add cni0 address {BRIDGE_MAC} type bridge\naddr add {}/{NODE_PREFIX} dev cni0\nlink set cni0 up\n\
             addr add {ADVERTISED}/32 dev lo\nroute add prohibit {NO_RESOLVER}/32",
            nth(pods, 1)?
        ))?;
        netns.sysctl(&[
            ("ipv4/ip_forward", "1"),
            // Neighbours could talk directly; they must not, see above.
            ("ipv4/conf/all/send_redirects", "0"),
            ("ipv4/conf/cni0/send_redirects", "0"),
        ])?;
        // With it the bridge would look into what it carries, and find a pod that talks to itself odd.
        if Path::new("/proc/sys/net/bridge").exists() {
            netns.sysctl(&[("bridge/bridge-nf-call-iptables", "0")])?;
        }
        let mut relays = Relays::default();
        relays.add(&netns, (ADVERTISED, API_PORT).into(), api_server)?;
        relays.add_reachable(Arc::clone(&netns))?;
        Ok(Self {
            netns,
            ip,
            pods,
            taken: Mutex::default(),
            _relays: relays,
        })
    }

    /// A namespace with an address for a pod.
    pub(crate) fn add_pod(self: &Arc<Self>) -> Result<PodNetwork> {
        let netns = Arc::new(NetNs::new()?);
        let (ip, link) = self.take()?;
        let mut made = PodNetwork {
            netns: Arc::clone(&netns),
            ip,
            node: Arc::clone(self),
            relays: Relays::default(),
        };
        let gateway = nth(self.pods, 1)?;
        self.netns.ip(&format!(
            "link add pod{link} type veth peer name eth0 netns {}\nlink set pod{link} master cni0 up",
            netns.path()
        ))?;
        netns.ip(&format!(
            "addr add {ip}/32 dev eth0\nlink set eth0 up\n\
             route add {gateway} dev eth0 scope link\nroute add default via {gateway}"
        ))?;
        // As container runtimes have it: port 53 needs no capability.
        netns.sysctl(&[("ipv4/ip_unprivileged_port_start", "0")])?;
        made.relays.add_reachable(netns)?;
        Ok(made)
    }

    /// The next free address, round and round: one that has just come free may be remembered somewhere.
    fn take(&self) -> Result<(Ipv4Addr, u32)> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let hosts = (1 << (32 - NODE_PREFIX)) - 3;
        let free = (0..hosts)
            .map(|n| (taken.last + n) % hosts + 2)
            .find(|host| !taken.hosts.contains(host))
            .context("the node has no address left for a pod")?;
        taken.hosts.push(free);
        taken.last = free - 1;
        taken.links += 1;
        Ok((nth(self.pods, free)?, taken.links))
    }
}

impl Drop for PodNetwork {
    fn drop(&mut self) {
        let mut taken = self
            .node
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Ok(range) = nth(self.node.pods, 0) {
            let host = u32::from(self.ip) - u32::from(range);
            taken.hosts.retain(|have| *have != host);
        }
    }
}
