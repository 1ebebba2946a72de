//! A Kubernetes control plane for a test: etcd and kube-apiserver, and kube-controller-manager where a test asks for it.
//!
//! Flags are chosen for a quick start: no fsync, a short election, no waiting for the hooks that sleep a second.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ipnet::{Ipv4Net, Ipv6Net};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::api::{Api, ObjectMeta, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config, ResourceExt as _};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::audit::{self, Audit};
use crate::families::{Families, nth6};
use crate::lan::{Lan, Ranges};
use crate::workdir::WorkDir;
use crate::{Binaries, Process, crds, pki, random_loopback, reach, sys};

use programs::lock;
pub(crate) use programs::{ADVERTISED, ADVERTISED6};

mod programs;

/// A quiet machine starts a cluster in a second or two; a busy one took 18 s.
const START_DEADLINE: Duration = Duration::from_mins(2);
const API_PORT: u16 = 6443;
const ETCD_PORT: u16 = 2379;
const ETCD_PEER_PORT: u16 = 2380;
/// As kubeadm has them.
const PODS: &str = "10.244.0.0/16";
const SERVICES: &str = "10.96.0.0/16";
/// Ready for an administrator. The two hooks left out sleep a second before they make the default RBAC roles and priority
/// classes, which no administrator needs.
const READY: &str = "/readyz?exclude=poststarthook/rbac/bootstrap-roles\
                     &exclude=poststarthook/scheduling/bootstrap-system-priority-classes";
const READY_WITH_ROLES: &str = "/readyz";

/// A running control plane. Dropping it kills the processes and removes their files.
///
/// Unless it was started with [`ClusterBuilder::controllers`] there is no controller: namespaces never finish deleting (use
/// [`Cluster::fresh_namespace`]), no EndpointSlice and no `default` ServiceAccount appears by itself. Pods run only on a
/// [`crate::TestNode`].
#[derive(Debug)]
pub struct Cluster {
    // Dropped in this order: who writes the files goes first.
    controllers: Mutex<Option<Process>>,
    api_server: Mutex<Option<Process>>,
    etcd: Mutex<Option<Process>>,
    dir: WorkDir,
    binaries: Programs,
    flags: Vec<String>,
    audited: bool,
    ranges: Ranges,
    services: Ipv4Net,
    families: Families,
    address: Ipv4Addr,
    ca: String,
    token: String,
    kubeconfigs: AtomicUsize,
    lan: Mutex<Option<Arc<Lan>>>,
    _reachable: reach::Registered,
}

#[derive(Debug)]
struct Programs {
    etcd: PathBuf,
    api_server: PathBuf,
    controllers: Option<PathBuf>,
}

/// What a cluster is started with.
#[derive(Debug, Clone)]
pub struct ClusterBuilder {
    flags: Vec<String>,
    controllers: bool,
    audited: bool,
    pods: Ipv4Net,
    lan: Option<u8>,
    services: Ipv4Net,
    families: Families,
}

impl Default for ClusterBuilder {
    fn default() -> Self {
        let range = |text: &str| text.parse().expect("a constant range");
        Self {
            flags: Vec::new(),
            controllers: false,
            audited: false,
            pods: range(PODS),
            lan: None,
            services: range(SERVICES),
            families: Families::default(),
        }
    }
}

impl ClusterBuilder {
    /// One more flag for kube-apiserver, such as `--watch-cache-sizes=endpointslices.discovery.k8s.io#0`.
    #[must_use]
    pub fn api_server_flag(mut self, flag: impl Into<String>) -> Self {
        self.flags.push(flag.into());
        self
    }

    /// Runs kube-controller-manager too: EndpointSlices, ServiceAccounts and their tokens, the end of namespaces,
    /// Deployments, DaemonSets, StatefulSets and Jobs. Two seconds and 70 MiB more.
    #[must_use]
    pub fn controllers(mut self) -> Self {
        self.controllers = true;
        self
    }

    /// Records who asks the API server for what: [`Cluster::audit`].
    #[must_use]
    pub fn audited(mut self) -> Self {
        self.audited = true;
        self
    }

    /// Where pods of [`crate::TestNode`]s have their addresses; 10.244.0.0/16 by default. Each node takes a /24 of it.
    #[must_use]
    pub fn pod_cidr(mut self, range: Ipv4Net) -> Self {
        self.pods = range;
        self
    }

    /// The nodes are in 172.20.`number`.0/24. By default `number` is the second octet of the pods' range: clusters whose pods
    /// have the same addresses need LANs of their own to be joined.
    #[must_use]
    pub fn lan(mut self, number: u8) -> Self {
        self.lan = Some(number);
        self
    }

    /// Where Services have their addresses; 10.96.0.0/16 by default.
    #[must_use]
    pub fn service_cidr(mut self, range: Ipv4Net) -> Self {
        self.services = range;
        self
    }

    /// Gives nodes, pods and Services IPv6 addresses too, those of Services in fd00:96:n::/112 for the second octet n of their
    /// range. IPv4 stays the first family.
    #[must_use]
    pub fn dual_stack(self) -> Self {
        self.families(Families::Both)
    }

