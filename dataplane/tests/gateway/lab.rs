//! Two clusters of a gateway each, on a fabric.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subm_api::ResourceKind;
use subm_api::submariner::{Cluster as ClusterObject, Endpoint, Gateway};
use subm_test_support::{Cluster, Fabric, KernelState, Process, TestNode, eventually};
use tempfile::TempDir;

pub(crate) const HOME: &str = "submariner-operator";
pub(crate) const BROKER: &str = "submariner-k8s-broker";
pub(crate) const ACCOUNT: &str = "submariner-gateway";
pub(crate) const LOCK: &str = "submariner-gateway-lock";
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// A cluster with one node, which is its gateway.
pub(crate) struct Side {
    pub(crate) id: &'static str,
    pub(crate) cluster: Cluster,
    pub(crate) node: TestNode,
    pub(crate) before: KernelState,
    pub(crate) memory: TempDir,
    /// Of the gateway's account.
    pub(crate) token: String,
}

pub(crate) struct Lab {
    pub(crate) driver: &'static str,
    _fabric: Fabric,
    /// Its API server is the broker's, too.
    pub(crate) c1: Side,
    pub(crate) c2: Side,
}

/// The gateway and the route agent of a node.
pub(crate) struct Running {
    pub(crate) gateway: Process,
    pub(crate) agent: Process,
}

pub(crate) async fn grant(cluster: &Cluster, namespace: &str, rules: &Value) -> Result<()> {
    let client = cluster.client().await?;
    let parameters = PostParams::default();
    let role = json!({"metadata": {"name": ACCOUNT}, "rules": rules});
    let binding = json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    });
    let roles: Api<Role> = Api::namespaced(client.clone(), namespace);
    roles
        .create(&parameters, &serde_json::from_value(role)?)
        .await?;
    let bindings: Api<RoleBinding> = Api::namespaced(client, namespace);
    bindings
        .create(&parameters, &serde_json::from_value(binding)?)
        .await?;
    Ok(())
}

pub(crate) async fn make_namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

impl Side {
    pub(crate) async fn start(id: &'static str, cluster: Cluster, fabric: &Fabric) -> Result<Self> {
        cluster.apply_crds().await?;
        make_namespace(&cluster, HOME).await?;
        let sync = json!(["get", "list", "watch", "create", "update", "delete"]);
        let rules = json!([
            {"apiGroups": ["submariner.io"], "resources": ["endpoints", "clusters", "gateways"], "verbs": sync},
            {"apiGroups": ["submariner.io"], "resources": ["routeagents"], "verbs": ["delete"]},
            {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["get", "create", "update", "delete"]},
        ]);
        grant(&cluster, HOME, &rules).await?;
        let client = cluster.client().await?;
        let role = json!({
            "metadata": {"name": ACCOUNT},
            "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list", "watch"]}],
        });
        let binding = json!({
            "metadata": {"name": ACCOUNT},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ACCOUNT},
            "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": HOME}],
        });
        let parameters = PostParams::default();
        let roles: Api<ClusterRole> = Api::all(client.clone());
        roles
            .create(&parameters, &serde_json::from_value(role)?)
            .await?;
        let bindings: Api<ClusterRoleBinding> = Api::all(client);
        bindings
            .create(&parameters, &serde_json::from_value(binding)?)
            .await?;
        fabric.join(&cluster.lan()?)?;
        let node = TestNode::builder(&format!("{id}-gw1"))
            .start(&cluster)
            .await?;
        Ok(Self {
            id,
            before: KernelState::of(node.net().netns())?,
            token: cluster.service_account_token(HOME, ACCOUNT).await?,
            memory: tempfile::tempdir()?,
            node,
            cluster,
        })
    }

    pub(crate) async fn all<K: DeserializeOwned>(
        &self,
        namespace: &str,
        kind: ResourceKind,
    ) -> Result<Vec<K>> {
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.cluster.client().await?, namespace, &kind.at("v1"));
        let list = api.list(&ListParams::default()).await?;
        list.items
            .into_iter()
            .map(|object| Ok(serde_json::from_value(serde_json::to_value(object)?)?))
            .collect()
    }

    /// Names of Endpoints and Clusters of a namespace.
    pub(crate) async fn names(&self, namespace: &str) -> Result<Vec<String>> {
        let endpoints: Vec<Endpoint> = self.all(namespace, Endpoint::KIND).await?;
        let clusters: Vec<ClusterObject> = self.all(namespace, ClusterObject::KIND).await?;
        let names = endpoints.into_iter().map(|object| object.metadata.name);
        let names = names.chain(clusters.into_iter().map(|object| object.metadata.name));
        Ok(names.flatten().collect())
    }

    /// The Gateway object of this node, if it is as wanted.
    pub(crate) async fn gateway(&self, want: impl Fn(&Gateway) -> bool) -> Result<Gateway> {
        self.gateway_of(&self.node, want).await
    }

    pub(crate) async fn gateway_of(
        &self,
        node: &TestNode,
        want: impl Fn(&Gateway) -> bool,
    ) -> Result<Gateway> {
        let gateways: Vec<Gateway> = self.all(HOME, Gateway::KIND).await?;
        let gateway = gateways
            .into_iter()
            .find(|gateway| gateway.metadata.name.as_deref() == Some(node.name()));
        let gateway = gateway.context("no Gateway object")?;
        ensure!(want(&gateway), "{:#?}", gateway.status);
        Ok(gateway)
    }

    /// Waits until it says so of the one connection.
    pub(crate) async fn says(&self, connected: bool) -> Result<Gateway> {
        self.says_on(&self.node, connected).await
    }

    pub(crate) async fn says_on(&self, node: &TestNode, connected: bool) -> Result<Gateway> {
        let want = |gateway: &Gateway| {
            let Some(status) = &gateway.status else {
                return false;
            };
            let mut connections = status.connections.iter();
            match (connections.next(), connections.next()) {
                (Some(one), None) => {
                    let timed = one.latency_rtt.is_some();
                    (one.status == "connected" && timed) == connected
                }
                _ => false,
            }
        };
        eventually(SOON, || self.gateway_of(node, want))
            .await
            .with_context(|| format!("{} is to say connected: {connected}", self.id))
    }
}

