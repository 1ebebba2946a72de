//! What `subctl join` installs on nodes runs there with the rights that it is given, and `subctl uninstall` leaves them as they were.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use subm_e2e::Lab;
use subm_test_support::{KernelState, eventually};

const OPERATOR: &str = "submariner-operator";
const SOON: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn the_route_agent_comes_to_every_node_and_goes_without_a_trace() -> Result<()> {
    let lab = Lab::joined(1).await?;
    let (desk, c1) = (&lab.desk, lab.member("c1"));
    c1.cluster
        .wait_available("kube-system", "coredns", SOON)
        .await?;
    let before: Vec<KernelState> = c1
        .nodes
        .iter()
        .map(|node| KernelState::of(node.net().netns()))
        .collect::<Result<_>>()?;
    desk.subctl("--context kind-broker deploy-broker").await?;
    // Where the gateway is, the test says; nobody has to run for that.
    desk.subctl(&format!(
        "--context kind-c1 join broker-info.subm --clusterid c1 --components connectivity --label-gateway=false --clustercidr {}",
        c1.cluster.pod_cidr()
    ))
    .await?;
    c1.wait_pods(OPERATOR, "app=submariner-routeagent", c1.nodes.len())
        .await
        .with_context(|| c1.logs())?;

    let [gateway, worker] = &c1.nodes[..] else {
        unreachable!("two nodes")
    };
    for (cluster, node, ip, subnet) in [
        (
            "c1",
            gateway.name(),
            gateway.ip().to_string(),
            c1.cluster.pod_cidr().to_string(),
        ),
        (
            "c2",
            "c2-gw1",
            "172.31.2.11".to_owned(),
            "10.99.0.0/16".to_owned(),
        ),
    ] {
        let cable = format!("submariner-cable-{cluster}-{}", ip.replace('.', "-"));
        c1.apply(json!({
            "apiVersion": "submariner.io/v1", "kind": "Endpoint",
            "metadata": {"name": format!("{cluster}-{cable}"), "namespace": OPERATOR},
            "spec": {
                "cluster_id": cluster, "cable_name": cable, "hostname": node, "backend": "vxlan",
                "private_ip": ip, "public_ip": "", "nat_enabled": false, "subnets": [subnet],
            },
        }))
        .await?;
    }
    let shows = async |words: &'static [&'static str], part: &'static str| {
        eventually(SOON, || async {
            let output = worker.exec_on_node(words).await?;
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            ensure!(text.contains(part), "{words:?} has no {part:?}:\n{text}");
            Ok::<_, anyhow::Error>(())
        })
        .await
        .with_context(|| c1.logs())
    };
    shows(&["ip", "route"], "10.99.0.0/16 via 240.").await?;
    shows(
        &["nft", "list", "table", "inet", "submariner"],
        "10.99.0.0/16",
    )
    .await?;

    let ran = desk.subctl("--context kind-c1 uninstall --yes").await?;
    ensure!(ran.err.contains(" ✓ Cleaned up 2 nodes\n"), "{}", ran.err);
    for (node, before) in c1.nodes.iter().zip(&before) {
        before
            .ensure_same(&KernelState::of(node.net().netns())?)
            .with_context(|| format!("{} after {}", node.name(), ran.err))?;
    }
    let left = c1.list("Pod", OPERATOR).await?;
    ensure!(left.is_empty(), "{left:#?}");
    Ok(())
}
