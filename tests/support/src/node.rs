//! A node on which the pods of a cluster run as processes of this machine.
//!
//! What is real: the API objects and everything that the controllers make of them; network namespaces, addresses and
//! routes; kube-proxy; the files, environment, arguments, tokens and probes of a container as its manifest has them; the
//! end by SIGTERM and SIGKILL. What is not: images. A test says which program of this machine an image stands for, and
//! that program sees the machine's own files, read-only.
//!
//! [`kubelet`] takes pods and hands each to a [`worker`], which makes the [`pod`] and runs its [`container`]s.

mod container;
mod environment;
mod images;
mod kube_proxy;
mod kubelet;
mod network;
mod objects;
mod pause;
mod pod;
mod privileges;
mod probe;
mod status;
mod volumes;
mod worker;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::lan::{self, Cni};
use crate::sandbox::Sandbox;
use crate::workdir::WorkDir;
use crate::{Binaries, Cluster, Process, eventually};
use images::{Image, Images};
pub use kube_proxy::KubeProxy;
use kubelet::Kubelet;
use network::Network;
use objects::Objects;

const START_DEADLINE: Duration = Duration::from_mins(2);
const EXEC_LIMIT: Duration = Duration::from_mins(1);
/// Which of a cluster's Service addresses the cluster DNS has, as everywhere.
pub(crate) const DNS_ADDRESS: u32 = 10;
/// Workloads of users, as far as tests only look at their addresses.
const PAUSES: [&str; 2] = ["pause", "nginx"];
/// What answers with its name and its client's address: [`crate::whereami`].
const WHEREAMI: &str = "whereami";

/// A node of a [`Cluster`], with a network of its own. Dropping it is pulling the plug: its processes and namespaces are
/// gone, its objects stay.
///
/// It needs root. It has threads of its own and so may outlive the runtime of one test.
#[derive(Debug)]
pub struct TestNode {
    // Dropped in this order.
    runtime: OwnRuntime,
    kube_proxy: Process,
    kubelet: Arc<Kubelet>,
    dir: WorkDir,
    made_of: TestNodeBuilder,
}

/// What a node is started with.
#[derive(Debug, Clone)]
pub struct TestNodeBuilder {
    name: String,
    labels: BTreeMap<String, String>,
    images: Images,
    api_server: Option<SocketAddr>,
    cni: Cni,
    kube_proxy: KubeProxy,
}

impl TestNodeBuilder {
    /// The program that an image (a name without tag, or its last part) stands for.
    #[must_use]
    pub fn image(mut self, name: &str, program: impl Into<PathBuf>) -> Self {
        self.images.insert(name, Image::Program(program.into()));
        self
    }

    /// Pods of this image are ready and run nothing; their TCP ports answer HTTP with the pod's name. `pause` and `nginx` are
    /// such unless they are given a program.
    #[must_use]
    pub fn pause(mut self, image: &str) -> Self {
        self.images.insert(image, Image::Pause);
        self
    }

