//! Flags of `join`.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum, value_parser};
use ipnet::Ipv4Net;
use subm_install::ClusterId;

use super::values::{Cidrs, cidrs, cluster_id, domain, duration, object_name, range, url};

#[derive(Clone, Debug, Args)]
pub struct Join {
    /// The file that deploy-broker wrote, or an invitation.
    #[arg(value_name = "BROKER-INFO")]
    pub broker_info: PathBuf,
    /// cluster ID used to identify the tunnels
    #[arg(long, value_name = "ID", value_parser = cluster_id)]
    pub clusterid: Option<ClusterId>,
    /// What to install - any of service-discovery,connectivity [default: as the broker has it]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub components: Vec<String>,
    /// service CIDR
    #[arg(long, value_name = "CIDR", value_parser = cidrs)]
    pub servicecidr: Option<Cidrs>,
    /// cluster CIDR
    #[arg(long, value_name = "CIDR", value_parser = cidrs)]
    pub clustercidr: Option<Cidrs>,
    /// list of domains to use for multicluster service discovery [default: as the broker has it]
    #[arg(long, value_name = "DOMAIN,DOMAIN", value_delimiter = ',', value_parser = domain)]
    pub custom_domains: Vec<String>,
    /// name of the custom CoreDNS configmap to configure forwarding to lighthouse, as NAMESPACE/NAME
    #[arg(long, value_name = "NAME")]
    pub coredns_custom_configmap: Option<String>,
    /// check the broker certificate (disable this to allow "insecure" connections)
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub check_broker_certificate: bool,
    /// URL of the broker API server [default: as the file has it]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub broker_url: Option<String>,
    /// ignore requirement failures
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub ignore_requirements: bool,
    /// enable use of clusterset IP for exported services [default: as the broker has it]
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_clusterset_ip: Option<bool>,
    /// Clusterset IPs are those of a derived Service in each cluster, which every kube-proxy understands.
    #[arg(long)]
    pub clusterset_ip_by_service: bool,
    /// clusterset IP CIDR for this cluster [default: allocated]
    #[arg(long, value_name = "CIDR", value_parser = range)]
    pub clusterset_ip_cidr: Option<Ipv4Net>,
    /// enable/disable Globalnet for this cluster
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub globalnet: bool,
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
    /// image repository
    #[arg(long, value_name = "REPOSITORY")]
    pub repository: Option<String>,
    /// image version
    #[arg(long = "version", id = "image_version", value_name = "VERSION")]
    pub version: Option<String>,
    /// override component image, may be repeated
    #[arg(long, value_name = "COMPONENT=IMAGE")]
    pub image_override: Vec<String>,
    /// enable debugging (verbose logging) of the deployed pods
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub pod_debug: bool,
    /// Wait until what was installed runs.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = duration)]
    pub timeout: Duration,
    /// Print the objects as YAML and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    pub proxies: Proxies,
    #[command(flatten)]
    pub connectivity: Connectivity,
}

/// Of the connectivity component.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of the connectivity component")]
pub struct Connectivity {
    /// cable driver implementation; vxlan does not encrypt
    #[arg(long, value_enum, default_value_t = CableDriver::Wireguard)]
    pub cable_driver: CableDriver,
    /// UDP port of cables
    #[arg(long, alias = "natt-port", value_name = "PORT", default_value = "4500")]
    pub nattport: NonZeroU16,
    /// Nodes to label as gateways, instead of the one worker node or a question
    #[arg(long, value_name = "NODE,NODE", value_delimiter = ',', value_parser = object_name)]
    pub gateway: Vec<String>,
    /// enable NAT traversal for IPsec
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub natt: bool,
    /// label gateways if necessary
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub label_gateway: bool,
    /// enable Gateway health check
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub health_check: bool,
    /// interval in seconds between health check packets
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = value_parser!(u64).range(1..))]
    pub health_check_interval: u64,
    /// maximum number of packets lost before the connection is marked as down
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u64).range(1..))]
    pub health_check_max_packet_loss_count: u64,
    /// enable this cluster as a preferred server for data-plane connections
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub preferred_server: bool,
    /// specifies that the cluster is in an air-gapped environment
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub air_gapped: bool,
    /// enable automatic LoadBalancer in front of the gateways
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub load_balancer: bool,
    /// force UDP encapsulation for IPsec
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub force_udp_encaps: bool,
    /// enable IPsec debugging (verbose logging)
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub ipsec_debug: bool,
    /// enable operator debugging (verbose logging)
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub operator_debug: bool,
}

/// Upstream does not check the value, and a gateway crashes later. Its default is the first, which is known here to be refused in
/// words of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CableDriver {
    Libreswan,
    Wireguard,
    Vxlan,
}

#[derive(Clone, Debug, Default, Args)]
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
