//! A cluster set: a broker, clusters, and an agent for each.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use serde_json::Value;
use subm_test_support::{Cluster, Process, Proxy, eventually, page, random_loopback, samples};

use crate::SOON;
use crate::objects::{self, NS};

pub(crate) const OPERATOR: &str = "submariner-operator";
pub(crate) const BROKER: &str = "submariner-k8s-broker";
const PORT: u16 = 8082;

pub(crate) struct ClusterSet {
    pub(crate) broker: Cluster,
    /// What all agents reach the broker through.
    pub(crate) way_to_broker: Proxy,
    pub(crate) members: Vec<Member>,
}

pub(crate) struct Member {
    pub(crate) name: String,
    /// Lives as long as its member.
    _cluster: Cluster,
    pub(crate) client: Client,
    pub(crate) agents: Vec<Agent>,
    home: PathBuf,
    broker: PathBuf,
}

pub(crate) struct Agent {
    pub(crate) process: Process,
    address: Ipv4Addr,
}

impl ClusterSet {
    /// A broker and `n` clusters `c1`, `c2` … with an agent each, the namespace `shop` in all.
    pub(crate) async fn start(n: usize) -> Result<Self> {
        let mut set = Self::without_agents(n).await?;
        for member in &mut set.members {
            member.start_agent(&[])?;
        }
        for member in &set.members {
            member.wait_ready().await?;
        }
        Ok(set)
    }

    pub(crate) async fn without_agents(n: usize) -> Result<Self> {
        let mut clusters = Cluster::start_many(n + 1).await?;
        let broker = clusters.pop().context("a broker")?;
        broker.apply_crds().await?;
        objects::put(&broker.client().await?, objects::namespace(BROKER)).await?;
        let way_to_broker = Proxy::start(broker.addr()).await?;
        let mut members = Vec::new();
        for (index, cluster) in clusters.into_iter().enumerate() {
            cluster.apply_crds().await?;
            let client = cluster.client().await?;
            for namespace in [OPERATOR, NS] {
                objects::put(&client, objects::namespace(namespace)).await?;
            }
            members.push(Member {
                name: format!("c{}", index + 1),
                home: cluster.kubeconfig(),
                broker: broker.kubeconfig_through(way_to_broker.addr())?,
                _cluster: cluster,
                client,
                agents: Vec::new(),
            });
        }
        Ok(Self {
            broker,
            way_to_broker,
            members,
        })
    }

    pub(crate) async fn broker_client(&self) -> Result<Client> {
        self.broker.client().await
    }

    /// Waits until a service is imported everywhere from exactly these clusters, with a ready slice of each.
    pub(crate) async fn wait_exported(&self, service: &str, exporters: &[&str]) -> Result<()> {
        for member in &self.members {
            eventually(SOON, || member.check_import(service, exporters))
                .await
                .with_context(|| format!("{service} in {}\n{}", member.name, member.logs()))?;
        }
        Ok(())
    }

    /// Waits until nothing is left of any service, here or on the broker.
    pub(crate) async fn wait_nothing_exported(&self) -> Result<()> {
        let broker = self.broker_client().await?;
        let clients = self
            .members
            .iter()
            .map(|member| &member.client)
            .chain([&broker]);
        for client in clients {
            eventually(SOON, || async {
                let imports = objects::all(client, "ServiceImport").await?;
                ensure!(imports.is_empty(), "there are {} imports", imports.len());
                let slices = objects::all(client, "EndpointSlice").await?;
                let ours = slices
                    .iter()
                    .filter(|slice| {
                        slice["metadata"]["labels"]["multicluster.kubernetes.io/source-cluster"]
                            .is_string()
                    })
                    .count();
                ensure!(ours == 0, "there are {ours} slices");
                Ok::<_, anyhow::Error>(())
            })
            .await
            .with_context(|| self.members.iter().map(Member::logs).collect::<String>())?;
        }
        Ok(())
    }
}

impl Member {
    /// Starts one more agent, with more environment.
    pub(crate) fn start_agent(&mut self, environment: &[(&str, &str)]) -> Result<()> {
        let agent = self.agent(environment)?;
        self.agents.push(agent);
        Ok(())
    }

