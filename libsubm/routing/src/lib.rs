//! The network of a Linux kernel as a value, and the kernel made to be like it.
//!
//! ```text
//!   desired Network --+
//!                     +-- diff over both --> plan --> Kernel --> report
//!  observed Network --+                               netlink, /proc/sys
//! ```
//!
//! Start with [`Network`].
#![forbid(unsafe_code)]

mod mark;
mod model;

pub use mark::{ALIAS, Mark, PROTOCOL, TakeOver};
pub use model::{
    Address, Conflict, Family, Forward, FwMark, InvalidLinkName, InvalidMacAddr, InvalidSysctl,
    Key, Link, LinkKind, LinkName, MAIN_TABLE, MacAddr, Neighbour, Network, NextHop, Object, Route,
    Rule, Scope, Sysctl, SysctlKey, Target, Vxlan,
};
