//! Real control planes, proxies and peers for tests.
//!
//! What it is: fixtures that start programs which others wrote (etcd, kube-apiserver, CoreDNS, dig, Knot …), wait until
//! they answer, hand out clients, and leave neither process nor file behind, whether the test passes, panics or is killed.
//! What it is not: a mock of any of them.
//!
//! ```text
//!  Binaries ──▶ Process ──▶ Cluster ◀── Proxy ◀── the program under test
//!  find, build  spawn, log,  etcd +      delay,
//!  once         kill         API server  cut, reset
//!                               │
//!                TestNode ──▶  Lan ──▶ Fabric ◀── Lan ◀── Site: nodes and pods, no Kubernetes
//!                pods as       host-gw,  a router
//!                processes     CNI       Fault cuts, drops, loses; Capture, Monitor, KernelState and whereami tell what happened
//! ```
//!
//! Start reading at [`Cluster`], or at [`Fabric`] for what needs a network and no API server. `tests/README.md` tells how tests are arranged and run.
//!
//! Errors are [`anyhow::Error`]: a test prints them and fails.

mod audit;
mod binaries;
mod capture;
mod cluster;
mod cluster_dns;
pub mod crds;
mod dns;
mod eventually;
mod fabric;
mod families;
mod fault;
pub mod lan;
mod monitor;
mod net;
mod netns;
mod node;
pub mod objects;
mod page;
mod pki;
mod process;
mod proxy;
pub mod rbac;
mod reach;
mod relay;
mod sandbox;
mod site;
mod snapshot;
mod sys;
pub mod whereami;
mod workdir;

pub use audit::Audit;
pub use binaries::{Binaries, cache_dir};
pub use capture::{Capture, Packet, Protocol, save_pcap};
pub use cluster::{Cluster, ClusterBuilder};
pub use cluster_dns::COREFILE;
pub use dns::{Reply, dig, kdig};
pub use eventually::eventually;
pub use fabric::Fabric;
pub use families::Families;
pub use fault::{Fault, Link, Packets, can_delay};
pub use monitor::Monitor;
pub use net::{free_port, random_loopback};
pub use netns::NetNs;
pub use node::{KubeProxy, TestNode, TestNodeBuilder};
pub use page::{page, samples};
pub use process::Process;
pub use proxy::Proxy;
pub use site::{Site, SiteBuilder, SiteNode};
pub use snapshot::KernelState;
