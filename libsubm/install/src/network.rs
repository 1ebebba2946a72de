//! Pod and service CIDRs of a cluster, from what the cluster shows.
//!
//! Facts are gathered by whoever has a client; each may be missing. Discovery never fails: what cannot be told is empty, and
//! what the user gave always wins.

mod fit;
mod sources;

use std::fmt;

use ipnet::IpNet;
use serde_json::Value;

pub use fit::{Clash, Services, Unreached, clashes};

/// What was seen of a cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// `spec.podCIDRs` (or `podCIDR`) of each node.
    pub node_pod_cidrs: Vec<Vec<String>>,
    /// `spec.cidrs` of ServiceCIDR objects, `kubernetes` first.
    pub service_cidrs: Vec<String>,
    /// `ClusterConfiguration` of kube-system/kubeadm-config, YAML.
    pub kubeadm: Option<String>,
    /// Pods of the control plane and of network plugins.
    pub pods: Vec<Pod>,
    /// Names of DaemonSets in all namespaces.
    pub daemon_sets: Vec<String>,
    /// `net-conf.json` of flannel's ConfigMap.
    pub flannel: Option<String>,
    /// ConfigMap kube-system/calico-config exists.
    pub calico_config: bool,
    /// `spec.cidr` of Calico's IPPools that are in use.
    pub calico_pools: Vec<String>,
    /// Data of kube-system/cilium-config.
    pub cilium: Option<std::collections::BTreeMap<String, String>>,
    /// Data of the ConfigMap ovn-config.
    pub ovn: Option<std::collections::BTreeMap<String, String>>,
    /// Network.config.openshift.io/cluster.
    pub openshift: Option<Value>,
}

/// A pod, as far as it says something about the network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pod {
    pub name: String,
    /// Labels as `key=value`.
    pub labels: Vec<String>,
    /// Command and arguments of all containers.
    pub args: Vec<String>,
    /// Plain values of the environment of all containers.
    pub env: Vec<(String, String)>,
}

/// What is known of a cluster's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Network {
    pub plugin: Plugin,
    pub pods: Vec<IpNet>,
    pub services: Vec<IpNet>,
    /// `pods` are the parts of the nodes that there are: a node that comes later has another.
    pub pods_by_node: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Plugin {
    OvnKubernetes,
    Weave,
    Canal,
    Calico,
    Flannel,
    Kindnet,
    Cilium,
    /// OpenShift's word for it.
    OpenShift(String),
    #[default]
    Generic,
}

/// Upstream's names.
impl fmt::Display for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OvnKubernetes => "OVNKubernetes",
            Self::Weave => "weave-net",
            Self::Canal => "canal-flannel",
            Self::Calico => "calico",
            Self::Flannel => "flannel",
            Self::Kindnet => "kindnet",
            Self::Cilium => "cilium",
            Self::OpenShift(name) => name,
            Self::Generic => "generic",
        })
    }
}

/// What the user said, and where it differs from what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mismatch {
    Pods { given: String, found: String },
    Services { given: String, found: String },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, given, found) = match self {
            Self::Pods { given, found } => ("pod", given, found),
            Self::Services { given, found } => ("service", given, found),
        };
        write!(
            f,
            "The provided {kind} CIDR for the cluster ({given}) does not match the discovered CIDR ({found})"
        )
    }
}

/// The network that the facts tell of. The plugin's own word comes first, then what every cluster has: for services the
/// ServiceCIDR objects, kubeadm's configuration and the API server's flag; for pods kubeadm's configuration, the flags of
/// kube-controller-manager and kube-proxy, and the nodes' parts.
pub fn discover(facts: &Facts) -> Network {
    let (plugin, own) = sources::plugin(facts);
    let generic = sources::generic(facts);
    let or = |own: Vec<IpNet>, generic: Vec<IpNet>| if own.is_empty() { generic } else { own };
    Network {
        plugin,
        pods_by_node: own.pods.is_empty() && generic.pods_by_node,
        pods: or(own.pods, generic.pods),
        services: or(own.services, generic.services),
    }
}

impl Network {
    /// With what the user gave, which wins.
    pub fn overridden(&mut self, pods: &[IpNet], services: &[IpNet]) -> Vec<Mismatch> {
        let mut mismatches = Vec::new();
        // Of nodes only parts are known: the whole that was given has them.
        let has = |part: &IpNet| pods.iter().any(|net| net.contains(part));
        let whole = self.pods_by_node && self.pods.iter().all(has);
        self.pods_by_node &= pods.is_empty();
        if let Some((given, found)) = replace(&mut self.pods, pods)
            && !whole
        {
            mismatches.push(Mismatch::Pods { given, found });
        }
        if let Some((given, found)) = replace(&mut self.services, services) {
            mismatches.push(Mismatch::Services { given, found });
        }
        mismatches
    }
}

fn replace(known: &mut Vec<IpNet>, given: &[IpNet]) -> Option<(String, String)> {
    if given.is_empty() {
        return None;
    }
    let found = std::mem::replace(known, given.to_vec());
    let differs = !found.is_empty() && found != given;
    differs.then(|| (joined(given), joined(&found)))
}

/// `10.8.0.0/16, fd00::/48`.
pub fn joined(nets: &[IpNet]) -> String {
    let texts: Vec<String> = nets.iter().map(ToString::to_string).collect();
    texts.join(", ")
}

/// CIDRs as users and flags write them: separated by commas.
pub fn parse(text: &str) -> Result<Vec<IpNet>, ipnet::AddrParseError> {
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| part.parse::<IpNet>().map(|net| net.trunc()))
        .collect()
}

#[cfg(test)]
mod tests;
