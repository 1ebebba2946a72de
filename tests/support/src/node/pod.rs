//! What a running pod has on its node: addresses, folders, and what its containers see.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Container, Pod as Manifest, PodSpec, SecurityContext};
use kube::ResourceExt as _;
use tokio::sync::watch;

use super::environment::Facts;
use super::images::Images;
use super::kubelet::Kubelet;
use super::network::{NO_RESOLVER, PodNetwork};
use super::privileges;
use super::volumes::Volumes;
use crate::Process;
use crate::netns::NetNs;
use crate::sandbox::{Mount, Place, Sandbox};

const DEFAULT_GRACE: i64 = 30;
/// So much of a termination message is kept.
const MESSAGE: usize = 4096;

/// What a running pod has on its node.
#[derive(Debug)]
pub(super) struct Pod {
    kubelet: Arc<Kubelet>,
    /// As the API server had it last; its status is not looked at.
    manifest: watch::Receiver<Manifest>,
    dir: PathBuf,
    /// Nothing for a pod on the node's own network.
    network: Option<PodNetwork>,
    volumes: Mutex<Volumes>,
    /// By container.
    processes: Mutex<BTreeMap<String, u32>>,
    /// How often all containers were to be killed.
    kills: watch::Sender<u64>,
}

impl Pod {
    /// Makes all that containers need; an error if something that the manifest names is not there (yet).
    pub(super) async fn make(
        kubelet: &Arc<Kubelet>,
        manifest: &watch::Receiver<Manifest>,
    ) -> Result<Arc<Self>> {
        let first = manifest.borrow().clone();
        let spec = first.spec.as_ref().context("a pod without spec")?;
        let dir = kubelet
            .dir
            .join("pods")
            .join(first.uid().context("a pod without uid")?);
        std::fs::create_dir_all(dir.join("volumes"))?;
        let mut volumes = Volumes::new(dir.join("volumes"), kubelet.dir.join("host"));
        volumes.make(&kubelet.client, &first).await?;
        let network = match spec.host_network {
            Some(true) => None,
            _ => Some(kubelet.network.add_pod()?),
        };
        let pod = Self {
            kubelet: Arc::clone(kubelet),
            manifest: manifest.clone(),
            dir,
            network,
            volumes: Mutex::new(volumes),
            processes: Mutex::default(),
            kills: watch::Sender::default(),
        };
        pod.write_etc()?;
        pod.refresh_volumes()?;
        Ok(Arc::new(pod))
    }

