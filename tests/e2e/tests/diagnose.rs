//! What is broken is named: one thing after the other breaks in two connected clusters, `subctl diagnose` says which, and when it is
//! mended nothing is wrong any more. And what the network does is measured.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use subm_e2e::connectivity::{connected, join};
use subm_e2e::{Lab, Member, Ran};
use subm_test_support::{Fault, Packets, can_delay, eventually, objects};

const OPERATOR: &str = "submariner-operator";
const BROKER: &str = "submariner-k8s-broker";
const DRIVER: &str = "wireguard";
const SOON: Duration = Duration::from_secs(90);
/// Of `diagnose` and `explain`.
const FOUND: i32 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_broken_is_named() -> Result<()> {
    let began = Instant::now();
    let lab = Lab::joined(2).await?;
    let result = walk(&lab).await;
    lab.tell("diagnose: ", began, &result)?;
    result
}

async fn walk(lab: &Lab) -> Result<()> {
    let (desk, c1, c2) = (&lab.desk, lab.member("c1"), lab.member("c2"));
    desk.subctl("--context kind-broker deploy-broker").await?;
    for member in [c1, c2] {
        let pods = member.cluster.pod_cidr();
        let flags = format!("--components connectivity --clustercidr {pods}");
        join(lab, member, DRIVER, &flags).await?;
    }
    for (member, other) in [(c1, c2), (c2, c1)] {
        connected(member, other, DRIVER).await?;
    }
    healthy(lab).await?;
    benchmarks(lab).await?;
    blocked_between_clusters(lab).await?;
    narrow_between_clusters(lab).await?;
    blocked_in_a_cluster(lab).await?;
    a_nodes_kernel(lab).await?;
    overlapping(lab).await?;
    another_secret(lab).await?;
    another_key(lab).await?;
    no_image(lab).await?;
    interrupted(lab).await?;
    least_rights(lab).await?;

    desk.row("end", "all is mended, and no pod of ours is left");
    mended(lab, "--context kind-c1 diagnose all").await?;
    for member in [c1, c2] {
        eventually(SOON, || async {
            let pods = member.list("Pod", OPERATOR).await?;
            let ours = |pod: &&Value| pod["metadata"]["labels"]["submariner.io/nettest"] == "true";
            let left: Vec<_> = pods.iter().filter(ours).map(name_of).collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }
    Ok(())
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

const BETWEEN: &str = "--context kind-c1 diagnose firewall inter-cluster --remotecontext kind-c2";

async fn healthy(lab: &Lab) -> Result<()> {
    let desk = &lab.desk;
    desk.row("healthy", "nothing is wrong");
    // Nothing tells which CNI it is: a doubt, not a fault.
    let ran = desk.subctl("--context kind-c1 diagnose all").await?;
    said(
        &ran,
        " ✓ All 2 nodes send to the 2 networks of the other clusters by way of the gateway",
    )?;
    said(
        &ran,
        " ✓ UDP port 4800 is open from 1 nodes to gateway node c1-worker",
    )?;
    said(&ran, " ⚠ Skipping inter-cluster firewall check")?;
    let ran = desk.subctl(BETWEEN).await?;
    for cluster in ["c1", "c2"] {
        said(
            &ran,
            &format!(" ✓ Tunnels can be established on the gateway node of cluster {cluster:?}"),
        )?;
    }
    said(
        &ran,
        " ✓ Cable drivers, keys and addresses are the same on both sides",
    )?;
    let ran = desk
        .subctl("--context kind-c1 diagnose firewall nat-discovery --remotecontext kind-c2")
        .await?;
    said(
        &ran,
        " ✓ nat-discovery port is allowed in the cluster \"c1\"",
    )
}

async fn benchmarks(lab: &Lab) -> Result<()> {
    let desk = &lab.desk;
    desk.row("benchmark", "figures are plausible");
    let ran = desk
        .subctl("benchmark throughput --context kind-c1 --tocontext kind-c2 --duration 2s")
        .await?;
    for kind in ["Gateway", "Non-Gateway"] {
        let title = format!(
            "Performing throughput tests from {kind} pod on cluster \"c1\" to {kind} pod on cluster \"c2\"\n"
        );
        ensure!(ran.out.contains(&title), "{ran:?}");
    }
    let figures = |ran: &Ran| -> Result<Vec<Value>> {
        let tests: Vec<Value> = serde_json::from_str(&ran.out)?;
        Ok(tests.iter().map(|test| test["figures"].clone()).collect())
    };
    let number = |figures: &Value, key: &str| figures[key].as_f64().unwrap_or(f64::NAN);
    let ran = desk
        .subctl("benchmark throughput --context kind-c1 --duration 2s -o json")
        .await?;
    let within = figures(&ran)?;
    ensure!(within.len() == 1, "{within:?}");
    let (bytes, rate) = (
        number(&within[0], "bytes"),
        number(&within[0], "bitsPerSecond"),
    );
    ensure!(
        bytes > 1e6 && rate > 0.0 && rate <= bytes * 8.0 / 2.0,
        "{within:?}"
    );
    // Figures are those of what is imposed on the way out of c1.
    let lan = lab.member("c1").cluster.lan()?;
    let narrow = lan.uplink()?.limit(20_000_000)?;
    let ran = desk
        .subctl("benchmark throughput --context kind-c1 --tocontext kind-c2 --duration 2s -o json")
        .await?;
    narrow.heal()?;
    for figures in &figures(&ran)? {
        let rate = number(figures, "bitsPerSecond");
        ensure!((2e6..21e6).contains(&rate), "{figures}");
    }
    let late = if can_delay()? {
        Some(lan.uplink()?.delay(Duration::from_millis(20))?)
    } else {
        None
    };
    let ran = desk
        .subctl("benchmark latency --context kind-c1 --tocontext kind-c2 --duration 2s -o json")
        .await?;
    let between = figures(&ran)?;
    ensure!(between.len() == 2, "{between:?}");
    for figures in &between {
        let [min, mean, max] = ["min", "mean", "max"].map(|key| number(figures, key));
        ensure!(0.0 < min && min <= mean && mean <= max, "{figures}");
        if late.is_some() {
            let rate = number(figures, "transactionsPerSecond");
            ensure!(min >= 20e3 && mean < 400e3 && rate <= 50.0, "{figures}");
        }
    }
    late.map_or(Ok(()), Fault::heal)
}

/// In one direction, which is told.
async fn blocked_between_clusters(lab: &Lab) -> Result<()> {
    let desk = &lab.desk;
    desk.row(
        "UDP 4500",
        "what arrives at c2's port for cables is dropped",
    );
    let uplink = lab.member("c2").cluster.lan()?;
    let fault = uplink
        .uplink()?
        .drop_packets(Packets::udp(4500).arriving())?;
    let ran = found(lab, BETWEEN).await?;
    said(
        &ran,
        " ✓ Tunnels can be established on the gateway node of cluster \"c1\"",
    )?;
    said(
        &ran,
        " ✗ Tunnels cannot be established on the gateway node of cluster \"c2\": UDP from the gateway node of cluster \"c1\" to 172.20.9.11 port 4500 does not arrive\n   Let UDP port 4500 pass to 172.20.9.11",
    )?;
    fault.heal()?;
    desk.subctl(BETWEEN).await?;
    Ok(())
}

/// What is larger than 1300 bytes does not pass to c2, first without a word, then with one.
async fn narrow_between_clusters(lab: &Lab) -> Result<()> {
    let (desk, c1) = (&lab.desk, lab.member("c1"));
    desk.row("narrow", "the way to c2 takes packets of 1300 bytes");
    let router = lab.fabric()?.router();
    let way = "172.20.9.0/24 dev lan2 proto kernel scope link src 172.20.9.1";
    router.ip(&format!("route replace {way} mtu lock 1300"))?;
    let lan = c1.cluster.lan()?;
    let silence = lan.uplink()?.drop_packets(Packets::icmp().arriving())?;
    let ran = found(lab, BETWEEN).await?;
    said(
        &ran,
        " ✓ Tunnels can be established on the gateway node of cluster \"c1\"",
    )?;
    said(
        &ran,
        " ✗ Large packets from the gateway node of cluster \"c1\" do not arrive at that of cluster \"c2\", small ones do: the MTU of the way",
    )?;
    silence.heal()?;
    // The kernel is told now, and cuts them itself.
    let ran = desk.subctl(BETWEEN).await?;
    said(
        &ran,
        " ⚠ Large packets from the gateway node of cluster \"c1\" arrive at that of cluster \"c2\" in pieces of 1300 bytes",
    )?;
    router.ip(&format!("route replace {way}"))?;
    // It remembers for ten minutes.
    c1.node("c1-worker")?
        .net()
        .netns()
        .ip("route flush cache")?;
    let ran = desk.subctl(BETWEEN).await?;
    said(
        &ran,
        " ✓ Tunnels can be established on the gateway node of cluster \"c2\"",
    )
}

async fn blocked_in_a_cluster(lab: &Lab) -> Result<()> {
    let desk = &lab.desk;
    desk.row(
        "UDP 4800",
        "what c1-worker2 sends to the gateway by VXLAN is dropped",
    );
    let lan = lab.member("c1").cluster.lan()?;
    let fault = lan
        .node_link("c1-worker2")?
        .drop_packets(Packets::udp(4800))?;
    let intra = "--context kind-c1 diagnose firewall intra-cluster";
    let ran = found(lab, intra).await?;
    said(
        &ran,
        " ✗ UDP port 4800 is blocked from node c1-worker2 to gateway node c1-worker: nothing arrives there\n   Let UDP port 4800 pass",
    )?;
    fault.heal()?;
    desk.subctl(intra).await?;
    desk.row("UDP 4800", "the gateway's own packet filter drops it");
    let kernel = lab.member("c1").node("c1-worker")?.net().netns();
    kernel.nft(
        "table inet lab {\nchain input {\ntype filter hook input priority -200;\nudp dport 4800 drop\n}\n}\n",
    )?;
    let ran = found(lab, intra).await?;
    said(
        &ran,
        " ✗ UDP port 4800 from node c1-worker2 arrives at gateway node c1-worker, and its device vx-submariner does not get it\n   Let that node's own packet filter accept",
    )?;
    kernel.nft("delete table inet lab\n")?;
    desk.subctl(intra).await?;
    Ok(())
}

/// A route that is missing and an MTU that is wrong, on a node whose route agent does not run: it would mend them.
async fn a_nodes_kernel(lab: &Lab) -> Result<()> {
    let (desk, c1) = (&lab.desk, lab.member("c1"));
    let nodes = "--context kind-c1 diagnose nodes";
    agents_on(c1, json!({"kubernetes.io/hostname": "c1-worker"}), 1).await?;
    let kernel = c1.node("c1-worker2")?.net().netns();
    desk.row("route", "c1-worker2 has lost its route to c2's pods");
    kernel.ip("route del 10.9.0.0/16 dev vx-submariner")?;
    let ran = found(lab, nodes).await?;
    said(
        &ran,
        " ✗ Node c1-worker2 has no route by vx-submariner to 10.9.0.0/16 of cluster \"c2\": packets leave by eth0 to 172.20.8.1\n   The route agent makes it",
    )?;
    desk.row("MTU", "and its device has a wrong MTU");
    kernel.ip("link set vx-submariner mtu 1600")?;
    let ran = found(lab, nodes).await?;
    said(
        &ran,
        " ✗ On node c1-worker2 the MTU of vx-submariner is 1600: with 50 bytes around them large packets do not fit into eth0 with 1500\n   `ip link set vx-submariner mtu 1450`",
    )?;
    agents_on(c1, json!({"kubernetes.io/hostname": null}), 2).await?;
    mended(lab, nodes).await?;
    Ok(())
}

/// Adds to what nodes of route agents have to have.
async fn agents_on(member: &Member, selector: Value, count: usize) -> Result<()> {
    let patch = json!({"spec": {"template": {"spec": {"nodeSelector": selector}}}});
    member
        .api("DaemonSet", OPERATOR)
        .patch(
            "submariner-routeagent",
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    eventually(SOON, || async {
        let set = member
            .get("DaemonSet", OPERATOR, "submariner-routeagent")
            .await?;
        let status = &set["status"];
        let all = [
            "desiredNumberScheduled",
            "currentNumberScheduled",
            "updatedNumberScheduled",
            "numberAvailable",
        ];
        ensure!(
            status["observedGeneration"] == set["metadata"]["generation"]
                && all.iter().all(|key| status[key] == count),
            "{status}"
        );
        let pods = member.list("Pod", OPERATOR).await?;
        let agents = pods
            .iter()
            .filter(|pod| pod["metadata"]["labels"]["app"] == "submariner-routeagent");
        ensure!(agents.count() == count, "not all are gone");
        Ok::<_, anyhow::Error>(())
    })
    .await
}

/// A third cluster claims what c1 has.
async fn overlapping(lab: &Lab) -> Result<()> {
    let desk = &lab.desk;
    desk.row("overlap", "a third cluster has the networks of c1");
    let broker = lab.broker.client().await?;
    let endpoint = json!({
        "apiVersion": "submariner.io/v1", "kind": "Endpoint",
        "metadata": {
            "name": "c3-submariner-cable-c3-172-20-10-11", "namespace": BROKER, "labels": {"submariner-io/clusterID": "c3"},
        },
        "spec": {
            "cluster_id": "c3", "cable_name": "submariner-cable-c3-172-20-10-11", "hostname": "c3-worker",
            "subnets": ["10.8.0.0/16"], "private_ip": "172.20.10.11", "public_ip": "", "nat_enabled": false,
            "backend": "wireguard", "backend_config": {"publicKey": "2ndTSVzRxA1KZ6qvHzjqkUZJXLDGFJTGRQVVkP7cbSE="},
        },
    });
    objects::put(&broker, endpoint).await?;
    let ran = found(lab, "--context kind-c1 diagnose deployment").await?;
    said(
        &ran,
        " ✗ CIDR \"10.8.0.0/16\" in cluster \"c1\" overlaps with cluster \"c3\" (CIDR \"10.8.0.0/16\")\n   One of them has to have other networks",
    )?;
    // Nobody has a route to it, and nobody should.
    desk.subctl("--context kind-c1 diagnose nodes").await?;
    objects::api(&broker, "Endpoint", Some(BROKER))
        .delete(
            "c3-submariner-cable-c3-172-20-10-11",
            &DeleteParams::default(),
        )
        .await?;
    eventually(SOON, || async {
        for member in &lab.members {
            let here = member.list("Endpoint", OPERATOR).await?;
            ensure!(here.len() == 2, "{} has {here:?}", member.name);
        }
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    desk.subctl("--context kind-c1 diagnose deployment").await?;
    Ok(())
}

/// The Secret that cables are made with; what runs goes on with the old one.
async fn another_secret(lab: &Lab) -> Result<()> {
    let (desk, c2) = (&lab.desk, lab.member("c2"));
    desk.row("secret", "c2 has another pre-shared key");
    let name = "submariner-ipsec-psk";
    let before = c2.get("Secret", OPERATOR, name).await?["data"]["psk"].clone();
    for (psk, code) in [(json!("b3RoZXI="), FOUND), (before, 0)] {
        let patch = Patch::Merge(json!({"data": {"psk": psk}}));
        c2.api("Secret", OPERATOR)
            .patch(name, &PatchParams::default(), &patch)
            .await?;
        let ran = desk.try_subctl(BETWEEN).await?;
        let words = " ✗ Clusters \"c1\" and \"c2\" have different pre-shared keys (Secret submariner-ipsec-psk)";
        ensure!(
            ran.code == code && ran.out.contains(words) == (code == FOUND),
            "{ran:?}"
        );
    }
    Ok(())
}

/// c2's gateway has a new key while c1 does not hear from the broker.
async fn another_key(lab: &Lab) -> Result<()> {
    let (desk, c1, c2) = (&lab.desk, lab.member("c1"), lab.member("c2"));
    desk.row("key", "c1 knows a key of c2 that c2 has no more");
    let before = own_key(c2).await?;
    let cut_off = c1.cluster.lan()?.partition(&lab.broker)?;
    let kept = c2
        .node("c2-worker")?
        .dir()
        .join("host/run/submariner/gateway-wireguard.key");
    std::fs::remove_file(&kept).with_context(|| kept.display().to_string())?;
    let pods = c2.list("Pod", OPERATOR).await?;
    let gateway = pods
        .iter()
        .find(|pod| pod["metadata"]["labels"]["app"] == "submariner-gateway")
        .map(name_of);
    c2.api("Pod", OPERATOR)
        .delete(&gateway.context("a gateway")?, &DeleteParams::default())
        .await?;
    eventually(SOON, || async {
        let now = own_key(c2).await?;
        ensure!(now != before, "the key is still {now}");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .with_context(|| c2.logs())?;
    let words = format!(
        " ✗ The public key of cluster \"c2\" in this cluster ({before}) is not the one that it has published on the broker"
    );
    eventually(SOON, || async {
        let ran = found(lab, "--context kind-c1 diagnose connections").await?;
        said(&ran, &words)
    })
    .await?;
    let ran = eventually(SOON, || found(lab, BETWEEN)).await?;
    said(
        &ran,
        &format!(
            " ✗ Cluster \"c1\" has another public key of cluster \"c2\" ({before:?}) than that has itself"
        ),
    )?;
    // Packets pass; it is not the way that is broken.
    said(
        &ran,
        " ✓ Tunnels can be established on the gateway node of cluster \"c2\"",
    )?;
    cut_off.heal()?;
    for (member, other) in [(c1, c2), (c2, c1)] {
        connected(member, other, DRIVER).await?;
    }
    desk.subctl(BETWEEN).await?;
    Ok(())
}

/// The public key that a cluster's own Endpoint has.
async fn own_key(member: &Member) -> Result<String> {
    let endpoints = member.list("Endpoint", OPERATOR).await?;
    let own = endpoints
        .iter()
        .find(|endpoint| endpoint["spec"]["cluster_id"] == member.name.as_str());
    let key = own.and_then(|own| own["spec"]["backend_config"]["publicKey"].as_str());
    key.map(str::to_owned).context("no key")
}

async fn no_image(lab: &Lab) -> Result<()> {
    lab.desk.row(
        "image",
        "an image that is not there is a doubt, not a fault",
    );
    let ran = lab
        .desk
        .subctl("--context kind-c1 diagnose nodes --image-override submariner-nettest=a.example/nothing:1")
        .await?;
    said(
        &ran,
        " ⚠ Node c1-worker could not be looked at: pod subctl-look-",
    )?;
    said(
        &ran,
        "with image a.example/nothing:1 on node c1-worker: ErrImagePull",
    )
}

/// Who presses Ctrl-C leaves nothing behind.
async fn interrupted(lab: &Lab) -> Result<()> {
    let desk = &lab.desk;
    desk.row("Ctrl-C", "a benchmark that is interrupted removes its pods");
    let mut benchmark = tokio::process::Command::new(desk.programs().join("subctl"))
        .args([
            "benchmark",
            "throughput",
            "--context",
            "kind-c1",
            "--duration",
            "60s",
        ])
        .env("KUBECONFIG", desk.folder().join("kubeconfig"))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let c1 = lab.member("c1");
    eventually(SOON, || async {
        let pods = c1.list("Pod", OPERATOR).await?;
        let runs = |pod: &&Value| {
            name_of(pod).starts_with("subctl-throughput-") && pod["status"]["phase"] == "Running"
        };
        ensure!(pods.iter().any(|pod| runs(&pod)), "no benchmark runs");
        Ok::<_, anyhow::Error>(())
    })
    .await?;
    let id = benchmark.id().context("it runs")?.to_string();
    let kill = tokio::process::Command::new("kill")
        .args(["-INT", &id])
        .status()
        .await?;
    ensure!(kill.success(), "{kill}");
    let ended = benchmark.wait().await?;
    ensure!(ended.code() == Some(130), "{ended}");
    Ok(())
}

/// What docs/subctl.md says that an account needs for pods of ours is enough to measure.
async fn least_rights(lab: &Lab) -> Result<()> {
    let (desk, c1) = (&lab.desk, lab.member("c1"));
    desk.row(
        "rights",
        "an account that may little more than make pods measures",
    );
    let rbac = "rbac.authorization.k8s.io";
    let subjects = json!([{"kind": "ServiceAccount", "name": "tester", "namespace": OPERATOR}]);
    let metadata = json!({"name": "tester", "namespace": OPERATOR});
    let grant = |kind: &str, rules: Value| {
        let role = json!({"apiVersion": format!("{rbac}/v1"), "kind": kind, "metadata": metadata, "rules": rules});
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": format!("{kind}Binding"), "metadata": metadata, "subjects": subjects,
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": "tester"},
        });
        [role, binding]
    };
    let mut all = vec![json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})];
    all.extend(grant(
        "Role",
        json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "create", "delete"]},
            {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]},
            {"apiGroups": ["apps"], "resources": ["daemonsets"], "verbs": ["get"]},
        ]),
    ));
    let nodes = json!([{"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}]);
    all.extend(grant("ClusterRole", nodes).map(|mut object| {
        object["metadata"]["namespace"] = Value::Null;
        object
    }));
    for object in all {
        c1.apply(object).await?;
    }
    let token = c1.cluster.service_account_token(OPERATOR, "tester").await?;
    let kubeconfig = c1.cluster.kubeconfig_for(&token)?;
    desk.subctl(&format!(
        "benchmark latency --duration 1s --kubeconfig {}",
        kubeconfig.display()
    ))
    .await?;
    Ok(())
}

/// Runs what should find something.
async fn found(lab: &Lab, words: &str) -> Result<Ran> {
    let ran = lab.desk.try_subctl(words).await?;
    ensure!(ran.code == FOUND, "{words}: {ran:?}");
    Ok(ran)
}

/// Runs until nothing is found any more.
async fn mended(lab: &Lab, words: &str) -> Result<Ran> {
    eventually(SOON, || async {
        let ran = lab.desk.try_subctl(words).await?;
        ensure!(ran.code == 0, "{words}: {ran:?}");
        Ok::<_, anyhow::Error>(ran)
    })
    .await
}

fn said(ran: &Ran, words: &str) -> Result<()> {
    ensure!(ran.out.contains(words), "not said: {words:?}\n{}", ran.out);
    Ok(())
}
