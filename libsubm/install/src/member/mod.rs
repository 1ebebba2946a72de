//! What `join` installs in a member: service discovery, which is the agent and the DNS server; connectivity, which is the gateway
//! and the route agent; and what they need.

mod agent;
pub mod cleanup;
mod connectivity;
mod dns;
mod gateway;
pub mod nettest;
mod route_agent;

use std::collections::BTreeMap;

use base64::Engine as _;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use subm_api::names::GATEWAY_LABEL;

use crate::broker::Addresses;
use crate::images::Images;
use crate::names::{
    BROKER_SECRET, CLUSTERSET_DOMAIN, CONNECTIVITY, OPERATOR_NAMESPACE, SERVICE_DISCOVERY,
    SETTINGS, TOKEN_EXPIRES,
};
use crate::{ClusterId, Object, crds};
pub use connectivity::{CableDriver, Connectivity, HealthCheck};

/// What a member joins with.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub cluster_id: ClusterId,
    pub broker: BrokerAccess,
    pub addresses: Addresses,
    /// Upstream's name of the network plugin.
    pub network_plugin: String,
    /// Whether agent and DNS server are installed.
    pub service_discovery: bool,
    /// Whether, and how, gateway and route agent are.
    pub connectivity: Option<Connectivity>,
    /// Served beside clusterset.local.
    pub custom_domains: Vec<String>,
    pub clusterset_ip: ClustersetIp,
    /// Exported services are reached by global IPs.
    pub globalnet: bool,
    pub images: Images,
    /// Namespaces that export and import although the agent would not have them: names, or prefixes that end in `*`.
    pub namespaces_allowed: Vec<String>,
    pub debug: bool,
    pub replicas: Replicas,
    /// Name to value, such as HTTPS_PROXY, for all containers.
    pub proxies: BTreeMap<String, String>,
    /// What somebody chose, rather than what follows from it: kept for the next time, and not looked at.
    pub choices: Map<String, Value>,
}

/// How the broker is reached.
#[derive(Clone, PartialEq, Eq)]
pub struct BrokerAccess {
    /// `https://host:port`.
    pub url: String,
    pub namespace: String,
    pub token: String,
    pub expires: Option<Timestamp>,
    /// PEM; `None` where the system's own trust is enough.
    pub ca: Option<String>,
    /// Whatever certificate the broker has is fine.
    pub insecure: bool,
    /// Said to the agent as upstream does; ours tries again in either case.
    pub halt_on_certificate_error: bool,
}

/// Without the token: settings are logged.
impl std::fmt::Debug for BrokerAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BrokerAccess")
            .field("url", &self.url)
            .field("namespace", &self.namespace)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClustersetIp {
    pub enabled: bool,
    /// This member's part of the cluster set IPs.
    pub cidr: Option<String>,
    /// They are of a derived Service in each cluster instead, which every kube-proxy understands. The agent then writes Services.
    pub by_service: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub agent: u8,
    pub dns: u8,
}

impl Default for Replicas {
    fn default() -> Self {
        Self { agent: 1, dns: 2 }
    }
}

impl BrokerAccess {
    /// As the agent takes it: without a scheme.
    pub fn host(&self) -> &str {
        let host = self
            .url
            .split_once("://")
            .map_or(&*self.url, |(_, host)| host);
        host.trim_end_matches('/')
    }
}

impl Settings {
    /// Names of what is installed.
    pub fn components(&self) -> Vec<&'static str> {
        let discovery = self.service_discovery.then_some(SERVICE_DISCOVERY);
        let connectivity = self.connectivity.as_ref().map(|_| CONNECTIVITY);
        connectivity.into_iter().chain(discovery).collect()
    }

    /// `clusterset.local` and then the user's own.
    pub fn domains(&self) -> Vec<String> {
        let mut domains = vec![CLUSTERSET_DOMAIN.to_owned()];
        for domain in &self.custom_domains {
            if !domains.contains(domain) {
                domains.push(domain.clone());
            }
        }
        domains
    }
}

