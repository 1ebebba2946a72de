//! What this gateway says of itself to the other clusters, and the names of what it writes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use subm_api::names::{
    GATEWAY_PREFIX, NATT_DISCOVERY_PORT, PREFERRED_SERVER, PUBLIC_IP, UDP_PORT, USING_LOAD_BALANCER,
};
use subm_api::submariner::{ClusterSpec, EndpointSpec};

use super::PublicIp;
use super::public_ip::public_services;
use super::settings::{ClusterId, Settings, port};

/// A node's own settings: its labels and annotations that begin with `gateway.submariner.io/`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSettings {
    /// `udp-port`: the tunnel's.
    pub udp_port: Option<u16>,
    /// `natt-discovery-port`.
    pub natt_discovery_port: Option<u16>,
    /// `public-ip`; empty where it says nothing, and `SUBMARINER_PUBLICIP` counts.
    pub public_ip: Vec<PublicIp>,
    /// `preferred-server`.
    pub preferred_server: Option<bool>,
}

/// What a gateway finds out about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Here {
    /// The node's name.
    pub node: String,
    /// Its address in its own network.
    pub private_ip: IpAddr,
    /// The address at which the others see it, if that was found.
    pub public_ip: Option<IpAddr>,
    /// The node's address in the pod network.
    pub cni_ip: Option<IpAddr>,
    /// Globalnet's address of this gateway.
    pub global_ip: Option<IpAddr>,
    /// What its cable driver publishes.
    pub driver: BTreeMap<String, String>,
    /// Whether it answers NAT discovery. One that does not must not publish a port for it: the others would ask it for a minute
    /// before they choose an address by other means.
    pub answers_discovery: bool,
}

/// Something that keeps an Endpoint from being all that was asked for. The gateway goes on with the rest, and says it in its
/// status: a program that ends for it would take down the cables that work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Problem {
    /// A label or annotation of the node with an unknown end.
    UnknownSetting { key: String },
    /// One with a value that cannot be.
    Setting {
        key: String,
        value: String,
        remedy: &'static str,
    },
    /// Paths should be checked, and the others have no address to send echo requests to.
    NoHealthCheckAddress,
}

/// Of UDP, where a node does not say otherwise.
pub const DISCOVERY_PORT: u16 = 4490;

impl NodeSettings {
    /// Where a label and an annotation say different things, the annotation counts.
    pub fn read(
        labels: &BTreeMap<String, String>,
        annotations: &BTreeMap<String, String>,
    ) -> (Self, Vec<Problem>) {
        let mut all = labels.clone();
        all.extend(annotations.clone());
        let mut settings = Self::default();
        let mut problems = Vec::new();
        for (key, value) in all {
            let Some(name) = key.strip_prefix(GATEWAY_PREFIX) else {
                continue;
            };
            let value = value.trim();
            let remedy = match name {
                UDP_PORT | NATT_DISCOVERY_PORT => {
                    let known = port(value);
                    if name == UDP_PORT {
                        settings.udp_port = known;
                    } else {
                        settings.natt_discovery_port = known;
                    }
                    known.is_none().then_some("use a port from 1 to 65535")
                }
                PREFERRED_SERVER => {
                    settings.preferred_server = value.to_ascii_lowercase().parse().ok();
                    settings
                        .preferred_server
                        .is_none()
                        .then_some("use true or false")
                }
                PUBLIC_IP => match PublicIp::list(value) {
                    Ok(list) => {
                        settings.public_ip = list;
                        None
                    }
                    Err(_) => {
                        Some("use ipv4:, ipv6:, lb:, dns: or api: and a value, several with commas")
                    }
                },
                _ => {
                    problems.push(Problem::UnknownSetting { key });
                    continue;
                }
            };
            if let Some(remedy) = remedy {
                let value = value.to_owned();
                problems.push(Problem::Setting { key, value, remedy });
            }
        }
        (settings, problems)
    }

    /// `backend_config` as far as it is not the driver's.
    fn backend_config(&self, settings: &Settings, here: &Here) -> BTreeMap<String, String> {
        let mut config = BTreeMap::from([(UDP_PORT, self.tunnel_port(settings).to_string())]);
        if here.answers_discovery {
            let port = self.natt_discovery_port.unwrap_or(DISCOVERY_PORT);
            config.insert(NATT_DISCOVERY_PORT, port.to_string());
        }
        if let Some(preferred) = self.preferred_server {
            config.insert(PREFERRED_SERVER, preferred.to_string());
        }
        if !self.public_ip.is_empty() {
            let list: Vec<String> = self.public_ip.iter().map(ToString::to_string).collect();
            config.insert(PUBLIC_IP, list.join(","));
        }
        let sources = self.public_ip_sources(settings);
        if matches!(sources.first(), Some(PublicIp::LoadBalancer(_))) {
            config.insert(USING_LOAD_BALANCER, "true".to_owned());
        }
        config
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }

    /// The UDP port of this gateway's tunnel.
    pub fn tunnel_port(&self, settings: &Settings) -> u16 {
        self.udp_port.unwrap_or(settings.tunnel_port)
    }

