//! Two clusters on a fabric, joined by what the planners say: real kernels, no Kubernetes.

use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use subm_dataplane::node::{self, Cni, Gateway, Uplink, View, Way};
use subm_dataplane::remotes::Remote;
use subm_nat::{Nft, Ruleset};
use subm_routing::{Kernel, LinkName, Mark, Network, Settings};
use subm_test_support::lan::Node;
use subm_test_support::whereami::{self, Identity, Server};
use subm_test_support::{Capture, Fabric, KernelState, NetNs, Packet, Site, eventually};
use subm_tunnel::{Cable, Local, vxlan};
use tempfile::TempDir;

const ETH0: LinkName = LinkName::from_static("eth0");
const CNI0: LinkName = LinkName::from_static("cni0");
const MTU: u32 = 1500;
const TUNNEL: u16 = 4500;
const PORT: u16 = 8080;
const SOON: Duration = Duration::from_secs(20);

fn networks(site: &Site) -> BTreeSet<IpNet> {
    let ranges = site.ranges();
    [ranges.pods.into(), ranges.pods6.into()].into()
}

fn gateway(site: &Site) -> Result<&Node> {
    let gateway = site.gateways().next().context("a gateway")?;
    Ok(&gateway.net)
}

/// What the other clusters know of one.
fn remote(site: &Site) -> Result<Remote> {
    let gateway = gateway(site)?;
    Ok(Remote {
        endpoint: format!("{0}-submariner-cable-{0}", site.name()),
        cluster: site.name().to_owned(),
        cable: format!("submariner-cable-{}", site.name()),
        node: gateway.name().to_owned(),
        networks: networks(site),
        private_ip: gateway.ip().into(),
        public_ip: None,
        health_check_ip: Some(gateway.cni_address().0.into()),
        backend: "vxlan".to_owned(),
        port: TUNNEL,
        public_key: None,
        vtep_mac: None,
        nat_enabled: false,
        load_balancer: false,
    })
}

fn view(site: &Site, node: &Node) -> Result<View> {
    let gateway = gateway(site)?;
    let (address, address6) = node.cni_address();
    Ok(View {
        node: node.name().to_owned(),
        addresses: [IpAddr::V4(node.ip())].into(),
        uplink: Uplink {
            link: ETH0,
            address: node.ip().into(),
            gateway: Some(site.ranges().router().0.into()),
            mtu: MTU,
        },
        cni: Some(Cni {
            link: CNI0,
            address: Some(address),
            address6: Some(address6),
        }),
        pods: networks(site).into_iter().collect(),
        gateway: Some(Gateway {
            node: gateway.name().to_owned(),
            private_ip: gateway.ip().into(),
            way: Way::Own(vxlan::DEVICE),
            mtu: Some(MTU - vxlan::OVERHEAD),
        }),
        nodes: site
            .nodes
            .iter()
            .map(|node| (node.net.name().to_owned(), node.net.ip().into()))
            .collect(),
    })
}

fn cables(node: &Node, remotes: &[Remote]) -> Network {
    let (source, source6) = node.cni_address();
    let local = Local {
        private_ip: node.ip().into(),
        port: TUNNEL,
        mtu: MTU,
        source: Some(source),
        source6: Some(source6),
    };
    let cables: Vec<Cable> = remotes
        .iter()
        .map(|remote| {
            Cable::new(
                &remote.cable,
                &remote.cluster,
                remote.private_ip,
                remote.port,
            )
            .subnets(remote.networks.iter().copied())
        })
        .collect();
    let (network, refusals) = vxlan::plan(&local, &cables);
    assert!(refusals.is_empty(), "{refusals:?}");
    network
}

struct Joined {
    /// What each owner on each node remembers of kernel parameters.
    memory: TempDir,
    _fabric: Fabric,
    c1: Site,
    c2: Site,
}

