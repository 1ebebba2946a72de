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
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The aggregate that counts: the one of the least name.
    pub fn aggregate(&self) -> Option<&ServiceImport> {
        self.aggregates.values().next()
    }

    pub(super) fn remove(&mut self, slot: Slot, name: &str) {
        match slot {
            Slot::Export => self.export = None,
            Slot::Service => self.service = None,
            Slot::Backend => drop(self.backends.remove(name)),
            Slot::Import => self.import = None,
            Slot::Slice => drop(self.slices.remove(name)),
            Slot::PerCluster => drop(self.per_cluster.remove(name)),
            Slot::Derived => self.derived = None,
            Slot::DerivedSlice => drop(self.derived_slices.remove(name)),
            Slot::Aggregate => drop(self.aggregates.remove(name)),
            Slot::Record => drop(self.records.remove(name)),
            Slot::BrokerSlice => drop(self.broker_slices.remove(name)),
        }
    }
}
