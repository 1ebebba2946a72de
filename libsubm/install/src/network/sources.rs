//! Where CIDRs can be read, plugin by plugin.

use std::collections::BTreeMap;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::Deserialize;
use serde_json::Value;

use super::{Facts, Network, Plugin, Pod, parse};

/// What is said only half right counts as not said.
fn nets(text: &str) -> Vec<IpNet> {
    parse(text).unwrap_or_default()
}

fn all(texts: &[String]) -> Vec<IpNet> {
    let mut found: Vec<IpNet> = Vec::new();
    for net in texts.iter().flat_map(|text| nets(text)) {
        if !found.contains(&net) {
            found.push(net);
        }
    }
    found
}

/// The plugin, and what it alone can tell. First hit wins.
pub(super) fn plugin(facts: &Facts) -> (Plugin, Network) {
    let mut network = Network::default();
    let plugin = if let Some(openshift) = &facts.openshift {
        network.pods = all(&openshift_pods(openshift));
        network.services = all(&texts(&openshift["spec"]["serviceNetwork"]));
        let name = openshift["spec"]["networkType"]
            .as_str()
            .unwrap_or("OpenShift");
        Plugin::OpenShift(name.to_owned())
    } else if labelled(facts, "app=ovnkube-node").is_some() {
        network.pods = of_map(facts.ovn.as_ref(), &["net_cidr"], without_host_prefix);
        network.services = of_map(facts.ovn.as_ref(), &["svc_cidr"], str::to_owned);
        Plugin::OvnKubernetes
    } else if let Some(pod) = labelled(facts, "name=weave-net") {
        network.pods = of_env(pod, "IPALLOC_RANGE");
        Plugin::Weave
    } else if daemon_set(facts, "canal") {
        network.pods = of_flannel(facts);
        Plugin::Canal
    } else if facts.calico_config || daemon_set(facts, "calico-node") {
        network.pods = all(&facts.calico_pools);
        Plugin::Calico
    } else if facts
        .daemon_sets
        .iter()
        .any(|name| name.contains("flannel"))
    {
        network.pods = of_flannel(facts);
        Plugin::Flannel
    } else if facts.cilium.is_some() || daemon_set(facts, "cilium") {
        network.pods = of_map(
            facts.cilium.as_ref(),
            &["cluster-pool-ipv4-cidr", "cluster-pool-ipv6-cidr"],
            |text| text.replace(' ', ","),
        );
        Plugin::Cilium
    } else if let Some(pod) = labelled(facts, "app=kindnet") {
        network.pods = of_env(pod, "POD_SUBNET");
        Plugin::Kindnet
    } else {
        Plugin::Generic
    };
    (plugin, network)
}

