//! A cluster as a data plane sees it: nodes and pods in namespaces, no Kubernetes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use crate::fabric::Fabric;
use crate::families::Families;
use crate::lan::{Cni, Lan, Node, Pod, Ranges};

/// What a [`Site`] is started with; made by [`Fabric::site`].
#[derive(Debug, Clone)]
pub struct SiteBuilder<'a> {
    fabric: &'a Fabric,
    name: String,
    gateways: usize,
    workers: usize,
    pods: usize,
    cni: Cni,
    ranges: Ranges,
    families: Families,
}

/// A cluster without Kubernetes on a [`Fabric`].
///
/// ```
/// # fn main() -> anyhow::Result<()> {
/// use subm_test_support::Fabric;
/// let fabric = Fabric::new()?;
/// let c1 = fabric.site("c1").gateways(1).workers(1).pods(2).start()?;
/// let c2 = fabric.site("c2").gateways(1).start()?;
/// let (pod, gateway) = (&c1.node("c1-w1")?.pods[0], c2.node("c2-gw1")?);
/// // Nodes reach each other over the fabric; pods of one cluster do not reach those of the other: that is our job.
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Site {
    name: String,
    lan: Arc<Lan>,
    cni: Cni,
    pub nodes: Vec<SiteNode>,
}

/// A node and its pods.
#[derive(Debug)]
pub struct SiteNode {
    pub net: Arc<Node>,
    pub pods: Vec<Pod>,
    gateway: bool,
}

impl<'a> SiteBuilder<'a> {
    /// The pods of the nth site of a fabric are in 10.n.0.0/16, unless [`SiteBuilder::ranges`] says otherwise.
    pub(crate) fn new(fabric: &'a Fabric, name: &str) -> Self {
        let number = u8::try_from(fabric.len() + 1).unwrap_or(u8::MAX);
        let pods = ipnet::Ipv4Net::new(Ipv4Addr::new(10, number, 0, 0), 16);
        Self {
            fabric,
            name: name.to_owned(),
            gateways: 0,
            workers: 0,
            pods: 0,
            cni: Cni::default(),
            families: Families::default(),
            ranges: Ranges::of_pods(pods.expect("16 is a prefix length")),
        }
    }

    /// Nodes called `NAME-gw1`, `NAME-gw2` ….
    #[must_use]
    pub fn gateways(mut self, count: usize) -> Self {
        self.gateways = count;
        self
    }

    /// Nodes called `NAME-w1`, `NAME-w2` ….
    #[must_use]
    pub fn workers(mut self, count: usize) -> Self {
        self.workers = count;
        self
    }

    /// On each node.
    #[must_use]
    pub fn pods(mut self, count: usize) -> Self {
        self.pods = count;
        self
    }

    #[must_use]
    pub fn cni(mut self, cni: Cni) -> Self {
        self.cni = cni;
        self
    }

    /// Where nodes and pods have their addresses.
    #[must_use]
    pub fn ranges(mut self, ranges: Ranges) -> Self {
        self.ranges = ranges;
        self
    }

    /// Whether there is IPv4 at all: [`Families::V6`] has none.
    #[must_use]
    pub fn families(mut self, families: Families) -> Self {
        self.families = families;
        self
    }

    pub fn start(self) -> Result<Site> {
        let lan = Arc::new(Lan::new(self.ranges, self.families)?);
        self.fabric.join(&lan)?;
        let mut site = Site {
            name: self.name,
            lan,
            cni: self.cni,
            nodes: Vec::new(),
        };
        for (kind, count) in [("gw", self.gateways), ("w", self.workers)] {
            for number in 1..=count {
                let name = format!("{}-{kind}{number}", site.name);
                site.add_node(&name, kind == "gw", self.pods)?;
            }
        }
        Ok(site)
    }
}

impl Site {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn lan(&self) -> &Arc<Lan> {
        &self.lan
    }

    pub fn ranges(&self) -> &Ranges {
        self.lan.ranges()
    }

    pub fn gateways(&self) -> impl Iterator<Item = &SiteNode> {
        self.nodes.iter().filter(|node| node.gateway)
    }

    pub fn workers(&self) -> impl Iterator<Item = &SiteNode> {
        self.nodes.iter().filter(|node| !node.gateway)
    }

    pub fn node(&self, name: &str) -> Result<&SiteNode> {
        let node = self.nodes.iter().find(|node| node.net.name() == name);
        node.with_context(|| {
            let names: Vec<&str> = self.nodes.iter().map(|node| node.net.name()).collect();
            format!(
                "{} has no node {name:?}, but {}",
                self.name,
                names.join(", ")
            )
        })
    }

    /// One more node, with pods.
    pub fn add_node(&mut self, name: &str, gateway: bool, pods: usize) -> Result<&SiteNode> {
        let net = Node::new(&self.lan, name, self.cni)?;
        let pods = (0..pods).map(|_| net.add_pod()).collect::<Result<_>>()?;
        self.nodes.push(SiteNode { net, pods, gateway });
        Ok(&self.nodes[self.nodes.len() - 1])
    }

    /// Takes a node away for good, unless [`Site::add_node`] brings one of its name back.
    pub fn remove_node(&mut self, name: &str) -> Result<()> {
        let node = self.node(name)?.net.clone();
        self.nodes.retain(|have| have.net.name() != name);
        // What still holds the namespace is not to be heard of any more.
        node.unplug()
    }

    /// Power off and on: namespaces are made anew, with the node's name and addresses, and as many pods. What ran there does
    /// not come back; whoever holds the old namespace holds one without links.
    pub fn reboot(&mut self, name: &str) -> Result<&SiteNode> {
        let before = self.node(name)?;
        let (gateway, pods) = (before.gateway, before.pods.len());
        self.remove_node(name)?;
        self.add_node(name, gateway, pods)
    }
}
