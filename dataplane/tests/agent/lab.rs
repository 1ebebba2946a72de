//! A cluster of two nodes, whose API server is real, and kernels are, too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::api::{Api, DeleteParams, DynamicObject, PostParams};
use serde_json::json;
use subm_api::submariner::{Endpoint, RouteAgent, RouteAgentStatus};
use subm_test_support::{Cluster, Process, TestNode, eventually};
use tempfile::TempDir;

pub(crate) const NAMESPACE: &str = "submariner-operator";
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Where a node finds the API server.
const API_SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 6443);

/// A cluster of a gateway node and a worker, with an API server of its own.
pub(crate) struct Lab {
    pub(crate) cluster: Cluster,
    pub(crate) gateway: TestNode,
    pub(crate) worker: TestNode,
    endpoints: Api<DynamicObject>,
    agents: Api<DynamicObject>,
    memory: TempDir,
}

impl Lab {
    pub(crate) async fn start() -> Result<Self> {
        let cluster = Cluster::builder().controllers().start().await?;
        cluster.apply_crds().await?;
        let client = cluster.client().await?;
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(client.clone());
        let namespace = serde_json::from_value(json!({"metadata": {"name": NAMESPACE}}))?;
        namespaces
            .create(&PostParams::default(), &namespace)
            .await?;
        Ok(Self {
            gateway: TestNode::builder("gw1").start(&cluster).await?,
            worker: TestNode::builder("w1").start(&cluster).await?,
            endpoints: Api::namespaced_with(client.clone(), NAMESPACE, &Endpoint::KIND.at("v1")),
            agents: Api::namespaced_with(client, NAMESPACE, &RouteAgent::KIND.at("v1")),
            memory: tempfile::tempdir()?,
            cluster,
        })
    }

    /// Where an agent keeps former values of kernel parameters.
    pub(crate) fn state_folder(&self, node: &TestNode) -> PathBuf {
        self.memory.path().join(node.name())
    }

    pub(crate) fn command(&self, node: &TestNode) -> Result<Command> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_submariner-route-agent"));
        command
            .arg("--kubeconfig")
            .arg(self.cluster.kubeconfig_through(API_SERVER)?)
            .arg("--state-folder")
            .arg(self.state_folder(node))
            .env("SUBMARINER_CLUSTERID", "c1")
            .env("SUBMARINER_NAMESPACE", NAMESPACE)
            .env(
                "SUBMARINER_CLUSTERCIDR",
                self.cluster.pod_cidr().to_string(),
            )
            .env(
                "SUBMARINER_SERVICECIDR",
                self.cluster.service_cidr().to_string(),
            )
            .env("NODE_NAME", node.name());
        Ok(command)
    }

    pub(crate) fn agent(&self, node: &TestNode) -> Result<Process> {
        node.net().spawn(self.command(node)?)
    }

    /// An Endpoint whose gateway cannot be asked.
    pub(crate) async fn endpoint(
        &self,
        cluster: &str,
        node: &str,
        private_ip: &str,
        subnets: &[&str],
    ) -> Result<()> {
        self.checked(cluster, node, private_ip, subnets, "").await
    }

    /// An Endpoint, and where echo requests to its gateway go.
    pub(crate) async fn checked(
        &self,
        cluster: &str,
        node: &str,
        private_ip: &str,
        subnets: &[&str],
        health_check_ip: &str,
    ) -> Result<()> {
        let cable = format!(
            "submariner-cable-{cluster}-{}",
            private_ip.replace('.', "-")
        );
        let endpoint = json!({
            "apiVersion": "submariner.io/v1", "kind": "Endpoint",
            "metadata": {"name": format!("{cluster}-{cable}")},
            "spec": {
                "cluster_id": cluster, "cable_name": cable, "healthCheckIP": health_check_ip, "hostname": node, "subnets": subnets,
                "private_ip": private_ip, "public_ip": "", "nat_enabled": false, "backend": "wireguard",
                "backend_config": {"udp-port": "4500", "interface-name": "lo"},
            },
        });
        let endpoint = serde_json::from_value(endpoint)?;
        self.endpoints
            .create(&PostParams::default(), &endpoint)
            .await?;
        Ok(())
    }

    pub(crate) async fn forget(&self, name: &str) -> Result<()> {
        self.endpoints
            .delete(name, &DeleteParams::default())
            .await?;
        Ok(())
    }
    /// The RouteAgent of a node.
    pub(crate) async fn agent_of(&self, node: &str) -> Result<Option<RouteAgent>> {
        let Some(object) = self.agents.get_opt(node).await? else {
            return Ok(None);
        };
        Ok(Some(serde_json::from_value(serde_json::to_value(object)?)?))
    }

    /// Waits until a node says so, in the order of its rows: cluster, host, status.
    pub(crate) async fn says(
        &self,
        node: &TestNode,
        want: &[(&str, &str, &str)],
    ) -> Result<RouteAgentStatus> {
        eventually(SOON, || async {
            let agent = self.agent_of(node.name()).await?;
            let status = agent
                .context("no RouteAgent")?
                .status
                .context("no status")?;
            let rows: Vec<(&str, &str, &str)> = status
                .remote_endpoints
                .iter()
                .map(|row| {
                    let spec = &row.spec;
                    (&*spec.cluster_id, &*spec.hostname, &*row.status)
                })
                .collect();
            ensure!(rows == want, "{status:#?}");
            Ok(status)
        })
        .await
        .with_context(|| format!("{} is to say {want:?}", node.name()))
    }
}
