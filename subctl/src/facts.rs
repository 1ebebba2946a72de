//! What a cluster shows of its network. Nothing here fails: what may not be read is not known.

use std::collections::BTreeMap;

use serde_json::Value;
use subm_install::network::{Facts, Network, Pod, Services, discover};

use crate::cluster::{Cluster, Kind, kind, list_at, name, namespace, str_at};

/// Gathers and reads.
pub async fn network(cluster: &Cluster) -> Network {
    discover(&gather(cluster).await)
}

async fn gather(cluster: &Cluster) -> Facts {
    let list = async |kind: &Kind, namespace: Option<&'static str>| {
        cluster.list(kind, namespace, "").await.unwrap_or_default()
    };
    let map = async |namespace: &str, name: &str| {
        let found = cluster
            .get(&kind::CONFIG_MAPS, Some(namespace), name)
            .await
            .ok()
            .flatten()?;
        let data = found["data"].as_object()?.iter();
        Some(
            data.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect::<BTreeMap<_, _>>(),
        )
    };
    let service_cidrs = service_cidrs(cluster).await;
    let nodes = list(&kind::NODES, None).await;
    let pods = list(&kind::PODS, Some("kube-system")).await;
    let daemon_sets = list(&kind::DAEMON_SETS, None).await;
    let mut pods: Vec<Pod> = pods.iter().map(pod).collect();
    if daemon_sets.iter().any(|set| name(set) == "ovnkube-node") {
        pods.push(Pod {
            labels: vec!["app=ovnkube-node".to_owned()],
            ..Pod::default()
        });
    }
    let mut flannel = None;
    for (namespace, name) in [
        ("kube-flannel", "kube-flannel-cfg"),
        ("kube-system", "kube-flannel-cfg"),
        ("kube-system", "canal-config"),
    ] {
        if flannel.is_none() {
            flannel = map(namespace, name)
                .await
                .and_then(|mut data| data.remove("net-conf.json"));
        }
    }
    let pools = list(&kind::IP_POOLS, None).await;
    let openshift = cluster
        .get(&kind::OPENSHIFT_NETWORKS, None, "cluster")
        .await;
    Facts {
        node_pod_cidrs: nodes.iter().map(node_cidrs).collect(),
        service_cidrs: service_cidrs
            .iter()
            .flat_map(|cidr| texts(cidr, "/spec/cidrs"))
            .collect(),
        kubeadm: map("kube-system", "kubeadm-config")
            .await
            .and_then(|mut data| data.remove("ClusterConfiguration")),
        pods,
        daemon_sets: daemon_sets.iter().map(|set| name(set).to_owned()).collect(),
        flannel,
        calico_config: map("kube-system", "calico-config").await.is_some(),
        calico_pools: pools
            .iter()
            .filter(|pool| pool["spec"]["disabled"] != true)
            .map(|pool| str_at(pool, "/spec/cidr").to_owned())
            .collect(),
        cilium: map("kube-system", "cilium-config").await,
        ovn: map("ovn-kubernetes", "ovn-config").await,
        openshift: openshift.ok().flatten(),
    }
}

/// Where Services have their addresses.
pub async fn services(cluster: &Cluster) -> Services {
    let objects = service_cidrs(cluster).await;
    let mut services = cluster
        .list(&kind::SERVICES, None, "")
        .await
        .unwrap_or_default();
    // The API server's own is always there, and says most.
    services.sort_by_key(|service| full_name(service) != "default/kubernetes");
    Services {
        objects: objects
            .iter()
            .flat_map(|object| {
                let cidrs = texts(object, "/spec/cidrs").into_iter();
                cidrs.filter_map(|cidr| Some((name(object).to_owned(), cidr.parse().ok()?)))
            })
            .collect(),
        addresses: services
            .iter()
            .flat_map(|service| {
                // One without is headless, and says "None".
                let addresses = texts(service, "/spec/clusterIPs").into_iter();
                addresses.filter_map(|address| Some((full_name(service), address.parse().ok()?)))
            })
            .collect(),
    }
}

fn full_name(object: &Value) -> String {
    format!("{}/{}", namespace(object).unwrap_or_default(), name(object))
}

/// ServiceCIDR objects, the control plane's own first.
async fn service_cidrs(cluster: &Cluster) -> Vec<Value> {
    for kind in [kind::SERVICE_CIDRS, kind::SERVICE_CIDRS_BETA] {
        let mut found = cluster.list(&kind, None, "").await.unwrap_or_default();
        if !found.is_empty() {
            found.sort_by_key(|cidr| name(cidr) != "kubernetes");
            return found;
        }
    }
    Vec::new()
}

fn node_cidrs(node: &Value) -> Vec<String> {
    let cidrs = texts(node, "/spec/podCIDRs");
    if cidrs.is_empty() {
        let one = str_at(node, "/spec/podCIDR");
        return (!one.is_empty())
            .then(|| one.to_owned())
            .into_iter()
            .collect();
    }
    cidrs
}

fn pod(pod: &Value) -> Pod {
    let containers = list_at(pod, "/spec/containers");
    let labels = pod["metadata"]["labels"].as_object().into_iter().flatten();
    Pod {
        name: name(pod).to_owned(),
        labels: labels
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
            .collect(),
        args: containers
            .iter()
            .flat_map(|container| [texts(container, "/command"), texts(container, "/args")])
            .flatten()
            .collect(),
        env: containers
            .iter()
            .flat_map(|container| list_at(container, "/env"))
            .map(|variable| {
                (
                    str_at(variable, "/name").to_owned(),
                    str_at(variable, "/value").to_owned(),
                )
            })
            .collect(),
    }
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    let texts = list_at(value, pointer).iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
