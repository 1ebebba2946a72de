//! Control planes, nodes and the programs that stand for images.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};
use subm_test_support::lan::Cni;
use subm_test_support::{
    Cluster, Fabric, Families, KubeProxy, TestNode, eventually, objects, whereami,
};

use crate::Desk;

/// A change takes far less; a busy machine has taken long.
const SOON: Duration = Duration::from_secs(90);

/// Images that `join` names, and the programs that they stand for.
const IMAGES: [(&str, &str); 5] = [
    ("lighthouse-agent", "lighthouse-agent"),
    ("lighthouse-coredns", "lighthouse-dns"),
    ("submariner-gateway", "submariner-gateway"),
    ("submariner-route-agent", "submariner-route-agent"),
    ("nettest", "subm-nettest"),
];

/// A broker cluster, members, and a desk.
pub struct Lab {
    pub desk: Desk,
    pub broker: Cluster,
    pub members: Vec<Member>,
    /// Between the clusters' nodes, where there is something.
    fabric: Option<Fabric>,
}

/// What the members' networks are like.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kind {
    pub families: Families,
    pub kube_proxy: KubeProxy,
    pub cni: Cni,
}

/// A cluster with its nodes.
pub struct Member {
    pub name: String,
    pub client: Client,
    /// Called `NAME-worker`, `NAME-worker2` ….
    pub nodes: Vec<TestNode>,
    pub cluster: Cluster,
}

impl Lab {
    /// A broker and members of one node each, between which there is no network: enough for names.
    pub async fn start(members: usize) -> Result<Self> {
        Self::with(members, 1, None, Kind::default()).await
    }

    /// A broker and members of two nodes each, which reach the nodes of other members over a router.
    pub async fn joined(members: usize) -> Result<Self> {
        Self::joined_as(members, Kind::default()).await
    }

    /// The same with clusters that are not as `kind` makes them.
    pub async fn joined_as(members: usize, kind: Kind) -> Result<Self> {
        Self::with(members, 2, Some(Fabric::new()?), kind).await
    }

    /// A broker and members `c1`, `c2` … with the address ranges of the article: pods 10.8/16, 10.9/16 …, Services 10.88/16,
    /// 10.99/16 ….
    async fn with(
        members: usize,
        nodes: usize,
        fabric: Option<Fabric>,
        kind: Kind,
    ) -> Result<Self> {
        let programs = programs()?;
        let mut builders = vec![Cluster::builder().controllers().audited()];
        for index in 0..members {
            let (pods, services) = (
                format!("10.{}.0.0/16", 8 + index),
                format!("10.{}.0.0/16", 88 + 11 * index),
            );
            builders.push(
                Cluster::builder()
                    .controllers()
                    .audited()
                    .families(kind.families)
                    .pod_cidr(pods.parse()?)
                    .service_cidr(services.parse()?),
            );
        }
        let mut clusters = Cluster::start_all(builders).await?.into_iter();
        let broker = clusters.next().context("a broker")?;
        let mut running = Vec::new();
        for (index, cluster) in clusters.enumerate() {
            cluster.wait_for_roles().await?;
            let name = format!("c{}", index + 1);
            if let Some(fabric) = &fabric {
                fabric.join(&cluster.lan()?)?;
            }
            let mut started = Vec::new();
            for number in 1..=nodes {
                let suffix = if number == 1 {
                    String::new()
                } else {
                    number.to_string()
                };
                let mut node = TestNode::builder(&format!("{name}-worker{suffix}"))
                    .kube_proxy(kind.kube_proxy)
                    .cni(kind.cni)
                    .pause("nettool");
                for (image, program) in IMAGES {
                    node = node.image(image, programs.join(program));
                }
                started.push(node.start(&cluster).await?);
            }
            cluster.deploy_dns().await?;
            running.push(Member {
                client: cluster.client().await?,
                name,
                nodes: started,
                cluster,
            });
        }
        broker.wait_for_roles().await?;
        let mut contexts = vec![("broker", &broker)];
        contexts.extend(
            running
                .iter()
                .map(|member| (member.name.as_str(), &member.cluster)),
        );
        Ok(Self {
            desk: Desk::new(&programs, &contexts)?,
            broker,
            members: running,
            fabric,
        })
    }

    /// Prints the transcript and, where it did not go well, the logs. To where the test harness does not catch it: it is to be read when
    /// all went well, too.
    pub fn tell<T>(&self, what: &str, began: Instant, result: &Result<T>) -> Result<()> {
        let transcript = self.desk.transcript();
        writeln!(
            std::io::stdout(),
            "{transcript}\n\n({what}{:.0?} from the first control plane to the last command)",
            began.elapsed()
        )?;
        if result.is_err() {
            for member in &self.members {
                println!("{}", member.logs());
            }
        }
        Ok(())
    }

    /// What is between the clusters.
    pub fn fabric(&self) -> Result<&Fabric> {
        self.fabric.as_ref().context("a lab that is joined has one")
    }

    pub fn member(&self, name: &str) -> &Member {
        self.members
            .iter()
            .find(|member| member.name == name)
            .expect("a member of this name")
    }

    /// A node of any member.
    pub fn node(&self, name: &str) -> Result<&TestNode> {
        let mut nodes = self.members.iter().flat_map(|member| &member.nodes);
        let node = nodes.find(|node| node.name() == name);
        node.with_context(|| format!("no node {name:?}"))
    }
}

