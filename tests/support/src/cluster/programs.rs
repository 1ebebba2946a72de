//! What a cluster runs, and with which flags.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::Api;

use super::{API_PORT, Cluster, ETCD_PEER_PORT, ETCD_PORT, START_DEADLINE, get};
use crate::{Process, audit, eventually, pki};

/// What the API server tells others as its address, and what the endpoints of the Service `kubernetes` have: a loopback
/// address is not accepted there. On the nodes of a cluster it leads to the API server.
pub(crate) const ADVERTISED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// The same where the first family is IPv6: the Service `kubernetes` has endpoints of its own family.
pub(crate) const ADVERTISED6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);

/// What a workload needs: its pods, their accounts, their addresses, and the end of all that.
const CONTROLLERS: [&str; 15] = [
    "clusterrole-aggregation-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpoints-controller",
    "endpointslice-controller",
    "endpointslice-mirroring-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "serviceaccount-token-controller",
    "statefulset-controller",
];

impl Cluster {
    pub(super) fn spawn_etcd(&self) -> Result<()> {
        let clients = format!("http://{}:{ETCD_PORT}", self.address);
        let peers = format!("http://{}:{ETCD_PEER_PORT}", self.address);
        let mut command = Command::new(&self.binaries.etcd);
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

    pub(super) fn spawn_api_server(&self) -> Result<()> {
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let services = self.service_cidrs();
        let mut command = Command::new(&self.binaries.api_server);
        command
            .arg(format!(
                "--etcd-servers=http://{}:{ETCD_PORT}",
                self.address
            ))
            .arg(format!("--bind-address={}", self.address))
            .arg(format!("--secure-port={API_PORT}"))
            .arg(format!("--advertise-address={}", self.advertised()))
            .arg("--permit-address-sharing")
            .arg(file("tls-cert-file", pki::SERVING_CERT))
            .arg(file("tls-private-key-file", pki::SERVING_KEY))
            .arg(format!("--cert-dir={}", self.dir().display()))
            .arg(file("token-auth-file", "tokens.csv"))
            .args(["--authorization-mode=RBAC", "--allow-privileged=true"])
            .arg("--service-account-issuer=https://kubernetes.default.svc")
            .arg(file(
                "service-account-key-file",
                pki::SERVICE_ACCOUNT_PUBLIC_KEY,
            ))
            .arg(file(
                "service-account-signing-key-file",
                pki::SERVICE_ACCOUNT_KEY,
            ))
            .arg(format!("--service-cluster-ip-range={services}"))
            .args(["--enable-priority-and-fairness=false", "--profiling=false"])
            .arg("--shutdown-delay-duration=0s")
            .args(&self.flags);
        if self.binaries.controllers.is_none() {
            // Nobody makes the `default` ServiceAccount that pods would be refused for, nobody asks for `kubernetes`.
            command
                .arg("--disable-admission-plugins=ServiceAccount")
                .arg("--endpoint-reconciler-type=none");
        }
        if self.audited {
            audit::write_policy(&self.path(audit::POLICY))?;
            command
                .arg(file("audit-policy-file", audit::POLICY))
                .arg(file("audit-log-path", audit::LOG));
        }
        spawn(&self.api_server, command, &self.path("kube-apiserver.log"))
    }

    /// Nothing if the cluster has no controllers.
    pub(super) fn spawn_controllers(&self) -> Result<()> {
        let Some(program) = &self.binaries.controllers else {
            return Ok(());
        };
        let file = |flag: &str, name: &str| format!("--{flag}={}", self.path(name).display());
        let mut command = Command::new(program);
        command
            .arg(file("kubeconfig", "kubeconfig"))
            .arg(format!("--controllers={}", CONTROLLERS.join(",")))
            .args(["--leader-elect=false", "--secure-port=0"])
            .arg(file(
                "service-account-private-key-file",
                pki::SERVICE_ACCOUNT_KEY,
            ))
            .arg(file("root-ca-file", pki::CA))
            // Its own limit is 20 requests a second.
            .args(["--kube-api-qps=500", "--kube-api-burst=1000"])
            .args(["--concurrent-namespace-syncs=20", "--profiling=false"]);
        spawn(
            &self.controllers,
            command,
            &self.path("kube-controller-manager.log"),
        )
    }

    /// Without a port of its own the controller manager shows its readiness by what it makes.
    pub(super) async fn wait_for_controllers(&self) -> Result<()> {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client().await?, "default");
        let made = eventually(START_DEADLINE, || async {
            if let Some(process) = lock(&self.controllers).as_mut()
                && let Err(error) = process.ensure_running()
            {
                return Ok(Err(error));
            }
            accounts.get("default").await?;
            anyhow::Ok(Ok(()))
        })
        .await;
        let tail = || lock(&self.controllers).as_ref().map(Process::tail);
        made.with_context(|| {
            format!(
                "kube-controller-manager made no ServiceAccount\n{}",
                tail().unwrap_or_default()
            )
        })?
    }

    pub(super) async fn wait_ready(&self, path: &str) -> Result<()> {
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

pub(super) fn lock(process: &Mutex<Option<Process>>) -> MutexGuard<'_, Option<Process>> {
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
