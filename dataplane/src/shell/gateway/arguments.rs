//! Flags and environment, with the names of Submariner's gateway.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use kube::Client;
use subm_kube::BrokerAccess;
use subm_kube::daemon::{self, Threads};
use subm_kube::election::Timing;

use crate::gateway::Settings;
use crate::gateway::settings::{Driver, truth};
use crate::shell::variable;

/// The gateway of a Submariner cluster set: cables to the other clusters, and the objects by which they find each other.
///
/// What is not a flag is in the environment: SUBMARINER_*, BROKER_K8S_*, CE_IPSEC_* and LEADERSHIP_*.
#[derive(Debug, Parser)]
#[command(name = "submariner-gateway", version, about, max_term_width = 120)]
pub struct Arguments {
    /// Kubeconfig of this cluster; without it the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Kubeconfig of the broker, instead of BROKER_K8S_*
    #[arg(long, value_name = "FILE", env = "BROKER_KUBECONFIG")]
    pub broker_kubeconfig: Option<PathBuf>,
    /// Where it is remembered what kernel parameters were before, and this gateway's key: a folder that lasts as long as the kernel runs
    #[arg(long, value_name = "FOLDER", default_value = "/run/submariner")]
    pub state_folder: PathBuf,
    /// Where Secrets are mounted
    #[arg(
        long,
        value_name = "FOLDER",
        default_value = "/var/run/secrets/submariner.io"
    )]
    pub secrets_folder: PathBuf,
    /// This node's name [default: its host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// This pod's name, whose labels tell whether it is active
    #[arg(long, value_name = "NAME", env = "POD_NAME")]
    pub pod_name: Option<String>,
    /// Ask no server outside for this gateway's public address
    #[arg(long, env = "AIR_GAPPED_DEPLOYMENT", num_args = 0..=1, default_value = "false", default_missing_value = "true", action = clap::ArgAction::Set)]
    pub air_gapped: bool,
    /// Log level: error, warn, info, debug or trace, or a tracing filter
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
    /// Log more; as a number the verbosity of Submariner (0 to 5)
    #[arg(short, value_name = "N", num_args = 0..=1, default_missing_value = "3", env = "SUBMARINER_VERBOSITY")]
    pub verbosity: Option<i32>,
    /// Accepted for Submariner's sake: the log goes to standard error anyway
    #[arg(long, hide = true, num_args = 0..=1, default_missing_value = "true")]
    pub alsologtostderr: Option<String>,
    #[arg(
        long,
        hide = true,
        value_name = "SECONDS",
        env = "LEADERSHIP_LEASEDURATION"
    )]
    pub lease_duration: Option<u64>,
    #[arg(
        long,
        hide = true,
        value_name = "SECONDS",
        env = "LEADERSHIP_RENEWDEADLINE"
    )]
    pub renew_deadline: Option<u64>,
    #[arg(
        long,
        hide = true,
        value_name = "SECONDS",
        env = "LEADERSHIP_RETRYPERIOD"
    )]
    pub retry_period: Option<u64>,
}

/// The broker, as far as it is set.
#[derive(Clone)]
pub(super) struct Broker {
    pub(super) client: Client,
    pub(super) namespace: String,
}

impl Arguments {
    /// Also with one dash before long flags, as Go programs take them.
    pub fn from_command_line() -> Self {
        Self::parse_from(daemon::arguments())
    }

    pub fn log_filter(&self) -> &str {
        daemon::log_filter(self.verbosity, &self.log_level)
    }

    /// WireGuard may have to run in this process, and then packets are its work; otherwise they are the kernel's.
    pub fn threads() -> Threads {
        match Settings::read(variable) {
            Ok(settings) if settings.driver == Driver::WireGuard => Threads::Two,
            // What is wrong in them is said when they are needed.
            Ok(_) | Err(_) => Threads::One,
        }
    }

    pub(super) fn settings() -> Result<Settings> {
        Ok(Settings::read(variable)?)
    }

    /// Go's names for them, as the timing of an election.
    pub(super) fn timing(&self) -> Result<Timing> {
        let default = Timing::default();
        let seconds = |set: Option<u64>, default| set.map_or(default, Duration::from_secs);
        let timing = Timing {
            lease: seconds(self.lease_duration, default.lease),
            renew: seconds(self.renew_deadline, default.renew),
            retry: seconds(self.retry_period, default.retry),
        };
        anyhow::ensure!(
            timing.lease > timing.renew && timing.renew > timing.retry && !timing.retry.is_zero(),
            "LEADERSHIP_LEASEDURATION must be longer than LEADERSHIP_RENEWDEADLINE, and that than LEADERSHIP_RETRYPERIOD"
        );
        Ok(timing)
    }

    /// `None` where none is set: then this cluster is alone.
    pub(super) async fn broker(&self) -> Result<Option<Broker>> {
        let namespace = variable("BROKER_K8S_REMOTENAMESPACE");
        let namespace = namespace.unwrap_or_else(|| "submariner-k8s-broker".to_owned());
        if let Some(path) = &self.broker_kubeconfig {
            let client = subm_kube::connect(Some(path), None).await?;
            return Ok(Some(Broker { client, namespace }));
        }
        let Some(api_server) = variable("BROKER_K8S_APISERVER") else {
            return Ok(None);
        };
        let access = BrokerAccess {
            api_server,
            ca: variable("BROKER_K8S_CA"),
            token: variable("BROKER_K8S_APISERVERTOKEN"),
            token_file: None,
            insecure: variable("BROKER_K8S_INSECURE")
                .is_some_and(|text| truth(&text) == Some(true)),
        };
        let access = access.with_secret(variable("BROKER_K8S_SECRET").as_deref())?;
        let client = access.client().context("the broker")?;
        Ok(Some(Broker { client, namespace }))
    }

    pub(super) fn state_file(&self, name: &str) -> Result<PathBuf> {
        std::fs::create_dir_all(&self.state_folder)
            .with_context(|| format!("cannot make {}", self.state_folder.display()))?;
        Ok(self.state_folder.join(name))
    }
}
