//! Flags of what runs pods of its own: `benchmark`, and some checks of `diagnose`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use subm_install::images::parse_override;

use super::KubeFlags;
use super::values::duration;
use crate::output::Format;

#[derive(Clone, Debug, Args)]
pub struct Probes {
    /// How long each check that runs pods may take in a cluster.
    #[arg(long, value_name = "DURATION", default_value = "90s", value_parser = duration, global = true)]
    pub validation_timeout: Duration,
    /// Say what was sent and seen.
    #[arg(long, global = true)]
    pub verbose: bool,
    /// override component image, may be repeated [default: submariner-nettest comes from where the gateway's came]
    #[arg(long, value_name = "COMPONENT=IMAGE", value_parser = parse_override, global = true)]
    pub image_override: Vec<(String, String)>,
}

impl Probes {
    /// How long pods may take, and whether to say what they do.
    pub fn limits(&self) -> (Duration, bool) {
        (self.validation_timeout, self.verbose)
    }
}

/// The other cluster of a check between two.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct RemoteCluster {
    /// Context of the other cluster.
    #[arg(long, value_name = "NAME")]
    pub remotecontext: Option<String>,
    /// Kubeconfig file of the other cluster [default: that of this one].
    #[arg(long, value_name = "FILE")]
    pub remoteconfig: Option<PathBuf>,
}

impl RemoteCluster {
    pub fn kube(&self, own: &KubeFlags) -> Option<KubeFlags> {
        other(own, self.remoteconfig.as_ref(), self.remotecontext.as_ref())
    }
}

#[derive(Clone, Debug, Subcommand)]
pub enum Measure {
    /// How much gets through.
    Throughput(Benchmark),
    /// How long a request and its answer take.
    Latency(Benchmark),
}

#[derive(Clone, Debug, Args)]
pub struct Benchmark {
    /// Context of the cluster to measure to [default: within the selected one].
    #[arg(long, value_name = "NAME")]
    pub tocontext: Option<String>,
    /// Kubeconfig file of that cluster [default: that of the selected one].
    #[arg(long, value_name = "FILE")]
    pub toconfig: Option<PathBuf>,
    /// How long each measurement takes.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = duration)]
    pub duration: Duration,
    /// Form of the answer.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    #[command(flatten)]
    pub probes: Probes,
}

impl Benchmark {
    /// `None`: within the selected cluster.
    pub fn to(&self, own: &KubeFlags) -> Option<KubeFlags> {
        other(own, self.toconfig.as_ref(), self.tocontext.as_ref())
    }
}

/// `None` where nothing names another cluster.
fn other(own: &KubeFlags, config: Option<&PathBuf>, context: Option<&String>) -> Option<KubeFlags> {
    (config.is_some() || context.is_some()).then(|| KubeFlags {
        kubeconfig: config.or(own.kubeconfig.as_ref()).cloned(),
        context: context.cloned(),
        ..KubeFlags::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_one_that_is_named() {
        let own = KubeFlags {
            kubeconfig: Some("a".into()),
            context: Some("c1".to_owned()),
            ..KubeFlags::default()
        };
        assert!(RemoteCluster::default().kube(&own).is_none());
        let named = |context: Option<&str>, config: Option<&str>| {
            let remote = RemoteCluster {
                remotecontext: context.map(str::to_owned),
                remoteconfig: config.map(PathBuf::from),
            };
            let kube = remote.kube(&own).unwrap();
            (kube.kubeconfig, kube.context)
        };
        assert_eq!(
            named(Some("c2"), None),
            (Some("a".into()), Some("c2".to_owned()))
        );
        // Of another file the current one.
        assert_eq!(named(None, Some("b")), (Some("b".into()), None));
    }
}
