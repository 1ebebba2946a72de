//! Connected clusters of other kinds: IPv6 alone and both families, other modes of kube-proxy and other plugins' masquerade, with each
//! cable driver. What a pod sends reaches a pod of the other cluster, and is seen as that pod's.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use libtest_mimic::{Arguments, Completion, Trial};
use serde_json::{Value, json};
use subm_e2e::connectivity::{connected, join, kernel, kernels, whereami_in};
use subm_e2e::{Kind, Lab, Member, client_pod, namespace, on, service};
use subm_test_support::lan::Cni;
use subm_test_support::whereami::Answer;
use subm_test_support::{Capture, Families, KernelState, KubeProxy, Packet, eventually};
use tokio::runtime::Runtime;

const NS: &str = "sample";
const NAME: &str = "whereami-cs.sample.svc.clusterset.local";
const SOON: Duration = Duration::from_secs(90);
/// Of a cable.
const TUNNEL: u16 = 4500;

/// A main of its own, so that a test for which this kernel lacks a part is counted as ignored, and not as passed.
fn main() -> ExitCode {
    let trials = vec![
        trial(
            "ipv6_alone_by_vxlan_with_nftables_and_kindnet",
            "vxlan",
            Families::V6,
            KubeProxy::Nftables,
            Cni::Kindnet,
        ),
        trial(
            "ipv6_alone_by_wireguard_with_iptables_and_flannel",
            "wireguard",
            Families::V6,
            KubeProxy::Iptables,
            Cni::Flannel,
        ),
        trial(
            "both_families_by_vxlan_with_iptables_and_calico",
            "vxlan",
            Families::Both,
            KubeProxy::Iptables,
            Cni::Calico,
        ),
        trial(
            "both_families_by_wireguard_with_nftables_and_cilium",
            "wireguard",
            Families::Both,
            KubeProxy::Nftables,
            Cni::Cilium,
        ),
        trial(
            "both_families_by_vxlan_with_ipvs_and_kindnet",
            "vxlan",
            Families::Both,
            KubeProxy::Ipvs,
            Cni::Kindnet,
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(
    name: &str,
    driver: &'static str,
    families: Families,
    kube_proxy: KubeProxy,
    cni: Cni,
) -> Trial {
    Trial::ignorable_test(name, move || {
        if !kube_proxy.is_supported() {
            return Ok(Completion::ignored_with(format!(
                "this kernel lacks what {kube_proxy:?} needs"
            )));
        }
        let ended = Runtime::new()?.block_on(run(driver, families, kube_proxy, cni));
        ended
            .map(|()| Completion::Completed)
            .map_err(|error| format!("{error:?}").into())
    })
}

/// One lab at a time: each has three control planes.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

async fn run(driver: &str, families: Families, kube_proxy: KubeProxy, cni: Cni) -> Result<()> {
    let _turn = TURN.lock().await;
    let began = Instant::now();
    let kind = Kind {
        families,
        kube_proxy,
        cni,
    };
    let lab = Lab::joined_as(2, kind).await?;
    let result = walk(&lab, driver).await;
    lab.tell(&format!("{driver}, {kind:?}: "), began, &result)?;
    result
}

async fn walk(lab: &Lab, driver: &str) -> Result<()> {
    let (desk, c1, c2) = (&lab.desk, lab.member("c1"), lab.member("c2"));
    for member in [c1, c2] {
        let dns = member
            .cluster
            .wait_available("kube-system", "coredns", SOON);
        dns.await?;
    }
    let before = kernels(lab)?
        .into_iter()
        .map(|(name, state)| (name, but_for_services(&state)));
    let before: Vec<_> = before.collect();

    desk.row(
        "join",
        "a broker, and two clusters join with their networks",
    );
    desk.subctl("--context kind-broker deploy-broker").await?;
    for member in [c1, c2] {
        let (pods, services) = (member.cluster.pod_cidrs(), member.cluster.service_cidrs());
        let flags = format!("--clustercidr {pods} --servicecidr {services}");
        join(lab, member, driver, &flags).await?;
    }
    for (member, other) in [(c1, c2), (c2, c1)] {
        connected(member, other, driver).await?;
    }
    desk.subctl("--context kind-c1 show connections").await?;
    desk.subctl("--context kind-c1 show endpoints").await?;

    desk.row("export", "a service in c2, of all families that it has");
    for member in [c1, c2] {
        member.apply(namespace(NS)).await?;
        let worker = format!("{}-worker2", member.name);
        whereami_in(member, NS, &worker).await?;
        let mut both = service(NS, "whereami-cs", "whereami", false);
        both["spec"]["ipFamilyPolicy"] = json!("PreferDualStack");
        member.apply(both).await?;
    }
    c1.apply(on("c1-worker2", client_pod())).await?;
    c1.wait_pods("default", "run=client", 1).await?;
    desk.subctl("--context kind-c2 export service --namespace sample whereami-cs --wait")
        .await?;

    desk.row("reach", "by name and by the Service's address, as itself");
    let own = ips(&c1.get("Pod", "default", "client").await?, "/status/podIPs");
    let service = c2.get("Service", NS, "whereami-cs").await?;
    let virtuals = ips(&service, "/spec/clusterIPs");
    let families = c1.cluster.families();
    let expected = usize::from(families.has_v4()) + usize::from(families.has_v6());
    ensure!(
        own.len() == expected && virtuals.len() == expected,
        "{own:?}, {virtuals:?}"
    );
    for (own, address) in own.iter().zip(&virtuals) {
        let (kind, family) = if own.is_ipv4() {
            ("A", "-4")
        } else {
            ("AAAA", "-6")
        };
        c1.wait_dig(desk, &format!("{kind} {NAME}"), &[address.to_string()])
            .await?;
        for url in [format!("http://{NAME}"), url(*address)] {
            let answer = ask(c1, ("default", "client"), &[family, &url]).await?;
            ensure!(
                answer.server.node == "c2-worker2" && answer.client == *own,
                "{url}: {answer:?}, and the client is {own}"
            );
            desk.note(&format!(
                "client in c1$ curl {family} {url}\n{} on {}, which sees the client as {}",
                answer.server.pod, answer.server.node, answer.client
            ));
        }
    }

    desk.row("back", "the other way, from pod to pod, and from a node");
    let here = c1.ready_whereami().await?;
    let there = c2.ready_whereami().await?;
    for (from, to) in there.ips.iter().zip(&here.ips) {
        let answer = ask(c2, (NS, &there.name), &[&url(*to)]).await?;
        ensure!(
            answer.server.pod == here.name && answer.client == *from,
            "{answer:?}, and the client is {from}"
        );
    }
    for to in &there.ips {
        for name in ["c1-worker", "c1-worker2"] {
            of_node(c1, name, *to).await?;
        }
    }

    desk.row("hairpin", "a pod reaches itself by its own Service");
    for address in &virtuals {
        eventually(SOON, || async {
            let answer = ask(c2, (NS, &there.name), &[&url(*address)]).await?;
            ensure!(answer.server.pod == there.name, "{answer:?}");
            Ok::<_, anyhow::Error>(())
        })
        .await?;
    }

    on_the_wire(c1, own[0], &there).await?;

    desk.row("uninstall", "nothing is left in the kernels");
    for member in [c1, c2] {
        desk.subctl(&format!("--context kind-{} uninstall --yes", member.name))
            .await
            .with_context(|| member.logs())?;
        for (kind, namespace, name) in [
            ("Deployment", NS, "whereami"),
            ("Service", NS, "whereami-cs"),
            ("Pod", "default", "client"),
        ] {
            let api = member.api(kind, namespace);
            if api.get_opt(name).await?.is_some() {
                api.delete(name, &kube::api::DeleteParams::default())
                    .await?;
            }
        }
    }
    for (name, before) in before {
        let node = lab.node(&name)?;
        eventually(SOON, || async {
            before
                .ensure_same(&but_for_services(&kernel(node)?))
                .with_context(|| name.clone())
        })
        .await?;
    }
    Ok(())
}

/// kube-proxy writes its rules of iptables anew whenever a Service comes or goes, in any order.
fn but_for_services(state: &KernelState) -> KernelState {
    state.only(|line| !line.contains("KUBE-"))
}

/// A pod, and its addresses.
struct Found {
    name: String,
    ips: Vec<IpAddr>,
}

trait Whereami {
    async fn ready_whereami(&self) -> Result<Found>;
}

impl Whereami for Member {
    /// One of the cluster's.
    async fn ready_whereami(&self) -> Result<Found> {
        let name = self.wait_pods(NS, "app=whereami", 2).await?.remove(0);
        let pod = self.get("Pod", NS, &name).await?;
        let ips = ips(&pod, "/status/podIPs");
        Ok(Found { name, ips })
    }
}

/// A list of addresses, or of objects with an `ip`.
fn ips(object: &Value, at: &str) -> Vec<IpAddr> {
    let list = object.pointer(at).and_then(Value::as_array);
    let text = |value: &Value| value["ip"].as_str().or(value.as_str())?.parse().ok();
    list.into_iter().flatten().filter_map(text).collect()
}

fn url(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("http://{address}"),
        IpAddr::V6(address) => format!("http://[{address}]"),
    }
}

const CURL: [&str; 5] = ["curl", "-gsS", "--max-time", "5", "--fail"];

/// `curl` in a pod, until there is an answer.
async fn ask(member: &Member, pod: (&str, &str), words: &[&str]) -> Result<Answer> {
    let command = [&CURL[..], words].concat();
    let asked = eventually(SOON, || async {
        let output = member.exec(pod.0, pod.1, &command).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}");
        Ok::<Answer, anyhow::Error>(serde_json::from_slice(&output.stdout)?)
    });
    asked.await.with_context(|| {
        format!(
            "{words:?} in {} of {}\n{}",
            pod.1,
            member.name,
            member.logs()
        )
    })
}

/// A node's own process has the node's address in the pod network.
async fn of_node(member: &Member, name: &str, to: IpAddr) -> Result<()> {
    let node = member.node(name)?;
    let (own, own6) = node.net().cni_address();
    let own: IpAddr = if to.is_ipv4() {
        own.into()
    } else {
        own6.into()
    };
    let url = url(to);
    let command = [&CURL[..], &[url.as_str()]].concat();
    eventually(SOON, || async {
        let output = node.exec_on_node(&command).await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "{said}");
        let answer: Answer = serde_json::from_slice(&output.stdout)?;
        ensure!(answer.client == own, "{answer:?}, and not {own}");
        Ok::<_, anyhow::Error>(())
    })
    .await
    .with_context(|| format!("{url} from {name}"))
}

/// Between the clusters there is the cable, of the family of the nodes, and nothing of a pod's that can be read as such.
async fn on_the_wire(member: &Member, client: IpAddr, far: &Found) -> Result<()> {
    let lan = member.cluster.lan()?;
    let uplink = lan.uplink()?;
    let between = Capture::start(uplink.netns(), uplink.device())?;
    let far = far.ips.first().context("an address")?;
    ask(member, ("default", "client"), &[&url(*far)]).await?;
    let packets = between.stop()?;
    let v6 = !member.cluster.families().has_v4();
    let cable: Vec<&Packet> = packets
        .iter()
        .filter(|packet| packet.is_port(TUNNEL))
        .collect();
    ensure!(!cable.is_empty(), "nothing at port {TUNNEL}: {packets:?}");
    for packet in cable {
        let family = packet.addresses.is_some_and(|(from, _)| from.is_ipv6());
        ensure!(family == v6, "of the other family: {packet:?}");
    }
    let plain = packets
        .iter()
        .find(|packet| packet.is_from(client) || packet.is_to(client));
    ensure!(plain.is_none(), "as it is between the clusters: {plain:?}");
    Ok(())
}
