//! The broker: a namespace on any API server, where members leave what the others should know. No program runs there.

mod info_map;
mod policy;
mod rbac;

use serde_json::json;
use subm_api::names::CLUSTER_UID;

pub use info_map::{InfoMap, InfoMapError, Purpose};
pub use policy::admission_policy;

use crate::cidr::Pool;
use crate::names::{BROKER, BROKER_ADMIN, GLOBALNET_INFO, INSTALLER, IPSEC_PSK, SERVICE_DISCOVERY};
use crate::{ClusterId, Object, crds};

/// What `deploy-broker` was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    pub namespace: String,
    pub components: Vec<String>,
    pub custom_domains: Vec<String>,
    /// Global CIDRs for members whose addresses overlap.
    pub globalnet: Option<Pool>,
    /// Where cluster set IPs come from.
    pub clusterset_ip: Pool,
    /// Whether services get them unless their export says otherwise.
    pub clusterset_ip_enabled: bool,
}

/// Everything but the admission policy, which not every API server has, and the [info maps](Settings::info_maps), which grow
/// as members join. In the order in which they are applied.
pub fn objects(settings: &Settings) -> Vec<Object> {
    let namespace = &*settings.namespace;
    let mut objects = vec![Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": namespace},
    }))];
    objects.extend(crds::of_broker());
    objects.extend(rbac::objects(namespace));
    objects.push(token_secret(namespace, BROKER_ADMIN));
    objects.push(broker(settings));
    objects
}

impl Settings {
    pub fn has(&self, component: &str) -> bool {
        self.components.iter().any(|have| have == component)
    }

    /// Takes over what a ConfigMap of a broker that exists says.
    pub fn take(&mut self, map: InfoMap) {
        match map.purpose {
            Purpose::Globalnet => self.globalnet = map.pool.filter(|_| map.enabled),
            Purpose::ClustersetIp => {
                self.clusterset_ip_enabled = map.enabled;
                self.clusterset_ip = map.pool.unwrap_or_else(|| self.clusterset_ip.clone());
            }
        }
    }

    /// The ConfigMaps with who has which addresses, as a new broker has them.
    pub fn info_maps(&self) -> [InfoMap; 2] {
        [
            InfoMap {
                purpose: Purpose::Globalnet,
                enabled: self.globalnet.is_some(),
                pool: self.globalnet.clone(),
            },
            InfoMap {
                purpose: Purpose::ClustersetIp,
                enabled: self.clusterset_ip_enabled,
                pool: Some(self.clusterset_ip.clone()),
            },
        ]
    }
}

/// What lets one member in: account, rights, token. `cluster_uid` says which cluster it is once that is known.
pub fn member_objects(namespace: &str, id: &ClusterId, cluster_uid: Option<&str>) -> Vec<Object> {
    let account = id.account();
    let mut annotations = json!({"kubernetes.io/created-by": INSTALLER});
    if let Some(uid) = cluster_uid {
        annotations[CLUSTER_UID] = json!(uid);
    }
    vec![
        Object::ours(json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account, "namespace": namespace, "annotations": annotations},
        })),
        rbac::member_binding(namespace, id),
        token_secret(namespace, &account),
    ]
}

/// Secret that the control plane fills with a token of `account` that does not expire.
pub fn token_secret(namespace: &str, account: &str) -> Object {
    Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": token_secret_name(account),
            "namespace": namespace,
            "annotations": {
                "kubernetes.io/service-account.name": account,
                "kubernetes.io/created-by": INSTALLER,
            },
        },
        "type": "kubernetes.io/service-account-token",
    }))
}

/// Go subctl ends it with five random characters; what is applied again needs a name that stays.
pub fn token_secret_name(account: &str) -> String {
    format!("{account}-token-{INSTALLER}")
}

/// Secret with the key of all cables, kept on the broker: a second `deploy-broker` must hand out the same.
pub fn psk_secret(namespace: &str, psk: &[u8]) -> Object {
    use base64::Engine as _;
    Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": IPSEC_PSK, "namespace": namespace},
        "data": {"psk": base64::prelude::BASE64_STANDARD.encode(psk)},
    }))
}

/// The record of a member on the broker: the addresses that are its own, for the others to check against.
///
/// `cluster_uid` says which cluster that is: an id, or an invitation, is for one.
pub fn cluster_record(
    namespace: &str,
    id: &ClusterId,
    cluster_uid: &str,
    addresses: &Addresses,
) -> Object {
    Object::plain(json!({
        "apiVersion": "submariner.io/v1",
        "kind": "Cluster",
        "metadata": {
            "name": id.as_str(),
            "namespace": namespace,
            "labels": {subm_api::names::BROKER_CLUSTER_ID: id.as_str()},
            "annotations": {CLUSTER_UID: cluster_uid},
        },
        "spec": {
            "cluster_id": id.as_str(),
            "color_codes": ["blue"],
            "cluster_cidr": addresses.pods,
            "service_cidr": addresses.services,
            "global_cidr": addresses.global,
        },
    }))
}

/// CIDRs of a member.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    pub pods: Vec<String>,
    pub services: Vec<String>,
    pub global: Vec<String>,
}

fn broker(settings: &Settings) -> Object {
    let globalnet = settings.globalnet.as_ref();
    let mut spec = json!({
        "components": settings.components,
        "defaultCustomDomains": settings.custom_domains,
        "globalnetEnabled": globalnet.is_some(),
        "clustersetIPEnabled": settings.clusterset_ip_enabled,
        "clustersetIPCIDRRange": settings.clusterset_ip.range().to_string(),
    });
    if let Some(pool) = globalnet {
        spec["globalnetCIDRRange"] = json!(pool.range().to_string());
        spec["defaultGlobalnetClusterSize"] = json!(pool.size());
    }
    Object::ours(json!({
        "apiVersion": "submariner.io/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": BROKER, "namespace": settings.namespace},
        "spec": spec,
    }))
}

/// Sorted, without repetitions; an error names what is no component.
pub fn components(asked: &[String]) -> Result<Vec<String>, UnknownComponent> {
    let known = [SERVICE_DISCOVERY, crate::names::CONNECTIVITY];
    if let Some(unknown) = asked.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(UnknownComponent(unknown.clone()));
    }
    let mut components = asked.to_vec();
    components.sort();
    components.dedup();
    Ok(components)
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid components parameter: {0:?} is neither service-discovery nor connectivity")]
pub struct UnknownComponent(pub String);

/// Names of the ConfigMaps of a broker.
pub const INFO_MAPS: [&str; 2] = [GLOBALNET_INFO, crate::names::CLUSTERSETIP_INFO];

#[cfg(test)]
mod tests;
