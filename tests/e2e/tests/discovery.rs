//! Lighthouse's own end-to-end cases by their ids (E01 to E19) on three clusters: A, B and C are c1, c2 and c3, and the pod that
//! asks is in c1. E08, a cluster whose tunnel is down, needs gateways: `dns/server/tests` has it with Gateway objects.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use subm_e2e::{Lab, Member, client_pod, deployment, namespace, service, stateful_set};
use subm_test_support::eventually;

const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn end_to_end_cases() -> Result<()> {
    let lab = Lab::start(3).await?;
    let desk = &lab.desk;
    desk.subctl("--context kind-broker deploy-broker --components service-discovery --enable-clusterset-ip=false")
        .await?;
    for member in &lab.members {
        member
            .cluster
            .wait_available("kube-system", "coredns", SOON)
            .await?;
        // What is declared is what the others hold a cluster to.
        desk.subctl(&format!(
            "--context kind-{0} join broker-info.subm --clusterid {0} --clustercidr {1}",
            member.name,
            member.cluster.pod_cidr()
        ))
        .await?;
        member.apply(client_pod()).await?;
        member.wait_pods("default", "run=client", 1).await?;
    }
    for member in &lab.members {
        member
            .wait_pods(
                "submariner-operator",
                "app=submariner-lighthouse-coredns",
                2,
            )
            .await?;
        member
            .wait_pods("submariner-operator", "app=submariner-lighthouse-agent", 1)
            .await?;
    }
    let result = cases(&lab).await;
    if result.is_err() {
        println!("{}", desk.transcript());
        for member in &lab.members {
            println!("{}", member.logs());
        }
    }
    result
}

async fn cases(lab: &Lab) -> Result<()> {
    let (a, b, c) = (lab.member("c1"), lab.member("c2"), lab.member("c3"));
    one_exporter(lab, a, b).await?;
    round_robin(lab, a, b, c).await?;
    by_cluster(lab, a, b).await?;
    headless(lab, a, b).await?;
    without_selector(lab, a, b).await?;
    stateful(lab, a, b).await?;
    cluster_set_ip(lab, a, b).await?;
    missing_namespace(lab, a, b).await
}

