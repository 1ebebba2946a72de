//! The network of one cluster: a LAN, its nodes, their pods.
//!
//! ```text
//!   LAN's namespace: bridge lan0 172.20.x.0/24, fd00:20:x::/64      uplink to a Fabric, if there is one
//!        │ veth                                                     (else lan0 has the router's address)
//!   node's namespace: eth0 172.20.x.11
//!        │ cni0, the first address of the node's /24
//!        │ veth each
//!   pod's namespace: eth0 a /32, everything by way of cni0
//! ```
//!
//! Pods reach even their neighbours through the node's routing, so that connections to a Service find their way back
//! without help of `br_netfilter`. Pods of other nodes are routed over the LAN without encapsulation (host-gw), what leaves
//! the pod CIDR is masqueraded as a [`Cni`] does it. IPv6 is there beside IPv4, in the same form.

mod cni;
mod node;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use anyhow::{Context as _, Result, ensure};
use ipnet::{Ipv4Net, Ipv6Net};

use crate::Cluster;
use crate::cluster::nth;
use crate::families::Families;
use crate::fault::{End, Fault, Link};
use crate::netns::NetNs;
pub use cni::Cni;
pub use node::{Node, Pod};

/// The port in the endpoints of the Service `kubernetes`.
pub(crate) const API_PORT: u16 = 6443;
const NODE_PREFIX: u8 = 24;
const NODE_PREFIX6: u8 = 64;
/// The node's last octet is this and its number.
const FIRST_NODE: u8 = 10;
/// The LAN's side of the link to the router.
pub(crate) const UPLINK: &str = "up0";

/// Where a cluster has its addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ranges {
    /// The nodes', a /24. The router is its first address.
    pub lan: Ipv4Net,
    pub lan6: Ipv6Net,
    /// The pods'. Each node takes a /24 of it.
    pub pods: Ipv4Net,
    /// Each node takes a /64 of it.
    pub pods6: Ipv6Net,
}

impl Ranges {
    /// Everything follows from the pods' range by its second octet: pods in 10.8.0.0/16 have nodes in 172.20.8.0/24, and of
    /// IPv6 fd00:20:8::/64 and fd00:10:8::/48.
    pub fn of_pods(pods: Ipv4Net) -> Self {
        Self::with_lan(pods, pods.network().octets()[1])
    }

    /// The LAN 172.20.`number`.0/24, for clusters whose pods have the same addresses.
    pub fn with_lan(pods: Ipv4Net, number: u8) -> Self {
        let id = u16::from(pods.network().octets()[1]);
        let v4 = |net| Ipv4Net::new(net, 24).expect("24 is a prefix length");
        let v6 = |net, prefix| Ipv6Net::new(net, prefix).expect("a prefix length");
        Self {
            lan: v4(Ipv4Addr::new(172, 20, number, 0)),
            lan6: v6(
                Ipv6Addr::new(0xfd00, 0x20, number.into(), 0, 0, 0, 0, 0),
                NODE_PREFIX6,
            ),
            pods,
            pods6: v6(Ipv6Addr::new(0xfd00, 0x10, id, 0, 0, 0, 0, 0), 48),
        }
    }

    /// The router's addresses on the LAN.
    pub fn router(&self) -> (Ipv4Addr, Ipv6Addr) {
        (host(self.lan, 1), host6(self.lan6, 1))
    }
}

fn host(net: Ipv4Net, n: u8) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(net.network()) + u32::from(n))
}

fn host6(net: Ipv6Net, n: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(net.network()) + u128::from(n))
}

/// The network between the nodes of one cluster.
#[derive(Debug)]
pub struct Lan {
    netns: Arc<NetNs>,
    ranges: Ranges,
    families: Families,
    /// And the router, which lasts as long as who is joined to it.
    uplink: OnceLock<(Link, Arc<NetNs>)>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    members: Vec<Member>,
    /// Servers that nobody here reaches: [`Lan::partition`].
    unreachable: BTreeSet<SocketAddr>,
}

/// A node's place, which it keeps when it comes back.
#[derive(Debug)]
struct Member {
    name: String,
    place: Place,
    netns: Weak<NetNs>,
    node: Weak<Node>,
}

/// What a node has from its number.
#[derive(Debug, Clone, Copy)]
struct Place {
    number: u8,
    ip: Ipv4Addr,
    ip6: Ipv6Addr,
    pods: Ipv4Net,
    pods6: Ipv6Net,
}

