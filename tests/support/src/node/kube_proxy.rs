//! The kube-proxy of a node, the real one.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::json;

use super::network::Network;
use crate::sandbox::{Mount, Sandbox};
use crate::{Binaries, Process};

/// How kube-proxy leads connections to a Service to its pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KubeProxy {
    #[default]
    Nftables,
    Iptables,
    /// Only where the kernel has IPVS: [`KubeProxy::is_supported`].
    Ipvs,
}

impl KubeProxy {
    /// Whether a kernel like this one can do it. Distributions have IPVS as a module, small kernels often lack it.
    pub fn is_supported(self) -> bool {
        self != Self::Ipvs || Path::new("/proc/net/ip_vs").exists()
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
            Self::Ipvs => "ipvs",
        }
    }

    /// `dir`: the node's folder.
    pub(super) fn spawn(
        self,
        program: &Path,
        dir: &Path,
        network: &Network,
        pods: &str,
        kubeconfig: &Path,
    ) -> Result<Process> {
        ensure!(
            self.is_supported(),
            "kube-proxy's mode ipvs needs a kernel with IPVS, which this one has not"
        );
        let mount = |at: &str, source: &Path| Mount {
            at: at.into(),
            source: source.to_owned(),
            read_only: true,
        };
        let local = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let config = json!({
            "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
            "kind": "KubeProxyConfiguration",
            "clientConnection": {"kubeconfig": "/run/kubeconfig", "qps": 100, "burst": 200},
            "clusterCIDR": pods,
            // These kernel parameters belong to the whole machine.
            "conntrack": {
                "maxPerCore": 0,
                "min": 0,
                "tcpCloseWaitTimeout": "0s",
                "tcpEstablishedTimeout": "0s",
            },
            "healthzBindAddress": local(10256),
            "hostnameOverride": network.node.name(),
            "metricsBindAddress": local(10249),
            "mode": self.name(),
            // Tests wait for changes of Services; the default gathers them for a second.
            "nftables": {"minSyncPeriod": "10ms", "syncPeriod": "30s"},
            "iptables": {"minSyncPeriod": "10ms", "syncPeriod": "30s"},
            "ipvs": {"minSyncPeriod": "10ms", "syncPeriod": "30s"},
        });
        let config_file = dir.join("kube-proxy.json");
        std::fs::write(&config_file, config.to_string())?;
        let sandbox = Sandbox {
            netns: Arc::clone(network.node.netns()),
            host_name: network.node.name().to_owned(),
            mounts: vec![
                mount("/run/kube-proxy.json", &config_file),
                mount("/.image/kube-proxy", program),
                mount("/run/kubeconfig", kubeconfig),
            ],
            read_only: false,
            sysctls: true,
            root: dir.join("root"),
        };
        let mut command = Command::new("/.image/kube-proxy");
        command
            .arg("--config=/run/kube-proxy.json")
            .env_clear()
            // It runs these.
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            );
        for tool in match self {
            Self::Nftables => &["nft"][..],
            Self::Iptables => &["iptables-restore"],
            Self::Ipvs => &["iptables-restore", "ipset"],
        } {
            Binaries::find(tool)?;
        }
        Process::spawn_inside(sandbox, command, &dir.join("kube-proxy.log"))
    }
}
