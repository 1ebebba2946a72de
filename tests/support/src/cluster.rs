//! A Kubernetes control plane for a test: etcd and kube-apiserver, nothing else.
//!
//! Flags are chosen for a quick start: no fsync, a short election, no waiting for the hooks that sleep a second.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::workdir::WorkDir;
use crate::{Binaries, Process, crds, eventually, pki, random_loopback, sys};

/// A quiet machine starts a cluster in a second or two; a busy one took 18 s.
const START_DEADLINE: Duration = Duration::from_mins(2);
const API_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
/// The first address of the service range below, which the API server calls its own.
const FIRST_SERVICE_IP: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
const SERVICE_RANGE: &str = "10.96.0.0/16";
/// Ready for an administrator. The two hooks left out sleep a second before they make the default RBAC roles and priority
/// classes, which no administrator needs.
const READY: &str = "/readyz?exclude=poststarthook/rbac/bootstrap-roles\
                     &exclude=poststarthook/scheduling/bootstrap-system-priority-classes";
const READY_WITH_ROLES: &str = "/readyz";

/// A running control plane. Dropping it kills the processes and removes their files.
///
/// There is no controller: namespaces never finish deleting (use [`Cluster::fresh_namespace`]), no EndpointSlice and no
/// `default` ServiceAccount appears by itself.
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: who writes the files goes first.
    api_server: Mutex<Option<Process>>,
    etcd: Mutex<Option<Process>>,
    dir: WorkDir,
    binaries: (PathBuf, PathBuf),
    flags: Vec<String>,
    address: Ipv4Addr,
    ca: String,
    token: String,
    kubeconfigs: AtomicUsize,
}

/// What a cluster is started with.
#[derive(Debug, Clone, Default)]
pub struct ClusterBuilder {
    flags: Vec<String>,
}

impl ClusterBuilder {
    /// One more flag for kube-apiserver, such as `--watch-cache-sizes=endpointslices.discovery.k8s.io#0`.
    #[must_use]
    pub fn api_server_flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Starts the cluster and waits until its API server is ready for an administrator.
    pub async fn start(self) -> Result<Cluster> {
        // Finding may mean building, for minutes.
        let binaries = tokio::task::spawn_blocking(|| -> Result<_> {
            Ok((Binaries::find("etcd")?, Binaries::find("kube-apiserver")?))
        })
        .await??;
        let dir = WorkDir::new()?;
        let address = random_loopback();
        let ca = pki::create(dir.path(), &[address, FIRST_SERVICE_IP])?;
        let cluster = Cluster {
            api_server: Mutex::new(None),
            etcd: Mutex::new(None),
            dir,
            binaries,
            flags: self.flags,
            address,
            ca,
            token: format!("{:032x}", rand::random::<u128>()),
            kubeconfigs: AtomicUsize::new(0),
        };
        let tokens = format!("{},admin,admin,system:masters\n", cluster.token);
        std::fs::write(cluster.path("tokens.csv"), tokens)?;
        cluster.write_kubeconfig(&cluster.kubeconfig(), cluster.addr(), &cluster.token)?;
        // Both at once: the API server retries until etcd is there.
        cluster.spawn_etcd()?;
        cluster.start_api_server().await?;
        Ok(cluster)
    }
}

impl Cluster {
    pub fn builder() -> ClusterBuilder {
        ClusterBuilder::default()
    }

    /// A cluster of the test's own: for tests that kill or compact, or that change what the whole cluster sees.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// `n` independent clusters, started at the same time.
    pub async fn start_many(n: usize) -> Result<Vec<Self>> {
        let starts: Vec<_> = (0..n).map(|_| tokio::spawn(Self::start())).collect();
        let mut clusters = Vec::with_capacity(n);
        for start in starts {
            clusters.push(start.await??);
        }
        Ok(clusters)
    }