impl Place {
    fn new(ranges: &Ranges, number: u8) -> Result<Self> {
        let first = nth(ranges.pods, u32::from(number) << (32 - NODE_PREFIX))?;
        let first6 = u128::from(ranges.pods6.network()) + (u128::from(number) << 64);
        Ok(Self {
            number,
            ip: host(ranges.lan, FIRST_NODE + number),
            ip6: host6(ranges.lan6, u32::from(FIRST_NODE + number)),
            pods: Ipv4Net::new(first, NODE_PREFIX)?,
            pods6: Ipv6Net::new(first6.into(), NODE_PREFIX6)?,
        })
    }

    fn link(&self) -> String {
        format!("node{}", self.number)
    }
}

impl Lan {
    pub(crate) fn new(ranges: Ranges, families: Families) -> Result<Self> {
        ensure!(
            ranges.pods.prefix_len() < NODE_PREFIX,
            "{} has no room for nodes, each with a /{NODE_PREFIX}",
            ranges.pods
        );
        let netns = NetNs::new()?;
        without_dad(&netns, true)?;
        let (router, router6) = ranges.router();
        netns.ip(&format!(
            "link add lan0 type bridge\n{}link set lan0 up\n\
             addr add {router6}/{NODE_PREFIX6} dev lan0 nodad",
            set_mac("lan0", 0x14, 1)
        ))?;
        if families.has_v4() {
            netns.ip(&format!("addr add {router}/24 dev lan0"))?;
        }
        do_not_filter_bridges(&netns)?;
        Ok(Self {
            netns: Arc::new(netns),
            ranges,
            families,
            uplink: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    /// Commands that are for IPv4: none where there is none.
    pub(crate) fn v4(&self, commands: String) -> String {
        if self.families.has_v4() {
            commands
        } else {
            String::new()
        }
    }

    /// The namespace of the bridge between the nodes: a place to capture what they send each other.
    pub fn netns(&self) -> &Arc<NetNs> {
        &self.netns
    }

    /// The link to the router of the fabric.
    pub fn uplink(&self) -> Result<&Link> {
        let uplink = self.uplink.get().map(|(link, _)| link);
        uplink.context("this LAN is joined to no Fabric: call Fabric::join")
    }

    pub(crate) fn set_uplink(&self, link: Link, router: &Arc<NetNs>) {
        // Who joins has seen that there is none.
        let _ = self.uplink.set((link, Arc::clone(router)));
    }

    /// The link of one node.
    pub fn node_link(&self, name: &str) -> Result<Link> {
        let state = self.state();
        let member = state.members.iter().find(|member| member.name == name);
        let place = member
            .with_context(|| format!("no node {name:?} on this LAN"))?
            .place;
        Ok(Link::new(&self.netns, &place.link(), End::Far))
    }

    /// Cuts a cluster's API server off from all nodes and pods here, in both directions and without a word, as a broken
    /// path on the way does. The test itself still reaches it.
    ///
    /// A broker is the API server of another cluster. The own API server counts too: then kubelets go on (they are the
    /// test's), but kube-proxy and pods do not.
    pub fn partition(self: &Arc<Self>, from: &Cluster) -> Result<Fault> {
        let mut servers = vec![from.addr()];
        if from.is_on(self) {
            servers.push((from.advertised(), API_PORT).into());
        }
        self.change_unreachable(|set| set.extend(&servers))?;
        let lan = Arc::clone(self);
        Ok(Fault::new(
            format!("no way to the API server {}", from.addr()),
            move || lan.change_unreachable(|set| set.retain(|server| !servers.contains(server))),
        ))
    }

    fn change_unreachable(&self, change: impl FnOnce(&mut BTreeSet<SocketAddr>)) -> Result<()> {
        let mut state = self.state();
        change(&mut state.unreachable);
        // Under the lock: a pod that is being made either is among these, or sees the change.
        for netns in state.namespaces() {
            isolate(&netns, &state.unreachable)?;
        }
        Ok(())
    }

    /// Connects a node, which has the addresses that it had if it was here before.
    fn join(&self, name: &str, netns: &Arc<NetNs>) -> Result<Place> {
        let mut state = self.state();
        let known = state.members.iter().position(|member| member.name == name);
        let slot = known.unwrap_or(state.members.len());
        let number = u8::try_from(slot + 1).context("too many nodes")?;
        ensure!(number < 200, "too many nodes");
        let place = Place::new(&self.ranges, number)?;
        let link = place.link();
        if let Some(before) = known {
            let before = &state.members[before];
            ensure!(before.node.strong_count() == 0, "node {name} runs already");
            // The kernel may not have come to it yet.
            let _ = self.netns.ip(&format!("link del {link}"));
        }
        self.netns.ip(&format!(
            "link add {link} type veth peer name eth0 netns {}\nlink set {link} master lan0 up",
            netns.path()
        ))?;
        let (router, router6) = self.ranges.router();
        // The others remember a node's hardware address.
        let mut commands = set_mac("eth0", 0, number);
        commands += "link set lo up\n";
        commands += &self.v4(format!("addr add {}/24 dev eth0\n", place.ip));
        commands += &format!(
            "addr add {}/{NODE_PREFIX6} dev eth0 nodad\nlink set eth0 up\n\
             route add default via {router6}\n",
            place.ip6
        );
        commands += &self.v4(format!("route add default via {router}\n"));
        let to = |place: &Place| {
            let Place {
                ip,
                ip6,
                pods,
                pods6,
                ..
            } = place;
            let v4 = self.v4(format!("route replace {pods} via {ip}\n"));
            format!("{v4}route replace {pods6} via {ip6}\n")
        };
        for other in state.members.iter().filter(|other| other.name != name) {
            if let Some(other_netns) = other.netns.upgrade() {
                commands += &to(&other.place);
                other_netns.ip(&to(&place))?;
            }
        }
        netns.ip(&commands)?;
        let member = Member {
            name: name.to_owned(),
            place,
            netns: Arc::downgrade(netns),
            node: Weak::new(),
        };
        match known {
            Some(before) => state.members[before] = member,
            None => state.members.push(member),
        }
        Ok(place)
    }

    /// A node is gone, whoever still holds its namespace.
    fn leave(&self, name: &str) -> Result<()> {
        let mut state = self.state();
        let members = &mut state.members;
        let member = members.iter_mut().find(|member| member.name == name);
        let member = member.context("it has joined")?;
        member.netns = Weak::new();
        member.node = Weak::new();
        let link = member.place.link();
        self.netns.ip(&format!("link del {link}"))
    }

    /// A node is complete: faults reach it from now on.
    fn joined(&self, node: &Arc<Node>) -> Result<()> {
        let mut state = self.state();
        let name = node.name();
        let member = state.members.iter_mut().find(|member| member.name == name);
        member.context("it has joined")?.node = Arc::downgrade(node);
        if state.unreachable.is_empty() {
            return Ok(());
        }
        isolate(node.netns(), &state.unreachable)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Of all nodes and pods.
    fn namespaces(&self) -> Vec<Arc<NetNs>> {
        let nodes = self.members.iter().filter_map(|m| m.node.upgrade());
        nodes.flat_map(|node| node.namespaces()).collect()
    }
}

/// Traffic to these servers is lost on its way. They are reached by relays inside, so the way is the loopback device.
fn isolate(netns: &NetNs, servers: &BTreeSet<SocketAddr>) -> Result<()> {
    const TABLE: &str = "inet lab-partition";
    let mut script = format!("add table {TABLE}\ndelete table {TABLE}\n");
    if !servers.is_empty() {
        script += &format!("add table {TABLE}\n");
        for (hook, end) in [
            ("input", ("daddr", "dport")),
            ("output", ("saddr", "sport")),
        ] {
            let mut rules = String::new();
            for server in servers {
                let family = if server.is_ipv4() { "ip" } else { "ip6" };
                let (ip, port) = (server.ip(), server.port());
                rules += &format!("{family} {} {ip} tcp {} {port} drop\n", end.0, end.1);
            }
            script += &format!(
                "table {TABLE} {{ chain {hook} {{ type filter hook {hook} priority -300;\n{rules}}}; }}\n"
            );
        }
    }
    netns.nft(&script)
}

/// Commands that give a link a hardware address, and the link-local address that follows from it. The kernel would add the
/// latter when it notices that the link is up, up to a second later, and ask no neighbour for packets that it forwards
/// before that.
pub(crate) fn set_mac(device: &str, kind: u8, number: u8) -> String {
    format!(
        "link set {device} address 02:{kind:02x}:00:00:00:{number:02x}\n\
         addr add fe80::{kind:x}:ff:fe00:{number:x}/64 dev {device} nodad\n"
    )
}

/// Whether links that are made from now on use their IPv6 addresses at once. With detection of duplicates they wait for a
/// second.
pub(crate) fn without_dad(netns: &NetNs, without: bool) -> Result<()> {
    let value = if without { "0" } else { "1" };
    netns.sysctl(&[("ipv6/conf/default/accept_dad", value)])
}

/// With it a bridge would look into what it carries, and find a pod that talks to itself odd.
fn do_not_filter_bridges(netns: &NetNs) -> Result<()> {
    if std::path::Path::new("/proc/sys/net/bridge").exists() {
        netns.sysctl(&[
            ("bridge/bridge-nf-call-iptables", "0"),
            ("bridge/bridge-nf-call-ip6tables", "0"),
        ])?;
    }
    Ok(())
}
