//! Test nodes: pods of real Deployments as processes of this machine.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Client, ResourceExt as _};
use serde_json::{Value, json};
use subm_test_support::{Cluster, TestNode, eventually};

const DEADLINE: Duration = Duration::from_mins(3);

async fn create<K>(client: &Client, namespace: &str, object: Value) -> Result<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned
        + serde::Serialize,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    Ok(api
        .create(&PostParams::default(), &serde_json::from_value(object)?)
        .await?)
}

/// A Deployment of pods with one container.
fn deployment(name: &str, replicas: u32, container: &Value, more: &Value) -> Value {
    let mut pod = json!({"containers": [container], "terminationGracePeriodSeconds": 1});
    for (key, value) in more.as_object().into_iter().flatten() {
        pod[key] = value.clone();
    }
    json!({
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    })
}

async fn cluster() -> Result<Cluster> {
    Cluster::builder().controllers().start().await
}

/// `shell` stands for `/bin/sh`.
async fn node(cluster: &Cluster, name: &str) -> Result<TestNode> {
    TestNode::builder(name)
        .image("example.org/shell", "/bin/sh")
        .start(cluster)
        .await
}

async fn a_ready_pod(node: &TestNode, namespace: &str, labels: &str) -> Result<String> {
    eventually(DEADLINE, || async {
        let pods = node.ready_pods(namespace, labels).await?;
        pods.into_iter().next().context("no pod is ready")
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_has_what_its_manifest_says() -> Result<()> {
    let cluster = cluster().await?;
    let node = node(&cluster, "n1").await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("manifest").await?;
    let script = r#"
        echo "args=$1 literal=$LITERAL expanded=$EXPANDED"
        echo "name=$POD_NAME ip=$POD_IP node=$NODE host=$(hostname)"
        echo "from=$FROM_MAP/$FROM_SECRET"
        echo "user=$(id -u) namespace=$(cat /var/run/secrets/kubernetes.io/serviceaccount/namespace)"
        echo "inherited=$CARGO_MANIFEST_DIR"
        touch /usr/bin/x 2>/dev/null || echo "the machine is read-only"
        touch /work/mine && echo "emptyDir is not"
        curl -sS --cacert /run/secrets/kubernetes.io/serviceaccount/ca.crt \
            -H "Authorization: Bearer $(cat /run/secrets/kubernetes.io/serviceaccount/token)" \
            https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/nodes
        while sleep 0.1; do cat /etc/not/there/before/setting; done
    "#;
    let field = |path: &str| json!({"fieldRef": {"fieldPath": path}});
    let container = json!({
        "name": "main",
        "image": "example.org/shell:1",
        "args": ["-c", script, "sh", "$(LITERAL)!"],
        "env": [
            {"name": "LITERAL", "value": "one"},
            {"name": "EXPANDED", "value": "$(LITERAL) two"},
            {"name": "POD_NAME", "valueFrom": field("metadata.name")},
            {"name": "POD_IP", "valueFrom": field("status.podIP")},
            {"name": "NODE", "valueFrom": field("spec.nodeName")},
            {"name": "FROM_MAP", "valueFrom": {"configMapKeyRef": {"name": "map", "key": "setting"}}},
            {"name": "FROM_SECRET", "valueFrom": {"secretKeyRef": {"name": "secret", "key": "word"}}},
        ],
        "securityContext": {"runAsUser": 1234},
        "volumeMounts": [
            {"name": "map", "mountPath": "/etc/not/there/before"},
            {"name": "work", "mountPath": "/work"},
        ],
    });
    let volumes = json!({"volumes": [
        {"name": "map", "configMap": {"name": "map"}},
        {"name": "work", "emptyDir": {}},
    ]});
    create::<Deployment>(
        &client,
        &namespace,
        deployment("main", 1, &container, &volumes),
    )
    .await?;

    // It waits for what it needs, and says for what.
    let pods: Api<Pod> = Api::namespaced(client.clone(), &namespace);
    eventually(DEADLINE, || async {
        let pods = serde_json::to_string(&pods.list(&ListParams::default()).await?.items)?;
        ensure!(pods.contains("configmap \\\"map\\\" not found"), "{pods}");
        Ok(())
    })
    .await?;
    let map = json!({"metadata": {"name": "map"}, "data": {"setting": "before\n"}});
    create::<ConfigMap>(&client, &namespace, map).await?;
    let secret = json!({"metadata": {"name": "secret"}, "stringData": {"word": "hidden"}});
    create::<Secret>(&client, &namespace, secret).await?;

    let pod = a_ready_pod(&node, &namespace, "app=main").await?;
    let ip = pods
        .get(&pod)
        .await?
        .status
        .and_then(|s| s.pod_ip)
        .context("no IP")?;
    ensure!(
        cluster
            .pod_cidr()
            .contains(&ip.parse::<std::net::Ipv4Addr>()?),
        "{ip}"
    );
    let account = format!("system:serviceaccount:{namespace}:default");
    eventually(DEADLINE, || async {
        let log = node.log(&namespace, &pod, "main");
        for line in [
            "args=one! literal=one expanded=one two".to_owned(),
            format!("name={pod} ip={ip} node=n1 host={pod}"),
            "from=before".to_owned(),
            "/hidden".to_owned(),
            format!("user=1234 namespace={namespace}"),
            "inherited=\n".to_owned(),
            "the machine is read-only".to_owned(),
            "emptyDir is not".to_owned(),
            // The API server knows whose token it is.
            format!(r#"User \"{account}\" cannot list resource \"nodes\""#),
        ] {
            ensure!(log.contains(&line), "no {line:?} in\n{log}");
        }
        Ok(())
    })
    .await?;

    let maps: Api<ConfigMap> = Api::namespaced(client, &namespace);
    let patch = Patch::Merge(json!({"data": {"setting": "after\n"}}));
    maps.patch("map", &PatchParams::default(), &patch).await?;
    let start = std::time::Instant::now();
    eventually(DEADLINE, || async {
        ensure!(
            node.log(&namespace, &pod, "main").contains("\nafter\n"),
            "not yet"
        );
        Ok(())
    })
    .await?;
    ensure!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn services_lead_to_ready_pods_through_rollouts() -> Result<()> {
    let cluster = cluster().await?;
    let (node, dns) = tokio::join!(node(&cluster, "n1"), cluster.deploy_dns());
    dns?;
    let node = node?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("service").await?;
    let web = json!({"name": "web", "image": "nginx:1.27", "ports": [{"containerPort": 80}]});
    create::<Deployment>(&client, &namespace, deployment("web", 2, &web, &json!({}))).await?;
    let service = json!({
        "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": 80}]},
    });
    create::<Service>(&client, &namespace, service).await?;
    cluster.wait_available(&namespace, "web", DEADLINE).await?;
    cluster
        .wait_available("kube-system", "coredns", DEADLINE)
        .await?;

    let curl = async || -> Result<Vec<String>> {
        let from = a_ready_pod(&node, &namespace, "app=web").await?;
        let script = "for i in 1 2 3 4 5 6 7 8 9 10; do curl -sS --max-time 5 http://web:8080/ || exit; done";
        let output = node.exec(&namespace, &from, &["sh", "-c", script]).await?;
        let text = String::from_utf8(output.stdout)?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{text}{said}");
        Ok(text.lines().map(String::from).collect())
    };
    let served_by = async |replicas: usize| -> Result<Vec<String>> {
        eventually(DEADLINE, async || {
            let mut ready = node.ready_pods(&namespace, "app=web").await?;
            let mut served = curl().await?;
            served.sort();
            served.dedup();
            ready.sort();
            ensure!(
                served.len() == replicas && served == ready,
                "{served:?} of {ready:?}"
            );
            Ok::<_, anyhow::Error>(served)
        })
        .await
    };
    let first = served_by(2).await?;

    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &namespace);
    let patch = async |patch: Value| {
        deployments
            .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
            .await
    };
    patch(json!({"spec": {"replicas": 1}})).await?;
    served_by(1).await?;
    // A new template: all pods are replaced.
    patch(json!({"spec": {"replicas": 3, "template": {"metadata": {"annotations": {"a": "b"}}}}}))
        .await?;
    cluster.wait_available(&namespace, "web", DEADLINE).await?;
    let second = served_by(3).await?;
    ensure!(
        !first.iter().any(|pod| second.contains(pod)),
        "{first:?} {second:?}"
    );

    deployments.delete("web", &DeleteParams::default()).await?;
    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    eventually(DEADLINE, || async {
        let left = pods.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "{} pods are left", left.len());
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_run_says_why_and_what_ends_is_started_again() -> Result<()> {
    let cluster = cluster().await?;
    let node = node(&cluster, "n1").await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("trouble").await?;
    let unknown = json!({"name": "main", "image": "example.org/unknown:1"});
    create::<Deployment>(
        &client,
        &namespace,
        deployment("unknown", 1, &unknown, &json!({})),
    )
    .await?;
    let failing = json!({
        "name": "main",
        "image": "example.org/shell",
        "args": ["-c", "echo here I am; echo -n why > /dev/termination-log; exit 7"],
        "securityContext": {"runAsUser": 1234},
    });
    create::<Deployment>(
        &client,
        &namespace,
        deployment("failing", 1, &failing, &json!({})),
    )
    .await?;
    let stubborn = json!({
        "name": "main",
        "image": "example.org/shell",
        "args": ["-c", "trap 'echo asked to end' TERM; echo up; while :; do sleep 0.1; done"],
    });
    create::<Deployment>(
        &client,
        &namespace,
        deployment("stubborn", 1, &stubborn, &json!({})),
    )
    .await?;

    let pods: Api<Pod> = Api::namespaced(client, &namespace);
    let status = async |app: &str| -> Result<(String, Value)> {
        let params = ListParams::default().labels(&format!("app={app}"));
        let pod = pods
            .list(&params)
            .await?
            .items
            .into_iter()
            .next()
            .context("no pod")?;
        let status = serde_json::to_value(&pod.status)?;
        Ok((pod.name_any(), status["containerStatuses"][0].clone()))
    };
    eventually(DEADLINE, async || {
        let (_, status) = status("unknown").await?;
        let waiting = &status["state"]["waiting"];
        ensure!(waiting["reason"] == "ErrImagePull", "{status}");
        ensure!(
            waiting["message"]
                .to_string()
                .contains("example.org/unknown"),
            "{status}"
        );
        anyhow::Ok(())
    })
    .await?;
    eventually(DEADLINE, async || {
        let (pod, status) = status("failing").await?;
        ensure!(status["restartCount"].as_i64() >= Some(2), "{status}");
        ensure!(
            status["lastState"]["terminated"]["exitCode"] == 7
                && status["lastState"]["terminated"]["message"] == "why",
            "{status}"
        );
        let log = node.log(&namespace, &pod, "main");
        ensure!(log.matches("here I am").count() >= 2, "{log}");
        anyhow::Ok(())
    })
    .await?;
    let pod = a_ready_pod(&node, &namespace, "app=stubborn").await?;
    eventually(DEADLINE, async || {
        ensure!(node.log(&namespace, &pod, "main").contains("up"), "not up");
        anyhow::Ok(())
    })
    .await?;
    // One that is killed is started again.
    let first = node.container_ids(&namespace, &pod)?;
    ensure!(first.len() == 1, "{first:?}");
    node.kill(&namespace, &pod)?;
    eventually(DEADLINE, async || {
        let (_, status) = status("stubborn").await?;
        ensure!(
            status["lastState"]["terminated"]["exitCode"] == 137,
            "{status}"
        );
        let second = node.container_ids(&namespace, &pod)?;
        ensure!(second.len() == 1 && second != first, "{second:?}");
        let ups = node.log(&namespace, &pod, "main").matches("up").count();
        ensure!(ups == 2, "started {ups} times");
        anyhow::Ok(())
    })
    .await?;
    let start = std::time::Instant::now();
    pods.delete(&pod, &DeleteParams::default()).await?;
    eventually(DEADLINE, async || {
        ensure!(pods.get_opt(&pod).await?.is_none(), "{pod} is there");
        anyhow::Ok(())
    })
    .await?;
    ensure!(
        start.elapsed() > Duration::from_millis(900),
        "no grace: {:?}",
        start.elapsed()
    );
    ensure!(
        node.log(&namespace, &pod, "main").contains("asked to end"),
        "no SIGTERM"
    );
    Ok(())
}
