//! A node's and its pods' network, and the ways out of it: relays to API servers.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Result;

use crate::cluster::{ADVERTISED, ADVERTISED6};
use crate::families::Families;
use crate::lan::{API_PORT, Cni, Lan, Node, Pod};
use crate::relay::Relays;

/// What a node's own `resolv.conf` names: nobody, which the node says at once, in a way that resolvers believe.
pub(super) const NO_RESOLVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 53);

/// A node's side.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) node: Arc<Node>,
    /// Of what Kubernetes hears.
    pub(crate) families: Families,
    _relays: Relays,
}

/// A pod's side.
#[derive(Debug)]
pub(crate) struct PodNetwork {
    pub(crate) pod: Pod,
    _relays: Relays,
}

impl Network {
    /// Must be called in the runtime that the node lives in.
    pub(crate) fn new(
        lan: &Arc<Lan>,
        name: &str,
        cni: Cni,
        api_server: SocketAddr,
        families: Families,
    ) -> Result<Self> {
        let node = Node::new(lan, name, cni)?;
        node.netns().ip(&format!(
            "addr add {ADVERTISED}/32 dev lo\naddr add {ADVERTISED6}/128 dev lo nodad\n\
             route add prohibit {NO_RESOLVER}/32"
        ))?;
        let mut relays = Relays::default();
        let advertised = families.first(ADVERTISED, ADVERTISED6);
        relays.add(node.netns(), (advertised, API_PORT).into(), api_server)?;
        relays.add_reachable(Arc::clone(node.netns()))?;
        Ok(Self {
            node,
            families,
            _relays: relays,
        })
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.node.ip()
    }

    /// The node's, first that of the first family.
    pub(crate) fn ips(&self) -> Vec<IpAddr> {
        self.families.of(self.node.ip(), self.node.ip6())
    }

    /// A pod's.
    pub(crate) fn pod_ips(&self, pod: &PodNetwork) -> Vec<IpAddr> {
        self.families.of(pod.pod.ip(), pod.pod.ip6())
    }

    /// A namespace with an address for a pod.
    pub(crate) fn add_pod(&self) -> Result<PodNetwork> {
        let pod = self.node.add_pod()?;
        let mut relays = Relays::default();
        relays.add_reachable(Arc::clone(pod.netns()))?;
        Ok(PodNetwork {
            pod,
            _relays: relays,
        })
    }
}