    /// In which ways the public address is looked for, in this order. Where nobody says anything, public services are asked if addresses
    /// are translated; where nobody outside is to be had, only addresses that are given count.
    pub fn lookups(&self, settings: &Settings, air_gapped: bool) -> Vec<PublicIp> {
        let mut sources = self.public_ip_sources(settings).to_vec();
        if air_gapped {
            sources.retain(|source| matches!(source, PublicIp::Address(_)));
        } else if sources.is_empty() && settings.nat_enabled {
            sources = public_services();
        }
        sources
    }

    /// Where the public address is looked for: what the node says, else what the environment says.
    pub fn public_ip_sources<'a>(&'a self, settings: &'a Settings) -> &'a [PublicIp] {
        if self.public_ip.is_empty() {
            &settings.public_ip
        } else {
            &self.public_ip
        }
    }
}

/// This gateway's Endpoint.
pub fn endpoint(
    settings: &Settings,
    node: &NodeSettings,
    here: &Here,
) -> (EndpointSpec, Vec<Problem>) {
    let globalnet = !settings.global_cidr.is_empty();
    let health_check_ip = match settings.health_check {
        None => None,
        Some(_) if globalnet => here.global_ip,
        Some(_) => here.cni_ip,
    };
    // Globalnet gives its address some time after the gateway is there.
    let missing = settings.health_check.is_some() && health_check_ip.is_none() && !globalnet;
    let mut backend_config = here.driver.clone();
    backend_config.extend(node.backend_config(settings, here));
    let text = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    let spec = EndpointSpec {
        cable_name: cable_name(&settings.cluster, here.private_ip),
        health_check_ip: text(health_check_ip),
        private_ip: here.private_ip.to_string(),
        public_ip: text(here.public_ip),
        backend_config,
        ..outline(settings, &here.node)
    };
    (
        spec,
        missing
            .then_some(Problem::NoHealthCheckAddress)
            .into_iter()
            .collect(),
    )
}

/// What is known of an Endpoint before the gateway knows its addresses. It has no name, and is for the gateway's own status only.
pub fn outline(settings: &Settings, node: &str) -> EndpointSpec {
    EndpointSpec {
        cluster_id: settings.cluster.to_string(),
        hostname: node.to_owned(),
        subnets: settings.subnets().iter().map(ToString::to_string).collect(),
        nat_enabled: settings.nat_enabled,
        backend: settings.driver.to_string(),
        ..EndpointSpec::default()
    }
}

/// What this cluster declares.
pub fn cluster(settings: &Settings) -> ClusterSpec {
    let texts = |nets: &[IpNet]| nets.iter().map(ToString::to_string).collect();
    ClusterSpec {
        cluster_id: settings.cluster.to_string(),
        service_cidr: texts(&settings.service_cidr),
        cluster_cidr: texts(&settings.cluster_cidr),
        global_cidr: texts(&settings.global_cidr),
        // Nobody reads them; Submariner writes this one.
        color_codes: std::iter::once("blue".to_owned()).collect(),
    }
}

/// `submariner-cable-<cluster>-<private IP with dashes>`.
pub fn cable_name(cluster: &ClusterId, private_ip: IpAddr) -> String {
    let address = private_ip.to_string().replace(['.', ':'], "-");
    format!("submariner-cable-{cluster}-{address}")
}

/// Name of an Endpoint object. `None` where its cluster or its cable has no name.
pub fn endpoint_name(spec: &EndpointSpec) -> Option<String> {
    if spec.cluster_id.is_empty() || spec.cable_name.is_empty() {
        return None;
    }
    valid_name(&format!("{}-{}", spec.cluster_id, spec.cable_name))
}

/// Name of a cluster's Cluster object.
pub fn cluster_name(cluster: &ClusterId) -> String {
    // A label is a valid name.
    cluster.to_string()
}

/// Name of the Gateway object of a node, whether it is written or deleted. `None` where nothing of the node's name is left.
// Submariner writes by this name and deletes by the node's; so what a node "GW_1" wrote stays.
pub fn gateway_name(node: &str) -> Option<String> {
    valid_name(node)
}

/// Submariner's way to make a text the name of an object. `None` instead of an empty one: deleting that means deleting all.
fn valid_name(text: &str) -> Option<String> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
    let name: String = text
        .to_lowercase()
        .chars()
        .map(|c| if good(c) { c } else { '-' })
        .collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownSetting { key } => write!(
                f,
                "label or annotation {key:?} of the node is unknown and ignored; known are {UDP_PORT}, {NATT_DISCOVERY_PORT}, {PUBLIC_IP} and {PREFERRED_SERVER}"
            ),
            Self::Setting { key, value, remedy } => write!(
                f,
                "label or annotation {key:?} of the node cannot be {value:?} and is ignored; {remedy}"
            ),
            Self::NoHealthCheckAddress => f.write_str(
                "no device of the node has an address of the pod network, so the other clusters cannot check the path to here; \
                 set SUBMARINER_HEALTHCHECKENABLED=false if that is meant to be",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