    /// The one cluster that all tests of this process share, our CRDs installed; for tests that a fresh namespace isolates.
    ///
    /// It ends with the process.
    pub async fn shared() -> Result<&'static Self> {
        SHARED
            .get_or_try_init(async || {
                let cluster = Self::start().await?;
                cluster.apply_crds().await?;
                sys::at_exit(dispose_shared)?;
                Ok(cluster)
            })
            .await
    }

    /// Where the API server listens.
    pub fn addr(&self) -> SocketAddr {
        (self.address, API_PORT).into()
    }

    /// A client with all rights. Made anew at each call: a client belongs to the runtime, and so to the test, in which it
    /// was made.
    pub async fn client(&self) -> Result<Client> {
        client_of(&self.kubeconfig()).await
    }

    /// The administrator's kubeconfig file.
    pub fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// A kubeconfig file whose user has `token`, such as that of [`Cluster::service_account_token`].
    pub fn kubeconfig_for(&self, token: &str) -> Result<PathBuf> {
        let path = self.next_kubeconfig();
        self.write_kubeconfig(&path, self.addr(), token)?;
        Ok(path)
    }

    /// The administrator's kubeconfig with another server address: that of a [`crate::Proxy`].
    pub fn kubeconfig_through(&self, proxy: SocketAddr) -> Result<PathBuf> {
        let path = self.next_kubeconfig();
        self.write_kubeconfig(&path, proxy, &self.token)?;
        Ok(path)
    }

    /// A client with the rights of `token`.
    pub async fn client_for(&self, token: &str) -> Result<Client> {
        client_of(&self.kubeconfig_for(token)?).await
    }

    /// A token (of one hour) for a ServiceAccount, which is created if it is not there.
    pub async fn service_account_token(&self, namespace: &str, name: &str) -> Result<String> {
        let api: Api<ServiceAccount> = Api::namespaced(self.client().await?, namespace);
        if api.get_opt(name).await?.is_none() {
            let account = ServiceAccount {
                metadata: ObjectMeta {
                    name: Some(name.to_owned()),
                    ..ObjectMeta::default()
                },
                ..ServiceAccount::default()
            };
            api.create(&PostParams::default(), &account).await?;
        }
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        api.create_token_request(name, &PostParams::default(), &request)
            .await?
            .status
            .map(|status| status.token)
            .context("the API server gave no token")
    }

    /// Creates a namespace whose name starts with `prefix` and gives its name.
    pub async fn fresh_namespace(&self, prefix: &str) -> Result<String> {
        let namespace = Namespace {
            metadata: ObjectMeta {
                generate_name: Some(format!("{prefix}-")),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        let api: Api<Namespace> = Api::all(self.client().await?);
        let created = api.create(&PostParams::default(), &namespace).await?;
        Ok(created.name_any())
    }

    /// Installs all of `deploy/crds` and waits until they are served. See [`crds`] for a part of them.
    pub async fn apply_crds(&self) -> Result<()> {
        crds::install(&self.client().await?, &crds::ours()?).await
    }

    /// Waits for all of `/readyz`, the default RBAC roles included; up to a second after the start.
    pub async fn wait_for_roles(&self) -> Result<()> {
        self.wait_ready(READY_WITH_ROLES).await
    }

    /// `kill -9` of the API server. Connections break, then are refused.
    pub fn kill_api_server(&self) {
        drop(lock(&self.api_server).take());
    }

    /// Starts the API server (again) and waits until it is ready. Address, keys and data are as before.
    pub async fn start_api_server(&self) -> Result<()> {
        self.spawn_api_server()?;
        self.wait_ready(READY).await
    }

    /// `kill -9` of etcd. Requests hang until [`Cluster::start_etcd`].
    pub fn kill_etcd(&self) {
        drop(lock(&self.etcd).take());
    }

    /// Starts etcd again and waits until the API server is ready.
    pub async fn start_etcd(&self) -> Result<()> {
        self.spawn_etcd()?;
        self.wait_ready(READY).await
    }

    /// Compacts etcd up to its present revision.
    ///
    /// Alone it gives no watch a 410: the API server's watch cache still has the old revisions. For a 410, either write to
    /// the resource once, [`Cluster::kill_api_server`] and [`Cluster::start_api_server`]; or start the cluster with
    /// `--watch-cache-sizes=RESOURCE.GROUP#0` (built-in resources only), write, and compact.
    pub async fn compact(&self) -> Result<()> {
        // etcd's own API as JSON over HTTP; the client of Kubernetes serves for it as for any.
        let url = format!("http://{}:{ETCD_PORT}", self.address);
        let etcd = Client::try_from(Config::new(url.parse()?))?;
        // The key "\0" is the lowest there is; only the reply's header matters.
        let reply = post(&etcd, "/v3/kv/range", json!({"key": "AA==", "limit": 1})).await?;
        let revision = reply["header"]["revision"]
            .as_str()
            .with_context(|| format!("etcd's reply has no revision: {reply}"))?;
        let order = json!({"revision": revision, "physical": true});
        post(&etcd, "/v3/kv/compaction", order).await?;
        Ok(())
    }

    /// Ids of the running processes.
    pub fn process_ids(&self) -> Vec<u32> {
        [&self.api_server, &self.etcd]
            .into_iter()
            .filter_map(|process| lock(process).as_ref().map(Process::id))
            .collect()
    }

    /// The folder with the cluster's data, keys and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn next_kubeconfig(&self) -> PathBuf {
        let n = self.kubeconfigs.fetch_add(1, Ordering::Relaxed);
        self.path(&format!("kubeconfig-{n}"))
    }

    fn write_kubeconfig(&self, path: &Path, server: SocketAddr, token: &str) -> Result<()> {
        use base64::Engine as _;
        let ca = base64::prelude::BASE64_STANDARD.encode(&self.ca);
        // JSON is YAML.
        let text = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "test",
                "cluster": {
                    "server": format!("https://{server}"),
                    "certificate-authority-data": ca,
                },
            }],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "current-context": "test",
        });
        std::fs::write(path, format!("{text:#}\n")).with_context(|| path.display().to_string())
    }

    fn spawn_etcd(&self) -> Result<()> {
        let clients = format!("http://{}:{ETCD_PORT}", self.address);
        let peers = format!("http://{}:{ETCD_PEER_PORT}", self.address);
        let mut command = Command::new(&self.binaries.0);
        command
            .arg("--name=test")
            .arg(format!("--data-dir={}", self.path("etcd").display()))
            // The data need not outlive the machine, only the process.
            .arg("--unsafe-no-fsync")
            // A lone member waits out one election before it serves.
            .args(["--heartbeat-interval=10", "--election-timeout=100"])
            .arg("--log-level=error")
            .arg(format!("--listen-client-urls={clients}"))
            .arg(format!("--advertise-client-urls={clients}"))
            .arg(format!("--listen-peer-urls={peers}"))
            .arg(format!("--initial-advertise-peer-urls={peers}"))
            .arg(format!("--initial-cluster=test={peers}"));
        spawn(&self.etcd, command, &self.path("etcd.log"))
    }

    fn spawn_api_server(&self) -> Result<()> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let mut command = Command::new(&self.binaries.1);
        command
            .arg(format!(
                "--etcd-servers=http://{}:{ETCD_PORT}",
                self.address
            ))
            .arg(format!("--bind-address={}", self.address))
            .arg(format!("--secure-port={API_PORT}"))
            // A loopback address cannot be advertised; nobody looks for one here.
            .args([
                "--advertise-address=192.0.2.1",
                "--endpoint-reconciler-type=none",
            ])
            .arg("--permit-address-sharing")
            .arg(file("tls-cert-file", pki::SERVING_CERT))
            .arg(file("tls-private-key-file", pki::SERVING_KEY))
            .arg(format!("--cert-dir={}", self.dir().display()))
            .arg(file("token-auth-file", "tokens.csv"))
            .arg("--authorization-mode=RBAC")
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(file(
                "service-account-key-file",
                pki::SERVICE_ACCOUNT_PUBLIC_KEY,
            ))
            .arg(file(
                "service-account-signing-key-file",
                pki::SERVICE_ACCOUNT_KEY,
            ))
            .arg(format!("--service-cluster-ip-range={SERVICE_RANGE}"))
            // Without a controller nobody makes the `default` ServiceAccount that pods would be refused for.
            .arg("--disable-admission-plugins=ServiceAccount")
            .args(["--enable-priority-and-fairness=false", "--profiling=false"])
            .arg("--shutdown-delay-duration=0s")
            .args(&self.flags);
        spawn(&self.api_server, command, &self.path("kube-apiserver.log"))
    }

    async fn wait_ready(&self, path: &str) -> Result<()> {
        let client = self.client().await?;
        let ready = eventually(START_DEADLINE, || async {
            for process in [&self.etcd, &self.api_server] {
                // Waiting on is of no use: the outer Ok ends it.
                if let Err(error) = lock(process)
                    .as_mut()
                    .map_or(Ok(()), Process::ensure_running)
                {
                    return Ok(Err(error));
                }
            }
            let text = client.request_text(get(path)?).await?;
            ensure!(text == "ok", "{path} says {text:?}");
            anyhow::Ok(Ok(()))
        })
        .await;
        match ready {
            Ok(result) => result,
            Err(error) => {
                let tail = lock(&self.api_server).as_ref().map(Process::tail);
                Err(error.context(format!(
                    "API server not ready\n{}",
                    tail.unwrap_or_default()
                )))
            }
        }
    }
}

static SHARED: OnceCell<Cluster> = OnceCell::const_new();

/// A static is never dropped. If the process is killed, the kernel kills the children and the next process removes the
/// folder.
extern "C" fn dispose_shared() {
    if let Some(cluster) = SHARED.get() {
        cluster.kill_api_server();
        cluster.kill_etcd();
        cluster.dir.remove();
    }
}

fn lock(process: &Mutex<Option<Process>>) -> MutexGuard<'_, Option<Process>> {
    process.lock().unwrap_or_else(PoisonError::into_inner)
}

fn spawn(slot: &Mutex<Option<Process>>, command: Command, log: &Path) -> Result<()> {
    let mut slot = lock(slot);
    if slot.is_some() {
        bail!("{} runs already", command.get_program().display());
    }
    *slot = Some(Process::spawn_logging_to(command, log)?);
    Ok(())
}

async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn get(path: &str) -> Result<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

async fn post(client: &Client, path: &str, body: serde_json::Value) -> Result<serde_json::Value> {
    let request = http::Request::post(path).body(serde_json::to_vec(&body)?)?;
    Ok(client.request(request).await?)
}