    #[must_use]
    pub fn label(mut self, key: &str, value: &str) -> Self {
        self.labels.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Where pods find what they take for the API server: a [`crate::Proxy`] in front of it. The node itself always asks
    /// the API server directly.
    #[must_use]
    pub fn api_server(mut self, address: SocketAddr) -> Self {
        self.api_server = Some(address);
        self
    }

    /// Whose masquerade it has; kindnet's by default.
    #[must_use]
    pub fn cni(mut self, cni: Cni) -> Self {
        self.cni = cni;
        self
    }

    /// The mode of its kube-proxy; nftables by default.
    #[must_use]
    pub fn kube_proxy(mut self, mode: KubeProxy) -> Self {
        self.kube_proxy = mode;
        self
    }

    /// Starts the node, and waits until its kube-proxy serves the cluster's own Service.
    ///
    /// The cluster must have controllers: [`crate::ClusterBuilder::controllers`].
    pub async fn start(self, cluster: &Cluster) -> Result<TestNode> {
        self.start_with(cluster, WorkDir::new()?).await
    }

    /// `dir`: what the node has on its disk.
    async fn start_with(self, cluster: &Cluster, dir: WorkDir) -> Result<TestNode> {
        let name = self.name.clone();
        self.start_on(cluster, dir)
            .await
            .with_context(|| format!("test node {name}"))
    }

    async fn start_on(mut self, cluster: &Cluster, dir: WorkDir) -> Result<TestNode> {
        let made_of = self.clone();
        // Finding may mean building.
        let (kube_proxy, coredns) = tokio::task::spawn_blocking(|| -> Result<_> {
            Ok((Binaries::find("kube-proxy")?, Binaries::find("coredns")?))
        })
        .await??;
        if self.images.find("coredns").is_none() {
            self.images.insert("coredns", Image::Program(coredns));
        }
        let lan = cluster.lan()?;
        std::fs::create_dir_all(dir.path().join("root"))?;
        let runtime = OwnRuntime::new(&self.name)?;
        let api_server = self.api_server.unwrap_or_else(|| cluster.addr());
        let (kubeconfig, inside) = (cluster.kubeconfig(), cluster.kubeconfig_on_nodes()?);
        let api_service = cluster.service_address(1)?;
        let cluster_dns = cluster.service_address(DNS_ADDRESS)?;
        let (pods, families) = (cluster.pod_cidrs(), cluster.families());
        let path = dir.path().to_owned();
        let entered = runtime.spawn(async move {
            let network = Arc::new(Network::new(
                &lan, &self.name, self.cni, api_server, families,
            )?);
            let client = crate::cluster::client_of(&kubeconfig).await?;
            let labels = self.all_labels();
            register(&client, &self.name, &labels, &network).await?;
            let mode = self.kube_proxy;
            let kube_proxy = mode.spawn(&kube_proxy, &path, &network, &pods, &inside)?;
            let kubelet = Arc::new(Kubelet {
                objects: Objects::watch(&client),
                client,
                name: self.name,
                images: self.images,
                api_service,
                cluster_dns,
                dir: path,
                pods: std::sync::Mutex::default(),
                network,
            });
            anyhow::Ok((kubelet, kube_proxy))
        });
        let (kubelet, kube_proxy) = entered.await??;
        let mut node = TestNode {
            runtime,
            kube_proxy,
            kubelet,
            dir,
            made_of,
        };
        node.wait_for_kube_proxy().await?;
        node.runtime.spawn(Arc::clone(&node.kubelet).run());
        Ok(node)
    }

    fn all_labels(&self) -> BTreeMap<String, String> {
        let known = [
            ("kubernetes.io/hostname", self.name.as_str()),
            ("kubernetes.io/os", "linux"),
            ("kubernetes.io/arch", "amd64"),
        ];
        let known = known.map(|(key, value)| (key.to_owned(), value.to_owned()));
        known.into_iter().chain(self.labels.clone()).collect()
    }
}

impl TestNode {
    /// A node of that name; start it with [`TestNodeBuilder::start`].
    pub fn builder(name: &str) -> TestNodeBuilder {
        let mut images = Images::default();
        for name in PAUSES {
            images.insert(name, Image::Pause);
        }
        images.insert(WHEREAMI, Image::Ours(WHEREAMI));
        TestNodeBuilder {
            name: name.to_owned(),
            labels: BTreeMap::new(),
            images,
            api_server: None,
            cni: Cni::default(),
            kube_proxy: KubeProxy::default(),
        }
    }

    pub fn name(&self) -> &str {
        &self.kubelet.name
    }

    /// Its address on the network between the nodes.
    pub fn ip(&self) -> Ipv4Addr {
        self.kubelet.network.ip()
    }

