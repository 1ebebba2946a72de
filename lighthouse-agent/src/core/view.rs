//! All that is known of one service: here and on the broker.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use subm_api::{ServiceExport, ServiceImport};

/// The objects of one [`ServiceKey`](super::ServiceKey), by name where there may be several.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceView {
    pub export: Option<ServiceExport>,
    pub service: Option<Service>,
    /// Kubernetes' own slices of the Service.
    pub backends: BTreeMap<String, EndpointSlice>,
    /// The import that users see.
    pub import: Option<ServiceImport>,
    /// Slices of any cluster in the service's namespace, ours to keep.
    pub slices: BTreeMap<String, EndpointSlice>,
    /// Imports per cluster in the agent's namespace.
    pub per_cluster: BTreeMap<String, ServiceImport>,
    /// The Service that carries the cluster set IP.
    pub derived: Option<Service>,
    pub derived_slices: BTreeMap<String, EndpointSlice>,

    /// On the broker: what all clusters together export. More than one only after a quarrel over names.
    pub aggregates: BTreeMap<String, ServiceImport>,
    /// On the broker: what each cluster exports. Agents of Lighthouse up to 0.20 write none.
    pub records: BTreeMap<String, ServiceImport>,
    pub broker_slices: BTreeMap<String, EndpointSlice>,
}

/// Where in a [`ServiceView`] an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Slot {
    Export,
    Service,
    Backend,
    Import,
    Slice,
    PerCluster,
    Derived,
    DerivedSlice,
    Aggregate,
    Record,
    BrokerSlice,
}

impl ServiceView {
    /// The aggregate that counts: the one of the plain name, which is the lesser.
    pub fn aggregate(&self) -> Option<&ServiceImport> {
        self.aggregates.values().next()
    }
}