impl Joined {
    /// Two clusters of a gateway and a worker, with a pod on each; nothing of ours yet.
    fn new() -> Result<Self> {
        let fabric = Fabric::new()?;
        let site = |name| fabric.site(name).gateways(1).workers(1).pods(1).start();
        Ok(Self {
            memory: tempfile::tempdir()?,
            c1: site("c1")?,
            c2: site("c2")?,
            _fabric: fabric,
        })
    }

    /// As a process that has just started does it. The gateway and the route agent of a node are two owners in one kernel.
    async fn apply(&self, node: &Node, network: &Network, part: &str, mark: Mark) -> Result<usize> {
        let memory = self.memory.path().join(format!("{}-{part}", node.name()));
        let settings = Settings::new().mark(mark).memory(memory);
        let mut kernel = Kernel::open_in(File::open(node.netns().path())?, settings)?;
        let report = kernel.apply(network).await?;
        ensure!(report.all_done(), "{} {part}: {report}", node.name());
        Ok(report.done())
    }

    /// Brings every node of a cluster to what it needs to reach `remotes`; `None`: to nothing of ours. How many changes that took.
    async fn bring(&self, site: &Site, remotes: Option<&[Remote]>) -> Result<usize> {
        let mut changes = 0;
        for one in &site.nodes {
            let node = &one.net;
            let plan = match remotes {
                Some(remotes) => node::plan(&view(site, node)?, remotes),
                None => node::Plan::default(),
            };
            ensure!(plan.troubles.is_empty(), "{:?}", plan.troubles);
            let mark = Mark::new(84, "subm/route-agent");
            changes += self.apply(node, &plan.network, "agent", mark).await?;
            if node.name() == gateway(site)?.name() {
                let network = remotes.map_or_else(Network::new, |remotes| cables(node, remotes));
                changes += self.apply(node, &network, "cable", Mark::default()).await?;
            }
            let ruleset = remotes.map_or_else(Ruleset::new, |_| plan.filter.ruleset());
            let loaded = node.netns().run(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?;
                Ok(runtime.block_on(Nft::new().reconcile(&ruleset))?)
            })?;
            changes += usize::from(!loaded.is_empty());
        }
        Ok(changes)
    }

    async fn connect(&self) -> Result<usize> {
        let one = self.bring(&self.c1, Some(&[remote(&self.c2)?])).await?;
        let other = self.bring(&self.c2, Some(&[remote(&self.c1)?])).await?;
        Ok(one + other)
    }

    fn states(&self) -> Result<Vec<KernelState>> {
        let nodes = self.c1.nodes.iter().chain(&self.c2.nodes);
        nodes
            .map(|node| KernelState::of(node.net.netns()))
            .collect()
    }
}

fn serve(netns: &NetNs, name: &str) -> Result<Server> {
    let identity = Identity {
        pod: name.to_owned(),
        ..Identity::default()
    };
    Server::start(netns, identity, PORT)
}

/// As whom the server sees a client, once it answers.
async fn seen(from: &NetNs, to: impl Into<IpAddr>) -> Result<IpAddr> {
    let to = SocketAddr::new(to.into(), PORT);
    let answer = eventually(SOON, || {
        std::future::ready(whereami::ask(from, to, Duration::from_secs(2)))
    })
    .await?;
    Ok(answer.client)
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_two_clusters_reach_each_other_as_themselves() -> Result<()> {
    let joined = Joined::new()?;
    joined.connect().await?;
    for (from, to) in [(&joined.c1, &joined.c2), (&joined.c2, &joined.c1)] {
        for server in &to.nodes {
            let pod = &server.pods[0];
            let _server = serve(pod.netns(), server.net.name())?;
            for client in &from.nodes {
                let own = &client.pods[0];
                let way = format!("{} -> {}", client.net.name(), server.net.name());
                // The CNI would masquerade what leaves its cluster, and an address of the way would be seen.
                let whom = seen(own.netns(), pod.ip()).await.context(way.clone())?;
                ensure!(whom == own.ip(), "{way}: seen as {whom}");
                let whom = seen(own.netns(), pod.ip6()).await.context(way.clone())?;
                ensure!(whom == own.ip6(), "{way}: seen as {whom}");
                // A process of the node is known by its address in the pod network.
                let netns = client.net.netns();
                let whom = seen(netns, pod.ip()).await.context(way.clone())?;
                let (cni, _) = client.net.cni_address();
                ensure!(whom == cni, "{way}: the node is seen as {whom}");
            }
        }
    }
    Ok(())
}

/// Nothing is written where all is as it should be, also by processes that remember nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_look_changes_nothing() -> Result<()> {
    let joined = Joined::new()?;
    ensure!(joined.connect().await? > 0);
    let before = joined.states()?;
    let changes = joined.connect().await?;
    ensure!(changes == 0, "{changes} changes at rest");
    for (before, after) in before.iter().zip(joined.states()?) {
        before.ensure_same(&after)?;
    }
    Ok(())
}

