//! What a node of a connected cluster needs of the packet filter.
//!
//! ```text
//!  postrouting  -150  mss            SYN to or from a remote network: MSS of the path, and of the cable if it is known
//!               [40]                 Globalnet's place: an earlier NAT chain wins
//!                 50  source         240/8 out of vx-submariner -> CNI address; local <-> remote: source stays
//!               100                  kube-proxy's and the CNI's masquerade: too late for those
//!  forward         0  forward        count what goes in or out by our devices, if any are named
//!  input           0  input          count the tunnels' UDP, if ports are named
//! ```
//!
//! # Sources that stay
//!
//! Pods of two clusters see each other's own addresses. CNIs masquerade what leaves the pod network, and kube-proxy what comes in for
//! a Service, both in NAT chains at priority 100. An `accept` in a chain of ours would not stop theirs: in nft it ends one base chain
//! only. But a connection's source is settled once, by the first NAT chain that says something. [`Statement::KeepSource`] says "as it
//! is", at 50. Both directions need it: connections begin on either side. Once is also for ever: a connection that was masqueraded
//! before its networks became known here stays so until connection tracking forgets it.
//!
//! # What host processes send
//!
//! A process of a worker, or a pod with host networking, that talks to a remote cluster has the source that the route through
//! `vx-submariner` gives it, an address of 240.0.0.0/8, which no other cluster can answer. It becomes the node's address in the pod
//! network.
//!
//! # MSS
//!
//! Path MTU discovery fails wherever ICMP is filtered, so a SYN's MSS is lowered on its way, by either end's address: a remote
//! network is reached by a cable in both directions. What is local is not asked, because a host process's source is not yet the
//! address by which it will be known. To the MTU of the path always; also to that of the cable, for a worker whose own devices do not
//! know it. The smaller one wins, since an MSS is never raised.
//!
//! nft 1.0.6 has no map from networks to an MSS that JSON can declare. A map to verdicts does it: one chain for each value, of which
//! there are few; networks come and go as elements.
//!
//! # What accepting cannot do
//!
//! An `accept` here ends our own chain. A base chain of another table at the same hook that drops the packet still drops it, and
//! so does the policy DROP of iptables' FORWARD, which is a table of its own for nft. To open such a firewall is for who closed it. So
//! accepting is counting: [`Node::devices`] and [`Node::ports`] may be left empty, and then there is no chain for them, which each
//! packet would go through.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::ruleset::priority;
use crate::{
    Chain, DataType, Family, Hook, Interface, Kind, Mark, Match, Mss, Name, NatTo, Rule, Ruleset,
    Selector, Set, Statement, Transport, Verdict, mss,
};

/// The device between the nodes of a cluster (VXLAN, id 100).
pub const VX_SUBMARINER: Interface = Interface::literal("vx-submariner");

/// Its UDP port.
pub const VX_SUBMARINER_PORT: u16 = 4800;

/// The network of its addresses.
pub const HOST_NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 8);

/// The mark of packets whose source Globalnet translates. Nothing here sets, clears or tests these two bits.
pub const GLOBALNET_MARK: Mark = Mark::bits(0xC_0000);

/// Where Globalnet's NAT chains at postrouting belong: before [`SOURCE_PRIORITY`], so that a translated source is not kept first.
pub const GLOBALNET_PRIORITY: i32 = SOURCE_PRIORITY - 10;

/// Where sources are settled: before the masquerading of CNIs and kube-proxy.
pub const SOURCE_PRIORITY: i32 = priority::SRCNAT - 50;

/// What a node's packet filter is made from. [`Node::ruleset`] is a pure function of it.
///
/// ```
/// use subm_nat::node::Node;
/// let mut node = Node::default();
/// node.local.insert("10.8.0.0/16".parse()?);
/// node.remote.insert("10.9.0.0/16".parse()?, Some(1450));
/// node.translate_host_network([10, 8, 1, 1].into());
/// node.ruleset().check()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    /// Pod networks of this cluster, of both families.
    pub local: BTreeSet<IpNet>,
    /// Networks of the other clusters (pods and services), each with the MTU inside the cable that leads there, in bytes; `None`: the
    /// route's own MTU alone.
    pub remote: BTreeMap<IpNet, Option<u32>>,
    /// Sources that are translated when they leave by [`VX_SUBMARINER`], each with its new address, of the same family.
    pub host_network: BTreeMap<IpNet, IpAddr>,
    /// Devices whose forwarded traffic is accepted and counted, such as [`VX_SUBMARINER`] and the cables'; see [what accepting cannot
    /// do](self#what-accepting-cannot-do).
    pub devices: BTreeSet<Interface>,
    /// UDP ports at which this node is spoken to by others' tunnels, accepted and counted, such as [`VX_SUBMARINER_PORT`] and the cable's.
    pub ports: BTreeSet<u16>,
}

impl Node {
    /// 240.0.0.0/8 becomes this address, the node's own in the pod network.
    pub fn translate_host_network(&mut self, cni: Ipv4Addr) {
        self.host_network.insert(HOST_NETWORK.into(), cni.into());
    }