    pub(crate) fn agent(&self, environment: &[(&str, &str)]) -> Result<Agent> {
        let address = random_loopback();
        let mut command = Command::new(env!("CARGO_BIN_EXE_lighthouse-agent"));
        command
            .env_clear()
            .arg("--kubeconfig")
            .arg(&self.home)
            .arg("--broker-kubeconfig")
            .arg(&self.broker)
            .arg(format!("--metrics-address={address}:{PORT}"))
            .env("SUBMARINER_CLUSTERID", &self.name)
            .env("SUBMARINER_NAMESPACE", OPERATOR)
            .env("BROKER_K8S_REMOTENAMESPACE", BROKER)
            .envs(environment.iter().copied());
        Ok(Agent {
            process: Process::spawn(command)?,
            address,
        })
    }

    /// All agents end at once, without a word.
    pub(crate) fn kill_agents(&mut self) {
        self.agents.clear();
    }

    pub(crate) async fn wait_ready(&self) -> Result<()> {
        for agent in &self.agents {
            eventually(SOON, || async {
                let (status, text) = agent.page("/readyz").await?;
                ensure!(status == 200, "{text}");
                Ok::<_, anyhow::Error>(())
            })
            .await
            .with_context(|| self.logs())?;
        }
        Ok(())
    }

    /// Exports a Service with a ready backend.
    pub(crate) async fn export(&self, service: &str) -> Result<()> {
        objects::put(&self.client, objects::service(service)).await?;
        objects::put(&self.client, objects::backends(service, &["10.1.0.5"])).await?;
        objects::put(&self.client, objects::export(service)).await
    }

    pub(crate) async fn unexport(&self, service: &str) -> Result<()> {
        objects::delete(&self.client, "ServiceExport", NS, service).await
    }

    pub(crate) async fn check_import(&self, service: &str, exporters: &[&str]) -> Result<()> {
        let import = objects::get(&self.client, "ServiceImport", NS, service).await?;
        if exporters.is_empty() {
            ensure!(import.is_none(), "it is still imported");
        } else {
            let import = import.context("it is not imported")?;
            let named: Vec<&str> = import["status"]["clusters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|cluster| cluster["cluster"].as_str())
                .collect();
            let mut sorted = named.clone();
            sorted.sort_unstable();
            ensure!(sorted == exporters, "exporters are {named:?}");
        }
        let slices = objects::all(&self.client, "EndpointSlice").await?;
        let mut ready: Vec<&str> = slices
            .iter()
            .filter_map(|slice| ready_exporter(slice, service))
            .collect();
        ready.sort_unstable();
        ensure!(ready == exporters, "ready slices are of {ready:?}");
        Ok(())
    }

    /// A condition of an export: status and reason.
    pub(crate) async fn condition(&self, service: &str, r#type: &str) -> Result<(String, String)> {
        let export = objects::get(&self.client, "ServiceExport", NS, service)
            .await?
            .context("there is no export")?;
        let conditions = export["status"]["conditions"]
            .as_array()
            .context("it has no conditions")?;
        let condition = conditions
            .iter()
            .find(|condition| condition["type"] == r#type)
            .with_context(|| format!("no {type} in {conditions:?}"))?;
        let text = |field: &str| condition[field].as_str().unwrap_or_default().to_owned();
        Ok((text("status"), text("reason")))
    }

    pub(crate) fn logs(&self) -> String {
        let logs = self
            .agents
            .iter()
            .map(|agent| agent.process.output().unwrap_or_default());
        let tails = logs.map(|log| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(30)..].join("\n")
        });
        format!(
            "agent of {}:\n{}\n",
            self.name,
            tails.collect::<Vec<_>>().join("\n--\n")
        )
    }
}

fn ready_exporter<'a>(slice: &'a Value, service: &str) -> Option<&'a str> {
    let labels = &slice["metadata"]["labels"];
    let of_service = labels["multicluster.kubernetes.io/service-name"] == service
        && slice["metadata"]["namespace"] == NS;
    let ready = slice["endpoints"]
        .as_array()?
        .iter()
        .any(|endpoint| endpoint["conditions"]["ready"] == true);
    labels["multicluster.kubernetes.io/source-cluster"]
        .as_str()
        .filter(|_| of_service && ready)
}

impl Agent {
    /// A page of the agent: status and text.
    pub(crate) async fn page(&self, path: &str) -> Result<(u16, String)> {
        page((self.address, PORT).into(), path).await
    }

    /// The sum of a metric over all labels.
    pub(crate) async fn metric(&self, name: &str) -> Result<u64> {
        let (_, text) = self.page("/metrics").await?;
        let values = samples(&text, name).map(|(_, value)| value.parse::<u64>());
        Ok(values.filter_map(Result::ok).sum())
    }
}