    /// Its network, in which [`lan::Node::spawn`] runs programs that are no pod's.
    pub fn net(&self) -> &Arc<lan::Node> {
        &self.kubelet.network.node
    }

    /// Power off and on: all processes are killed, the network namespaces are made anew, pods run again. Name, addresses and
    /// what is at host paths stay, but for `/run` and `/tmp`.
    pub async fn reboot(self, cluster: &Cluster) -> Result<Self> {
        let Self {
            runtime,
            kube_proxy,
            kubelet,
            dir,
            made_of,
        } = self;
        let net = Arc::clone(&kubelet.network.node);
        drop(runtime);
        drop(kube_proxy);
        drop(kubelet);
        net.unplug()?;
        for lost in ["pods", "host/run", "host/var/run", "host/tmp"] {
            let lost = dir.path().join(lost);
            if lost.exists() {
                std::fs::remove_dir_all(&lost).with_context(|| lost.display().to_string())?;
            }
        }
        made_of.start_with(cluster, dir).await
    }

    /// The folder with the node's and its containers' logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file with all that a container, over all its restarts, has printed.
    pub fn log_file(&self, namespace: &str, pod: &str, container: &str) -> PathBuf {
        pod::log(self.dir(), namespace, pod, container)
    }

    /// All that a container has printed. Empty if it has not been started yet.
    pub fn log(&self, namespace: &str, pod: &str, container: &str) -> String {
        let bytes = std::fs::read(self.log_file(namespace, pod, container)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Runs a program of this machine, such as `dig`, as if it were in a pod: in its network, with its environment, files
    /// and `/etc/resolv.conf`. A program that fails is no error; one that does not end within a minute is.
    pub async fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<Output> {
        let pod = self.kubelet.pod(namespace, pod)?;
        let words: Vec<String> = command.iter().copied().map(String::from).collect();
        pod.exec(&words, EXEC_LIMIT).await
    }

    /// `kill -9` of what the containers of a pod run, as the kernel does when memory is short. They are started again, as
    /// the pod's restart policy has it.
    pub fn kill(&self, namespace: &str, pod: &str) -> Result<()> {
        self.kubelet.pod(namespace, pod)?.kill();
        Ok(())
    }

    /// Ids of the processes that the containers of a pod run now.
    pub fn container_ids(&self, namespace: &str, pod: &str) -> Result<Vec<u32>> {
        Ok(self.kubelet.pod(namespace, pod)?.process_ids())
    }

    /// Runs a program of this machine in the node's own network.
    pub async fn exec_on_node(&self, command: &[&str]) -> Result<Output> {
        let (program, args) = command.split_first().context("an empty command")?;
        let mut of_node = Command::new(program);
        of_node.args(args);
        pod::output(self.sandbox(), of_node, EXEC_LIMIT).await
    }

    /// Names of pods with these labels, such as `app=web`, that run here and are ready.
    pub async fn ready_pods(&self, namespace: &str, labels: &str) -> Result<Vec<String>> {
        let pods: Api<Pod> = Api::namespaced(self.kubelet.client.clone(), namespace);
        let ours = ListParams::default()
            .labels(labels)
            .fields(&format!("spec.nodeName={}", self.name()));
        // The client belongs to the node's runtime.
        let list = self.runtime.spawn(async move { pods.list(&ours).await });
        let list = list.await??;
        let ready = |pod: &&Pod| {
            let status = pod.status.as_ref();
            let mut conditions = status.iter().flat_map(|s| s.conditions.iter().flatten());
            conditions.any(|c| c.type_ == "Ready" && c.status == "True")
                && pod.metadata.deletion_timestamp.is_none()
        };
        Ok(list
            .iter()
            .filter(ready)
            .map(kube::ResourceExt::name_any)
            .collect())
    }

    /// Ids of processes that end with the node: kube-proxy.
    pub fn process_ids(&self) -> Vec<u32> {
        vec![self.kube_proxy.id()]
    }

    fn sandbox(&self) -> Sandbox {
        Sandbox {
            netns: Arc::clone(self.kubelet.network.node.netns()),
            host_name: self.name().to_owned(),
            mounts: Vec::new(),
            read_only: false,
            sysctls: true,
            root: self.dir.path().join("root"),
        }
    }

    async fn wait_for_kube_proxy(&mut self) -> Result<()> {
        let kubelet = Arc::clone(&self.kubelet);
        let address = (kubelet.api_service, 443).into();
        let served = eventually(START_DEADLINE, || {
            let connected = self.kube_proxy.ensure_running().map(|()| {
                let limit = Duration::from_secs(1);
                kubelet.network.node.netns().connect(address, limit)
            });
            std::future::ready(match connected {
                // Waiting on is of no use: the outer Ok ends it.
                Err(ended) => Ok(Err(ended)),
                Ok(Ok(_)) => Ok(Ok(())),
                Ok(Err(error)) => Err(error),
            })
        })
        .await;
        served.with_context(|| format!("kube-proxy serves nothing\n{}", self.kube_proxy.tail()))?
    }
}

/// A runtime with threads of its own, which may be dropped on those of another.
#[derive(Debug)]
struct OwnRuntime(Option<Runtime>);

impl OwnRuntime {
    fn new(name: &str) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(format!("node {name}"))
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        let runtime = self.0.as_ref().expect("it ends when it is dropped");
        runtime.spawn(future)
    }
}

/// Processes of pods end when their tasks are dropped.
impl Drop for OwnRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(START_DEADLINE));
            let _ = ended.join();
        }
    }
}

