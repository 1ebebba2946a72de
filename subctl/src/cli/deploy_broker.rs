//! Flags of `deploy-broker`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use ipnet::Ipv4Net;
use subm_install::ClusterId;

use super::values::{cluster_id, domain_or_none, duration, range, url};

#[derive(Clone, Debug, Args)]
pub struct DeployBroker {
    /// enable support for Overlapping CIDRs in connecting clusters; this version gives no global IPs, and members with it export nothing
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
    )]
    pub globalnet: Option<bool>,
    /// GlobalCIDR supernet range for allocating GlobalCIDRs to each cluster [default: 242.0.0.0/8]
    #[arg(long, value_name = "CIDR", value_parser = range)]
    pub globalnet_cidr_range: Option<Ipv4Net>,
    /// default cluster size for GlobalCIDR allocated to each cluster (amount of global IPs) [default: 65536]
    #[arg(long, value_name = "N")]
    pub globalnet_cluster_size: Option<u32>,
    /// import IPsec PSK from existing submariner broker file, like broker-info.subm
    #[arg(long, value_name = "FILE")]
    pub ipsec_psk_from: Option<PathBuf>,
    /// list of domains to use for multicluster service discovery, "" for none [default: those that the broker has]
    #[arg(long, value_name = "DOMAIN,DOMAIN", value_delimiter = ',', value_parser = domain_or_none)]
    pub custom_domains: Option<Vec<String>>,
    /// The components that members install - any of service-discovery,connectivity [default: those that the broker has, both for
    /// a new one]
    #[arg(long, value_name = "NAME,NAME", value_delimiter = ',')]
    pub components: Vec<String>,
    /// broker API endpoint URL (stored in the broker information file) [default: the context's URL]
    #[arg(long, value_name = "URL", value_parser = url)]
    pub broker_url: Option<String>,
    /// set default support for use of clusterset IP for exported services
    #[arg(
        long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
    )]
    pub enable_clusterset_ip: Option<bool>,
    /// Clusterset IP CIDR supernet range for allocating Clusterset IP CIDRs to each cluster [default: 243.0.0.0/8]
    #[arg(long, value_name = "CIDR", value_parser = range)]
    pub clusterset_ip_cidr_range: Option<Ipv4Net>,
    /// Write an invitation for this cluster alone, broker-info-ID.subm, may be repeated; its token is the cluster's own.
    #[arg(long, value_name = "ID,ID", value_delimiter = ',', value_parser = cluster_id)]
    pub per_cluster: Vec<ClusterId>,
    /// How long the token in an invitation is valid; the API server may allow less.
    #[arg(long, value_name = "DURATION", default_value = "365d", value_parser = duration)]
    pub invitation_ttl: Duration,
    /// Print the objects as YAML and write nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Taken for compatibility: the broker runs no program, hence needs no image.
    #[arg(long, hide = true)]
    pub repository: Option<String>,
    /// Taken for compatibility, as --repository.
    #[arg(long = "version", id = "image_version", hide = true)]
    pub version: Option<String>,
    /// Taken for compatibility: the broker has no operator.
    #[arg(
        long, hide = true, num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true",
        action = ArgAction::Set
    )]
    pub operator_debug: bool,
    #[command(flatten)]
    pub proxies: super::join::Proxies,
}
