//! The command line: names, order and defaults are Go subctl's.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::output::Format;

mod deploy_broker;
mod diagnose;
mod join;
mod probes;
mod values;

pub use deploy_broker::DeployBroker;
pub use diagnose::{Diagnose, Diagnosis, Firewall};
pub use join::{CableDriver, Choices, Connectivity, Join};
pub use probes::{Benchmark, Measure, Probes, RemoteCluster};
pub use values::Cidrs;
use values::{duration, object_name};

/// Deploy, manage, verify and diagnose Submariner deployments.
#[derive(Clone, Debug, Parser)]
#[command(name = "subctl", version = crate::commands::VERSION, propagate_version = false)]
pub struct Cli {
    #[command(flatten)]
    pub kube: KubeFlags,
    #[command(subcommand)]
    pub command: Command,
}

/// Which clusters, and as whom.
#[derive(Clone, Debug, Default, Args)]
pub struct KubeFlags {
    /// Kubeconfig file [default: KUBECONFIG, else ~/.kube/config].
    #[arg(long, value_name = "FILE", global = true)]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current one; for show all].
    #[arg(long, value_name = "NAME", global = true)]
    pub context: Option<String>,
    /// Contexts of the kubeconfig.
    #[arg(
        long,
        value_name = "NAME,NAME",
        value_delimiter = ',',
        global = true,
        conflicts_with = "context"
    )]
    pub contexts: Vec<String>,
    /// Namespace [default: depends on the command].
    #[arg(short, long, value_name = "NAME", global = true, value_parser = object_name)]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Deploy the broker of a cluster set in the selected cluster.
    DeployBroker(Box<DeployBroker>),
    /// Make the selected cluster a member of the cluster set.
    Join(Box<Join>),
    /// Export a resource to the other clusters.
    Export {
        #[command(subcommand)]
        what: Export,
    },
    /// Stop exporting a resource to the other clusters.
    Unexport {
        #[command(subcommand)]
        what: Unexport,
    },
    /// Show how clusters are.
    Show(Show),
    /// Look for what is broken in clusters, and say what mends it.
    Diagnose(Diagnose),
    /// Measure the network between clusters, or within one.
    Benchmark {
        #[command(subcommand)]
        what: Measure,
    },
    /// Say why an exported service is not resolvable in another cluster: the first broken link, and what mends it.
    Explain {
        #[command(subcommand)]
        what: Explain,
    },
    /// Remove Submariner from the selected cluster.
    Uninstall(Uninstall),
    /// Write broker-info.subm again, from the broker.
    RecoverBrokerInfo(RecoverBrokerInfo),
    /// Print the version.
    Version,
    /// Print the completions for a shell.
    Completion { shell: clap_complete::Shell },
}

#[derive(Clone, Debug, Subcommand)]
pub enum Export {
    /// Offer a Service to the other clusters.
    Service(ExportService),
}

#[derive(Clone, Debug, Args)]
pub struct ExportService {
    /// Service.
    #[arg(value_parser = object_name)]
    pub name: String,
    /// Whether it gets an IP of the cluster set [default: as the cluster set has it].
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub use_clusterset_ip: Option<bool>,
    /// Wait until it is resolvable in the clusters of the other contexts, and say when in which.
    #[arg(long)]
    pub wait: bool,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub timeout: Duration,
    /// Print the objects as YAML and write nothing.
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub enum Unexport {
    /// Stop offering a Service to the other clusters.
    Service {
        /// Service.
        #[arg(value_parser = object_name)]
        name: String,
        /// Print what would be deleted and delete nothing.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Clone, Debug, Subcommand)]
pub enum Explain {
    /// Walk from the Service to where it is imported.
    Export {
        /// Service.
        #[arg(value_parser = object_name)]
        name: String,
        /// Form of the answer.
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
}

#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Format::Text, global = true)]
    pub output: Format,
    #[command(subcommand)]
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum What {
    /// All of the below but exports and imports.
    All,
    /// The brokers in the cluster.
    Brokers,
    /// The cables to other clusters.
    Connections,
    /// The ends of cables.
    Endpoints,
    /// The gateway nodes.
    Gateways,
    /// The addresses of the cluster.
    Networks,
    /// What is installed in which version.
    Versions,
    /// The services that the cluster offers.
    Exports,
    /// The services that the cluster is offered.
    Imports,
}

#[derive(Clone, Debug, Args)]
pub struct Uninstall {
    /// Do not ask.
    #[arg(short, long)]
    pub yes: bool,
    /// Print what would be deleted and delete nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// Delete the definitions of the Multi-Cluster Services API too, and with them every ServiceExport.
    #[arg(long)]
    pub delete_definitions: bool,
    /// How long nodes may take to remove what the data plane made on them.
    #[arg(long, value_name = "DURATION", default_value = "2m", value_parser = duration)]
    pub timeout: Duration,
}

#[derive(Clone, Debug, Args)]
pub struct RecoverBrokerInfo {
    /// URL of the broker's API server for the file [default: the context's].
    #[arg(long, value_name = "URL")]
    pub broker_url: Option<String>,
}

impl Cli {
    /// Parses a command line, program name first. Long flags may have a single dash, as Submariner's articles write them.
    pub fn parse_args(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let flags = long_flags();
        Self::try_parse_from(args.into_iter().map(|arg| with_two_dashes(arg, &flags)))
    }
}

fn long_flags() -> BTreeSet<String> {
    fn collect(command: &clap::Command, flags: &mut BTreeSet<String>) {
        flags.extend(
            command
                .get_arguments()
                .filter_map(|arg| arg.get_long().map(str::to_owned)),
        );
        command
            .get_subcommands()
            .for_each(|command| collect(command, flags));
    }
    let mut flags = BTreeSet::from(["help".to_owned(), "version".to_owned()]);
    collect(&Cli::command(), &mut flags);
    flags
}

fn with_two_dashes(arg: OsString, flags: &BTreeSet<String>) -> OsString {
    let long = arg.to_str().and_then(|text| {
        let flag = text.strip_prefix('-').filter(|flag| flag.len() > 1)?;
        let name = flag.split_once('=').map_or(flag, |(name, _)| name);
        flags
            .contains(name)
            .then(|| OsString::from(format!("--{flag}")))
    });
    long.unwrap_or(arg)
}

#[cfg(test)]
mod tests;
