//! Real clusters on a fabric: what an installation of the data plane finds there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::{Pod, Secret, Service};
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use subm_test_support::lan::Cni;
use subm_test_support::{Cluster, Fabric, KubeProxy, TestNode, eventually, whereami};

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

fn field(path: &str) -> Value {
    json!({"fieldRef": {"fieldPath": path}})
}

fn daemon_set(name: &str, pod: &Value) -> Value {
    json!({
        "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    })
}

/// A pod of `whereami` on each node, and a Service of them.
async fn whereami_everywhere(client: &Client) -> Result<()> {
    let container = json!({
        "name": "main",
        "image": "whereami:1",
        "ports": [{"containerPort": 80}],
        "env": [
            {"name": "NODE_NAME", "valueFrom": field("spec.nodeName")},
            {"name": "POD_NAME", "valueFrom": field("metadata.name")},
            {"name": "CLUSTER_NAME", "value": "c1"},
        ],
        "readinessProbe": {"httpGet": {"port": 80}},
    });
    let pod = json!({"containers": [container], "terminationGracePeriodSeconds": 0});
    create::<DaemonSet>(client, daemon_set("whereami", &pod)).await?;
    let service = json!({
        "metadata": {"name": "whereami"},
        "spec": {"selector": {"app": "whereami"}, "ports": [{"port": 8080, "targetPort": 80}]},
    });
    create::<Service>(client, service).await
}

async fn one_pod(node: &TestNode, app: &str) -> Result<String> {
    eventually(DEADLINE, || async {
        let pods = node.ready_pods(NAMESPACE, &format!("app={app}")).await?;
        ensure!(pods.len() == 1, "{app} on {}: {pods:?}", node.name());
        Ok(pods[0].clone())
    })
    .await
}

async fn pod_ip(client: &Client, pod: &str) -> Result<String> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    let status = pods.get(pod).await?.status;
    status.and_then(|status| status.pod_ip).context("no IP")
}

async fn curl(node: &TestNode, pod: &str, url: &str) -> Result<String> {
    let curl = ["curl", "-sSk", "--max-time", "3", url];
    let output = node.exec(NAMESPACE, pod, &curl).await?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "{url}: {said}");
    Ok(String::from_utf8(output.stdout)?)
}

async fn ask(node: &TestNode, pod: &str, url: &str) -> Result<whereami::Answer> {
    Ok(serde_json::from_str(&curl(node, pod, url).await?)?)
}

async fn cluster_ip(client: &Client) -> Result<String> {
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let spec = services.get("whereami").await?.spec;
    spec.and_then(|spec| spec.cluster_ip).context("no IP")
}

