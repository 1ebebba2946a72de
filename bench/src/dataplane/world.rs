//! Two clusters with the data plane as it runs, each with an API server, a gateway node and a worker.

use std::path::{Path as FilePath, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::{Value, json};
use subm_test_support::lan::Pod;
use subm_test_support::{Cluster, Fabric, Process, TestNode, eventually, objects};
use tempfile::TempDir;

use super::flow::{Answering, PORT};
use super::{Path, Paths};

pub const HOME: &str = "submariner-operator";
pub const BROKER: &str = "submariner-k8s-broker";
const GATEWAY: &str = "submariner-gateway";
const AGENT: &str = "submariner-routeagent";
const SOON: Duration = Duration::from_secs(60);

/// Dropping it ends all.
pub struct World {
    pub sides: [Side; 2],
    driver: &'static str,
    binaries: PathBuf,
    /// What programs keep of kernel parameters.
    memory: TempDir,
    _fabric: Fabric,
}

pub struct Side {
    pub id: &'static str,
    pub client: Client,
    pub gateway: Place,
    pub worker: Place,
    gateways_token: String,
    agents_token: String,
    pub cluster: Cluster,
}

/// A node, and a pod that answers.
pub struct Place {
    pub node: TestNode,
    pub pod: Pod,
    pub answering: Answering,
}

/// Its API server is the broker's, too.
pub const FIRST: usize = 0;
pub const SECOND: usize = 1;

impl World {
    pub async fn start(binaries: &FilePath, driver: &'static str) -> Result<Self> {
        let [first, second] = Cluster::pair().await?;
        let fabric = Fabric::new()?;
        let sides = [
            Side::start("c1", first, &fabric).await?,
            Side::start("c2", second, &fabric).await?,
        ];
        let broker = &sides[FIRST];
        make_namespace(&broker.client, BROKER).await?;
        administrator(&broker.client, BROKER, GATEWAY).await?;
        Ok(Self {
            sides,
            driver,
            binaries: std::path::absolute(binaries)?,
            memory: tempfile::tempdir()?,
            _fabric: fabric,
        })
    }

    /// As Submariner's operator starts it. Nobody outside is asked for a public address: here nobody would answer.
    async fn gateway_command(&self, side: &Side) -> Result<Command> {
        let broker = &self.sides[FIRST].cluster;
        let token = broker.service_account_token(BROKER, GATEWAY).await?;
        let mut command = self.command(GATEWAY, side, &side.gateway.node, &side.gateways_token)?;
        command
            .arg("--broker-kubeconfig")
            .arg(broker.kubeconfig_for(&token)?)
            .env("SUBMARINER_CABLEDRIVER", self.driver)
            .env("SUBMARINER_HEALTHCHECKENABLED", "true")
            .env("CE_IPSEC_PSK", "c2VjcmV0IG9mIHRoZSBjbHVzdGVyIHNldA==")
            .env("BROKER_K8S_REMOTENAMESPACE", BROKER)
            .env("AIR_GAPPED_DEPLOYMENT", "true");
        Ok(command)
    }

    pub async fn gateway(&self, side: usize) -> Result<Process> {
        let side = &self.sides[side];
        let command = self.gateway_command(side).await?;
        side.gateway.node.net().spawn(command)
    }

    /// Removes what a gateway made, in its kernel and on API servers.
    pub async fn remove_gateway(&self, side: usize, gateway: Process) -> Result<()> {
        drop(gateway);
        let side = &self.sides[side];
        let mut command = self.gateway_command(side).await?;
        command.env("SUBMARINER_UNINSTALL", "true");
        self.ended(&side.gateway.node, command).await
    }

    pub fn agent(&self, side: usize, node: &TestNode) -> Result<Process> {
        node.net()
            .spawn(self.agent_command(&self.sides[side], node)?)
    }

    /// Removes what a route agent made.
    pub async fn remove_agent(&self, side: usize, node: &TestNode, agent: Process) -> Result<()> {
        drop(agent);
        let mut command = self.agent_command(&self.sides[side], node)?;
        command.env("SUBMARINER_UNINSTALL", "true");
        self.ended(node, command).await
    }

    fn agent_command(&self, side: &Side, node: &TestNode) -> Result<Command> {
        self.command("submariner-route-agent", side, node, &side.agents_token)
    }

    fn command(&self, program: &str, side: &Side, node: &TestNode, token: &str) -> Result<Command> {
        let mut command = Command::new(self.binaries.join(program));
        command
            .arg("--kubeconfig")
            .arg(side.cluster.kubeconfig_for(token)?)
            .arg("--state-folder")
            .arg(self.memory.path().join(node.name()))
            .env("SUBMARINER_CLUSTERID", side.id)
            .env("SUBMARINER_NAMESPACE", HOME)
            .env(
                "SUBMARINER_CLUSTERCIDR",
                side.cluster.pod_cidr().to_string(),
            )
            .env(
                "SUBMARINER_SERVICECIDR",
                side.cluster.service_cidr().to_string(),
            )
            .env("NODE_NAME", node.name());
        Ok(command)
    }

    async fn ended(&self, node: &TestNode, command: Command) -> Result<()> {
        let mut process = node.net().spawn(command)?;
        let status = process.wait(SOON).await?;
        ensure!(status.success(), "{}", process.output()?);
        Ok(())
    }

    /// Waits until no node of any cluster has a way to another one.
    pub async fn wait_clean(&self) -> Result<()> {
        eventually(SOON, || async {
            for side in &self.sides {
                for place in [&side.gateway, &side.worker] {
                    let routes = place.node.net().netns().output("ip", &["route"])?;
                    ensure!(!routes.contains("vx-submariner"), "{routes}");
                }
                let gateways = objects::all(&side.client, "Gateway", Some(HOME)).await?;
                ensure!(gateways.is_empty(), "{gateways:?}");
            }
            Ok(())
        })
        .await
    }

    pub fn paths(&self) -> Paths {
        let [c1, c2] = &self.sides;
        let path = |from: &Place, to: &Place| Path {
            from: Arc::clone(from.pod.netns()),
            to: (to.pod.ip(), PORT).into(),
        };
        Paths {
            workers: path(&c1.worker, &c2.worker),
            gateways: path(&c1.gateway, &c2.gateway),
        }
    }

    /// How often accounts of gateways and agents wrote so far: what is a Lease, and what is not.
    pub fn writes(&self) -> Result<[usize; 2]> {
        let mut writes = [0; 2];
        for side in &self.sides {
            for ((user, access), count) in side.cluster.audit()?.writes() {
                let ours = user.starts_with("system:serviceaccount:submariner");
                // Made by this bench itself.
                let token = access.resource.contains("serviceaccounts");
                if ours && !token {
                    let lease = access.resource.starts_with("leases");
                    writes[usize::from(!lease)] += count;
                }
            }
        }
        Ok(writes)
    }
}

impl Side {
    async fn start(id: &'static str, cluster: Cluster, fabric: &Fabric) -> Result<Self> {
        cluster.apply_crds().await?;
        let client = cluster.client().await?;
        make_namespace(&client, HOME).await?;
        fabric.join(&cluster.lan()?)?;
        let mut tokens = Vec::new();
        for account in [GATEWAY, AGENT] {
            administrator(&client, HOME, account).await?;
            tokens.push(cluster.service_account_token(HOME, account).await?);
        }
        Ok(Self {
            id,
            client,
            gateway: Place::start(&format!("{id}-gw1"), &cluster).await?,
            worker: Place::start(&format!("{id}-w1"), &cluster).await?,
            agents_token: tokens.pop().context("two")?,
            gateways_token: tokens.pop().context("two")?,
            cluster,
        })
    }
}

impl Place {
    async fn start(name: &str, cluster: &Cluster) -> Result<Self> {
        let node = TestNode::builder(name).start(cluster).await?;
        let pod = node.net().add_pod()?;
        Ok(Self {
            answering: Answering::start(pod.netns())?,
            node,
            pod,
        })
    }
}

async fn make_namespace(client: &Client, name: &str) -> Result<()> {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    objects::put(client, namespace).await
}

/// What an account may do is tested elsewhere.
async fn administrator(client: &Client, namespace: &str, account: &str) -> Result<()> {
    let binding: Value = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": format!("{namespace}-{account}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
    });
    objects::put(client, binding).await
}
