//! Flags of `diagnose`.

use clap::{Args, Subcommand};

use super::probes::{Probes, RemoteCluster};
use crate::output::Format;

#[derive(Clone, Debug, Args)]
pub struct Diagnose {
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Format::Text, global = true)]
    pub output: Format,
    #[command(flatten)]
    pub probes: Probes,
    #[command(subcommand)]
    pub what: Diagnosis,
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Diagnosis {
    /// All of the below, but for what needs a second cluster.
    All,
    /// Whether all that was installed runs, and the members' networks fit together.
    Deployment,
    /// Whether other clusters are connected, and if not where the way to them is broken.
    Connections,
    /// Whether the network plugin leaves traffic between clusters alone.
    Cni,
    /// Whether kube-proxy's mode is one that works.
    KubeProxyMode,
    /// Whether each node's kernel has the routes and devices that lead to the other clusters.
    Nodes,
    /// Whether packets pass that have to.
    Firewall {
        #[command(subcommand)]
        what: Firewall,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Firewall {
    /// Between the gateways of two clusters, to the ports of their cables.
    InterCluster {
        #[command(flatten)]
        remote: RemoteCluster,
    },
    /// Between the nodes of a cluster, to the port of VXLAN.
    IntraCluster,
    /// Between the gateways of two clusters, to the port of NAT discovery.
    NatDiscovery {
        #[command(flatten)]
        remote: RemoteCluster,
    },
}