    /// Which families there are; with IPv6 alone its ranges are those that [`ClusterBuilder::dual_stack`] tells.
    #[must_use]
    pub fn families(mut self, families: Families) -> Self {
        self.families = families;
        self
    }

    /// Starts the cluster and waits until its API server is ready for an administrator, and its controllers at work.
    pub async fn start(self) -> Result<Cluster> {
        let controllers = self.controllers;
        // Finding may mean building, for minutes.
        let binaries = tokio::task::spawn_blocking(move || -> Result<_> {
            let manager = controllers.then(|| Binaries::find("kube-controller-manager"));
            Ok(Programs {
                etcd: Binaries::find("etcd")?,
                api_server: Binaries::find("kube-apiserver")?,
                controllers: manager.transpose()?,
            })
        })
        .await??;
        let dir = WorkDir::new()?;
        let address = random_loopback();
        let own_services = [
            nth(self.services, 1)?.into(),
            nth6(services6(self.services), 1)?.into(),
        ];
        let certified = [address.into(), ADVERTISED.into(), ADVERTISED6.into()];
        let ca = pki::create(dir.path(), &[&certified[..], &own_services[..]].concat())?;
        let cluster = Cluster {
            controllers: Mutex::new(None),
            api_server: Mutex::new(None),
            etcd: Mutex::new(None),
            dir,
            binaries,
            flags: self.flags,
            audited: self.audited,
            ranges: match self.lan {
                Some(number) => Ranges::with_lan(self.pods, number),
                None => Ranges::of_pods(self.pods),
            },
            services: self.services,
            families: self.families,
            address,
            ca,
            token: format!("{:032x}", rand::random::<u128>()),
            kubeconfigs: AtomicUsize::new(0),
            lan: Mutex::new(None),
            _reachable: reach::register((address, API_PORT).into()),
        };
        let tokens = format!("{},admin,admin,system:masters\n", cluster.token);
        std::fs::write(cluster.path("tokens.csv"), tokens)?;
        cluster.write_kubeconfig(&cluster.kubeconfig(), cluster.addr(), &cluster.token)?;
        // Both at once: the API server retries until etcd is there.
        cluster.spawn_etcd()?;
        cluster.start_api_server().await?;
        if controllers {
            // They look for the default roles once a second, so it is faster to start them when there are some.
            cluster.wait_for_roles().await?;
            cluster.spawn_controllers()?;
            cluster.wait_for_controllers().await?;
        }
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
        Self::start_all(vec![Self::builder(); n]).await
    }

    /// One cluster of each builder, started at the same time.
    ///
    /// ```
    /// # async fn f() -> anyhow::Result<()> {
    /// use subm_test_support::Cluster;
    /// let clusters = Cluster::start_all((8..10).map(|n| {
    ///     Cluster::builder()
    ///         .pod_cidr(format!("10.{n}.0.0/16").parse().unwrap())
    ///         .service_cidr(format!("10.{n}{n}.0.0/16").parse().unwrap())
    /// }))
    /// .await?;
    /// # Ok(()) }
    /// ```
    pub async fn start_all(
        builders: impl IntoIterator<Item = ClusterBuilder>,
    ) -> Result<Vec<Self>> {
        let starts: Vec<_> = builders
            .into_iter()
            .map(|builder| tokio::spawn(builder.start()))
            .collect();
        let mut clusters = Vec::with_capacity(starts.len());
        for start in starts {
            clusters.push(start.await??);
        }
        Ok(clusters)
    }