    /// Notices changes of ConfigMaps and Secrets.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.kubelet.objects.changes()
    }

    /// Notices [`Pod::kill`].
    pub(super) fn kills(&self) -> watch::Receiver<u64> {
        self.kills.subscribe()
    }

    /// `kill -9` of what its containers run now.
    pub(super) fn kill(&self) {
        self.kills.send_modify(|kills| *kills += 1);
    }

    /// A container's process has begun or ended.
    pub(super) fn runs(&self, container: &str, process: Option<u32>) {
        let mut processes = self.processes();
        match process {
            Some(id) => processes.insert(container.to_owned(), id),
            None => processes.remove(container),
        };
    }

    pub(super) fn process_ids(&self) -> Vec<u32> {
        self.processes().values().copied().collect()
    }

    fn processes(&self) -> MutexGuard<'_, BTreeMap<String, u32>> {
        self.processes
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Brings the files of ConfigMaps and Secrets up to date.
    pub(super) fn refresh_volumes(&self) -> Result<()> {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        self.with_facts(|facts| volumes.refresh(facts))
    }

    /// That of the first family.
    pub(super) fn ip(&self) -> IpAddr {
        self.ips()[0]
    }

    /// First that of the first family.
    pub(super) fn ips(&self) -> Vec<IpAddr> {
        let node = &self.kubelet.network;
        self.network
            .as_ref()
            .map_or_else(|| node.ips(), |network| node.pod_ips(network))
    }

    pub(super) fn name(&self) -> String {
        self.manifest.borrow().name_any()
    }

    pub(super) fn images(&self) -> &Images {
        &self.kubelet.images
    }

    pub(super) fn node_netns(&self) -> &Arc<NetNs> {
        self.kubelet.network.node.netns()
    }

    pub(super) fn netns(&self) -> &Arc<NetNs> {
        self.network
            .as_ref()
            .map_or(self.node_netns(), |network| network.pod.netns())
    }

    /// Off the network for good, whoever still looks into it.
    pub(super) fn unplug(&self) {
        if let Some(network) = &self.network {
            network.pod.unplug();
        }
    }

    fn manifest(&self) -> Arc<Manifest> {
        Arc::new(self.manifest.borrow().clone())
    }

    fn host_name(&self) -> String {
        if self.network.is_none() {
            return self.kubelet.name.clone();
        }
        let manifest = self.manifest.borrow();
        let wanted = manifest.spec.as_ref().and_then(|s| s.hostname.clone());
        // A host name has room for 63 characters.
        let name = wanted.unwrap_or_else(|| manifest.name_any());
        name.chars().take(63).collect()
    }

    /// Calls `f` with what a manifest may refer to.
    pub(super) fn with_facts<T>(&self, f: impl FnOnce(&Facts<'_>) -> T) -> T {
        let (manifest, host_name) = (self.manifest(), self.host_name());
        f(&Facts {
            pod: &manifest,
            pod_ips: self.ips(),
            node_ips: self.kubelet.network.ips(),
            host_name: &host_name,
            api_server: self.kubelet.api_service,
            objects: &self.kubelet.objects,
        })
    }

    /// The user and group of a container, where its manifest or its pod's names them.
    pub(super) fn user(&self, own: Option<&SecurityContext>) -> (Option<u32>, Option<u32>) {
        let manifest = self.manifest.borrow();
        let pods = manifest
            .spec
            .as_ref()
            .and_then(|s| s.security_context.as_ref());
        let user = own.and_then(|own| own.run_as_user);
        let group = own.and_then(|own| own.run_as_group);
        let id = |id: Option<i64>| id.and_then(|id| u32::try_from(id).ok());
        (
            id(user.or_else(|| pods.and_then(|pod| pod.run_as_user))),
            id(group.or_else(|| pods.and_then(|pod| pod.run_as_group))),
        )
    }

    pub(super) fn grace(&self) -> Duration {
        grace(&self.manifest.borrow())
    }

    pub(super) fn log(&self, container: &str) -> PathBuf {
        let manifest = self.manifest.borrow();
        let namespace = manifest.namespace().unwrap_or_default();
        log(
            &self.kubelet.dir,
            &namespace,
            &manifest.name_any(),
            container,
        )
    }

    /// An empty file in which a container, whoever it runs as, may leave a word when it ends.
    pub(super) fn termination_log(&self, container: &str) -> Result<PathBuf> {
        let path = self.termination_path(container);
        std::fs::write(&path, "")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(path)
    }

    /// What it left there.
    pub(super) fn termination_message(&self, container: &str) -> Option<String> {
        let mut bytes = std::fs::read(self.termination_path(container)).ok()?;
        bytes.truncate(MESSAGE);
        let message = String::from_utf8_lossy(&bytes).into_owned();
        (!message.is_empty()).then_some(message)
    }

    fn termination_path(&self, container: &str) -> PathBuf {
        self.dir.join(format!("{container}.termination-log"))
    }

    /// What a container sees, but for its program.
    pub(super) fn sandbox(&self, container: &Container) -> Result<Sandbox> {
        let volumes = self.volumes.lock().unwrap_or_else(PoisonError::into_inner);
        let mut mounts = volumes.mounts(&self.manifest(), container)?;
        drop(volumes);
        for name in ["resolv.conf", "hosts", "hostname"] {
            mounts.push(Mount {
                at: Path::new("/etc").join(name),
                source: self.dir.join(name),
                read_only: false,
            });
        }
        Ok(Sandbox {
            netns: Arc::clone(self.netns()),
            host_name: self.host_name(),
            mounts,
            read_only: false,
            sysctls: privileges::is_privileged(container.security_context.as_ref()),
            root: self.kubelet.dir.join("root"),
        })
    }

    /// Runs a program of the machine beside the pod's first container: `kubectl exec`, but with the machine's tools.
    pub(super) async fn exec(&self, words: &[String], limit: Duration) -> Result<Output> {
        let manifest = self.manifest();
        let spec = manifest.spec.as_ref().context("a pod without spec")?;
        let container = spec
            .containers
            .first()
            .context("a pod without containers")?;
        let (program, args) = words.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .envs(self.with_facts(|facts| facts.environment(container))?)
            // No ~/.digrc of whoever runs the tests.
            .env("HOME", "/nonexistent");
        let sandbox = self.sandbox(container)?;
        output(sandbox, command, limit)
            .await
            .with_context(|| words.join(" "))
    }

    fn write_etc(&self) -> Result<()> {
        let manifest = self.manifest();
        let spec = manifest.spec.as_ref().context("a pod without spec")?;
        let namespace = manifest.namespace().unwrap_or_default();
        let text = resolv_conf(spec, &namespace, self.kubelet.cluster_dns);
        std::fs::write(self.dir.join("resolv.conf"), text)?;
        let name = self.host_name();
        std::fs::write(self.dir.join("hostname"), format!("{name}\n"))?;
        let mut hosts = "127.0.0.1\tlocalhost\n::1\tlocalhost\n".to_owned();
        for ip in self.ips() {
            hosts += &format!("{ip}\t{name}\n");
        }
        for alias in spec.host_aliases.iter().flatten() {
            let names = alias.hostnames.clone().unwrap_or_default();
            hosts += &format!("{}\t{}\n", alias.ip, names.join("\t"));
        }
        std::fs::write(self.dir.join("hosts"), hosts)?;
        Ok(())
    }
}

