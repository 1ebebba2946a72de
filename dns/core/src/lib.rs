//! The zone `clusterset.local` as values: facts of the cluster set in, reply bytes out.
//!
//! ```text
//!  facts (ServiceImports, EndpointSlices, Gateways ...)
//!    |  Catalog::apply, Catalog::publish         one thread, when something changed
//!    v
//!  Snapshot + ClusterStatus                      immutable, shared by all workers
//!    |  respond(authority, snapshot, status, query bytes) -> reply bytes
//!    v
//!  any socket
//! ```
//!
//! This crate has no sockets, no clock, no async runtime, no Kubernetes types, and [`respond::respond`] neither
//! allocates nor locks. The rules that it follows are in `docs/answers.md`; the tests in `tests/` go through them
//! by number and hold them against a second, naive reading.
//!
//! Start reading at [`facts`] (what is known), [`catalog`] (what changed), [`snapshot`] (what is answered) and
//! [`respond`] (how). [`transfer`] lists the zone, [`explain`] says why a name answers what it answers.
//!
//! ```
//! use subm_dns_core::authority::{Authority, Zone};
//! use subm_dns_core::catalog::{Catalog, Settings};
//! use subm_dns_core::facts::{Fact, Import, ImportForm, ObjectKey, ServiceKey, ServiceType};
//! use subm_dns_core::name::WireName;
//!
//! let origin = WireName::parse("clusterset.local").unwrap();
//! let mut catalog = Catalog::new(Settings { longest_zone: origin.wire_len(), ..Settings::default() });
//! let web = Import {
//!     service: ServiceKey::new("shop", "web").unwrap(),
//!     form: ImportForm::Aggregated,
//!     kind: ServiceType::ClusterSetIp,
//!     ips: vec!["243.0.0.1".parse().unwrap()],
//!     ports: vec![],
//!     weights: vec![],
//! };
//! catalog.apply(Fact::Import(ObjectKey::new("shop", "web"), Some(web)));
//! let published = catalog.publish(1_700_000_000);
//!
//! let mut zone = String::new();
//! let authority = Authority::new(vec![Zone::new(origin)]);
//! subm_dns_core::transfer::dump(&authority.zones()[0], &published.snapshot, &published.status, &mut zone).unwrap();
//! assert!(zone.contains("web.shop.svc.clusterset.local. 5 IN A 243.0.0.1"));
//! ```

pub mod authority;
mod build;
pub mod catalog;
mod clusters;
pub mod edns;
pub mod explain;
pub mod facts;
pub mod ledger;
mod message;
pub mod name;
mod packed;
pub mod respond;
mod select;
pub mod serial;
pub mod snapshot;
pub mod status;
mod targets;
pub mod transfer;
mod writer;
