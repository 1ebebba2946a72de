//! Kubernetes objects as Submariner and the Multi-Cluster Services API write them: types, labels,
//! annotations and well-known names.
//!
//! The types hold what programs of this project read, not whole schemas: unknown fields are skipped,
//! and lists are read member by member ([`Items`]), so that one malformed port does not cost the
//! other ports. What a value *means* is decided by its readers; nothing here judges it.
//!
//! Every object implements [`kube::Resource`] with its API version given at run time, because the
//! same `ServiceImport` is served as `v1alpha1` in one cluster and `v1beta1` in the next.
//!
//! Start with [`ServiceImport`] and [`names`].

mod about;
mod core;
mod discovery;
mod items;
mod mcs;
mod metadata;
pub mod names;
mod namespaces;
mod resource;
pub mod submariner;
mod text;
mod whole;

pub use about::{ClusterProperty, ClusterPropertySpec};
pub use core::Namespace;
pub use discovery::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice, TargetRef};
pub use items::{Items, Malformed};
pub use mcs::{
    ClusterStatus, Condition, ServiceExport, ServiceExportSpec, ServiceExportStatus, ServiceImport,
    ServiceImportSpec, ServiceImportStatus, ServicePort,
};
pub use namespaces::NamespaceRules;
pub use resource::ResourceKind;
pub use submariner::{
    Cluster, ClusterSpec, Connection, EndpointSpec, Gateway, GatewayStatus, GlobalIngressIP,
    GlobalIngressIPSpec, GlobalIngressIPStatus, NameRef,
};
pub use text::from_json;
pub use whole::{Kind, Whole};
