//! What an operator chooses.

use std::time::Duration;

use ipnet::Ipv4Net;
use subm_api::NamespaceRules;

/// See `docs/agent.md` for the environment that sets these.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// This cluster's id, an RFC 1123 label.
    pub cluster: String,
    /// Where the agent runs, and where imports per cluster are shown.
    pub namespace: String,
    /// The namespace of the cluster set on the broker.
    pub broker_namespace: String,
    /// Services are reached by global IPs.
    pub globalnet: bool,
    pub cluster_set_ips: ClusterSetIps,
    /// Show what each cluster exports as `<service>-<namespace>-<cluster>` in [`Settings::namespace`], as release 0.14 did.
    pub per_cluster_imports: bool,
    pub lost_clusters: LostClusters,
    pub namespaces: NamespaceRules,
    /// Nothing should be: neither imports nor exports of this cluster, nor conditions of them.
    pub uninstalling: bool,
}

/// Which services have an address of the cluster set, beside those whose export asks for one or asks for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterSetIps {
    /// Those whose export does not say.
    pub by_default: bool,
    pub from: IpSource,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IpSource {
    /// This cluster's part of a range that the data plane knows, as Lighthouse does. Without a range nothing gets an address.
    Pool(Option<Ipv4Net>),
    /// A Service in each importing cluster, which every kube-proxy understands.
    DerivedService,
}

impl Default for IpSource {
    fn default() -> Self {
        Self::Pool(None)
    }
}

/// What becomes of the imports of a cluster that renews its Lease no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LostClusters {
    /// They stay.
    #[default]
    Keep,
    /// They go after this long.
    DropAfter(Duration),
}

impl Settings {
    /// As they are if nobody chooses.
    pub fn new(cluster: &str, namespace: &str, broker_namespace: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
            namespace: namespace.to_owned(),
            broker_namespace: broker_namespace.to_owned(),
            globalnet: false,
            cluster_set_ips: ClusterSetIps::default(),
            per_cluster_imports: true,
            lost_clusters: LostClusters::Keep,
            namespaces: NamespaceRules::default(),
            uninstalling: false,
        }
    }

    /// Whether a service shall have a cluster set IP, by what its export says of it.
    pub fn wants_ip(&self, asked: Option<bool>) -> bool {
        asked.unwrap_or(self.cluster_set_ips.by_default)
    }

    /// Whether services of a namespace are exported and imported.
    pub fn permits(&self, namespace: &str) -> bool {
        namespace != self.namespace
            && namespace != self.broker_namespace
            && self.namespaces.permit(namespace)
    }
}
