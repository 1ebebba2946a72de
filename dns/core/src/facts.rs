//! What the objects of the cluster set say, reduced to the fields that DNS needs.
//!
//! Sources (an API server, a folder of manifests) turn each object into one of these values and hand
//! it to the [`Catalog`](crate::catalog::Catalog). Nothing here knows where an object came from.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use crate::name::{Label, lower_case};

/// Namespace and name of a Kubernetes object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    pub namespace: Arc<str>,
    pub name: Arc<str>,
}

impl ObjectKey {
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl std::fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Namespace and name of a service of the cluster set, as two DNS labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    pub namespace: Label,
    pub name: Label,
}

impl ServiceKey {
    /// `None` where either is not a DNS label of 1 to 63 octets.
    pub fn new(namespace: &str, name: &str) -> Option<Self> {
        Some(Self {
            namespace: Label::new(namespace)?,
            name: Label::new(name)?,
        })
    }
}

impl std::fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A cluster's id in the cluster set: one or more DNS labels joined by dots (KEP-1645, KEP-2149),
/// kept in lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(Arc<str>);

impl ClusterId {
    /// `None` unless every label has 1 to 63 octets and all of it at most 253.
    pub fn new(id: &str) -> Option<Self> {
        let valid = id.len() <= 253 && id.split('.').all(|label| Label::new(label).is_some());
        valid.then(|| Self(lower_case(id)))
    }

    /// One that was checked before.
    pub(crate) fn known(id: &str) -> Self {
        Self(id.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a service of the cluster set is reached (`ServiceImport.spec.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceType {
    ClusterSetIp,
    Headless,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl Protocol {
    /// As it stands in an SRV owner name, without the underscore.
    pub fn label(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

/// A port of a service or of a slice. A port without a number never gets here: it has no SRV record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port {
    /// Lower case; `None` for an unnamed port, which has no `_port._proto` name (MCS "A4").
    pub name: Option<Label>,
    pub protocol: Protocol,
    pub number: u16,
}

/// Which of the two object models a ServiceImport belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportForm {
    /// One import per service, in the service's own namespace: today's Lighthouse and every other
    /// implementation of the MCS API.
    Aggregated,
    /// Lighthouse up to 0.14: one import per exporting cluster, in the operator's namespace.
    PerCluster(ClusterId),
}

/// A ServiceImport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    pub service: ServiceKey,
    pub form: ImportForm,
    pub kind: ServiceType,
    /// Cluster set IPs; for [`ImportForm::PerCluster`] that cluster's own service IP.
    pub ips: Vec<IpAddr>,
    pub ports: Vec<Port>,
    /// Weights of round robin from annotations, `1` where a cluster is not named, `0` takes it out.
    /// In a [`ImportForm::PerCluster`] import the key is the *importing* cluster.
    pub weights: Vec<(ClusterId, u16)>,
}

/// An EndpointSlice of a service of the cluster set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    pub service: ServiceKey,
    pub cluster: ClusterId,
    /// Who wrote it, hence what its addresses mean.
    pub form: SliceForm,
    /// Annotation `lighthouse.submariner.io/publish-not-ready-addresses`.
    pub publish_not_ready: bool,
    /// Annotation `lighthouse.submariner.io/globalnet-enabled`: addresses are global IPs, which the
    /// exporting cluster itself cannot reach.
    pub globalnet: bool,
    pub ports: Vec<Port>,
    pub endpoints: Vec<Endpoint>,
    /// When the change that this slice carries happened, from annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`; nanoseconds since the epoch.
    pub triggered_at: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SliceForm {
    /// Lighthouse 0.16 and later, `is-headless: "false"`: one endpoint, the cluster's service IP.
    ServiceIp,
    /// Endpoints are the backends themselves: Lighthouse with `is-headless: "true"`, and slices of
    /// any other implementation.
    Backends,
    /// Lighthouse before 0.16 (no `is-headless` label, or named `<service>-<cluster>`): backends,
    /// heeded only where the cluster has nothing newer.
    Legacy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    pub addresses: Vec<IpAddr>,
    pub hostname: Option<Label>,
    /// Name of the pod behind it, where that is a single DNS label.
    pub pod: Option<Label>,
    /// `conditions.ready`, with "not said" counted as ready (discovery/v1).
    pub ready: bool,
}

/// Kubernetes' own EndpointSlice of a local service, needed for headless services where Globalnet is
/// on: at home the pods' own addresses are the ones that work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalSlice {
    pub service: ServiceKey,
    pub ports: Vec<Port>,
    pub endpoints: Vec<Endpoint>,
}

/// A Submariner Gateway object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gateway {
    pub local_cluster: Option<ClusterId>,
    /// `status.haStatus == "active"`.
    pub active: bool,
    /// Annotation `update-timestamp`, seconds since the epoch.
    pub updated_at: Option<u64>,
    /// Remote cluster and whether its connection's status is `connected`.
    pub connections: Vec<(ClusterId, bool)>,
}

/// Kinds of objects of which a source tells everything at once, from time to time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    Import,
    Slice,
    LocalSlice,
    Namespace,
    Gateway,
}

/// One change of the view. Applying a fact that is already known changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    Import(ObjectKey, Option<Import>),
    Slice(ObjectKey, Option<Slice>),
    LocalSlice(ObjectKey, Option<LocalSlice>),
    /// A namespace of the local cluster exists (`true`) or is gone.
    Namespace(Label, bool),
    Gateway(ObjectKey, Option<Gateway>),
    /// ClusterProperty `cluster.clusterset.k8s.io` (`id.k8s.io` of old is read too).
    ClusterProperty(Option<ClusterId>),
    /// Of this kind there are no objects but these. Namespaces are named by the key's name alone.
    Only(ObjectKind, HashSet<ObjectKey>),
}

/// Something in an object that cannot be served, said once per object and message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// `ServiceImport shop/web`, or the file and document it came from.
    pub object: String,
    /// `spec.ports[1].name`.
    pub field: String,
    /// What is wrong, what is done about it, and the remedy.
    pub message: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.object, self.field, self.message)
    }
}