/// Everything, in the order in which it is applied. [Cluster properties](properties) come once their definition is served.
pub fn objects(settings: &Settings) -> Vec<Object> {
    let mut objects = vec![Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": OPERATOR_NAMESPACE,
            // Gateways and route agents program the node's kernel.
            "labels": {"pod-security.kubernetes.io/enforce": "privileged"},
        },
    }))];
    objects.extend(crds::of_member());
    objects.push(record(settings));
    objects.push(broker_secret(&settings.broker));
    if settings.service_discovery {
        objects.extend(agent::objects(settings));
        objects.extend(dns::objects(settings));
    }
    if let Some(connectivity) = &settings.connectivity {
        objects.extend(connectivity::psk_secret(connectivity));
        // First where traffic goes, then what sends it there.
        objects.extend(gateway::objects(settings, connectivity));
        objects.extend(route_agent::objects(settings, connectivity));
    }
    objects
}

/// What the cluster says about itself: KEP-2149.
pub fn properties(id: &ClusterId, cluster_set: &str) -> [Object; 2] {
    [
        ("cluster.clusterset.k8s.io", id.as_str()),
        ("clusterset.k8s.io", cluster_set),
    ]
    .map(|(name, value)| {
        Object::ours(json!({
            "apiVersion": "about.k8s.io/v1beta1",
            "kind": "ClusterProperty",
            "metadata": {"name": name},
            "spec": {"value": value},
        }))
    })
}

/// The label that makes a node a gateway, for a node that is there already.
pub fn gateway_label(node: &str) -> Object {
    Object::plain(json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": node, "labels": {GATEWAY_LABEL: "true"}},
    }))
}

/// What was chosen at the time of joining, for `show`, `uninstall` and a later `join`.
fn record(settings: &Settings) -> Object {
    let list = |texts: &[String]| texts.join(",");
    let connectivity = settings.connectivity.as_ref();
    let driver = connectivity.map_or("", |connectivity| connectivity.cable_driver.as_str());
    Object::ours(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": SETTINGS, "namespace": OPERATOR_NAMESPACE},
        "data": {
            "clusterID": settings.cluster_id.as_str(),
            "brokerURL": settings.broker.url,
            "brokerNamespace": settings.broker.namespace,
            "brokerInsecure": settings.broker.insecure.to_string(),
            "components": settings.components().join(","),
            "cableDriver": driver,
            "clusterCIDR": list(&settings.addresses.pods),
            "serviceCIDR": list(&settings.addresses.services),
            "globalCIDR": list(&settings.addresses.global),
            "clustersetIPCIDR": settings.clusterset_ip.cidr.as_deref().unwrap_or_default(),
            "networkPlugin": settings.network_plugin,
            "customDomains": list(&settings.custom_domains),
            "choices": json!(settings.choices).to_string(),
        },
    }))
}

fn broker_secret(broker: &BrokerAccess) -> Object {
    let base64 = |text: &str| base64::prelude::BASE64_STANDARD.encode(text);
    let mut secret = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": BROKER_SECRET, "namespace": OPERATOR_NAMESPACE},
        "type": "Opaque",
        "data": {
            "ca.crt": base64(broker.ca.as_deref().unwrap_or_default()),
            "namespace": base64(&broker.namespace),
            "token": base64(&broker.token),
        },
    });
    if let Some(expires) = broker.expires {
        secret["metadata"]["annotations"] = json!({TOKEN_EXPIRES: expires.to_string()});
    }
    Object::ours(secret)
}

/// A ServiceAccount, a ClusterRole of the same name, and their binding.
fn account(name: &str, rules: &Value) -> [Object; 3] {
    [
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE},
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": OPERATOR_NAMESPACE}],
        }),
    ]
    .map(Object::ours)
}

/// A Role in the components' namespace for the account of the same name, and their binding.
fn role(name: &str, rules: &Value) -> [Object; 2] {
    [
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE},
            "rules": rules,
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": OPERATOR_NAMESPACE}],
        }),
    ]
    .map(Object::ours)
}

/// The Service that Prometheus finds a workload's metrics by, upstream's name.
fn metrics_service(app: &str, port: u16) -> Object {
    metrics_service_to(app, port, port)
}

/// As [`metrics_service`], of pods that have them at another port.
fn metrics_service_to(app: &str, port: u16, target: u16) -> Object {
    let name = format!("{app}-metrics");
    Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE, "labels": {"app": app, "name": name}},
        "spec": {
            "selector": {"app": app},
            "ports": [{"name": "metrics", "port": port, "protocol": "TCP", "targetPort": target}],
        },
    }))
}

/// Variables of a container.
fn env(variables: &[(&str, &str)], proxies: &BTreeMap<String, String>) -> Vec<Value> {
    let proxies = proxies
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    variables
        .iter()
        .copied()
        .chain(proxies)
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect()
}

#[cfg(test)]
mod tests;
