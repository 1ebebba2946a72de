//! Flags and environment of the route agent.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use ipnet::IpNet;
use subm_routing::{Kernel, Mark, Settings, TakeOver};
use subm_tunnel::health;

use crate::gateway::settings::Environment;
use crate::node;
use crate::shell::variable;

/// Gateway and route agent are two owners in one kernel: each has a mark of its own.
const PROTOCOL: u8 = 84;
const ALIAS: &str = "subm/route-agent";
/// Where Submariner's has pages, too.
const METRICS_PORT: u16 = 32782;
/// Every node asks each gateway of the others: while it answers, every so many intervals. Submariner's agents ask every 60 intervals in
/// any case, so they see a cut after five minutes.
const REST: u32 = 10;

/// The route agent of a Submariner cluster set: one on each node.
///
/// Some of it is in the environment alone: SUBMARINER_HEALTHCHECK* and SUBMARINER_METRICSPORT.
#[derive(Debug, Parser)]
#[command(name = "submariner-route-agent", version, about, max_term_width = 120)]
pub struct Arguments {
    /// Kubeconfig of this cluster; without it the pod's service account
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// This cluster's id
    #[arg(long, value_name = "ID", env = "SUBMARINER_CLUSTERID")]
    pub cluster_id: String,
    /// Where Endpoints are
    #[arg(
        long,
        value_name = "NAMESPACE",
        env = "SUBMARINER_NAMESPACE",
        default_value = "submariner-operator"
    )]
    pub namespace: String,
    /// This cluster's pod networks
    #[arg(
        long,
        value_name = "CIDRS",
        env = "SUBMARINER_CLUSTERCIDR",
        value_delimiter = ','
    )]
    pub cluster_cidr: Vec<IpNet>,
    /// This cluster's Service networks
    #[arg(
        long,
        value_name = "CIDRS",
        env = "SUBMARINER_SERVICECIDR",
        value_delimiter = ','
    )]
    pub service_cidr: Vec<IpNet>,
    /// This node's name [default: its host name]
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    pub node_name: Option<String>,
    /// Where it is remembered what kernel parameters were before: a folder that lasts as long as the kernel runs
    #[arg(long, value_name = "FOLDER", default_value = "/run/submariner")]
    pub state_folder: PathBuf,
    /// Remove all that the agent made in this node's kernel, and its RouteAgent object, and exit
    #[arg(long, env = "SUBMARINER_UNINSTALL", num_args = 0..=1, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub uninstall: bool,
    /// Log level: error, warn, info, debug or trace, or a tracing filter
    #[arg(long, value_name = "LEVEL", env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,
}

impl Arguments {
    pub(super) fn kernel(&self) -> Result<Kernel> {
        std::fs::create_dir_all(&self.state_folder)
            .with_context(|| format!("cannot make {}", self.state_folder.display()))?;
        let settings = Settings::new()
            .mark(Mark::new(PROTOCOL, ALIAS))
            .take_over(
                TakeOver::new()
                    .link(node::DEVICE)
                    .table(node::TABLE, node::TABLE),
            )
            .memory(self.state_folder.join("route-agent"));
        Ok(Kernel::open(settings)?)
    }

    /// This node's name.
    pub(super) fn node(&self) -> Result<String> {
        match &self.node_name {
            Some(name) => Ok(name.clone()),
            None => Ok(hostname::get()?.to_string_lossy().into_owned()),
        }
    }

    /// How paths are checked; `None` where they are not.
    pub(super) fn checks() -> Result<Option<health::Settings>> {
        let check = Environment(variable).health_check()?;
        Ok(check
            .map(|check| health::Settings::new(check.interval, check.max_packet_loss).rest(REST)))
    }

    /// Of metrics and health.
    pub(super) fn metrics_port() -> Result<u16> {
        Ok(Environment(variable).port("SUBMARINER_METRICSPORT", METRICS_PORT)?)
    }
}
