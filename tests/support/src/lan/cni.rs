//! What CNI plugins do to pods' traffic that leaves the cluster, rule by rule as they write them.

use ipnet::{Ipv4Net, Ipv6Net};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::Ranges;
use crate::Binaries;
use crate::netns::NetNs;

/// Whose masquerade a node has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cni {
    /// None: others see pods' own addresses.
    Bare,
    /// kindnet of today: table `inet kindnet-ipmasq`, a nat chain at srcnat - 10. What has a local source stays as it is,
    /// the rest is masqueraded unless it goes to the pod CIDR.
    #[default]
    Kindnet,
    /// The kindnetd of older kind clusters: an iptables chain `KIND-MASQ-AGENT`, which masquerades everything that goes
    /// neither to the pod CIDR nor to an address of the node itself, packets of the node included.
    KindMasqAgent,
    /// flannel: an iptables chain `FLANNEL-POSTRTG`. It also masquerades what comes from elsewhere to pods of other nodes.
    Flannel,
    /// Calico: a table `calico` for each family, which masquerades what goes from its pools to elsewhere.
    Calico,
    /// Cilium with iptables: a chain `CILIUM_POST_nat` before all others, which masquerades what the node's own pods send out of the
    /// cluster.
    Cilium,
}

impl Cni {
    pub(super) fn masquerade(
        self,
        netns: &NetNs,
        ranges: &Ranges,
        node: (Ipv4Net, Ipv6Net),
    ) -> Result<()> {
        let (pods, pods6) = (ranges.pods, ranges.pods6);
        match self {
            Self::Bare => Ok(()),
            Self::Kindnet => netns.nft(&format!(
                "table inet kindnet-ipmasq {{\n\
                 set noMasqV4 {{ type ipv4_addr; flags interval; auto-merge; elements = {{ {pods} }}; }}\n\
                 set noMasqV6 {{ type ipv6_addr; flags interval; auto-merge; elements = {{ {pods6} }}; }}\n\
                 chain postrouting {{\n\
                 type nat hook postrouting priority 90; policy accept;\n\
                 ct state established,related accept\n\
                 fib saddr type local accept\n\
                 ip daddr @noMasqV4 accept\n\
                 ip6 daddr @noMasqV6 accept\n\
                 masquerade\n\
                 }}\n}}\n"
            )),
            Self::KindMasqAgent => {
                iptables(netns, "iptables", &kind_masq_agent(&pods.to_string()))?;
                iptables(netns, "ip6tables", &kind_masq_agent(&pods6.to_string()))
            }
            Self::Flannel => {
                let (node, node6) = (node.0.to_string(), node.1.to_string());
                let v4 = flannel(&pods.to_string(), &node, "224.0.0.0/4");
                iptables(netns, "iptables", &v4)?;
                let v6 = flannel(&pods6.to_string(), &node6, "ff00::/8");
                iptables(netns, "ip6tables", &v6)
            }
            Self::Calico => {
                let v4 = calico("ip", "ipv4_addr", "40", &pods.to_string());
                let v6 = calico("ip6", "ipv6_addr", "60", &pods6.to_string());
                netns.nft(&(v4 + &v6))
            }
            Self::Cilium => {
                let v4 = cilium(&pods.to_string(), &node.0.to_string());
                iptables(netns, "iptables", &v4)?;
                let v6 = cilium(&pods6.to_string(), &node.1.to_string());
                iptables(netns, "ip6tables", &v6)
            }
        }
    }
}

fn calico(family: &str, kind: &str, number: &str, pools: &str) -> String {
    format!(
        "table {family} calico {{\n\
         set cali{number}all-ipam-pools {{ type {kind}; flags interval; elements = {{ {pools} }}; }}\n\
         set cali{number}masq-ipam-pools {{ type {kind}; flags interval; elements = {{ {pools} }}; }}\n\
         chain nat-cali-nat-outgoing {{\n\
         {family} saddr @cali{number}masq-ipam-pools {family} daddr != @cali{number}all-ipam-pools counter masquerade fully-random\n\
         }}\n\
         chain nat-POSTROUTING {{\n\
         type nat hook postrouting priority srcnat; policy accept;\n\
         counter jump nat-cali-nat-outgoing\n\
         }}\n}}\n"
    )
}

fn cilium(cluster: &str, node: &str) -> String {
    format!(
        "*nat\n:CILIUM_POST_nat - [0:0]\n\
         -I POSTROUTING -m comment --comment \"cilium-feeder: CILIUM_POST_nat\" -j CILIUM_POST_nat\n\
         -A CILIUM_POST_nat -s {node} ! -d {cluster} ! -o cilium_+ -m comment --comment \"cilium masquerade non-cluster\" \
         -j MASQUERADE --random-fully\nCOMMIT\n"
    )
}

fn kind_masq_agent(pods: &str) -> String {
    format!(
        "*nat\n:KIND-MASQ-AGENT - [0:0]\n\
         -A POSTROUTING -m addrtype ! --dst-type LOCAL -j KIND-MASQ-AGENT\n\
         -A KIND-MASQ-AGENT -d {pods} -j RETURN\n\
         -A KIND-MASQ-AGENT -j MASQUERADE\nCOMMIT\n"
    )
}

fn flannel(cluster: &str, node: &str, multicast: &str) -> String {
    format!(
        "*nat\n:FLANNEL-POSTRTG - [0:0]\n\
         -A POSTROUTING -j FLANNEL-POSTRTG\n\
         -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -j RETURN\n\
         -A FLANNEL-POSTRTG -s {node} -d {cluster} -j RETURN\n\
         -A FLANNEL-POSTRTG -s {cluster} -d {node} -j RETURN\n\
         -A FLANNEL-POSTRTG ! -s {cluster} -d {node} -j RETURN\n\
         -A FLANNEL-POSTRTG -s {cluster} ! -d {multicast} -j MASQUERADE --random-fully\n\
         -A FLANNEL-POSTRTG ! -s {cluster} -d {cluster} -j MASQUERADE --random-fully\nCOMMIT\n"
    )
}

fn iptables(netns: &NetNs, family: &str, rules: &str) -> Result<()> {
    let program = Binaries::find(&format!("{family}-restore"))?;
    let mut command = Command::new(program);
    command.arg("--noflush");
    netns
        .feed(command, rules)
        .with_context(|| format!("{family}:\n{rules}"))
}