pub(super) fn log(dir: &Path, namespace: &str, pod: &str, container: &str) -> PathBuf {
    dir.join(format!("{namespace}_{pod}_{container}.log"))
}

/// Runs `command` in a sandbox to its end.
pub(super) async fn output(sandbox: Sandbox, command: Command, limit: Duration) -> Result<Output> {
    let (out, err) = (
        tempfile::NamedTempFile::new()?,
        tempfile::NamedTempFile::new()?,
    );
    let log = out.path().to_owned();
    let to = [out.reopen()?, err.reopen()?].map(Stdio::from);
    let spawned = tokio::task::spawn_blocking(move || {
        Process::start(command, &log, to, Some(Place::Sandbox(sandbox)))
    });
    let mut process = spawned.await??;
    let status = process.wait(limit).await;
    // Its children end with it, also where it ended in time.
    process.kill();
    let stdout = std::fs::read(out.path())?;
    let stderr = std::fs::read(err.path())?;
    let status = status.with_context(|| {
        format!(
            "{}{}",
            String::from_utf8_lossy(&stdout),
            String::from_utf8_lossy(&stderr)
        )
    })?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

fn grace(manifest: &Manifest) -> Duration {
    let seconds = manifest.metadata.deletion_grace_period_seconds.or_else(|| {
        let spec = manifest.spec.as_ref();
        spec.and_then(|spec| spec.termination_grace_period_seconds)
    });
    let seconds = u64::try_from(seconds.unwrap_or(DEFAULT_GRACE)).unwrap_or(0);
    Duration::from_secs(seconds)
}

fn resolv_conf(spec: &PodSpec, namespace: &str, cluster_dns: IpAddr) -> String {
    let host_network = spec.host_network == Some(true);
    let of_cluster = match spec.dns_policy.as_deref() {
        Some("ClusterFirstWithHostNet") => true,
        Some("Default" | "None") => false,
        _ => !host_network,
    };
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if of_cluster {
        servers.push(cluster_dns.to_string());
        searches.extend(
            [
                format!("{namespace}.svc."),
                "svc.".to_owned(),
                String::new(),
            ]
            .map(|start| format!("{start}cluster.local")),
        );
        options.push("ndots:5".to_owned());
    } else if spec.dns_policy.as_deref() != Some("None") {
        servers.push(NO_RESOLVER.to_string());
    }
    if let Some(more) = &spec.dns_config {
        servers.extend(more.nameservers.iter().flatten().cloned());
        searches.extend(more.searches.iter().flatten().cloned());
        for option in more.options.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            options.push(match &option.value {
                Some(value) => format!("{name}:{value}"),
                None => name,
            });
        }
    }
    let mut text = String::new();
    if !searches.is_empty() {
        text += &format!("search {}\n", searches.join(" "));
    }
    for server in servers {
        text += &format!("nameserver {server}\n");
    }
    if !options.is_empty() {
        text += &format!("options {}\n", options.join(" "));
    }
    text
}

impl Drop for Pod {
    fn drop(&mut self) {
        // What is left, goes with the node's folder.
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
