//! The fixtures themselves, with the real programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::api::{Api, DynamicObject, ListParams, ObjectMeta, PostParams, VersionMatch};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};
use serde_json::json;
use subm_test_support::{Cluster, Process, Proxy, crds, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const DEADLINE: Duration = Duration::from_mins(1);

fn imports(client: Client, namespace: &str, version: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("multicluster.x-k8s.io", version, "ServiceImport");
    Api::namespaced_with(client, namespace, &ApiResource::from_gvk(&kind))
}

fn import(version: &str, name: &str) -> Result<DynamicObject> {
    Ok(serde_json::from_value(json!({
        "apiVersion": format!("multicluster.x-k8s.io/{version}"),
        "kind": "ServiceImport",
        "metadata": {"name": name},
        "spec": {"type": "ClusterSetIP", "ips": ["10.1.2.3"], "ports": [{"port": 80}]},
    }))?)
}

fn is_running(id: u32) -> bool {
    Path::new("/proc").join(id.to_string()).exists()
}

#[tokio::test(flavor = "multi_thread")]
async fn clusters_are_independent_survive_a_kill_and_leave_nothing() -> Result<()> {
    let clusters = Cluster::start_many(2).await?;
    for cluster in &clusters {
        cluster.apply_crds().await?;
    }
    let [east, west] = clusters.as_slice() else {
        anyhow::bail!("{} clusters", clusters.len())
    };
    let (here, there) = (east.client().await?, west.client().await?);
    let namespace = east.fresh_namespace("kill").await?;
    assert!(namespace.starts_with("kill-"));
    imports(here.clone(), &namespace, "v1beta1")
        .create(&PostParams::default(), &import("v1beta1", "web")?)
        .await?;
    let elsewhere = Api::<Namespace>::all(there).get_opt(&namespace).await?;
    assert!(
        elsewhere.is_none(),
        "{namespace} is in the other cluster, too"
    );

    east.kill_api_server();
    ensure!(
        here.apiserver_version().await.is_err(),
        "a killed API server answers"
    );
    east.start_api_server().await?;
    let kept = imports(here, &namespace, "v1alpha1").get("web").await?;
    assert_eq!(kept.data["spec"]["ips"], json!(["10.1.2.3"]));

    let dirs: Vec<PathBuf> = clusters.iter().map(|c| c.dir().to_owned()).collect();
    let ids: Vec<u32> = clusters.iter().flat_map(Cluster::process_ids).collect();
    assert_eq!(ids.len(), 4);
    assert!(ids.iter().all(|id| is_running(*id)));
    drop(clusters);
    assert!(!ids.into_iter().any(is_running), "processes are left");
    assert!(!dirs.iter().any(|dir| dir.exists()), "folders are left");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panicking_test_leaves_nothing() -> Result<()> {
    let (tell, told) = tokio::sync::oneshot::channel();
    let test = tokio::spawn(async {
        let process = Process::spawn(sleeper("sleep 600")).unwrap();
        tell.send((process.id(), process.log().parent().unwrap().to_owned()))
            .unwrap();
        panic!("this panic is part of the test");
    });
    assert!(test.await.is_err_and(|error| error.is_panic()));
    let (id, dir) = told.await?;
    assert!(!is_running(id));
    assert!(!dir.exists());
    // But its log is kept where the message says.
    let kept = std::env::temp_dir()
        .join("subm-failed-tests")
        .join(dir.file_name().context("no name")?);
    assert!(kept.join("output.log").exists());
    std::fs::remove_dir_all(kept)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_cluster_is_upgraded() -> Result<()> {
    let cluster = Cluster::start().await?;
    let client = cluster.client().await?;
    crds::install(&client, &crds::only_version("v1alpha1", crds::ours()?)).await?;
    let namespace = cluster.fresh_namespace("upgrade").await?;
    imports(client.clone(), &namespace, "v1alpha1")
        .create(&PostParams::default(), &import("v1alpha1", "web")?)
        .await?;
    let beta = imports(client, &namespace, "v1beta1");
    ensure!(beta.get("web").await.is_err(), "v1beta1 is served already");

    cluster.apply_crds().await?;
    eventually(DEADLINE, || beta.get("web")).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_forgets_old_revisions() -> Result<()> {
    let cluster = Cluster::builder()
        .api_server_flag("--watch-cache-sizes=endpointslices.discovery.k8s.io#0")
        .start()
        .await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("compact").await?;
    let slices: Api<EndpointSlice> = Api::namespaced(client, &namespace);
    let before = slices.list(&ListParams::default()).await?;
    let version = before.metadata.resource_version.context("no version")?;
    let at_version = ListParams::default()
        .at(&version)
        .matching(VersionMatch::Exact);
    slices.list(&at_version).await?;
    slices
        .create(
            &PostParams::default(),
            &EndpointSlice {
                metadata: ObjectMeta {
                    name: Some("new".into()),
                    ..ObjectMeta::default()
                },
                address_type: "IPv4".into(),
                ..EndpointSlice::default()
            },
        )
        .await?;

    cluster.compact().await?;

    let Err(kube::Error::Api(status)) = slices.list(&at_version).await else {
        anyhow::bail!("revision {version} can still be listed");
    };
    assert_eq!(status.code, 410);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_has_no_rights_unless_given() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.fresh_namespace("rights").await?;
    let token = cluster.service_account_token(&namespace, "reader").await?;
    let maps: Api<ConfigMap> = Api::namespaced(cluster.client_for(&token).await?, &namespace);
    let Err(kube::Error::Api(status)) = maps.list(&ListParams::default()).await else {
        anyhow::bail!("a ServiceAccount without a role may list");
    };
    assert_eq!(status.code, 403);
    assert!(status.message.contains("reader"), "{}", status.message);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn gateways_and_conditions_of_submariner_are_accepted() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let client = cluster.client().await?;
    let namespace = cluster.fresh_namespace("submariner").await?;
    let kind = GroupVersionKind::gvk("submariner.io", "v1", "Gateway");
    let gateways: Api<DynamicObject> =
        Api::namespaced_with(client.clone(), &namespace, &ApiResource::from_gvk(&kind));
    let status = json!({
        "haStatus": "active",
        "localEndpoint": {"cluster_id": "c1", "backend_config": {"udp-port": "4500"}},
        "connections": [{
            "status": "connected",
            "endpoint": {"cluster_id": "c2", "health_check_ips": ["10.9.1.1"]},
            "latencyRTT": {"average": "313.28µs"},
        }],
    });
    let gateway = serde_json::from_value(json!({
        "apiVersion": "submariner.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "gw1"},
        "status": status,
    }))?;
    let created = gateways.create(&PostParams::default(), &gateway).await?;
    assert_eq!(created.data["status"], status, "no field may be lost");

    let imports = imports(client, &namespace, "v1alpha1");
    let mut web = imports
        .create(&PostParams::default(), &import("v1alpha1", "web")?)
        .await?;
    web.data["status"] = json!({"conditions": [{
        "type": "Ready", "status": "True", "reason": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]});
    let updated = imports
        .replace_status(&web.name_any(), &PostParams::default(), &web)
        .await?;
    assert_eq!(updated.data["status"], web.data["status"]);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_delays_cuts_and_restores_an_api_server() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let mut proxy = Proxy::start(cluster.addr()).await?;
    let file = cluster.kubeconfig_through(proxy.addr())?;
    let mut config = kube::Config::from_custom_kubeconfig(
        kube::config::Kubeconfig::read_from(file)?,
        &kube::config::KubeConfigOptions::default(),
    )
    .await?;
    // One that is lost on the way when the connection is cut must not be waited for for ever.
    config.read_timeout = Some(Duration::from_secs(5));
    let client = Client::try_from(config)?;
    client.apiserver_version().await?;
    assert_eq!(proxy.accepted(), 1);

    proxy.delay(Duration::from_millis(100));
    let start = std::time::Instant::now();
    client.apiserver_version().await?;
    assert!(
        start.elapsed() >= Duration::from_millis(200),
        "there and back"
    );

    proxy.cut().await?;
    ensure!(
        client.apiserver_version().await.is_err(),
        "cut, but it answers"
    );
    ensure!(
        TcpStream::connect(proxy.addr()).await.is_err(),
        "cut, but it accepts"
    );

    proxy.restore()?;
    eventually(DEADLINE, || async {
        Ok::<_, anyhow::Error>(client.apiserver_version().await?)
    })
    .await?;
    assert!(proxy.accepted() >= 2);
    Ok(())
}

#[tokio::test]
async fn a_proxy_closes_with_fin_or_rst() -> Result<()> {
    let server = TcpListener::bind("127.0.0.1:0").await?;
    let mut proxy = Proxy::start(server.local_addr()?).await?;

    let (mut client, mut peer) = connected(&proxy, &server).await?;
    proxy.reset();
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert!(peer.read_u8().await.is_err());

    let (mut client, _peer) = connected(&proxy, &server).await?;
    proxy.cut().await?;
    let error = client.read_u8().await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    eventually(DEADLINE, || async {
        ensure!(proxy.open() == 0, "{} connections are open", proxy.open());
        Ok(())
    })
    .await
}

/// A connection through the proxy, proven by one octet: its client's end and its server's.
async fn connected(proxy: &Proxy, server: &TcpListener) -> Result<(TcpStream, TcpStream)> {
    let mut client = TcpStream::connect(proxy.addr()).await?;
    let (mut peer, _) = server.accept().await?;
    client.write_u8(7).await?;
    assert_eq!(peer.read_u8().await?, 7);
    Ok((client, peer))
}

#[tokio::test]
async fn a_process_is_read_and_its_end_is_noticed() -> Result<()> {
    let mut process = Process::spawn(sleeper("echo out; echo err >&2; sleep 600"))?;
    assert_eq!(process.wait_for_line("err", DEADLINE).await?, "err");
    assert_eq!(process.wait_for_line("out", DEADLINE).await?, "out");
    process.ensure_running()?;
    let status = process.terminate(DEADLINE).await?;
    assert!(!status.success());

    let mut process = Process::spawn(sleeper("echo last words; exit 3"))?;
    let error = process.wait_for_line("ready", DEADLINE).await.unwrap_err();
    assert!(format!("{error:#}").contains("last words"), "{error:#}");
    assert_eq!(process.wait(DEADLINE).await?.code(), Some(3));
    Ok(())
}

#[tokio::test]
async fn a_missed_deadline_tells_the_last_failure() {
    let mut n = 0;
    let error = eventually(Duration::from_millis(100), || {
        n += 1;
        std::future::ready(Err::<(), _>(format!("failure {n}")))
    })
    .await
    .unwrap_err()
    .to_string();
    assert!(n > 1);
    assert!(error.contains(&format!("failure {n}")), "{error}");
}

fn sleeper(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}
