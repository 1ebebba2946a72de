//! The configuration that the server runs with, whether it came from a Corefile or from flags.

mod flags;
mod host;
mod resolve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use subm_dns_core::authority::Authority;
use subm_dns_core::facts::ClusterId;
use subm_dns_core::respond::Transport;

use crate::cli::Cli;
use crate::corefile::{self, Problem};
use crate::plugins::Handler;
pub use host::Host;

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
    /// The Corefile and what it imports; empty where flags say it all.
    pub files: Vec<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read {}; name a Corefile with --conf", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Corefile(#[from] corefile::Error),
    /// A flag's value is wrong.
    #[error("--{flag}: {problem}")]
    Flag {
        flag: &'static str,
        problem: Problem,
    },
    #[error("--{flag} cannot go with --conf; say it in {}", conf.display())]
    FlagWithCorefile { flag: &'static str, conf: PathBuf },
    #[error("SUBMARINER_CLUSTERID: {problem}")]
    ClusterIdVariable { problem: Problem },
    #[error("--manifests and --kubeconfig or --context are two sources; give one")]
    TwoSources,
}

impl Config {
    /// Reads the Corefile that the command line names, or takes all from its flags.
    pub fn load(cli: &Cli) -> Result<Self, ConfigError> {
        Self::load_on(cli, &Host::this_machine())
    }

    fn load_on(cli: &Cli, host: &Host) -> Result<Self, ConfigError> {
        let Some(conf) = &cli.conf else {
            return flags::config(cli, host);
        };
        flags::check_beside_corefile(cli, conf)?;
        let text = std::fs::read_to_string(conf).map_err(|source| ConfigError::Read {
            path: conf.clone(),
            source,
        })?;
        let corefile = corefile::parse(conf, &text, &host.env)?;
        let mut config = resolve::config(corefile, host, cli.dns_port)?;
        flags::override_corefile(cli, host, &mut config)?;
        Ok(config)
    }

    /// Checks the text of a Corefile that would stand in `file`, reading only what it imports.
    pub fn check(
        file: &Path,
        text: &str,
        env: &BTreeMap<String, String>,
    ) -> Result<Self, ConfigError> {
        let host = Host {
            env: env.clone(),
            ..Host::default()
        };
        let corefile = corefile::parse(file, text, &host.env)?;
        Ok(resolve::config(corefile, &host, resolve::DNS_PORT)?)
    }
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

impl Listener {
    /// What answers for zone `zone` (index into `authority.zones()`) where the core does not, first to last.
    pub fn handlers(&self, zone: usize) -> impl Iterator<Item = &dyn Handler> {
        self.transfer
            .get(zone)
            .map(|rule| rule as &dyn Handler)
            .into_iter()
    }
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

impl QueryLog {
    pub const ALL: Self = Self {
        success: true,
        denial: true,
        error: true,
    };
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    pub addr: SocketAddr,
    /// How long the server goes on answering after SIGTERM while `/health` says 503.
    pub lameduck: Duration,
}
