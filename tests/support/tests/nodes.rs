//! Several nodes and several clusters at once.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::{DaemonSet, StatefulSet};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::Client;
use kube::api::{Api, ListParams, PostParams};
use serde_json::{Value, json};
use subm_test_support::rbac::{self, Access};
use subm_test_support::{Cluster, Proxy, TestNode, eventually};

const DEADLINE: Duration = Duration::from_mins(3);
const NAMESPACE: &str = "default";

async fn create<K>(client: &Client, object: Value) -> Result<()>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?;
    Ok(())
}

/// A DaemonSet, or what has its form, of pods that answer HTTP with their name.
fn workload(name: &str, more: &Value) -> Value {
    let mut pod = json!({
        "containers": [{"name": "main", "image": "nginx", "ports": [{"containerPort": 80}]}],
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    })
}

async fn one_pod(node: &TestNode, app: &str) -> Result<String> {
    eventually(DEADLINE, || async {
        let pods = node.ready_pods(NAMESPACE, &format!("app={app}")).await?;
        ensure!(pods.len() == 1, "{app} on {}: {pods:?}", node.name());
        Ok(pods[0].clone())
    })
    .await
}

async fn ip_of(client: &Client, pod: &str) -> Result<String> {
    let pod = Api::<Pod>::namespaced(client.clone(), NAMESPACE)
        .get(pod)
        .await?;
    pod.status.and_then(|status| status.pod_ip).context("no IP")
}

