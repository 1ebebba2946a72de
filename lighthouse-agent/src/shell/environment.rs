//! Flags and environment, with Lighthouse's names.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use ipnet::Ipv4Net;
use subm_api::NamespaceRules;
use subm_api::names::is_label;
use subm_kube::{BrokerAccess, BrokerError, daemon};

use crate::core::settings::{ClusterSetIps, IpSource, LostClusters, Settings};

/// The Multi-Cluster Services controller of a Submariner cluster set.
#[derive(Debug, Parser)]
#[command(name = "lighthouse-agent", version, about, max_term_width = 120)]
pub struct Arguments {
    /// Kubeconfig of this cluster; without it the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Kubeconfig of the broker, instead of BROKER_K8S_*
    #[arg(long, value_name = "FILE", env = "BROKER_KUBECONFIG")]
    pub broker_kubeconfig: Option<PathBuf>,
    /// Where /metrics, /healthz and /readyz are
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "[::]:8082",
        env = "SUBMARINER_METRICS_ADDRESS"
    )]
    pub metrics_address: SocketAddr,
    /// This cluster's id, an RFC 1123 label
    #[arg(long, value_name = "ID", env = "SUBMARINER_CLUSTERID")]
    pub cluster_id: String,
    /// Where the agent runs
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "SUBMARINER_NAMESPACE",
        default_value = "submariner-operator"
    )]
    pub namespace: String,
    /// Services are reached by global IPs
    #[arg(long, env = "SUBMARINER_GLOBALNET_ENABLED", value_parser = boolean, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub globalnet: bool,
    /// Give services a cluster set IP unless their export says no
    #[arg(long, env = "SUBMARINER_CLUSTERSET_IP_ENABLED", value_parser = boolean, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub clusterset_ip: bool,
    /// This cluster's range of cluster set IPs, such as 243.0.0.0/20
    #[arg(long, value_name = "CIDR", env = "SUBMARINER_CLUSTERSET_IP_CIDR", value_parser = optional_cidr)]
    pub clusterset_ip_cidr: Option<OptionalCidr>,
    /// Where cluster set IPs come from: `pool` (Lighthouse's way) or `service` (a derived Service in each cluster)
    #[arg(
        long,
        value_enum,
        value_name = "SOURCE",
        env = "SUBMARINER_CLUSTERSET_IP_SOURCE",
        default_value = "pool"
    )]
    pub clusterset_ip_source: Source,
    /// Show what each cluster exports in the agent's namespace
    #[arg(long, env = "SUBMARINER_PER_CLUSTER_IMPORTS", value_parser = boolean, num_args = 0..=1, default_value = "true", default_missing_value = "true")]
    pub per_cluster_imports: bool,
    /// What becomes of imports of a cluster that is heard no more: `keep`, or minutes after which they go
    #[arg(long, value_name = "keep|MINUTES", env = "SUBMARINER_LOST_CLUSTERS", value_parser = lost_clusters, default_value = "keep")]
    pub lost_clusters: LostClusters,
    /// Namespaces that neither export nor import: names, or prefixes that end in *
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = NamespaceRules::DENY_VARIABLE,
        default_values = NamespaceRules::DENIED
    )]
    pub import_namespace_deny_list: Vec<String>,
    /// Exceptions to that
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        env = NamespaceRules::ALLOW_VARIABLE
    )]
    pub import_namespace_allow_list: Vec<String>,
    /// Remove all that the agent made, here and on the broker, and exit
    #[arg(long, env = "SUBMARINER_UNINSTALL", value_parser = boolean, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub uninstall: bool,
    /// This replica's name in the election
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub identity: Option<String>,
    /// Log level: error, warn, info, debug or trace, or a tracing filter
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// `text` or `json`
    #[arg(long, value_enum, env = "LOG_FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// Log more; as a number the verbosity of Lighthouse (0 to 5)
    #[arg(short, value_name = "N", num_args = 0..=1, default_missing_value = "3", env = "SUBMARINER_VERBOSITY")]
    pub verbosity: Option<i32>,
    /// Accepted for Lighthouse's sake: the log goes to standard error anyway
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pub alsologtostderr: Option<String>,

    /// `host:port` of the broker's API server
    #[arg(long, hide = true, env = "BROKER_K8S_APISERVER")]
    pub broker_api_server: Option<String>,
    #[arg(
        long,
        hide = true,
        env = "BROKER_K8S_APISERVERTOKEN",
        hide_env_values = true
    )]
    pub broker_token: Option<String>,
    #[arg(long, hide = true, env = "BROKER_K8S_CA")]
    pub broker_ca: Option<String>,
    #[arg(long, hide = true, env = "BROKER_K8S_SECRET")]
    pub broker_secret: Option<String>,
    #[arg(long, hide = true, env = "BROKER_K8S_INSECURE", value_parser = boolean, num_args = 0..=1, default_value = "false", default_missing_value = "true")]
    pub broker_insecure: bool,
    /// The cluster set's namespace on the broker
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "BROKER_K8S_REMOTENAMESPACE",
        default_value = "submariner-k8s-broker"
    )]
    pub broker_namespace: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Source {
    Pool,
    Service,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

/// The operator sets variables that have nothing to say to the empty string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionalCidr(pub Option<Ipv4Net>);

/// What is wrong with them.
#[derive(Debug, thiserror::Error)]
pub enum Mistake {
    #[error(
        "SUBMARINER_CLUSTERID: {0:?} is not a valid ClusterID: 1 to 63 of a-z, 0-9 and '-', neither first nor last a '-'"
    )]
    ClusterId(String),
    #[error("{name}: {value:?} is no namespace")]
    Namespace { name: &'static str, value: String },
    #[error("SUBMARINER_CLUSTERSET_IP_CIDR: {0} has fewer than four addresses")]
    SmallCidr(Ipv4Net),
    #[error(
        "BROKER_K8S_APISERVER is not set, so there is no broker; set it, or give --broker-kubeconfig"
    )]
    NoBroker,
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Arguments {
    /// Also with one dash before long flags, as Go programs take them.
    pub fn from_command_line() -> Self {
        Self::parse_from(daemon::arguments())
    }

    pub fn settings(&self) -> Result<Settings, Mistake> {
        if !is_label(&self.cluster_id) {
            return Err(Mistake::ClusterId(self.cluster_id.clone()));
        }
        for (name, value) in [
            ("SUBMARINER_NAMESPACE", &self.namespace),
            ("BROKER_K8S_REMOTENAMESPACE", &self.broker_namespace),
        ] {
            if !is_label(value) {
                return Err(Mistake::Namespace {
                    name,
                    value: value.clone(),
                });
            }
        }
        let range = self.clusterset_ip_cidr.and_then(|range| range.0);
        if let Some(range) = range.filter(|range| range.prefix_len() > 30) {
            return Err(Mistake::SmallCidr(range));
        }
        let listed = |names: &[String]| {
            names
                .iter()
                .map(|name| name.trim().to_owned())
                .filter(|name| !name.is_empty())
                .collect()
        };
        Ok(Settings {
            cluster: self.cluster_id.clone(),
            namespace: self.namespace.clone(),
            broker_namespace: self.broker_namespace.clone(),
            globalnet: self.globalnet,
            cluster_set_ips: ClusterSetIps {
                by_default: self.clusterset_ip,
                from: match self.clusterset_ip_source {
                    Source::Pool => IpSource::Pool(range),
                    Source::Service => IpSource::DerivedService,
                },
            },
            per_cluster_imports: self.per_cluster_imports,
            lost_clusters: self.lost_clusters,
            namespaces: NamespaceRules {
                deny: listed(&self.import_namespace_deny_list),
                allow: listed(&self.import_namespace_allow_list),
            },
            uninstalling: self.uninstall,
        })
    }

    pub fn broker(&self) -> Result<BrokerAccess, Mistake> {
        let set = |value: &Option<String>| value.clone().filter(|value| !value.is_empty());
        let access = BrokerAccess {
            api_server: set(&self.broker_api_server).ok_or(Mistake::NoBroker)?,
            ca: set(&self.broker_ca),
            token: set(&self.broker_token),
            token_file: None,
            insecure: self.broker_insecure,
        };
        Ok(access.with_secret(set(&self.broker_secret).as_deref())?)
    }

    pub fn log_filter(&self) -> &str {
        daemon::log_filter(self.verbosity, &self.log_level)
    }
}