/// The ClusterIP of nginx of a namespace.
async fn ip(member: &Member, namespace: &str) -> Result<String> {
    let service = member.get("Service", namespace, "nginx").await?;
    Ok(service["spec"]["clusterIP"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

async fn nginx(member: &Member, ns: &str) -> Result<()> {
    member.apply(deployment(ns, "nginx", 1)).await?;
    member.apply(service(ns, "nginx", "nginx", false)).await?;
    member.wait_pods(ns, "app=nginx", 1).await?;
    Ok(())
}

async fn namespaces(members: &[&Member], ns: &str) -> Result<()> {
    for member in members {
        member.apply(namespace(ns)).await?;
    }
    Ok(())
}

async fn export(lab: &Lab, member: &Member, ns: &str, service: &str) -> Result<()> {
    lab.desk
        .subctl(&format!(
            "--context kind-{} export service {service} -n {ns}",
            member.name
        ))
        .await?;
    Ok(())
}

async fn unexport(lab: &Lab, member: &Member, ns: &str, service: &str) -> Result<()> {
    lab.desk
        .subctl(&format!(
            "--context kind-{} unexport service {service} -n {ns}",
            member.name
        ))
        .await?;
    Ok(())
}

/// E01, E02, E03, E04
async fn one_exporter(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e01");
    namespaces(&[a, b], ns).await?;
    let name = format!("nginx.{ns}.svc.clusterset.local");
    // E03: the export before the Service.
    b.apply(json!({"apiVersion": "multicluster.x-k8s.io/v1beta1", "kind": "ServiceExport", "metadata": {"name": "nginx", "namespace": ns}})).await?;
    nginx(b, ns).await?;
    let remote = ip(b, ns).await?;
    a.wait_dig(desk, &name, std::slice::from_ref(&remote))
        .await?;
    // E01: with and without its port.
    a.wait_dig(desk, &format!("SRV {name}"), &[format!("0 50 80 {name}.")])
        .await?;
    // E02: an unexported Service of A resolves under A's own domain only.
    nginx(a, ns).await?;
    let local = ip(a, ns).await?;
    a.wait_dig(
        desk,
        &format!("nginx.{ns}.svc.cluster.local"),
        std::slice::from_ref(&local),
    )
    .await?;
    a.wait_dig(desk, &name, std::slice::from_ref(&remote))
        .await?;
    // E04: no active pods.
    b.scale("Deployment", ns, "nginx", 0).await?;
    a.wait_dig(desk, &name, &[]).await?;
    a.wait_dig(desk, &format!("SRV {name}"), &[]).await?;
    b.scale("Deployment", ns, "nginx", 2).await?;
    a.wait_dig(desk, &name, std::slice::from_ref(&remote))
        .await?;
    // E01: the Service goes and comes, its export stays.
    b.api("Service", ns)
        .delete("nginx", &kube::api::DeleteParams::default())
        .await?;
    a.wait_dig(desk, &name, &[]).await?;
    eventually(SOON, || async {
        ensure!(
            a.api("ServiceImport", ns).get_opt("nginx").await?.is_none(),
            "the import is still there"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    b.apply(service(ns, "nginx", "nginx", false)).await?;
    a.wait_dig(desk, &name, &[ip(b, ns).await?]).await?;
    unexport(lab, b, ns, "nginx").await?;
    a.wait_dig(desk, &name, &[]).await
}

/// E05, E07
async fn round_robin(lab: &Lab, a: &Member, b: &Member, c: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e05");
    namespaces(&[a, b, c], ns).await?;
    for member in [b, c] {
        nginx(member, ns).await?;
        export(lab, member, ns, "nginx").await?;
    }
    let name = format!("nginx.{ns}.svc.clusterset.local");
    let ips = [ip(b, ns).await?, ip(c, ns).await?];
    // Answers of the DNS server itself: the cluster's CoreDNS would keep one for five seconds.
    let server = a
        .get(
            "Service",
            "submariner-operator",
            "submariner-lighthouse-coredns",
        )
        .await?;
    let server = format!(
        "@{} ",
        server["spec"]["clusterIP"].as_str().unwrap_or_default()
    );
    eventually(SOON, || async {
        let mut counts = [0_i32; 2];
        for _ in 0..10 {
            let answer = a.dig(&format!("{server}{name}")).await?;
            for (count, ip) in counts.iter_mut().zip(&ips) {
                *count += i32::from(answer == [ip.clone()]);
            }
        }
        // Two servers behind one Service, each in turns: they may differ a little.
        ensure!(
            counts[0] + counts[1] == 10 && counts[0].abs_diff(counts[1]) <= 4,
            "{counts:?}"
        );
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    c.scale("Deployment", ns, "nginx", 0).await?;
    a.wait_dig(desk, &format!("{server}{name}"), &[ips[0].clone()])
        .await?;
    for _ in 0..5 {
        ensure!(a.dig(&format!("{server}{name}")).await? == [ips[0].clone()]);
    }
    b.scale("Deployment", ns, "nginx", 0).await?;
    a.wait_dig(desk, &format!("{server}{name}"), &[]).await
}

/// E06
async fn by_cluster(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e06");
    namespaces(&[a, b], ns).await?;
    for member in [a, b] {
        nginx(member, ns).await?;
        export(lab, member, ns, "nginx").await?;
    }
    for member in [a, b] {
        let name = format!("{}.nginx.{ns}.svc.clusterset.local", member.name);
        a.wait_dig(desk, &name, &[ip(member, ns).await?]).await?;
        a.wait_dig(desk, &format!("SRV {name}"), &[format!("0 50 80 {name}.")])
            .await?;
    }
    Ok(())
}

/// E09 to E14
async fn headless(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e09");
    namespaces(&[a, b], ns).await?;
    for member in [a, b] {
        member.apply(service(ns, "nginx", "nginx", true)).await?;
        member.apply(deployment(ns, "nginx", 2)).await?;
        member.wait_pods(ns, "app=nginx", 2).await?;
    }
    let name = format!("nginx.{ns}.svc.clusterset.local");
    export(lab, b, ns, "nginx").await?;
    a.wait_dig(desk, &name, &b.pod_ips(ns, "app=nginx").await?)
        .await?;
    export(lab, a, ns, "nginx").await?;
    let mut both = [
        a.pod_ips(ns, "app=nginx").await?,
        b.pod_ips(ns, "app=nginx").await?,
    ]
    .concat();
    both.sort();
    a.wait_dig(desk, &name, &both).await?;
    for member in [a, b] {
        a.wait_dig(
            desk,
            &format!("{}.{name}", member.name),
            &member.pod_ips(ns, "app=nginx").await?,
        )
        .await?;
    }
    for member in [a, b] {
        for replicas in [0, 1] {
            member.scale("Deployment", ns, "nginx", replicas).await?;
            member.wait_pods(ns, "app=nginx", replicas as usize).await?;
            a.wait_dig(
                desk,
                &format!("{}.{name}", member.name),
                &member.pod_ips(ns, "app=nginx").await?,
            )
            .await?;
        }
    }
    unexport(lab, b, ns, "nginx").await?;
    a.wait_dig(desk, &name, &a.pod_ips(ns, "app=nginx").await?)
        .await?;
    unexport(lab, a, ns, "nginx").await?;
    a.wait_dig(desk, &name, &[]).await
}

/// E11: endpoints that somebody wrote by hand.
async fn without_selector(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e11");
    namespaces(&[a, b], ns).await?;
    b.apply(json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "nginx", "namespace": ns},
        "spec": {"clusterIP": "None", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
    }))
    .await?;
    b.apply(json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "nginx-by-hand", "namespace": ns, "labels": {"kubernetes.io/service-name": "nginx"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.9.200.1"], "hostname": "one"},
            {"addresses": ["10.9.200.2"], "hostname": "two"},
        ],
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}],
    }))
    .await?;
    export(lab, b, ns, "nginx").await?;
    let name = format!("nginx.{ns}.svc.clusterset.local");
    let both = ["10.9.200.1", "10.9.200.2"].map(str::to_owned);
    a.wait_dig(desk, &name, &both).await?;
    a.wait_dig(desk, &format!("two.c2.{name}"), &both[1..])
        .await?;
    unexport(lab, b, ns, "nginx").await?;
    a.wait_dig(desk, &name, &[]).await
}

/// E15 to E17
async fn stateful(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e15");
    namespaces(&[a, b], ns).await?;
    for member in [a, b] {
        member
            .apply(service(ns, "nginx-ss", "nginx-ss", true))
            .await?;
        member.apply(stateful_set(ns, "web", "nginx-ss", 2)).await?;
        member.wait_pods(ns, "app=nginx-ss", 2).await?;
        export(lab, member, ns, "nginx-ss").await?;
    }
    let pod = |pod: &str, member: &Member| {
        format!("{pod}.{}.nginx-ss.{ns}.svc.clusterset.local", member.name)
    };
    for member in [a, b] {
        for web in ["web-0", "web-1"] {
            a.wait_dig(desk, &pod(web, member), &[member.pod_ip(ns, web).await?])
                .await?;
        }
    }
    b.scale("StatefulSet", ns, "web", 1).await?;
    a.wait_dig(desk, &pod("web-1", b), &[]).await?;
    a.wait_dig(desk, &pod("web-0", b), &[b.pod_ip(ns, "web-0").await?])
        .await?;
    unexport(lab, b, ns, "nginx-ss").await?;
    a.wait_dig(desk, &pod("web-0", b), &[]).await?;
    a.wait_dig(desk, &pod("web-0", a), &[a.pod_ip(ns, "web-0").await?])
        .await
}

/// E18
async fn cluster_set_ip(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e18");
    namespaces(&[a, b], ns).await?;
    nginx(b, ns).await?;
    desk.subctl(&format!(
        "--context kind-c2 export service nginx -n {ns} --use-clusterset-ip=true"
    ))
    .await?;
    let import = eventually(SOON, || async {
        let import = a.get("ServiceImport", ns, "nginx").await?;
        ensure!(
            import["spec"]["ips"]
                .as_array()
                .is_some_and(|ips| ips.len() == 1),
            "{import}"
        );
        Ok::<_, anyhow::Error>(import)
    })
    .await?;
    let ip = import["spec"]["ips"][0]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    a.wait_dig(desk, &format!("nginx.{ns}.svc.clusterset.local"), &[ip])
        .await
}

/// E19
async fn missing_namespace(lab: &Lab, a: &Member, b: &Member) -> Result<()> {
    let (desk, ns) = (&lab.desk, "e19");
    namespaces(&[b], ns).await?;
    nginx(b, ns).await?;
    export(lab, b, ns, "nginx").await?;
    let name = format!("nginx.{ns}.svc.clusterset.local");
    b.wait_dig(desk, &name, &[ip(b, ns).await?]).await?;
    ensure!(
        a.dig(&name).await?.is_empty(),
        "there is no such namespace here"
    );
    namespaces(&[a], ns).await?;
    a.wait_dig(desk, &name, &[ip(b, ns).await?]).await
}