/// kube-proxy in each mode that this kernel can do, and two plugins.
#[tokio::test(flavor = "multi_thread")]
async fn whereami_answers_pods_and_services_with_any_kube_proxy() -> Result<()> {
    let cluster = Cluster::builder().controllers().start().await?;
    let client = cluster.client().await?;
    let start = |name, mode, cni| {
        TestNode::builder(name)
            .kube_proxy(mode)
            .cni(cni)
            .start(&cluster)
    };
    let (one, two) = tokio::try_join!(
        start("n1", KubeProxy::Nftables, Cni::Kindnet),
        start("n2", KubeProxy::Iptables, Cni::Flannel)
    )?;
    if !KubeProxy::Ipvs.is_supported() {
        let refused = start("n3", KubeProxy::Ipvs, Cni::Bare).await;
        let said = format!("{:#}", refused.err().context("it started")?);
        ensure!(said.contains("needs a kernel with IPVS"), "{said}");
        println!("ipvs: not with this kernel");
    }
    whereami_everywhere(&client).await?;
    let nodes = [&one, &two];
    let (here, there) = (
        one_pod(&one, "whereami").await?,
        one_pod(&two, "whereami").await?,
    );
    let pods = [&here, &there];
    let service = cluster_ip(&client).await?;
    for (node, pod) in nodes.into_iter().zip(pods) {
        let own = pod_ip(&client, pod).await?;
        for (other_node, other) in nodes.into_iter().zip(pods) {
            let url = format!("http://{}/", pod_ip(&client, other).await?);
            let answer = ask(node, pod, &url).await?;
            assert_eq!(answer.server.pod, *other);
            assert_eq!(answer.server.node, other_node.name());
            assert_eq!(answer.server.cluster, "c1");
            // The client's own address, and not its node's.
            assert_eq!(answer.client.to_string(), own);
        }
        // Both are behind the Service.
        let url = format!("http://{service}:8080/");
        eventually(DEADLINE, async || {
            let mut served = Vec::new();
            for _ in 0..10 {
                served.push(ask(node, pod, &url).await?.server.pod);
            }
            ensure!(pods.iter().all(|pod| served.contains(pod)), "{served:?}");
            anyhow::Ok(())
        })
        .await?;
    }
    let rules = async |node: &TestNode| -> Result<String> {
        let output = node.exec_on_node(&["nft", "list", "ruleset"]).await?;
        Ok(String::from_utf8(output.stdout)?)
    };
    let (by_nft, by_iptables) = (rules(&one).await?, rules(&two).await?);
    ensure!(by_nft.contains("table ip kube-proxy") && by_nft.contains("kindnet-ipmasq"));
    ensure!(by_iptables.contains("KUBE-SERVICES") && by_iptables.contains("FLANNEL-POSTRTG"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn dual_stack_clusters_have_services_of_both_families() -> Result<()> {
    let cluster = Cluster::builder()
        .controllers()
        .dual_stack()
        .service_cidr("10.96.0.0/16".parse()?)
        .start()
        .await?;
    let client = cluster.client().await?;
    let (one, two) = tokio::try_join!(
        TestNode::builder("n1").start(&cluster),
        TestNode::builder("n2")
            .kube_proxy(KubeProxy::Iptables)
            .start(&cluster)
    )?;
    whereami_everywhere(&client).await?;
    let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
    let both = json!({"spec": {"ipFamilyPolicy": "RequireDualStack"}});
    let service = services
        .patch("whereami", &PatchParams::default(), &Patch::Merge(both))
        .await?;
    let addresses = service
        .spec
        .and_then(|spec| spec.cluster_ips)
        .context("no addresses")?;
    let [v4, v6] = addresses.as_slice() else {
        anyhow::bail!("{addresses:?}")
    };
    let range = cluster.service_cidr6().context("dual-stack")?;
    ensure!(range.contains(&v6.parse::<std::net::Ipv6Addr>()?), "{v6}");
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    for node in [&one, &two] {
        let pod = one_pod(node, "whereami").await?;
        let status = pods.get(&pod).await?.status.context("no status")?;
        let ips: Vec<String> = status
            .pod_ips
            .into_iter()
            .flatten()
            .map(|ip| ip.ip)
            .collect();
        ensure!(ips.len() == 2 && status.host_ips.is_some_and(|ips| ips.len() == 2));
        for (service, own) in [format!("{v4}:8080"), format!("[{v6}]:8080")]
            .iter()
            .zip(&ips)
        {
            let url = format!("http://{service}/");
            // A pod that reaches itself by the Service is masqueraded: the other one is to answer.
            let answer = eventually(DEADLINE, async || {
                let answer = ask(node, &pod, &url).await?;
                ensure!(answer.server.pod != pod, "{answer:?}");
                anyhow::Ok(answer)
            })
            .await?;
            assert_eq!(answer.client.to_string(), *own, "{service}");
        }
    }
    Ok(())
}

/// A gateway's pod by its manifest: the node's network, host name, kernel parameters, devices and secrets.
#[tokio::test(flavor = "multi_thread")]
async fn privileged_pods_have_the_node_and_are_replaced_by_a_rolling_update() -> Result<()> {
    let cluster = Cluster::builder().controllers().start().await?;
    let client = cluster.client().await?;
    let start = |name, gateway| {
        TestNode::builder(name)
            .label("submariner.io/gateway", gateway)
            .image("gateway", "/bin/sh")
            .start(&cluster)
    };
    let (gateway, worker) = tokio::try_join!(start("gw", "true"), start("worker", "false"))?;
    create::<Secret>(
        &client,
        json!({"metadata": {"name": "broker"}, "stringData": {"token": "hidden"}}),
    )
    .await?;
    let script = r#"
        echo "version=$VERSION node=$NODE_NAME namespace=$SUBMARINER_NAMESPACE pod=$POD_NAME host=$(hostname)"
        echo "token=$(cat /run/secrets/submariner.io/broker/token)"
        echo 2 > /proc/sys/net/ipv4/conf/eth0/rp_filter && echo "rp_filter=$(cat /proc/sys/net/ipv4/conf/eth0/rp_filter)"
        echo 0 > /proc/sys/kernel/panic || echo "the machine's parameters are not ours"
        ip link add vx-$VERSION type vxlan id $VERSION dstport 4800 && echo "device made"
        nft add table inet made-by-$VERSION && echo "table made"
        [ -c /dev/net/tun ] && echo "tun there"
        echo mine > /etc/ipsec.d/file && echo "emptyDir there"
        echo "$VERSION" >> /run/gateway/versions && echo "versions=$(tr '\n' ' ' < /run/gateway/versions)"
        trap 'ip link del vx-$VERSION; echo "told to end"; exit 0' TERM
        echo ready; while :; do sleep 0.05; done
    "#;
    let container = |privileged: bool, version: &str| {
        json!({
            "name": "main",
            "image": "quay.io/submariner/gateway:0.24",
            "args": ["-c", script],
            "securityContext": {"privileged": privileged, "runAsNonRoot": false},
            "env": [
                {"name": "NODE_NAME", "valueFrom": field("spec.nodeName")},
                {"name": "SUBMARINER_NAMESPACE", "valueFrom": field("metadata.namespace")},
                {"name": "POD_NAME", "valueFrom": field("metadata.name")},
                {"name": "VERSION", "value": version},
            ],
            "volumeMounts": [
                {"name": "ipsecd", "mountPath": "/etc/ipsec.d"},
                {"name": "run", "mountPath": "/run/gateway"},
                {"name": "modules", "mountPath": "/lib/modules", "readOnly": true},
                {"name": "broker", "mountPath": "/run/secrets/submariner.io/broker", "readOnly": true},
            ],
        })
    };
    let pod = |privileged: bool, version: &str| {
        json!({
            "nodeSelector": {"submariner.io/gateway": "true"},
            "hostNetwork": true,
            "dnsPolicy": "ClusterFirstWithHostNet",
            "tolerations": [{"operator": "Exists"}],
            "terminationGracePeriodSeconds": 1,
            "containers": [container(privileged, version)],
            "volumes": [
                {"name": "ipsecd", "emptyDir": {}},
                {"name": "run", "hostPath": {"path": "/run/gateway", "type": "DirectoryOrCreate"}},
                {"name": "modules", "hostPath": {"path": "/lib/modules", "type": ""}},
                {"name": "broker", "secret": {"secretName": "broker"}},
            ],
        })
    };
    create::<DaemonSet>(&client, daemon_set("submariner-gateway", &pod(true, "1"))).await?;
    let first = one_pod(&gateway, "submariner-gateway").await?;
    let says = async |pod: &str, lines: &[String]| {
        eventually(DEADLINE, || async {
            let log = gateway.log(NAMESPACE, pod, "main");
            for line in lines {
                ensure!(log.contains(line), "no {line:?} in\n{log}");
            }
            anyhow::Ok(())
        })
        .await
    };
    says(
        &first,
        &[
            format!("version=1 node=gw namespace=default pod={first} host=gw"),
            "token=hidden".into(),
            "rp_filter=2".into(),
            "the machine's parameters are not ours".into(),
            "device made".into(),
            "table made".into(),
            "tun there".into(),
            "emptyDir there".into(),
            "versions=1".into(),
            "ready".into(),
        ],
    )
    .await?;
    // It was the node's.
    let on_node = gateway.net().netns();
    ensure!(on_node.output("ip", &["link"])?.contains("vx-1"));
    ensure!(
        !worker
            .net()
            .netns()
            .output("ip", &["link"])?
            .contains("vx-1")
    );
    ensure!(!Command::exists("vx-1")?, "it is the machine's");
    assert_eq!(pod_ip(&client, &first).await?, gateway.ip().to_string());

    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), NAMESPACE);
    let update = async |privileged: bool, version: &str| {
        let patch = json!({"spec": {"template": {"spec": pod(privileged, version)}}});
        sets.patch(
            "submariner-gateway",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await
    };
    update(true, "2").await?;
    let second = eventually(DEADLINE, || async {
        let pod = one_pod(&gateway, "submariner-gateway").await?;
        ensure!(pod != first, "{pod}");
        Ok(pod)
    })
    .await?;
    says(
        &second,
        &["version=2 ".into(), "versions=1 2 ".into(), "ready".into()],
    )
    .await?;
    ensure!(
        gateway
            .log(NAMESPACE, &first, "main")
            .contains("told to end")
    );
    let links = on_node.output("ip", &["link"])?;
    ensure!(links.contains("vx-2") && !links.contains("vx-1"), "{links}");

    // Who does not ask for it, does not get it.
    update(false, "3").await?;
    let third = eventually(DEADLINE, || async {
        let pod = one_pod(&gateway, "submariner-gateway").await?;
        ensure!(pod != second, "{pod}");
        Ok(pod)
    })
    .await?;
    says(
        &third,
        &[
            "version=3 ".into(),
            "ready".into(),
            "Operation not permitted".into(),
        ],
    )
    .await?;
    let log = gateway.log(NAMESPACE, &third, "main");
    for privilege in ["rp_filter=", "device made", "table made"] {
        ensure!(
            !log.contains(privilege),
            "{privilege} without privilege:\n{log}"
        );
    }
    let pods: Api<Pod> = Api::namespaced(client, NAMESPACE);
    let of_gateways = ListParams::default().labels("app=submariner-gateway");
    let left: Vec<String> = pods
        .list(&of_gateways)
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .collect();
    assert_eq!(left, [third]);
    Ok(())
}

/// The links of the machine itself.
struct Command;

impl Command {
    fn exists(link: &str) -> Result<bool> {
        Ok(std::fs::exists(format!("/sys/class/net/{link}"))?)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_joined_partitioned_and_their_nodes_rebooted() -> Result<()> {
    let start = Instant::now();
    let fabric = Fabric::new()?;
    let mut clusters = Cluster::start_all([8, 9].map(|n| {
        Cluster::builder()
            .controllers()
            .pod_cidr(format!("10.{n}.0.0/16").parse().expect("a range"))
            .service_cidr(format!("10.{n}{n}.0.0/16").parse().expect("a range"))
    }))
    .await?;
    let (c2, c1) = (clusters.remove(1), clusters.remove(0));
    fabric.join(&c1.lan()?)?;
    let ((one, worker), two) = tokio::try_join!(
        async {
            tokio::try_join!(
                TestNode::builder("c1-gw").start(&c1),
                TestNode::builder("c1-worker").start(&c1)
            )
        },
        TestNode::builder("c2-gw").start(&c2)
    )?;
    // Later than its nodes: they are joined, too.
    fabric.join(&c2.lan()?)?;
    ensure!(fabric.join(&c2.lan()?).is_err());
    println!("two clusters of three nodes after {:?}", start.elapsed());
    let (client, far_client) = (c1.client().await?, c2.client().await?);
    whereami_everywhere(&client).await?;
    whereami_everywhere(&far_client).await?;
    let (pod, far) = (
        one_pod(&worker, "whereami").await?,
        one_pod(&two, "whereami").await?,
    );

    // Nodes reach each other, pods of the other cluster are nobody's business yet.
    let node_port = |node: &TestNode| format!("http://{}:10256/healthz", node.ip());
    ensure!(
        curl(&worker, &pod, &node_port(&two)).await.is_err(),
        "it listens on 127.0.0.1 only"
    );
    let ping = async |from: &TestNode, to: &TestNode| -> Result<()> {
        let to = (to.ip(), 9999).into();
        let refused = from.net().netns().connect(to, Duration::from_secs(2));
        let said = format!("{:#}", refused.err().context("somebody listens")?);
        ensure!(said.contains("refused"), "{said}");
        Ok(())
    };
    ping(&worker, &two).await?;
    let far_url = format!("http://{}/", pod_ip(&far_client, &far).await?);
    let unreachable = curl(&worker, &pod, &far_url).await;
    ensure!(unreachable.is_err(), "{unreachable:?}");

    // c2 is the broker. Cut the data path: it is still there.
    let broker = format!("https://{}/version", c2.addr());
    curl(&worker, &pod, &broker).await?;
    let cut = c1.lan()?.uplink()?.cut()?;
    ensure!(ping(&worker, &two).await.is_err());
    curl(&worker, &pod, &broker).await?;
    cut.heal()?;
    eventually(DEADLINE, || ping(&worker, &two)).await?;

    // Cut the broker off: the data path is still there, the other cluster and the test see the broker.
    let partition = c1.lan()?.partition(&c2)?;
    ensure!(curl(&worker, &pod, &broker).await.is_err());
    let from_node = async |node: &TestNode| -> Result<bool> {
        let curl = ["curl", "-sk", "--max-time", "2", &broker];
        Ok(node.exec_on_node(&curl).await?.status.success())
    };
    ensure!(!from_node(&one).await? && from_node(&two).await?);
    ping(&worker, &two).await?;
    far_client.apiserver_version().await?;
    // Pods that come later are cut off, too.
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    pods.delete(&pod, &kube::api::DeleteParams::default())
        .await?;
    let later = eventually(DEADLINE, || async {
        let now = one_pod(&worker, "whereami").await?;
        ensure!(now != pod, "{now}");
        Ok(now)
    })
    .await?;
    ensure!(curl(&worker, &later, &broker).await.is_err());
    partition.heal()?;
    curl(&worker, &later, &broker).await?;

    // Its own API server, by the Service.
    let own = "https://10.88.0.1/version".to_owned();
    curl(&worker, &later, &own).await?;
    let partition = c1.lan()?.partition(&c1)?;
    ensure!(curl(&worker, &later, &own).await.is_err());
    drop(partition);
    curl(&worker, &later, &own).await?;

    let ip = worker.ip();
    worker.net().netns().ip("link add left type bridge")?;
    let worker = worker.reboot(&c1).await?;
    assert_eq!(worker.ip(), ip);
    ensure!(
        !worker
            .net()
            .netns()
            .output("ip", &["link"])?
            .contains("left")
    );
    let neighbour = one_pod(&one, "whereami").await?;
    eventually(DEADLINE, || async {
        let url = format!("http://{}/", pod_ip(&client, &later).await?);
        let answer = ask(&one, &neighbour, &url).await?;
        ensure!(answer.server.pod == later, "{answer:?}");
        ping(&worker, &two).await
    })
    .await
}
