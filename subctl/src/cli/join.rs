//! Flags of `join`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum, value_parser};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use subm_install::ClusterId;

use super::values::{Cidrs, cidrs, cluster_id, domain_or_none, duration, object_name, range, url};

#[derive(Clone, Debug, Args)]
pub struct Join {
    /// The file that deploy-broker wrote, or an invitation.
    #[arg(value_name = "BROKER-INFO")]
    pub broker_info: PathBuf,
    /// cluster ID used to identify the tunnels
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub clusterid: Option<ClusterId>,
    /// URL of the broker API server [default: as the file has it]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub broker_url: Option<String>,
    /// ignore requirement failures
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub ignore_requirements: bool,
    /// clusterset IP CIDR for this cluster [default: allocated]
    #[arg(long, value_name = "CIDR", value_parser = range)]
    pub clusterset_ip_cidr: Option<Ipv4Net>,
    /// GlobalCIDR to be allocated to the cluster [default: allocated]
    #[arg(long, value_name = "CIDR", value_parser = range)]
    pub globalnet_cidr: Option<Ipv4Net>,
    /// cluster size for GlobalCIDR allocated to this cluster (amount of global IPs) [default: as the broker has it]
    #[arg(long, value_name = "N")]
    pub globalnet_cluster_size: Option<u32>,
    /// Namespaces that export and import although the agent would not have them (kube-*, openshift, openshift-*, default): names, or
    /// prefixes that end in * [default: as the cluster has joined before]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub allow_namespaces: Option<Vec<String>>,
    /// Wait until what was installed runs.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Print the objects as YAML and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Nodes to label as gateways, instead of the one worker node or a question
    #[arg(long, help_heading = CONNECTIVITY_OPTIONS, value_name = "NODE,NODE", value_delimiter = ',', value_parser = object_name)]
    pub gateway: Vec<String>,
    /// enable operator debugging (verbose logging)
    #[arg(
        long, help_heading = CONNECTIVITY_OPTIONS, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub operator_debug: bool,
    #[command(flatten)]
    pub choices: Choices,
}

const CONNECTIVITY_OPTIONS: &str = "Options of the connectivity component";

/// What a cluster that joins again keeps where no flag names another. As JSON it is a map from flags to values; none is null.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct Choices {
    /// What to install - any of service-discovery,connectivity [default: as the broker has it]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub components: Option<Vec<String>>,
    /// service CIDR
    #[arg(long, value_name = "CIDR", value_parser = cidrs)]
    pub servicecidr: Option<Cidrs>,
    /// cluster CIDR
    #[arg(long, value_name = "CIDR", value_parser = cidrs)]
    pub clustercidr: Option<Cidrs>,
    /// list of domains to use for multicluster service discovery [default: as the broker has it]
    #[arg(long, value_name = "DOMAIN,DOMAIN", value_delimiter = ',', value_parser = domain_or_none)]
    pub custom_domains: Option<Vec<String>>,
    /// name of the custom CoreDNS configmap to configure forwarding to lighthouse, as NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pub coredns_custom_configmap: Option<String>,
    /// check the broker certificate (disable this to allow "insecure" connections) [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub check_broker_certificate: Option<bool>,
    /// enable use of clusterset IP for exported services [default: as the broker has it]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_clusterset_ip: Option<bool>,
    /// Clusterset IPs are those of a derived Service in each cluster, which every kube-proxy understands.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub clusterset_ip_by_service: Option<bool>,
    /// enable/disable Globalnet for this cluster [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub globalnet: Option<bool>,
    /// image repository
    #[arg(long, value_name = "REPOSITORY")]
    pub repository: Option<String>,
    /// image version
    #[arg(long = "version", id = "image_version", value_name = "VERSION")]
    pub version: Option<String>,
    /// override component image, may be repeated
    #[arg(long, value_name = "COMPONENT=IMAGE")]
    pub image_override: Option<Vec<String>>,
    /// enable debugging (verbose logging) of the deployed pods [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub pod_debug: Option<bool>,
    #[command(flatten)]
    #[serde(flatten)]
    pub proxies: Proxies,
    #[command(flatten)]
    #[serde(flatten)]
    pub connectivity: Connectivity,
}

impl Choices {
    /// Whether a broker's Globalnet is for this cluster too.
    pub fn takes_globalnet(&self) -> bool {
        self.globalnet.unwrap_or(true)
    }
}

/// Of the connectivity component.
#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[command(next_help_heading = CONNECTIVITY_OPTIONS)]
pub struct Connectivity {
    /// cable driver implementation; vxlan does not encrypt [default: wireguard]
    #[arg(long, value_enum)]
    pub cable_driver: Option<CableDriver>,
    /// UDP port of cables [default: 4500]
    #[arg(long, alias = "natt-port", value_name = "PORT")]
    pub nattport: Option<NonZeroU16>,
    /// enable NAT traversal for IPsec [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub natt: Option<bool>,
    /// label gateways if necessary [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub label_gateway: Option<bool>,
    /// enable Gateway health check [default: true]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub health_check: Option<bool>,
    /// interval in seconds between health check packets [default: 1]
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u64).range(1..))]
    pub health_check_interval: Option<u64>,
    /// maximum number of packets lost before the connection is marked as down [default: 5]
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub health_check_max_packet_loss_count: Option<u64>,
    /// enable this cluster as a preferred server for data-plane connections [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub preferred_server: Option<bool>,
    /// specifies that the cluster is in an air-gapped environment [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub air_gapped: Option<bool>,
    /// enable automatic LoadBalancer in front of the gateways [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub load_balancer: Option<bool>,
    /// force UDP encapsulation for IPsec [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub force_udp_encaps: Option<bool>,
    /// enable IPsec debugging (verbose logging) [default: false]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub ipsec_debug: Option<bool>,
}

/// Upstream does not check the value, and a gateway crashes later. Its default is the first, which is known here to be refused in
/// words of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CableDriver {
    Libreswan,
    Wireguard,
    Vxlan,
}

#[derive(Clone, Debug, Default, PartialEq, Args, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
#[allow(clippy::struct_field_names, reason = "they are the names of flags")]
pub struct Proxies {
    /// URL of an HTTP proxy for the deployed pods
    #[arg(long, value_name = "URL")]
    pub http_proxy: Option<String>,
    /// URL of an HTTPS proxy for the deployed pods
    #[arg(long, value_name = "URL")]
    pub https_proxy: Option<String>,
    /// hosts that are reached without a proxy
    #[arg(long, value_name = "HOSTS")]
    pub no_proxy: Option<String>,
}

impl Proxies {
    /// As containers take them.
    pub fn env(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("HTTP_PROXY", &self.http_proxy),
            ("HTTPS_PROXY", &self.https_proxy),
            ("NO_PROXY", &self.no_proxy),
        ];
        let set = pairs
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
        set.collect()
    }
}