/// As Go's `strconv.ParseBool`; empty is false.
fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

fn optional_cidr(text: &str) -> Result<OptionalCidr, String> {
    if text.is_empty() {
        return Ok(OptionalCidr(None));
    }
    text.parse()
        .map(|range: Ipv4Net| OptionalCidr(Some(range.trunc())))
        .map_err(|_| "is no range of IPv4 addresses, such as 243.0.0.0/20".to_owned())
}

fn lost_clusters(text: &str) -> Result<LostClusters, String> {
    if text == "keep" || text.is_empty() {
        return Ok(LostClusters::Keep);
    }
    match text.parse::<u32>() {
        Ok(minutes) if minutes > 0 => Ok(LostClusters::DropAfter(Duration::from_secs(
            u64::from(minutes) * 60,
        ))),
        _ => Err("is neither \"keep\" nor a number of minutes".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(flags: &[&str]) -> Arguments {
        let base = [
            "lighthouse-agent",
            "--cluster-id",
            "c1",
            "--broker-api-server",
            "10.0.0.1:6443",
            "--broker-token",
            "t",
        ];
        Arguments::try_parse_from(base.iter().chain(flags)).expect("good flags")
    }

    #[test]
    fn nobody_chooses() {
        let settings = arguments(&[]).settings().unwrap();
        assert_eq!(settings.namespace, "submariner-operator");
        assert_eq!(settings.broker_namespace, "submariner-k8s-broker");
        assert_eq!(settings.namespaces, NamespaceRules::default());
        assert_eq!(settings.lost_clusters, LostClusters::Keep);
        assert_eq!(settings.cluster_set_ips, ClusterSetIps::default());
    }

    #[test]
    fn what_the_operator_passes_is_understood() {
        let settings = arguments(&[
            "--clusterset-ip-cidr",
            "",
            "--clusterset-ip",
            "false",
            "--globalnet",
            "true",
        ])
        .settings()
        .unwrap();
        assert_eq!(settings.cluster_set_ips.from, IpSource::Pool(None));
        assert!(settings.globalnet);
        let settings = arguments(&[
            "--lost-clusters",
            "5",
            "--clusterset-ip-cidr",
            "243.0.0.7/20",
        ])
        .settings()
        .unwrap();
        assert_eq!(
            settings.lost_clusters,
            LostClusters::DropAfter(Duration::from_secs(300))
        );
        assert_eq!(
            settings.cluster_set_ips.from,
            IpSource::Pool("243.0.0.0/20".parse().ok())
        );
    }

    #[test]
    fn mistakes_name_the_variable() {
        let mut bad = arguments(&[]);
        bad.cluster_id = "East.1".into();
        assert!(
            bad.settings()
                .unwrap_err()
                .to_string()
                .contains("\"East.1\" is not a valid ClusterID")
        );
        let mut bad = arguments(&["--clusterset-ip-cidr", "243.0.0.0/31"]);
        assert!(
            bad.settings()
                .unwrap_err()
                .to_string()
                .starts_with("SUBMARINER_CLUSTERSET_IP_CIDR")
        );
        bad.broker_token = None;
        assert!(
            bad.broker()
                .unwrap_err()
                .to_string()
                .contains("BROKER_K8S_APISERVERTOKEN")
        );
        bad.broker_api_server = None;
        assert!(
            bad.broker()
                .unwrap_err()
                .to_string()
                .contains("BROKER_K8S_APISERVER")
        );
    }
}
