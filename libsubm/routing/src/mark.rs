//! What is ours in a kernel, and how it can be told.

use std::collections::BTreeSet;

use crate::model::LinkName;

/// The number that our routes and rules carry as their protocol (`proto 83` in `ip route` and `ip rule`).
pub const PROTOCOL: u8 = 83;

/// The alias that our links carry (`alias subm` in `ip link`).
pub const ALIAS: &str = "subm";

/// What an owner's objects carry. Two owners in one network namespace, such as a gateway and a route agent, need two marks:
/// each removes what carries its mark and is not desired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    protocol: u8,
    alias: String,
}

impl Default for Mark {
    /// [`PROTOCOL`] and [`ALIAS`].
    fn default() -> Self {
        Self {
            protocol: PROTOCOL,
            alias: ALIAS.to_owned(),
        }
    }
}

impl Mark {
    /// `protocol`: see `/etc/iproute2/rt_protos` for numbers that others use; 0 to 4 are the kernel's and everybody's.
    pub fn new(protocol: u8, alias: impl Into<String>) -> Self {
        Self {
            protocol,
            alias: alias.into(),
        }
    }

    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    pub fn alias(&self) -> &str {
        &self.alias
    }
}

/// What an owner treats as its own although it does not carry its mark: what an earlier program left, which had no marks.
///
/// Everything in here is made as desired, and removed if it is not desired.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TakeOver {
    /// Devices of these names, with all their addresses, permanent neighbours, forwarding entries, and those routes over them that
    /// carry no owner's protocol number: another owner may route to a device of ours.
    pub links: BTreeSet<LinkName>,
    /// Rules that choose this table with this priority, and all routes of the table: (table, priority).
    pub tables: BTreeSet<(u32, u32)>,
}

impl TakeOver {
    /// Nothing.
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn link(mut self, name: LinkName) -> Self {
        self.links.insert(name);
        self
    }

    #[must_use]
    pub fn table(mut self, table: u32, priority: u32) -> Self {
        self.tables.insert((table, priority));
        self
    }
}