/// The folder where cargo put the programs of this workspace, this one among them.
fn programs() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().context("a program is in a folder")?;
    // Tests are one folder deeper.
    let folder = if folder.ends_with("deps") {
        folder.parent().context("deps is in a folder")?
    } else {
        folder
    };
    let programs = IMAGES.iter().map(|(_, program)| *program);
    for program in programs.chain(["subctl"]) {
        ensure!(
            folder.join(program).exists(),
            "{} is not built: run `cargo build --workspace` first, as `make test` does",
            folder.join(program).display()
        );
    }
    Ok(folder.to_owned())
}

impl Member {
    /// Creates an object, or makes it the same.
    pub async fn apply(&self, object: Value) -> Result<()> {
        objects::put(&self.client, object).await
    }

    /// As `kubectl get KIND -n NAMESPACE -o json`.
    pub async fn list(&self, kind: &str, namespace: &str) -> Result<Vec<Value>> {
        objects::all(&self.client, kind, Some(namespace)).await
    }

    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Value> {
        let object = objects::get(&self.client, kind, namespace, name).await?;
        object.with_context(|| format!("there is no {kind} {namespace}/{name} in {}", self.name))
    }

    pub fn api(&self, kind: &str, namespace: &str) -> Api<DynamicObject> {
        objects::api(&self.client, kind, Some(namespace))
    }

    /// Scales a Deployment or StatefulSet.
    pub async fn scale(
        &self,
        kind: &str,
        namespace: &str,
        name: &str,
        replicas: u32,
    ) -> Result<()> {
        let patch = json!({"spec": {"replicas": replicas}});
        self.api(kind, namespace)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    /// Waits until `count` pods with a label are ready.
    pub async fn wait_pods(
        &self,
        namespace: &str,
        labels: &str,
        count: usize,
    ) -> Result<Vec<String>> {
        eventually(SOON, || async {
            let pods = self.ready_pods(namespace, labels).await?;
            ensure!(pods.len() == count, "{labels}: ready are {pods:?}");
            Ok::<_, anyhow::Error>(pods)
        })
        .await
    }

    async fn ready_pods(&self, namespace: &str, labels: &str) -> Result<Vec<String>> {
        let mut pods = Vec::new();
        for node in &self.nodes {
            pods.extend(node.ready_pods(namespace, labels).await?);
        }
        Ok(pods)
    }

    pub fn node(&self, name: &str) -> Result<&TestNode> {
        let node = self.nodes.iter().find(|node| node.name() == name);
        node.with_context(|| format!("{} has no node {name:?}", self.name))
    }

    /// As `kubectl exec`.
    pub async fn exec(&self, namespace: &str, pod: &str, command: &[&str]) -> Result<Output> {
        let object = self.get("Pod", namespace, pod).await?;
        let node = self.node(object["spec"]["nodeName"].as_str().unwrap_or_default())?;
        node.exec(namespace, pod, command).await
    }

    /// Whom a URL leads to from the client pod, and whom that sees.
    pub async fn whereami(&self, url: &str) -> Result<whereami::Answer> {
        let curl = ["curl", "-sS", "--max-time", "5", url];
        let output = self.exec("default", "client", &curl).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.success(),
            "curl {url} in {}: {said}",
            self.name
        );
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// IP addresses of ready pods, sorted.
    pub async fn pod_ips(&self, namespace: &str, labels: &str) -> Result<Vec<String>> {
        let ready = self.ready_pods(namespace, labels).await?;
        let mut ips = Vec::new();
        for pod in ready {
            ips.push(self.pod_ip(namespace, &pod).await?);
        }
        ips.sort();
        Ok(ips)
    }

    pub async fn pod_ip(&self, namespace: &str, pod: &str) -> Result<String> {
        let pod = self.get("Pod", namespace, pod).await?;
        pod["status"]["podIP"]
            .as_str()
            .map(str::to_owned)
            .context("no IP")
    }

    /// Asks the cluster's DNS from the client pod, as `dig` prints it with these words; sorted lines.
    pub async fn dig(&self, words: &str) -> Result<Vec<String>> {
        let mut command = vec!["dig", "+short", "+time=2", "+tries=1"];
        command.extend(words.split_whitespace());
        let output = self.exec("default", "client", &command).await?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> = text
            .lines()
            .filter(|line| !line.starts_with(';'))
            .map(str::to_owned)
            .collect();
        lines.sort();
        Ok(lines)
    }

    /// Asks until the answer is as expected.
    pub async fn wait_dig(&self, desk: &Desk, words: &str, expected: &[String]) -> Result<()> {
        eventually(SOON, || async {
            let lines = self.dig(words).await?;
            ensure!(
                lines == expected,
                "dig {words} in {} says {lines:?}, not {expected:?}",
                self.name
            );
            Ok::<_, anyhow::Error>(())
        })
        .await
        .with_context(|| self.logs())?;
        desk.note(&format!(
            "client in {}$ dig +short {words}\n{}",
            self.name,
            expected.join("\n")
        ));
        Ok(())
    }

    /// The last lines of our programs' logs.
    pub fn logs(&self) -> String {
        let mut text = String::new();
        let folders = self.nodes.iter().map(|node| std::fs::read_dir(node.dir()));
        let entries = folders.flatten().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
            .collect();
        paths.sort();
        for path in paths.iter().filter(|path| {
            let path = path.display().to_string();
            IMAGES.iter().any(|(image, _)| path.contains(image))
        }) {
            let log = std::fs::read_to_string(path).unwrap_or_default();
            let lines: Vec<&str> = log.lines().collect();
            text.push_str(&format!(
                "== {}\n{}\n",
                path.display(),
                lines[lines.len().saturating_sub(25)..].join("\n")
            ));
        }
        text
    }
}
