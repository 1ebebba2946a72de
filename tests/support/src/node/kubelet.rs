//! Scheduler and kubelet of one node: takes pods that fit, runs those that are its own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, NodeSelectorRequirement, Pod as Manifest};
use kube::api::{Api, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::images::Images;
use super::network::Network;
use super::objects::Objects;
use super::pod::Pod;
use super::worker;

/// How long a node lets others go first, for each pod that it has: pods spread.
const POLITENESS: Duration = Duration::from_millis(5);
const RETRY: Duration = Duration::from_millis(200);

/// Namespace and name.
pub(super) type Key = (String, String);

pub(super) struct Kubelet {
    pub(super) client: Client,
    pub(super) name: String,
    pub(super) network: Arc<Network>,
    pub(super) images: Images,
    pub(super) objects: Objects,
    /// Addresses of the Services `kubernetes` and `kube-dns`.
    pub(super) api_service: IpAddr,
    pub(super) cluster_dns: IpAddr,
    pub(super) dir: PathBuf,
    /// Their workers own them.
    pub(super) pods: Mutex<HashMap<Key, Weak<Pod>>>,
}

impl fmt::Debug for Kubelet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubelet")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl Kubelet {
    /// Does its work until it is dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let api: Api<Manifest> = Api::all(self.client.clone());
        let mut events = pin!(watcher(api, watcher::Config::default()).default_backoff());
        let mut workers: HashMap<String, watch::Sender<Manifest>> = HashMap::new();
        let mut listed = Vec::new();
        let mut tasks = JoinSet::new();
        while let Some(event) = events.next().await {
            while tasks.try_join_next().is_some() {}
            match event {
                Ok(watcher::Event::Apply(pod)) => self.seen(pod, &mut workers, &mut tasks),
                Ok(watcher::Event::Delete(pod)) => {
                    workers.remove(&pod.uid().unwrap_or_default());
                }
                Ok(watcher::Event::Init) => listed.clear(),
                Ok(watcher::Event::InitApply(pod)) => {
                    listed.extend(pod.uid());
                    self.seen(pod, &mut workers, &mut tasks);
                }
                // What was deleted while nothing was seen.
                Ok(watcher::Event::InitDone) => workers.retain(|uid, _| listed.contains(uid)),
                // The watch begins again by itself; an API server may be away for a while.
                Err(_) => {}
            }
        }
    }

    fn seen(
        self: &Arc<Self>,
        pod: Manifest,
        workers: &mut HashMap<String, watch::Sender<Manifest>>,
        tasks: &mut JoinSet<()>,
    ) {
        let Some(uid) = pod.uid() else { return };
        let spec = pod.spec.as_ref();
        let over = pod
            .status
            .as_ref()
            .and_then(|status| status.phase.as_deref())
            .is_some_and(|phase| phase == "Succeeded" || phase == "Failed");
        match spec.and_then(|spec| spec.node_name.as_deref()) {
            None if pod.metadata.deletion_timestamp.is_none() => {
                let pods = u32::try_from(workers.len()).unwrap_or(u32::MAX);
                tasks.spawn(Arc::clone(self).bind(pod, POLITENESS * pods));
            }
            Some(node) if node == self.name => match workers.get(&uid) {
                Some(worker) => {
                    worker.send_replace(pod);
                }
                // One that a node of the same name has run before.
                None if over && pod.metadata.deletion_timestamp.is_none() => {}
                None => {
                    let (worker, manifest) = watch::channel(pod);
                    workers.insert(uid, worker);
                    tasks.spawn(worker::run(Arc::clone(self), manifest));
                }
            },
            _ => {}
        }
    }

    /// What a scheduler looks at, as far as tests have it: selectors and required affinity. Room there always is.
    fn fits(&self, pod: &Manifest, own: &BTreeMap<String, String>) -> bool {
        let Some(spec) = &pod.spec else { return false };
        let selected = spec
            .node_selector
            .iter()
            .flatten()
            .all(|(key, value)| own.get(key) == Some(value));
        let name = [("metadata.name".to_owned(), self.name.clone())].into();
        let affinity = spec.affinity.as_ref();
        let required = affinity
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|node| {
                node.required_during_scheduling_ignored_during_execution
                    .as_ref()
            });
        let allowed = required.is_none_or(|required| {
            required.node_selector_terms.iter().any(|term| {
                let mut labels = term.match_expressions.iter().flatten();
                let mut fields = term.match_fields.iter().flatten();
                labels.all(|want| holds(want, own)) && fields.all(|want| holds(want, &name))
            })
        });
        selected && allowed
    }

    /// The node's labels as they are now: an installation may have added some.
    async fn labels(&self) -> BTreeMap<String, String> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        loop {
            match nodes.get(&self.name).await {
                Ok(node) => return node.metadata.labels.unwrap_or_default(),
                Err(kube::Error::Api(error)) if error.code == 404 => return BTreeMap::new(),
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    /// The first node to bind a pod has it, if it fits.
    async fn bind(self: Arc<Self>, pod: Manifest, politeness: Duration) {
        sleep(politeness).await;
        if !self.fits(&pod, &self.labels().await) {
            return;
        }
        let name = pod.name_any();
        let namespace = pod.namespace().unwrap_or_default();
        let api: Api<Manifest> = Api::namespaced(self.client.clone(), &namespace);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod.uid()},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.name},
        });
        loop {
            let bound = api
                .create_subresource::<_, serde_json::Value>(
                    "binding",
                    &name,
                    &PostParams::default(),
                    &binding,
                )
                .await;
            match bound {
                Ok(_) => return,
                // Bound already, or gone.
                Err(kube::Error::Api(error)) if [404, 409].contains(&error.code) => return,
                Err(_) => sleep(RETRY).await,
            }
        }
    }

    pub(super) fn add(&self, key: Key, pod: &Arc<Pod>) {
        self.pods().insert(key, Arc::downgrade(pod));
    }

    /// Unless there is another one of that name by now.
    pub(super) fn forget(&self, key: &Key, pod: &Arc<Pod>) {
        let mut pods = self.pods();
        if pods
            .get(key)
            .is_some_and(|have| have.as_ptr() == Arc::as_ptr(pod))
        {
            pods.remove(key);
        }
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Result<Arc<Pod>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.pods()
            .get(&key)
            .and_then(Weak::upgrade)
            .with_context(|| format!("pod {namespace}/{name} does not run on node {}", self.name))
    }

    fn pods(&self) -> MutexGuard<'_, HashMap<Key, Weak<Pod>>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn holds(want: &NodeSelectorRequirement, have: &BTreeMap<String, String>) -> bool {
    let value = have.get(&want.key);
    let listed = value.is_some_and(|value| want.values.iter().flatten().any(|v| v == value));
    match want.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}