    /// All of it. As long as devices, ports and addresses of the node stay, a cluster that comes or goes changes elements only
    /// (except the first cable of a new MTU).
    pub fn ruleset(&self) -> Ruleset {
        let mut ruleset = Ruleset::new();
        for family in Family::ALL {
            let of_family = |net: &&IpNet| Family::of_net(net) == family;
            let mut local = Set::of_nets(family);
            self.local
                .iter()
                .filter(of_family)
                .for_each(|net| local.insert(*net));
            let mut remote = Set::of_nets(family);
            self.remote
                .keys()
                .filter(of_family)
                .for_each(|net| remote.insert(*net));
            ruleset.sets.insert(names(family).local, local);
            ruleset.sets.insert(names(family).remote, remote);
        }
        self.source(&mut ruleset);
        self.mss(&mut ruleset);
        self.admit(&mut ruleset);
        ruleset
    }

    fn source(&self, ruleset: &mut Ruleset) {
        let mut rules = Vec::new();
        for (net, address) in &self.host_network {
            let matches = [Match::out_interface(VX_SUBMARINER), Match::source(*net)];
            rules.push(
                Rule::when(matches)
                    .then(Statement::Counter)
                    .then(Statement::Snat(NatTo::Address(*address)))
                    .comment("host processes speak as the CNI address"),
            );
        }
        for family in Family::ALL {
            let Names { local, remote, .. } = names(family);
            for (from, to) in [(&local, &remote), (&remote, &local)] {
                rules.push(
                    Rule::when([Match::source(from.clone()), Match::destination(to.clone())])
                        .then(Statement::Counter)
                        .then(Statement::KeepSource(family))
                        .comment(format!("no masquerade {from} to {to}")),
                );
            }
        }
        let chain = Chain::base(Kind::Nat, Hook::Postrouting, SOURCE_PRIORITY, rules);
        ruleset.chains.insert(Name::literal("source"), chain);
    }

    fn mss(&self, ruleset: &mut Ruleset) {
        let mut rules = Vec::new();
        for family in Family::ALL {
            let Names {
                remote, mss: map, ..
            } = names(family);
            let mut values = Set::map_of_nets(family, DataType::Verdict);
            for (net, mtu) in &self.remote {
                let Some(mtu) = mtu.filter(|_| Family::of_net(net) == family) else {
                    continue;
                };
                let bytes = mss(mtu, family);
                values.insert_value(*net, Verdict::Jump(clamp_chain(ruleset, bytes)));
            }
            ruleset.sets.insert(map.clone(), values);
            for end in [Match::destination(remote.clone()), Match::source(remote)] {
                rules.push(
                    Rule::when([end])
                        .then(Statement::ClampMss(Mss::PathMtu))
                        .comment("MSS to the MTU of the path"),
                );
            }
            for end in [Selector::Destination, Selector::Source] {
                rules.push(
                    Rule::default()
                        .then(Statement::VerdictFrom(end, map.clone()))
                        .comment("MSS to the MTU of the cable"),
                );
            }
        }
        // Each packet that leaves comes by here, also those that carry others: of most no more is asked than whether they are SYNs.
        let of_syns = Name::literal("mss-syn");
        let only_syns = Rule::when([Match::tcp_syn()]).then(Verdict::Jump(of_syns.clone()));
        let chain = Chain::base(
            Kind::Filter,
            Hook::Postrouting,
            priority::MANGLE,
            [only_syns],
        );
        ruleset.chains.insert(Name::literal("mss"), chain);
        ruleset.chains.insert(of_syns, Chain::plain(rules));
    }

    fn admit(&self, ruleset: &mut Ruleset) {
        let accept = |one: Match, comment: &str| {
            Rule::when([one])
                .then(Statement::Counter)
                .then(Verdict::Accept)
                .comment(comment)
        };
        let devices = self.devices.iter().flat_map(|device| {
            [
                accept(
                    Match::in_interface(device.clone()),
                    "from other nodes and clusters",
                ),
                accept(
                    Match::out_interface(device.clone()),
                    "to other nodes and clusters",
                ),
            ]
        });
        let ports = (!self.ports.is_empty())
            .then(|| Match::destination_port(Transport::Udp, self.ports.clone()));
        let ports = ports.map(|ports| accept(ports, "tunnels"));
        for (name, hook, rules) in [
            (
                Name::literal("forward"),
                Hook::Forward,
                devices.collect::<Vec<_>>(),
            ),
            (Name::literal("input"), Hook::Input, Vec::from_iter(ports)),
        ] {
            if !rules.is_empty() {
                let chain = Chain::base(Kind::Filter, hook, priority::FILTER, rules);
                ruleset.chains.insert(name, chain);
            }
        }
    }
}

struct Names {
    local: Name,
    remote: Name,
    mss: Name,
}

fn names(family: Family) -> Names {
    match family {
        Family::V4 => Names {
            local: Name::literal("local4"),
            remote: Name::literal("remote4"),
            mss: Name::literal("mss4"),
        },
        Family::V6 => Names {
            local: Name::literal("local6"),
            remote: Name::literal("remote6"),
            mss: Name::literal("mss6"),
        },
    }
}

/// The chain that clamps to this value, made if it is not there.
fn clamp_chain(ruleset: &mut Ruleset, bytes: u16) -> Name {
    // A number always makes a name.
    let name: Name = format!("mss-{bytes}")
        .parse()
        .unwrap_or(Name::literal("mss-0"));
    let rule = Rule::default().then(Statement::ClampMss(Mss::Bytes(bytes)));
    ruleset
        .chains
        .entry(name.clone())
        .or_insert_with(|| Chain::plain([rule]));
    name
}

#[cfg(test)]
mod tests;