/// Defect 22 and surprise 16: after an uninstallation every node is as it was.
#[tokio::test(flavor = "multi_thread")]
async fn mtu_116_d22_what_leaves_leaves_nothing() -> Result<()> {
    let joined = Joined::new()?;
    let before = joined.states()?;
    joined.connect().await?;
    for site in [&joined.c1, &joined.c2] {
        joined.bring(site, None).await?;
    }
    for (before, after) in before.iter().zip(joined.states()?) {
        before.ensure_same(&after)?;
    }
    Ok(())
}

/// Row 27 of the walk-through: what is where on the way. VXLAN cables do not encrypt, and this shows it.
#[tokio::test(flavor = "multi_thread")]
async fn packets_take_the_way_that_is_planned() -> Result<()> {
    let joined = Joined::new()?;
    joined.connect().await?;
    let (client, server) = (joined.c1.node("c1-w1")?, joined.c2.node("c2-w1")?);
    let (pod, far) = (&client.pods[0], &server.pods[0]);
    let _server = serve(far.netns(), "far")?;
    let gateway = gateway(&joined.c1)?;
    let on_worker = Capture::start(client.net.netns(), "eth0")?;
    let on_gateway = Capture::start(gateway.netns(), "eth0")?;
    seen(pod.netns(), far.ip()).await?;
    let inside = |packet: &Packet, port: u16, vni: u32| {
        let vxlan = packet.vxlan(port);
        vxlan.is_some_and(|(id, inner)| id == vni && inner.is_between(pod.ip(), far.ip()))
    };
    on_worker
        .wait_for(SOON, |packet| {
            inside(packet, 4800, 100) && packet.is_between(client.net.ip(), gateway.ip())
        })
        .await
        .context("VXLAN from the worker to its gateway")?;
    on_gateway
        .wait_for(SOON, |packet| inside(packet, TUNNEL, 1000))
        .await
        .context("VXLAN between the gateways")?;
    on_worker
        .wait_for(SOON, |packet| {
            packet.is_from(far.ip()) && packet.is_to(pod.ip())
        })
        .await
        .context("an answer to the worker as the CNI routes it")?;
    Ok(())
}

/// Defect 8: a worker that is new, and a network that the other cluster has no more, without a restart of anything.
#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_applied() -> Result<()> {
    let mut joined = Joined::new()?;
    joined.connect().await?;
    joined.c2.add_node("c2-w2", false, 1)?;
    joined.connect().await?;
    let (client, server) = (joined.c1.node("c1-w1")?, joined.c2.node("c2-w2")?);
    let (pod, far) = (&client.pods[0], &server.pods[0]);
    let _server = serve(far.netns(), "far")?;
    ensure!(seen(pod.netns(), far.ip()).await? == pod.ip());
    let mut other = remote(&joined.c2)?;
    other.networks = ["10.99.0.0/16".parse()?].into();
    joined.bring(&joined.c1, Some(&[other])).await?;
    let to = SocketAddr::new(far.ip().into(), PORT);
    ensure!(whereami::ask(pod.netns(), to, Duration::from_millis(500)).is_err());
    Ok(())
}
