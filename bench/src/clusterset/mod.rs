//! A cluster set to measure: a broker, a cluster that exports and one that imports, each with its agent, and the DNS server of
//! the importing one.

mod exports;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use kube::Client;
use serde_json::json;
use subm_test_support::{Cluster, Process, page, random_loopback, samples};

use crate::controlplane::service::Object;
use crate::controlplane::world::unlimited;
use crate::controlplane::writer;

pub use exports::{Exports, NAMESPACE, millis, percentile};

const AGENT_PORT: u16 = 8082;
const DNS_PORT: u16 = 5353;
const BROKER_NAMESPACE: &str = "submariner-k8s-broker";
/// Between two looks at something that takes milliseconds.
const PAUSE: Duration = Duration::from_millis(1);
/// For what takes minutes on a busy machine.
const LONG: Duration = Duration::from_mins(20);

/// All of it; gone when dropped.
pub struct ClusterSet {
    pub exporting: Member,
    pub importing: Member,
    /// Of the importing cluster.
    pub dns: SocketAddr,
    _dns: Process,
    _broker: Cluster,
}

/// A cluster and its agent.
pub struct Member {
    pub client: Client,
    pub agent: Agent,
    kubeconfig: PathBuf,
    broker: PathBuf,
    id: &'static str,
    binaries: PathBuf,
    _cluster: Cluster,
}

pub struct Agent {
    pub process: Process,
    address: Ipv4Addr,
}

impl ClusterSet {
    pub async fn start(binaries: &Path) -> Result<Self> {
        let (broker, exporting, importing) =
            tokio::try_join!(unlimited(), unlimited(), unlimited())?;
        writer::create(&broker.client().await?, 0..1, |_| {
            namespace(BROKER_NAMESPACE)
        })
        .await?;
        let exporting = Member::start(exporting, &broker, "c1", binaries).await?;
        let importing = Member::start(importing, &broker, "c2", binaries).await?;
        let dns = SocketAddr::from((random_loopback(), DNS_PORT));
        let mut command = Command::new(binaries.join("lighthouse-dns"));
        command
            .arg("--kubeconfig")
            .arg(&importing.kubeconfig)
            .arg(format!("--listen={dns}"));
        command
            .args(["--health=off", "--ready=off", "--metrics=off"])
            .env("SUBMARINER_CLUSTERID", "c2")
            .env_remove("KUBECONFIG");
        let set = Self {
            exporting,
            importing,
            dns,
            _dns: Process::spawn(command)?,
            _broker: broker,
        };
        for member in [&set.exporting, &set.importing] {
            member.agent.wait_idle().await?;
        }
        Ok(set)
    }

    /// Requests that write, of both agents so far.
    pub async fn writes(&self) -> Result<f64> {
        let writes = "lighthouse_agent_writes_total";
        Ok(
            self.exporting.agent.metric(writes).await?
                + self.importing.agent.metric(writes).await?,
        )
    }
}

fn namespace(name: &str) -> Object {
    let json = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    Object {
        collection: "/api/v1/namespaces".to_owned(),
        path: format!("/api/v1/namespaces/{name}"),
        json,
    }
}

impl Member {
    async fn start(
        cluster: Cluster,
        broker: &Cluster,
        id: &'static str,
        binaries: &Path,
    ) -> Result<Self> {
        let client = cluster.client().await?;
        for name in ["submariner-operator", NAMESPACE] {
            writer::create(&client, 0..1, move |_| namespace(name)).await?;
        }
        let (kubeconfig, broker) = (cluster.kubeconfig(), broker.kubeconfig());
        let agent = Agent::start(binaries, &kubeconfig, &broker, id)?;
        Ok(Self {
            client,
            agent,
            kubeconfig,
            broker,
            id,
            binaries: binaries.to_owned(),
            _cluster: cluster,
        })
    }

    /// Ends the agent in good order and starts it anew; how long until it has dealt with all that is there.
    pub async fn restart_agent(&mut self) -> Result<Duration> {
        self.agent
            .process
            .terminate(Duration::from_secs(30))
            .await?;
        let began = Instant::now();
        self.agent = Agent::start(&self.binaries, &self.kubeconfig, &self.broker, self.id)?;
        self.agent.wait_idle().await?;
        Ok(began.elapsed())
    }
}

impl Agent {
    fn start(binaries: &Path, home: &Path, broker: &Path, id: &str) -> Result<Self> {
        let address = random_loopback();
        let mut command = Command::new(binaries.join("lighthouse-agent"));
        command
            .env_clear()
            .arg("--kubeconfig")
            .arg(home)
            .arg("--broker-kubeconfig")
            .arg(broker)
            .arg(format!("--metrics-address={address}:{AGENT_PORT}"))
            .arg(format!("--cluster-id={id}"))
            .arg("--log-level=warn");
        Ok(Self {
            process: Process::spawn(command)?,
            address,
        })
    }

    /// Waits until it leads, hears the broker, and has nothing to do.
    pub async fn wait_idle(&self) -> Result<()> {
        let began = Instant::now();
        loop {
            let idle = async {
                let page = self.page("/metrics").await?;
                let value = |name: &str| sum(&page, name);
                let on = |name: &str| value(name) > 0.0;
                let ready = on("lighthouse_agent_leader") && on("lighthouse_agent_synced");
                anyhow::Ok(ready && value("lighthouse_agent_queue_depth") == 0.0)
            };
            if idle.await.unwrap_or_default() {
                return Ok(());
            }
            ensure!(
                began.elapsed() < LONG,
                "the agent does not come to rest: {}",
                self.process.output()?
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The sum of a metric over its labels.
    pub async fn metric(&self, name: &str) -> Result<f64> {
        Ok(sum(&self.page("/metrics").await?, name))
    }

    async fn page(&self, path: &str) -> Result<String> {
        let (status, text) = page((self.address, AGENT_PORT).into(), path).await?;
        ensure!(status == 200, "{path} says {status}: {text}");
        Ok(text)
    }
}

fn sum(page: &str, name: &str) -> f64 {
    let values = samples(page, name).map(|(_, value)| value.parse::<f64>());
    values.filter_map(Result::ok).sum()
}

/// Waits for an answer that a cluster set gives within milliseconds.
pub fn pause() {
    std::thread::sleep(PAUSE);
}
