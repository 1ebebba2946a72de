//! Many clusters with many networks each: what it takes to plan for them, to make a node's kernel so, and to look again.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use ipnet::{IpNet, Ipv4Net};
use subm_dataplane::node::{self, Cni, Gateway, Uplink, View, Way};
use subm_dataplane::remotes::Remote;
use subm_nat::Nft;
use subm_routing::{Kernel, LinkName, Mark, Network, Settings};
use subm_test_support::lan::Node;
use subm_test_support::{Fabric, Monitor};
use subm_tunnel::{Cable, Local, vxlan};

const MTU: u32 = 1500;
const PORT: u16 = 4500;

/// Of one node, in ms and in netlink messages that somebody hears.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub objects: usize,
    pub plan: f64,
    pub made: f64,
    pub looked: f64,
    pub messages_of_a_look: usize,
    /// Of one cluster more.
    pub more: f64,
    pub messages_of_one_more: usize,
    pub filter_made: f64,
    pub filter_looked: f64,
}

/// A gateway node with cables of VXLAN, for so many clusters with so many networks each.
pub async fn measure(clusters: u16, networks: u16) -> Result<Cost> {
    let fabric = Fabric::new()?;
    let site = fabric.site("c1").gateways(1).start()?;
    let node = &site.nodes[0].net;
    let remotes: Vec<Remote> = (0..=clusters)
        .map(|number| remote(number, networks))
        .collect::<Result<_>>()?;
    let (all, but_one) = (&remotes[..], &remotes[..remotes.len() - 1]);

    let began = Instant::now();
    let plans = plans(node, but_one)?;
    let plan = millis(began);
    let objects = plans
        .iter()
        .map(|(_, network)| network.clone().into_objects().len())
        .sum();
    let mut kernels = kernels(node)?;
    let began = Instant::now();
    apply(&mut kernels, &plans).await?;
    let made = millis(began);
    let monitor = Monitor::start(node.netns()).await?;
    let began = Instant::now();
    ensure!(apply(&mut kernels, &plans).await? == 0, "changes at rest");
    let looked = millis(began);
    let messages_of_a_look = monitor.changes()?.len();

    let plans = self::plans(node, all)?;
    let began = Instant::now();
    let changes = apply(&mut kernels, &plans).await?;
    let more = millis(began);
    let heard = subm_test_support::eventually(std::time::Duration::from_secs(10), || async {
        let heard = monitor
            .changes()?
            .iter()
            .filter(|line| !line.starts_with(' '))
            .count();
        ensure!(heard >= changes, "{heard} of {changes} messages are heard");
        Ok(heard)
    });
    let messages_of_one_more = heard.await?;

    let ruleset = node::plan(&view(node), all).filter.ruleset();
    let reconcile = || {
        let began = Instant::now();
        let plan = node.netns().run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            Ok(runtime.block_on(Nft::new().reconcile(&ruleset))?)
        })?;
        anyhow::Ok((millis(began), plan.is_empty()))
    };
    let ((filter_made, _), (filter_looked, nothing)) = (reconcile()?, reconcile()?);
    ensure!(nothing, "the packet filter is changed at rest");
    Ok(Cost {
        objects,
        plan,
        made,
        looked,
        messages_of_a_look,
        more,
        messages_of_one_more,
        filter_made,
        filter_looked,
    })
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

type Plans = [(&'static str, Network); 2];

/// The route agent's and the gateway's.
fn plans(node: &Node, remotes: &[Remote]) -> Result<Plans> {
    let plan = node::plan(&view(node), remotes);
    ensure!(plan.troubles.is_empty(), "{:?}", plan.troubles);
    let local = Local {
        private_ip: node.ip().into(),
        port: PORT,
        mtu: MTU,
        source: Some(node.cni_address().0),
        source6: None,
    };
    let cables: Vec<Cable> = remotes
        .iter()
        .map(|remote| {
            let Remote { cable, cluster, .. } = remote;
            Cable::new(cable, cluster, remote.private_ip, remote.port)
                .subnets(remote.networks.iter().copied())
        })
        .collect();
    let (network, refusals) = vxlan::plan(&local, &cables);
    ensure!(refusals.is_empty(), "{refusals:?}");
    Ok([("agent", plan.network), ("gateway", network)])
}

fn kernels(node: &Node) -> Result<BTreeMap<&'static str, Kernel>> {
    let marks = [
        ("agent", Mark::new(84, "subm/route-agent")),
        ("gateway", Mark::default()),
    ];
    let kernels = marks.into_iter().map(|(part, mark)| {
        let namespace = File::open(node.netns().path())?;
        let memory = tempfile::NamedTempFile::new()?.into_temp_path();
        let settings = Settings::new().mark(mark).memory(memory.to_path_buf());
        Ok((part, Kernel::open_in(namespace, settings)?))
    });
    kernels.collect()
}

/// How many changes that took.
async fn apply(kernels: &mut BTreeMap<&'static str, Kernel>, plans: &Plans) -> Result<usize> {
    let mut changes = 0;
    for (part, network) in plans {
        let kernel = kernels.get_mut(part).context(*part)?;
        let report = kernel.apply(network).await?;
        ensure!(report.all_done(), "{part}: {report}");
        changes += report.done();
    }
    Ok(changes)
}

fn view(node: &Node) -> View {
    let gateway = Gateway {
        node: node.name().to_owned(),
        private_ip: node.ip().into(),
        way: Way::Own(vxlan::DEVICE),
        mtu: Some(MTU - vxlan::OVERHEAD),
    };
    View {
        node: node.name().to_owned(),
        uplink: Uplink {
            link: LinkName::from_static("eth0"),
            address: node.ip().into(),
            gateway: Some(node.lan().ranges().router().0.into()),
            mtu: MTU,
        },
        cni: Some(Cni {
            link: LinkName::from_static("cni0"),
            address: Some(node.cni_address().0),
            address6: None,
        }),
        pods: vec![node.lan().ranges().pods.into()],
        gateway: Some(gateway),
        nodes: [(node.name().to_owned(), node.ip().into())].into(),
        addresses: [node.ip().into()].into(),
    }
}

/// Every other /24 from 11.0.0.0 on: none touches another.
fn remote(number: u16, networks: u16) -> Result<Remote> {
    let network = |at: u16| -> Result<IpNet> {
        let index = u32::from(number) * u32::from(networks) + u32::from(at);
        let address = Ipv4Addr::from(0x0b00_0000 + (index << 9));
        Ok(Ipv4Net::new(address, 24)?.into())
    };
    let [high, low] = number.to_be_bytes();
    let cluster = format!("far{number}");
    Ok(Remote {
        endpoint: format!("{cluster}-submariner-cable-{cluster}"),
        cable: format!("submariner-cable-{cluster}"),
        node: format!("{cluster}-gw"),
        cluster,
        networks: (0..networks)
            .map(network)
            .collect::<Result<BTreeSet<_>>>()?,
        private_ip: Ipv4Addr::new(172, 30, high, low).into(),
        public_ip: None,
        health_check_ip: None,
        backend: "vxlan".to_owned(),
        port: PORT,
        public_key: None,
        vtep_mac: None,
        nat_enabled: false,
        load_balancer: false,
    })
}
