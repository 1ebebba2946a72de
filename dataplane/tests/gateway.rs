//! Two gateways as they run: real API servers, one of them the broker's too, the kernels of two nodes, and our own programs with the
//! environment that Submariner's operator gives.

use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DynamicObject, ListParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use subm_api::ResourceKind;
use subm_api::submariner::{Cluster as ClusterObject, Endpoint, Gateway};
use subm_test_support::{Cluster, Fabric, KernelState, Process, TestNode, eventually};
use tempfile::TempDir;

const HOME: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";
const ACCOUNT: &str = "submariner-gateway";
const LOCK: &str = "submariner-gateway-lock";
const SOON: Duration = Duration::from_secs(60);
/// What a cut cable may take until the Gateway object says so.
const NOTICED: Duration = Duration::from_secs(6);

/// A cluster with one node, which is its gateway.
struct Side {
    id: &'static str,
    cluster: Cluster,
    node: TestNode,
    before: KernelState,
    memory: TempDir,
    /// Of the gateway's account.
    token: String,
}

struct Lab {
    driver: &'static str,
    _fabric: Fabric,
    /// Its API server is the broker's, too.
    c1: Side,
    c2: Side,
}

/// The gateway and the route agent of a node.
struct Running {
    gateway: Process,
    agent: Process,
}

async fn grant(cluster: &Cluster, namespace: &str, rules: &Value) -> Result<()> {
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

async fn make_namespace(cluster: &Cluster, name: &str) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(cluster.client().await?);
    let namespace = serde_json::from_value(json!({"metadata": {"name": name}}))?;
    namespaces
        .create(&PostParams::default(), &namespace)
        .await?;
    Ok(())
}