    /// Two whose networks do not touch, with controllers and an audit log each.
    pub async fn pair() -> Result<[Self; 2]> {
        let builders = (1..=2_u8).map(|n| {
            Self::builder()
                .pod_cidr(format!("10.{n}.0.0/16").parse().expect("CIDR"))
                .service_cidr(format!("10.{n}{n}.0.0/16").parse().expect("CIDR"))
                .controllers()
                .audited()
        });
        let clusters = Self::start_all(builders).await?;
        clusters
            .try_into()
            .map_err(|_| anyhow::anyhow!("one cluster of each builder"))
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

    /// Where pods have their addresses.
    pub fn pod_cidr(&self) -> Ipv4Net {
        self.ranges.pods
    }

    /// Where Services have their addresses. The first is the API server's, the tenth the cluster DNS's.
    pub fn service_cidr(&self) -> Ipv4Net {
        self.services
    }

    /// The same for IPv6, if Kubernetes has it: [`ClusterBuilder::families`].
    pub fn pod_cidr6(&self) -> Option<Ipv6Net> {
        self.families.has_v6().then_some(self.ranges.pods6)
    }

    /// Where Services have IPv6 addresses, if they have.
    pub fn service_cidr6(&self) -> Option<Ipv6Net> {
        let range = services6(self.services);
        self.families.has_v6().then_some(range)
    }

    pub fn families(&self) -> Families {
        self.families
    }

    /// Where pods have their addresses, of all families, with a comma: as for `--clustercidr`.
    pub fn pod_cidrs(&self) -> String {
        self.families.join(self.ranges.pods, self.ranges.pods6)
    }

    /// The same for Services.
    pub fn service_cidrs(&self) -> String {
        self.families.join(self.services, services6(self.services))
    }

    /// The `n`th address of Services of the first family.
    pub(crate) fn service_address(&self, n: u32) -> Result<IpAddr> {
        let v6 = nth6(services6(self.services), n)?;
        Ok(self.families.first(nth(self.services, n)?, v6))
    }

    /// What the API server tells others as its address.
    pub(crate) fn advertised(&self) -> IpAddr {
        self.families.first(ADVERTISED, ADVERTISED6)
    }

    /// The certificate of the authority that signed the API server's, as PEM.
    pub fn ca(&self) -> &str {
        &self.ca
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

    /// One kubeconfig for several clusters, with contexts `kind-NAME` as kind makes them; the first is the current one.
    pub fn merged_kubeconfig(clusters: &[(&str, &Self)]) -> Result<String> {
        let mut merged = json!({"apiVersion": "v1", "kind": "Config", "clusters": [], "users": [], "contexts": []});
        for (name, cluster) in clusters {
            let path = cluster.kubeconfig();
            let text = std::fs::read_to_string(&path)?;
            let one: serde_json::Value =
                serde_json::from_str(&text).with_context(|| path.display().to_string())?;
            let name = format!("kind-{name}");
            let mut put = |list: &str, entry: serde_json::Value| {
                if let Some(list) = merged[list].as_array_mut() {
                    list.push(entry);
                }
            };
            put(
                "clusters",
                json!({"name": name, "cluster": one["clusters"][0]["cluster"]}),
            );
            put(
                "users",
                json!({"name": name, "user": one["users"][0]["user"]}),
            );
            put(
                "contexts",
                json!({"name": name, "context": {"cluster": name, "user": name}}),
            );
        }
        merged["current-context"] = merged["contexts"][0]["name"].clone();
        Ok(format!("{merged:#}\n"))
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
        [&self.controllers, &self.api_server, &self.etcd]
            .into_iter()
            .filter_map(|process| lock(process).as_ref().map(Process::id))
            .collect()
    }

    /// The folder with the cluster's data, keys and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What was asked of the API server so far; for a cluster started with [`ClusterBuilder::audited`].
    pub fn audit(&self) -> Result<Audit> {
        Audit::read(&self.path(audit::LOG))
    }

    /// `kill -9` of the controllers; nothing if there are none.
    pub fn kill_controllers(&self) {
        drop(lock(&self.controllers).take());
    }

    /// Starts the controllers again. They have caught up when what they make appears.
    pub fn start_controllers(&self) -> Result<()> {
        self.spawn_controllers()
    }

    /// The network between the nodes, made when it is first asked for. [`crate::Fabric::join`] joins it to others.
    pub fn lan(&self) -> Result<Arc<Lan>> {
        let mut lan = self.lan.lock().unwrap_or_else(PoisonError::into_inner);
        match &*lan {
            Some(lan) => Ok(Arc::clone(lan)),
            None => Ok(Arc::clone(
                lan.insert(Arc::new(Lan::new(self.ranges, self.families)?)),
            )),
        }
    }

    pub(crate) fn is_on(&self, lan: &Arc<Lan>) -> bool {
        let own = self.lan.lock().unwrap_or_else(PoisonError::into_inner);
        own.as_ref().is_some_and(|own| Arc::ptr_eq(own, lan))
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
}

static SHARED: OnceCell<Cluster> = OnceCell::const_new();

/// A static is never dropped. If the process is killed, the kernel kills the children and the next process removes the
/// folder.
extern "C" fn dispose_shared() {
    if let Some(cluster) = SHARED.get() {
        cluster.kill_controllers();
        cluster.kill_api_server();
        cluster.kill_etcd();
        cluster.dir.remove();
    }
}

pub(crate) async fn client_of(kubeconfig: &Path) -> Result<Client> {
    let config = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}

fn services6(services: Ipv4Net) -> Ipv6Net {
    let id = u16::from(services.network().octets()[1]);
    let first = Ipv6Addr::new(0xfd00, 0x96, id, 0, 0, 0, 0, 0);
    Ipv6Net::new(first, 112).expect("112 is a prefix length")
}

/// The `n`th address of a range.
pub(crate) fn nth(range: Ipv4Net, n: u32) -> Result<Ipv4Addr> {
    let address = Ipv4Addr::from(u32::from(range.network()) + n);
    anyhow::ensure!(range.contains(&address), "{range} has no address {n}");
    Ok(address)
}

fn get(path: &str) -> Result<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

async fn post(client: &Client, path: &str, body: serde_json::Value) -> Result<serde_json::Value> {
    let request = http::Request::post(path).body(serde_json::to_vec(&body)?)?;
    Ok(client.request(request).await?)
}