impl Lab {
    pub(crate) async fn start(driver: &'static str) -> Result<Self> {
        let [first, second] = Cluster::pair().await?;
        let fabric = Fabric::new()?;
        let c1 = Side::start("c1", first, &fabric).await?;
        let c2 = Side::start("c2", second, &fabric).await?;
        make_namespace(&c1.cluster, BROKER).await?;
        let all = json!(["get", "list", "watch", "create", "update", "delete"]);
        let rules = json!([{"apiGroups": ["submariner.io"], "resources": ["endpoints", "clusters"], "verbs": all}]);
        grant(&c1.cluster, BROKER, &rules).await?;
        Ok(Self {
            driver,
            _fabric: fabric,
            c1,
            c2,
        })
    }

    /// As Submariner's operator starts them.
    pub(crate) async fn command(
        &self,
        side: &Side,
        node: &TestNode,
        program: &str,
    ) -> Result<Command> {
        let broker = &self.c1.cluster;
        let mut command = Command::new(program);
        let cluster = &side.cluster;
        command
            .arg("--kubeconfig")
            .arg(cluster.kubeconfig_for(&side.token)?)
            .arg("--state-folder")
            .arg(side.memory.path().join(node.name()))
            .env("SUBMARINER_CLUSTERID", side.id)
            .env("SUBMARINER_NAMESPACE", HOME)
            .env("SUBMARINER_CLUSTERCIDR", cluster.pod_cidr().to_string())
            .env("SUBMARINER_SERVICECIDR", cluster.service_cidr().to_string())
            .env("SUBMARINER_GLOBALCIDR", "")
            .env("SUBMARINER_BROKER", "k8s")
            .env("SUBMARINER_CABLEDRIVER", self.driver)
            .env("SUBMARINER_NATENABLED", "false")
            .env("SUBMARINER_HEALTHCHECKENABLED", "true")
            .env("SUBMARINER_HEALTHCHECKINTERVAL", "1")
            .env("SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT", "5")
            .env("CE_IPSEC_PSK", "c2VjcmV0IG9mIHRoZSBjbHVzdGVyIHNldA==")
            .env("CE_IPSEC_NATTPORT", "4500")
            .env("BROKER_K8S_APISERVER", broker.addr().to_string())
            .env(
                "BROKER_K8S_APISERVERTOKEN",
                broker.service_account_token(BROKER, ACCOUNT).await?,
            )
            .env("BROKER_K8S_CA", broker.ca())
            .env("BROKER_K8S_REMOTENAMESPACE", BROKER)
            .env("BROKER_K8S_INSECURE", "false")
            .env("NODE_NAME", node.name());
        Ok(command)
    }

    pub(crate) async fn run(&self, side: &Side) -> Result<Running> {
        self.run_on(side, &side.node, &[]).await
    }

    pub(crate) async fn run_on(
        &self,
        side: &Side,
        node: &TestNode,
        more: &[(&str, &str)],
    ) -> Result<Running> {
        let mut gateway = self
            .command(side, node, env!("CARGO_BIN_EXE_submariner-gateway"))
            .await?;
        gateway
            .args(["-v=2", "-alsologtostderr"])
            .envs(more.iter().copied());
        let mut agent = Command::new(env!("CARGO_BIN_EXE_submariner-route-agent"));
        agent
            .arg("--kubeconfig")
            // Its own rights are another test's.
            .arg(side.cluster.kubeconfig())
            .arg("--state-folder")
            .arg(side.memory.path().join(node.name()))
            .env("SUBMARINER_CLUSTERID", side.id)
            .env("SUBMARINER_NAMESPACE", HOME)
            .env(
                "SUBMARINER_CLUSTERCIDR",
                side.cluster.pod_cidr().to_string(),
            )
            .env("NODE_NAME", node.name());
        Ok(Running {
            gateway: node.net().spawn(gateway)?,
            agent: node.net().spawn(agent)?,
        })
    }

    /// Removes what a gateway and its node's agent made. The gateway's comes last.
    pub(crate) async fn uninstall(&self, side: &Side, running: Option<Running>) -> Result<()> {
        drop(running);
        let programs = [
            env!("CARGO_BIN_EXE_submariner-route-agent"),
            env!("CARGO_BIN_EXE_submariner-gateway"),
        ];
        for program in programs {
            let mut command = self.command(side, &side.node, program).await?;
            command.env("SUBMARINER_UNINSTALL", "true");
            let mut uninstall = side.node.net().spawn(command)?;
            let status = uninstall.wait(SOON).await?;
            ensure!(status.success(), "{}", uninstall.output()?);
        }
        side.before
            .ensure_same(&KernelState::of(side.node.net().netns())?)
            .with_context(|| format!("node of {}", side.id))
    }

    /// c2's way to the other LAN.
    pub(crate) fn link(&self) -> Result<subm_test_support::Fault> {
        self.c2.cluster.lan()?.uplink()?.cut()
    }
}