impl Side {
    async fn start(id: &'static str, cluster: Cluster, fabric: &Fabric) -> Result<Self> {
        cluster.apply_crds().await?;
        make_namespace(&cluster, HOME).await?;
        let sync = json!(["get", "list", "watch", "create", "update", "delete"]);
        let rules = json!([
            {"apiGroups": ["submariner.io"], "resources": ["endpoints", "clusters", "gateways"], "verbs": sync},
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

    async fn all<K: DeserializeOwned>(
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
    async fn names(&self, namespace: &str) -> Result<Vec<String>> {
        let endpoints: Vec<Endpoint> = self.all(namespace, Endpoint::KIND).await?;
        let clusters: Vec<ClusterObject> = self.all(namespace, ClusterObject::KIND).await?;
        let names = endpoints.into_iter().map(|object| object.metadata.name);
        let names = names.chain(clusters.into_iter().map(|object| object.metadata.name));
        Ok(names.flatten().collect())
    }

    /// The Gateway object of this node, if it is as wanted.
    async fn gateway(&self, want: impl Fn(&Gateway) -> bool) -> Result<Gateway> {
        self.gateway_of(&self.node, want).await
    }

    async fn gateway_of(
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
    async fn says(&self, connected: bool) -> Result<Gateway> {
        self.says_on(&self.node, connected).await
    }

    async fn says_on(&self, node: &TestNode, connected: bool) -> Result<Gateway> {
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
    async fn start(driver: &'static str) -> Result<Self> {
        let builders = (1..=2_u8).map(|n| {
            Cluster::builder()
                .pod_cidr(format!("10.{n}.0.0/16").parse().expect("CIDR"))
                .service_cidr(format!("10.{n}{n}.0.0/16").parse().expect("CIDR"))
                .controllers()
                .audited()
        });
        let mut clusters = Cluster::start_all(builders).await?.into_iter();
        let fabric = Fabric::new()?;
        let mut side = async |id| {
            let cluster = clusters.next().context("a cluster")?;
            Side::start(id, cluster, &fabric).await
        };
        let (c1, c2) = (side("c1").await?, side("c2").await?);
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
    async fn command(&self, side: &Side, node: &TestNode, program: &str) -> Result<Command> {
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

    async fn run(&self, side: &Side) -> Result<Running> {
        self.run_on(side, &side.node, &[]).await
    }

    async fn run_on(&self, side: &Side, node: &TestNode, more: &[(&str, &str)]) -> Result<Running> {
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
    async fn uninstall(&self, side: &Side, running: Option<Running>) -> Result<()> {
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
    fn link(&self) -> Result<subm_test_support::Fault> {
        self.c2.cluster.lan()?.uplink()?.cut()
    }
}

/// What is to be seen of a cluster that is connected, in its own API server and on the broker.
async fn objects_are_as_submariners(lab: &Lab, gateway: &Gateway) -> Result<()> {
    let status = gateway.status.as_ref().context("a status")?;
    ensure!(
        status.ha_status == "active" && status.status_failure.is_empty(),
        "{status:?}"
    );
    let local = status.local_endpoint.as_ref().context("a local Endpoint")?;
    ensure!(
        local.hostname == "c1-gw1" && local.backend == lab.driver,
        "{local:?}"
    );
    ensure!(
        local.backend_config.get("udp-port").map(String::as_str) == Some("4500"),
        "{local:?}"
    );
    let (cni, _) = lab.c1.node.net().cni_address();
    ensure!(local.health_check_ip == cni.to_string(), "{local:?}");
    let ip = |side: &Side| side.node.ip().to_string().replace('.', "-");
    let name = |side: &Side| format!("{}-submariner-cable-{}-{}", side.id, side.id, ip(side));
    let mut expected = vec![
        name(&lab.c1),
        name(&lab.c2),
        "c1".to_owned(),
        "c2".to_owned(),
    ];
    expected.sort();
    for (side, namespace) in [(&lab.c1, HOME), (&lab.c2, HOME), (&lab.c1, BROKER)] {
        let mut names = side.names(namespace).await?;
        names.sort();
        ensure!(names == expected, "{} {namespace}: {names:?}", side.id);
    }
    let copies: Vec<Endpoint> = lab.c1.all(HOME, Endpoint::KIND).await?;
    for copy in copies {
        let labels = copy.metadata.labels.unwrap_or_default();
        let owner = labels.get("submariner-io/clusterID").map(String::as_str);
        let foreign = copy.spec.cluster_id == "c2";
        ensure!(owner == foreign.then_some("c2"), "{labels:?}");
    }
    let leases: Api<Lease> = Api::namespaced(lab.c1.cluster.client().await?, HOME);
    let holder = leases
        .get(LOCK)
        .await?
        .spec
        .and_then(|spec| spec.holder_identity);
    ensure!(
        holder.as_deref() == Some("c1-gw1-submariner-gateway"),
        "{holder:?}"
    );
    Ok(())
}

async fn renewal(side: &Side) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(side.cluster.client().await?, HOME);
    let lease = leases.get(LOCK).await?;
    lease.metadata.resource_version.context("a version")
}

/// While the Lease is renewed twice, nothing else is written.
async fn nothing_is_written_at_rest(side: &Side) -> Result<()> {
    let versions = async || -> Result<Vec<Option<String>>> {
        let gateways: Vec<Gateway> = side.all(HOME, Gateway::KIND).await?;
        let endpoints: Vec<Endpoint> = side.all(HOME, Endpoint::KIND).await?;
        let clusters: Vec<ClusterObject> = side.all(HOME, ClusterObject::KIND).await?;
        let of = gateways
            .into_iter()
            .map(|object| object.metadata.resource_version);
        let of = of.chain(
            endpoints
                .into_iter()
                .map(|object| object.metadata.resource_version),
        );
        Ok(of
            .chain(
                clusters
                    .into_iter()
                    .map(|object| object.metadata.resource_version),
            )
            .collect())
    };
    let before = versions().await?;
    let mut last = renewal(side).await?;
    for _ in 0..2 {
        last = eventually(SOON, || async {
            let now = renewal(side).await?;
            ensure!(now != last, "the Lease is not renewed");
            Ok(now)
        })
        .await?;
    }
    let after = versions().await?;
    ensure!(before == after, "{before:?} became {after:?}");
    Ok(())
}

fn page(side: &Side, path: &str) -> Result<String> {
    let url = format!("http://127.0.0.1:32780{path}");
    side.node
        .net()
        .netns()
        .output("curl", &["-sf", "--max-time", "5", &url])
}

async fn story(driver: &'static str) -> Result<()> {
    let lab = Lab::start(driver).await?;
    let (mut one, mut two) = (None, None);
    let result = play(&lab, &mut one, &mut two).await;
    if result.is_err() {
        for running in [one, two].iter().flatten() {
            println!("{}\n{}", running.gateway.output()?, running.agent.output()?);
        }
    }
    result
}

async fn play(lab: &Lab, one: &mut Option<Running>, two: &mut Option<Running>) -> Result<()> {
    let (c1, c2, driver) = (&lab.c1, &lab.c2, lab.driver);
    let began = Instant::now();
    *one = Some(lab.run(c1).await?);
    *two = Some(lab.run(c2).await?);
    let gateway = c1.says(true).await?;
    c2.says(true).await?;
    println!(
        "{driver}: connected {:.1?} after the start",
        began.elapsed()
    );
    objects_are_as_submariners(lab, &gateway).await?;
    nothing_is_written_at_rest(c1).await?;

    let metrics = page(c1, "/metrics")?;
    let wanted =
        format!("submariner_connections_short{{cable_driver=\"{driver}\",status=\"connected\"}} 1");
    ensure!(metrics.contains(&wanted), "{metrics}");
    ensure!(
        metrics.contains("submariner_connection_latency_seconds{"),
        "{metrics}"
    );
    ensure!(page(c1, "/readyz")?.contains("[+]the broker can be read"));

    // The link.
    let cut = lab.link()?;
    let at = Instant::now();
    for side in [c1, c2] {
        side.says(false).await?;
    }
    println!("{driver}: a cut is told after {:.1?}", at.elapsed());
    ensure!(at.elapsed() < NOTICED, "a cut took {:?}", at.elapsed());
    cut.heal()?;
    let at = Instant::now();
    for side in [c1, c2] {
        side.says(true).await?;
    }
    println!("{driver}: connected {:.1?} after the heal", at.elapsed());

    // The broker.
    let partition = c2.cluster.lan()?.partition(&c1.cluster)?;
    let endpoint: DynamicObject = serde_json::from_value(json!({
        "apiVersion": "submariner.io/v1", "kind": "Cluster",
        "metadata": {"name": "c3", "labels": {"submariner-io/clusterID": "c3"}},
        "spec": {"cluster_id": "c3", "cluster_cidr": ["10.3.0.0/16"], "service_cidr": ["10.33.0.0/16"], "global_cidr": []},
    }))?;
    let kind = ClusterObject::KIND.at("v1");
    let api: Api<DynamicObject> = Api::namespaced_with(c1.cluster.client().await?, BROKER, &kind);
    api.create(&PostParams::default(), &endpoint).await?;
    // c1's gateway hears of it, c2's cannot.
    let hears = |side: &'static str, of: &'static str| {
        let side = if side == "c1" { c1 } else { c2 };
        eventually(SOON * 2, move || async move {
            let names = side.names(HOME).await?;
            ensure!(names.iter().any(|name| name == of), "{names:?}");
            Ok(())
        })
    };
    hears("c1", "c3").await?;
    nothing_is_written_at_rest(c2).await?;
    c2.says(true).await?;
    partition.heal()?;
    let at = Instant::now();
    hears("c2", "c3").await?;
    println!(
        "{driver}: news {:.1?} after the broker was back",
        at.elapsed()
    );

    // A restart: its object goes at once and comes back, and the other side need not learn anything.
    let mut former = two.take().context("it runs")?;
    let status = former.gateway.terminate(SOON).await?;
    ensure!(status.success(), "{}", former.gateway.output()?);
    ensure!(
        c2.gateway(|_| true).await.is_err(),
        "the Gateway object stays"
    );
    ensure!(renewal(c2).await.is_err(), "the Lease stays");
    let endpoint = |endpoints: Vec<Endpoint>| {
        let own = endpoints
            .into_iter()
            .find(|endpoint| endpoint.spec.cluster_id == "c2");
        own.map(|endpoint| endpoint.metadata.resource_version)
    };
    let before = endpoint(c2.all(HOME, Endpoint::KIND).await?);
    drop(former);
    *two = Some(lab.run(c2).await?);
    c2.says(true).await?;
    ensure!(
        endpoint(c2.all(HOME, Endpoint::KIND).await?) == before,
        "its Endpoint was written anew"
    );

    // A cluster that leaves.
    lab.uninstall(c2, two.take()).await?;
    ensure!(
        c2.names(HOME).await? == [""; 0],
        "{:?}",
        c2.names(HOME).await?
    );
    eventually(SOON, || async {
        c1.gateway(|gateway| {
            gateway
                .status
                .as_ref()
                .is_some_and(|status| status.connections.is_empty())
        })
        .await?;
        let names = [c1.names(HOME).await?, c1.names(BROKER).await?].concat();
        ensure!(
            !names.iter().any(|name| name.starts_with("c2")),
            "{names:?}"
        );
        let routes = c1
            .node
            .net()
            .netns()
            .output("ip", &["route", "show", "table", "all"])?;
        ensure!(!routes.contains("10.2.0.0/16"), "{routes}");
        Ok(())
    })
    .await?;
    lab.uninstall(c1, one.take()).await?;
    ensure!(
        c1.names(HOME).await? == [""; 0],
        "{:?}",
        c1.names(HOME).await?
    );
    ensure!(
        c1.names(BROKER).await? == ["c3"],
        "{:?}",
        c1.names(BROKER).await?
    );
    ensure!(renewal(c1).await.is_err(), "the Lease stays");
    for side in [c1, c2] {
        let audit = side.cluster.audit()?;
        let denied = audit.denied(HOME, ACCOUNT);
        ensure!(denied.is_empty(), "{denied:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_with_vxlan() -> Result<()> {
    story("vxlan").await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_gateways_with_wireguard() -> Result<()> {
    story("wireguard").await
}

fn is_active(gateway: &Gateway, active: bool) -> bool {
    let state = gateway
        .status
        .as_ref()
        .map(|status| status.ha_status.as_str());
    state == Some(if active { "active" } else { "passive" })
}

fn has_cable(node: &TestNode) -> Result<bool> {
    let links = node.net().netns().output("ip", &["-o", "link", "show"])?;
    Ok(links.contains("vxlan-tunnel"))
}

/// A broker that is away at the start, one that is not set, and two gateways of which one leads: defects 10, 17 and 23, surprises 15, 19
/// and 22.
#[tokio::test(flavor = "multi_thread")]
async fn gateways_begin_without_a_broker_and_take_over() -> Result<()> {
    // As fast as an election can be in a test.
    const QUICK: [(&str, &str); 3] = [
        ("LEADERSHIP_LEASEDURATION", "4"),
        ("LEADERSHIP_RENEWDEADLINE", "3"),
        ("LEADERSHIP_RETRYPERIOD", "1"),
    ];
    let lab = Lab::start("vxlan").await?;
    let (c1, c2) = (&lab.c1, &lab.c2);
    let other = TestNode::builder("c1-gw2").start(&c1.cluster).await?;

    // Without a broker a gateway leads, and writes what is its own.
    let alone = lab
        .run_on(c1, &c1.node, &[("BROKER_K8S_APISERVER", "")])
        .await?;
    eventually(SOON, || async {
        c1.gateway(|gateway| is_active(gateway, true)).await?;
        ensure!(c1.names(HOME).await?.len() == 2);
        Ok(())
    })
    .await?;
    ensure!(c1.names(BROKER).await? == [""; 0]);
    drop(alone);

    // With one that cannot be reached too; once it can, all is made up for.
    let partition = c2.cluster.lan()?.partition(&c1.cluster)?;
    let far = lab.run(c2).await?;
    let mut first = lab.run_on(c1, &c1.node, &QUICK).await?;
    eventually(SOON, || async {
        c2.gateway(|gateway| is_active(gateway, true)).await?;
        ensure!(c2.names(HOME).await?.len() == 2);
        Ok(())
    })
    .await?;
    partition.heal()?;
    c1.says(true).await?;
    c2.says(true).await?;

    // A second one waits.
    let mut second = lab.run_on(c1, &other, &QUICK).await?;
    eventually(SOON, || {
        c1.gateway_of(&other, |gateway| is_active(gateway, false))
    })
    .await?;
    ensure!(!has_cable(&other)?, "a passive gateway has a cable");

    // The first dies without a word.
    first.gateway.kill();
    c1.says_on(&other, true).await?;
    let via = |node: &TestNode| {
        let using = node.ip().to_string();
        move |gateway: &Gateway| {
            let status = gateway.status.as_ref();
            let connection = status.and_then(|status| status.connections.iter().next());
            connection.is_some_and(|one| one.status == "connected" && one.using_ip == using)
        }
    };
    eventually(SOON, || c2.gateway(via(&other))).await?;
    ensure!(
        has_cable(&c1.node)?,
        "what a dead process left is not there any more"
    );

    // It comes back, and lets go of what it had before.
    drop(first);
    let first = lab.run_on(c1, &c1.node, &QUICK).await?;
    eventually(SOON, || async {
        c1.gateway(|gateway| is_active(gateway, false)).await?;
        ensure!(
            !has_cable(&c1.node)?,
            "the former gateway still has its cable"
        );
        let mut endpoints: Vec<Endpoint> = c1.all(HOME, Endpoint::KIND).await?;
        endpoints.retain(|endpoint| endpoint.spec.cluster_id == "c1");
        ensure!(
            endpoints.len() == 1 && endpoints[0].spec.hostname == "c1-gw2",
            "{endpoints:?}"
        );
        Ok(())
    })
    .await?;

    // And it leads again, with a cable.
    second.gateway.terminate(SOON).await?;
    c1.says(true).await?;
    eventually(SOON, || c2.gateway(via(&c1.node))).await?;
    ensure!(has_cable(&c1.node)?);
    drop((first, second, far));
    Ok(())
}

#[test]
fn mistakes_are_told() -> Result<()> {
    let good = [
        ("SUBMARINER_CLUSTERID", "c1"),
        ("SUBMARINER_NAMESPACE", HOME),
        ("SUBMARINER_CLUSTERCIDR", "10.1.0.0/16"),
        ("SUBMARINER_CABLEDRIVER", "vxlan"),
    ];
    let state = tempfile::tempdir()?;
    for (name, value, words) in [
        (
            "SUBMARINER_CLUSTERID",
            "",
            "SUBMARINER_CLUSTERID: it is not set",
        ),
        (
            "SUBMARINER_CLUSTERCIDR",
            "10.1.0.0",
            "SUBMARINER_CLUSTERCIDR: it cannot be",
        ),
        (
            "SUBMARINER_CABLEDRIVER",
            "libreswan",
            "use wireguard, or vxlan",
        ),
        (
            "SUBMARINER_CABLEDRIVER",
            "wireguard",
            "pre-shared key is empty",
        ),
        (
            "BROKER_K8S_APISERVER",
            "192.0.2.1:6443",
            "BROKER_K8S_APISERVERTOKEN is not set",
        ),
        (
            "LEADERSHIP_RENEWDEADLINE",
            "20",
            "LEADERSHIP_LEASEDURATION must be longer",
        ),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_submariner-gateway"))
            .env_clear()
            .envs(good)
            .env(name, value)
            .args(["--kubeconfig", "tests/kubeconfig.yaml", "--state-folder"])
            .arg(state.path())
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            !output.status.success() && said.contains(words),
            "{name}={value}: {said}"
        );
    }
    Ok(())
}
