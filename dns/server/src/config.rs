//! The configuration that the server runs with, whether it came from a Corefile or from flags.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use subm_dns_core::authority::Authority;
use subm_dns_core::facts::ClusterId;
use subm_dns_core::respond::Transport;

/// Everything that a run of the server needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    pub listeners: Vec<Listener>,
    pub source: Source,
    /// From a flag or the environment; it goes before what objects say.
    pub cluster_id: Option<ClusterId>,
    pub health: Option<Health>,
    pub ready: Option<SocketAddr>,
    pub metrics: Option<SocketAddr>,
    /// How often the Corefile is looked at for changes; `None`: only on SIGHUP.
    pub reload: Option<Duration>,
}

/// Where objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Manifests(PathBuf),
    /// In-cluster configuration, or a kubeconfig as kubectl finds it, where both are `None`.
    Kubernetes {
        kubeconfig: Option<PathBuf>,
        context: Option<String>,
    },
}

/// One socket address and what is served there; server blocks that share it are merged.
#[derive(Clone, Debug)]
pub struct Listener {
    /// `Udp` stands for UDP and TCP on the same address.
    pub transport: Transport,
    pub addr: SocketAddr,
    pub authority: Authority,
    /// For `Tls`, `Https` and `Quic`.
    pub tls: Option<TlsFiles>,
    /// Per zone (index into `authority.zones()`), who may take it by AXFR.
    pub transfer: Vec<TransferRule>,
    /// Per zone (index into `authority.zones()`), which queries are logged; `None`: none.
    pub query_log: Vec<Option<QueryLog>>,
    /// `server` label of metrics, as CoreDNS has it: `dns://:53`.
    pub label: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TransferRule {
    pub to: Vec<IpNet>,
    /// Secondaries that get a NOTIFY when the zone changes.
    pub notify: Vec<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of this authority.
    pub client_ca: Option<PathBuf>,
}

/// Classes of replies that the query log shows (`log` of CoreDNS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryLog {
    pub success: bool,
    pub denial: bool,
    pub error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    pub addr: SocketAddr,
    /// How long the server goes on answering after SIGTERM while `/health` says 503.
    pub lameduck: Duration,
}
