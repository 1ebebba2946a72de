//! The network of a Linux kernel as a value, and the kernel made to be like it.
//!
//! A [`Network`] holds links, kernel parameters, addresses, neighbours, forwarding entries, routes and rules of both address
//! families. Functions that decide what a node's network should be make one, and are tested without a kernel. A [`Kernel`]
//! observes what is ours in a network namespace, and makes it as desired:
//!
//! ```text
//!  desired Network --+                              +--> rtnetlink, /proc/sys/net
//!                    +--> plan(desired, observed) --+
//! observed Network --+                              +--> report: step by step
//!     ^
//!     +-- Kernel: what carries our mark, or is named to be taken over
//! ```
//!
//! # What is ours
//!
//! Objects of others are never changed or removed. Ours are told by a [`Mark`]:
//!
//! | object | mark |
//! |---|---|
//! | link | its alias, `subm` |
//! | route, rule | its protocol number, 83 |
//! | address, permanent neighbour, forwarding entry | it belongs to a link of ours |
//! | kernel parameter | it is in our memory: a file that holds what was there before ([`Settings::memory`]) |
//!
//! What an earlier program left without marks is named in [`TakeOver`]. Two owners in one namespace need two marks.
//!
//! So a process needs no memory of what it made: a new one finds all of it, and what it does not want is removed. To want
//! nothing is to uninstall; afterwards all is as it was before.
//!
//! # In which order
//!
//! See [`plan`]. Additions go before removals; a link whose identity changes is the exception, as its name is taken.
//!
//! # Limits
//!
//! * A route that somebody else *appends* under destination, table and metric of one of ours is not seen, and can be
//!   replaced when ours changes. Without one there before, ours is never put in another's place.
//! * Nexthop objects, encapsulations, source routing and routes by type of service are neither made nor, if they carry our
//!   mark, understood.
//! * Filters in the kernel need Linux 4.20; before that more is read. Rules need 4.17 for their mark.
//! * A kernel parameter that changes others (`ipv4/ip_forward`) is put back by itself only.
//! * Where IPv6 is disabled, by the kernel's command line or for all new devices, what is wanted of it is left out and said once. The
//!   rest is made.
//!
//! # What it is not
//!
//! Not a routing daemon, not a firewall, not a configurator of WireGuard's keys and peers. It knows nothing of Kubernetes.
//!
//! # Where to start
//!
//! [`Network`] has an example of a value, `examples/two_namespaces.rs` one of a kernel. [`Kernel`] is a
//! [`subm_reconcile::Target`]: [`subm_reconcile::Reconciler`] keeps it as desired, with [`Kernel::hints`] as triggers.
//! [`MacAddr::for_vtep`] says why tunnel devices should not have random hardware addresses.
#![forbid(unsafe_code)]

mod error;
mod kernel;
mod mark;
mod model;
mod plan;

pub use error::Error;
pub use kernel::{
    DefaultRoute, Hints, Interface, Kernel, Path, Settings, Traffic, interface_within,
};
pub use mark::{ALIAS, Mark, PROTOCOL, TakeOver};
pub use model::{
    Address, Conflict, Family, Forward, FwMark, InvalidLinkName, InvalidMacAddr, InvalidSysctl,
    Key, Link, LinkKind, LinkName, MAIN_TABLE, MacAddr, Neighbour, Network, NextHop, Object, Route,
    Rule, Scope, Sysctl, SysctlKey, Target, Vxlan,
};
pub use plan::{plan, replaces};
