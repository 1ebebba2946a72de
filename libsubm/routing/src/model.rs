//! What a kernel's network can hold, as values.

mod address;
mod link;
mod mac;
mod name;
mod network;
mod route;
mod rule;
mod sysctl;

pub use address::{Address, Forward, Neighbour};
pub use link::{Link, LinkKind, Vxlan};
pub use mac::{InvalidMacAddr, MacAddr};
pub use name::{InvalidLinkName, LinkName};
pub use network::{Conflict, Key, Network, Object};
pub use route::{Family, MAIN_TABLE, NextHop, Route, Scope, Target};
pub use rule::{FwMark, Rule};
pub use sysctl::{InvalidSysctl, Sysctl, SysctlKey};