/// What is known of a node once and for all: nobody here looks for a heartbeat.
async fn register(
    client: &Client,
    name: &str,
    labels: &BTreeMap<String, String>,
    network: &Network,
) -> Result<()> {
    let nodes: Api<Node> = Api::all(client.clone());
    let params = PatchParams::apply("subm-test-node").force();
    let families = network.families;
    let pods: Vec<String> = families
        .of::<ipnet::IpNet>(network.node.pod_cidr(), network.node.pod_cidr6())
        .iter()
        .map(ToString::to_string)
        .collect();
    let ips = network.ips().into_iter();
    let mut addresses: Vec<_> = ips
        .map(|ip| json!({"type": "InternalIP", "address": ip}))
        .collect();
    addresses.push(json!({"type": "Hostname", "address": name}));
    let node = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": pods[0], "podCIDRs": pods},
    });
    nodes.patch(name, &params, &Patch::Apply(node)).await?;
    // The API server taints whom it sees for the first time as not ready; another controller would lift that.
    let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes
        .patch(name, &PatchParams::default(), &untainted)
        .await?;
    let room = json!({"cpu": "8", "memory": "16Gi", "pods": "250"});
    let since = container::now();
    let status = json!({
        "apiVersion": "v1",
        "kind": "Node",
        "status": {
            "addresses": addresses,
            "capacity": room,
            "allocatable": room,
            "conditions": [{
                "type": "Ready",
                "status": "True",
                "reason": "KubeletReady",
                "lastHeartbeatTime": since,
                "lastTransitionTime": since,
            }],
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": "v1.34.3",
                "containerRuntimeVersion": "test://1",
                "osImage": "test",
                "kernelVersion": "",
                "kubeProxyVersion": "",
                "machineID": "",
                "systemUUID": "",
                "bootID": "",
            },
        },
    });
    // Not applied: as a map by their types the addresses have no room for two of one type.
    nodes
        .patch_status(name, &PatchParams::default(), &Patch::Merge(status))
        .await?;
    Ok(())
}

impl Cluster {
    /// Where the API server listens, as all nodes of the cluster see it.
    fn kubeconfig_on_nodes(&self) -> Result<PathBuf> {
        self.kubeconfig_through((self.advertised(), self.addr().port()).into())
    }
}
