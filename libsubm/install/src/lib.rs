//! What Submariner installs: settings in, Kubernetes objects out. Pure; whoever applies them (`subctl`, an operator) brings
//! the client.
//!
//! ```text
//!  broker::Settings ──▶ broker::objects()        namespace, CRDs, accounts, roles, admission policy, Broker
//!  ClusterId        ──▶ broker::member_objects() what lets one member in
//!                       BrokerInfo               the file that carries the invitation from here to there
//!  member::Settings ──▶ member::objects()        namespace, CRDs, accounts, roles; agent, DNS server; gateway, route agent
//!  DaemonSets       ──▶ member::cleanup::pod()   what removes a node's part of the data plane
//!  Images           ──▶ member::nettest::pod()   what measures and probes from a node
//!  Claims           ──▶ overlap::find()          networks that two members have
//!  network::Facts   ──▶ network::discover()      pod and service CIDRs of a cluster, from what it shows
//!  Corefile, domains, address ──▶ coredns::*     the cluster's own DNS, pointed at ours, and back
//! ```
//!
//! What it is not: it neither reads nor writes a cluster, and does not know what the programs do that it installs. Objects
//! are JSON values in the shape of manifests ([`Object`]), because server-side apply sends just those fields.
//!
//! Start with [`member`] and [`broker`].

pub mod broker;
mod broker_info;
pub mod cidr;
mod cluster_id;
pub mod coredns;
pub mod crds;
pub mod images;
pub mod member;
pub mod names;
pub mod network;
mod object;
pub mod overlap;
mod rbac;

pub use broker_info::{BrokerInfo, BrokerInfoError, Invitation, backup_name};
pub use cluster_id::{ClusterId, InvalidClusterId};
pub use object::Object;