/// What `curl` in a pod prints.
async fn curl(node: &TestNode, pod: &str, url: &str) -> Result<String> {
    let curl = ["curl", "-sSk", "--max-time", "5", url];
    let output = node.exec(NAMESPACE, pod, &curl).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{url}: {said}");
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_two_nodes_reach_each_other() -> Result<()> {
    let cluster = Cluster::builder().controllers().start().await?;
    let client = cluster.client().await?;
    let gateway = TestNode::builder("gw").label("submariner.io/gateway", "true");
    let (gateway, worker) = tokio::try_join!(
        gateway.start(&cluster),
        TestNode::builder("worker").start(&cluster)
    )?;
    create::<DaemonSet>(&client, workload("everywhere", &json!({}))).await?;
    let on_gateways = json!({
        "nodeSelector": {"submariner.io/gateway": "true"},
        "hostNetwork": true,
    });
    create::<DaemonSet>(&client, workload("gateway", &on_gateways)).await?;

    let (here, there) = (
        one_pod(&gateway, "everywhere").await?,
        one_pod(&worker, "everywhere").await?,
    );
    let (here_ip, there_ip) = (ip_of(&client, &here).await?, ip_of(&client, &there).await?);
    assert_eq!(
        curl(&gateway, &here, &format!("http://{there_ip}/")).await?,
        there
    );
    assert_eq!(
        curl(&worker, &there, &format!("http://{here_ip}/")).await?,
        here
    );
    // A pod on its node's network.
    let host = one_pod(&gateway, "gateway").await?;
    assert_eq!(ip_of(&client, &host).await?, gateway.ip().to_string());
    assert_eq!(
        curl(&worker, &there, &format!("http://{}/", gateway.ip())).await?,
        host
    );
    assert_eq!(
        curl(&gateway, &host, &format!("http://{there_ip}/")).await?,
        there
    );
    ensure!(
        worker
            .ready_pods(NAMESPACE, "app=gateway")
            .await?
            .is_empty()
    );

    let mut stateful = workload("db", &json!({}));
    stateful["spec"]["serviceName"] = json!("db");
    stateful["spec"]["replicas"] = json!(2);
    create::<StatefulSet>(&client, stateful).await?;
    let headless = json!({
        "metadata": {"name": "db"},
        "spec": {"clusterIP": "None", "selector": {"app": "db"}, "ports": [{"port": 80}]},
    });
    create::<Service>(&client, headless).await?;
    cluster.deploy_dns().await?;
    cluster
        .wait_available("kube-system", "coredns", DEADLINE)
        .await?;
    eventually(DEADLINE, || async {
        let said = curl(&worker, &there, "http://db-1.db.default.svc.cluster.local/").await?;
        ensure!(said == "db-1", "{said}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_the_api_servers_of_other_clusters() -> Result<()> {
    let start = Instant::now();
    let mut clusters = Cluster::start_all([8, 9].map(|n| {
        Cluster::builder()
            .controllers()
            .audited()
            .pod_cidr(format!("10.{n}.0.0/16").parse().expect("a range"))
            .service_cidr(format!("10.{n}{n}.0.0/16").parse().expect("a range"))
    }))
    .await?;
    let (west, east) = (clusters.remove(1), clusters.remove(0));
    let mut to_east = Proxy::start(east.addr()).await?;
    let (one, two) = tokio::try_join!(
        TestNode::builder("n1")
            .api_server(to_east.addr())
            .start(&east),
        TestNode::builder("n1").start(&west)
    )?;
    tokio::try_join!(east.deploy_dns(), west.deploy_dns())?;
    for cluster in [&east, &west] {
        cluster
            .wait_available("kube-system", "coredns", DEADLINE)
            .await?;
    }
    println!("two clusters with DNS after {:?}", start.elapsed());

    let (east_client, west_client) = (east.client().await?, west.client().await?);
    create::<DaemonSet>(&east_client, workload("web", &json!({}))).await?;
    create::<DaemonSet>(&west_client, workload("web", &json!({}))).await?;
    let (here, there) = (one_pod(&one, "web").await?, one_pod(&two, "web").await?);
    ensure!(ip_of(&east_client, &here).await?.starts_with("10.8."));
    ensure!(ip_of(&west_client, &there).await?.starts_with("10.9."));

    // By the very addresses that the test uses, also those of what started after the pod.
    let later = Proxy::start(west.addr()).await?;
    for address in [east.addr(), west.addr(), to_east.addr(), later.addr()] {
        for (node, pod) in [(&one, &here), (&two, &there)] {
            let url = format!("https://{address}/version");
            let version = eventually(DEADLINE, || curl(node, pod, &url)).await?;
            ensure!(version.contains("gitVersion"), "{address}: {version}");
        }
    }

    // What a pod takes for its API server is the proxy here.
    let own = format!(
        "https://{}/version",
        SocketAddr::from(([10, 88, 0, 1], 443))
    );
    ensure!(curl(&one, &here, &own).await?.contains("gitVersion"));
    to_east.cut().await?;
    ensure!(
        curl(&one, &here, &own).await.is_err(),
        "cut, but it answers"
    );
    to_east.restore()?;
    ensure!(curl(&one, &here, &own).await?.contains("gitVersion"));

    // A role that is tight is seen to be so, and what is too much is named.
    let granted = rbac::granted(&west_client, "kube-system", "coredns").await?;
    let audit = west.audit()?;
    ensure!(
        audit.denied("kube-system", "coredns").is_empty(),
        "{audit:?}"
    );
    let unused = rbac::unused(&granted, &audit.allowed("kube-system", "coredns"));
    let watch = |group, resource| Access::resource("watch", group, resource, None);
    for too_much in [watch("", "endpoints"), watch("", "pods")] {
        ensure!(unused.contains(&too_much), "{too_much}: {unused:?}");
    }
    for needed in [
        watch("", "services"),
        watch("discovery.k8s.io", "endpointslices"),
    ] {
        ensure!(
            granted.contains(&needed) && !unused.contains(&needed),
            "{needed}: {unused:?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_power_comes_back() -> Result<()> {
    let cluster = Cluster::builder().controllers().start().await?;
    let client = cluster.client().await?;
    let node = TestNode::builder("n1").start(&cluster).await?;
    create::<DaemonSet>(&client, workload("web", &json!({}))).await?;
    let pod = one_pod(&node, "web").await?;
    drop(node);
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let left = pods.list(&ListParams::default()).await?;
    let left: Vec<String> = left.iter().map(kube::ResourceExt::name_any).collect();
    ensure!(left == [pod.as_str()], "{left:?}");

    let node = TestNode::builder("n1").start(&cluster).await?;
    eventually(DEADLINE, || async {
        let ip = ip_of(&client, &pod).await?;
        ensure!(curl(&node, &pod, &format!("http://{ip}/")).await? == pod);
        Ok(())
    })
    .await
}