/// What any cluster may tell.
pub(super) fn generic(facts: &Facts) -> Network {
    let kubeadm = facts
        .kubeadm
        .as_deref()
        .map(Kubeadm::read)
        .unwrap_or_default();
    let first = |candidates: Vec<Vec<IpNet>>| {
        candidates
            .into_iter()
            .find(|nets| !nets.is_empty())
            .unwrap_or_default()
    };
    let pods = first(vec![
        nets(&kubeadm.networking.pods),
        of_flag(facts, "kube-controller-manager", "--cluster-cidr"),
        of_flag(facts, "kube-proxy", "--cluster-cidr"),
    ]);
    let by_node = of_nodes(&facts.node_pod_cidrs);
    Network {
        plugin: Plugin::Generic,
        pods_by_node: pods.is_empty() && !by_node.is_empty(),
        pods: if pods.is_empty() { by_node } else { pods },
        services: first(vec![
            all(&facts.service_cidrs),
            nets(&kubeadm.networking.services),
            of_flag(facts, "kube-apiserver", "--service-cluster-ip-range"),
            of_flag(
                facts,
                "kube-controller-manager",
                "--service-cluster-ip-range",
            ),
        ]),
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Kubeadm {
    networking: Networking,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Networking {
    #[serde(rename = "podSubnet")]
    pods: String,
    #[serde(rename = "serviceSubnet")]
    services: String,
}

impl Kubeadm {
    fn read(yaml: &str) -> Self {
        serde_saphyr::from_str(yaml).unwrap_or_default()
    }
}

fn labelled<'a>(facts: &'a Facts, label: &str) -> Option<&'a Pod> {
    facts
        .pods
        .iter()
        .find(|pod| pod.labels.iter().any(|have| have == label))
}

fn daemon_set(facts: &Facts, name: &str) -> bool {
    facts.daemon_sets.iter().any(|have| have == name)
}

fn of_env(pod: &Pod, name: &str) -> Vec<IpNet> {
    let value = pod.env.iter().find(|(have, _)| have == name);
    value.map(|(_, value)| nets(value)).unwrap_or_default()
}

fn of_flannel(facts: &Facts) -> Vec<IpNet> {
    let conf: Value = facts
        .flannel
        .as_deref()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let families = ["Network", "IPv6Network"];
    families
        .iter()
        .filter_map(|key| conf[key].as_str())
        .flat_map(nets)
        .collect()
}

fn of_map(
    data: Option<&BTreeMap<String, String>>,
    keys: &[&str],
    tidy: impl Fn(&str) -> String,
) -> Vec<IpNet> {
    let values = keys.iter().filter_map(|key| data?.get(*key));
    values.flat_map(|text| nets(&tidy(text))).collect()
}

/// OVN adds the size of a node's part: `10.128.0.0/14/23`.
fn without_host_prefix(text: &str) -> String {
    let parts = text.split(',').map(|part| {
        let mut slashes = part.match_indices('/');
        slashes.next();
        slashes.next().map_or(part, |(second, _)| &part[..second])
    });
    parts.collect::<Vec<_>>().join(",")
}

/// `--flag=value` or `--flag value` in the pods whose name starts with `program`.
fn of_flag(facts: &Facts, program: &str, flag: &str) -> Vec<IpNet> {
    let pods = facts
        .pods
        .iter()
        .filter(|pod| pod.name.starts_with(program));
    let mut found = pods.filter_map(|pod| {
        // A shell's command line is one argument with many words.
        let mut words = pod.args.iter().flat_map(|arg| arg.split_whitespace());
        while let Some(word) = words.next() {
            let value = match word.strip_prefix(flag) {
                Some("") => words.next(),
                Some(rest) => rest.strip_prefix('='),
                None => None,
            };
            let nets = value.map(nets).unwrap_or_default();
            if !nets.is_empty() {
                return Some(nets);
            }
        }
        None
    });
    found.next().unwrap_or_default()
}

/// The nodes' parts joined to the nets that they fill. Parts that do not join stay apart: nothing is claimed that no node has.
fn of_nodes(nodes: &[Vec<String>]) -> Vec<IpNet> {
    let mut v4: Vec<Ipv4Net> = Vec::new();
    let mut v6: Vec<Ipv6Net> = Vec::new();
    for net in nodes.iter().flatten().flat_map(|text| nets(text)) {
        match net {
            IpNet::V4(net) => v4.push(net),
            IpNet::V6(net) => v6.push(net),
        }
    }
    let v4 = Ipv4Net::aggregate(&v4).into_iter().map(IpNet::V4);
    v4.chain(Ipv6Net::aggregate(&v6).into_iter().map(IpNet::V6))
        .collect()
}

fn openshift_pods(network: &Value) -> Vec<String> {
    let parts = network["spec"]["clusterNetwork"].as_array();
    let cidrs = parts
        .into_iter()
        .flatten()
        .filter_map(|part| part["cidr"].as_str());
    cidrs.map(str::to_owned).collect()
}

fn texts(list: &Value) -> Vec<String> {
    let texts = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
