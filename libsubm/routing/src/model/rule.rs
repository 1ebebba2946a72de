//! Rules that choose between routing tables.

use std::fmt;

use ipnet::IpNet;

use super::{Family, LinkName};
use crate::mark::PROTOCOL;

/// "Packets like this are routed by that table." Known by all that it says; there is nothing to change in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Rule {
    pub family: Family,
    /// Smaller ones are asked first. The main table has 32766.
    pub priority: u32,
    pub from: Option<IpNet>,
    pub to: Option<IpNet>,
    pub fwmark: Option<FwMark>,
    /// The device through which the packet came; `lo` for packets of this node.
    pub iif: Option<LinkName>,
    /// The device to which the sending socket is bound.
    pub oif: Option<LinkName>,
    /// Not 0.
    pub table: u32,
    /// The mark of who owns it. The backend sets it to its own.
    pub protocol: u8,
}

/// A value of a packet's mark, and which bits of it count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FwMark {
    pub value: u32,
    pub mask: u32,
}

impl Rule {
    /// All packets.
    pub fn new(family: Family, priority: u32, table: u32) -> Self {
        Self {
            family,
            priority,
            from: None,
            to: None,
            fwmark: None,
            iif: None,
            oif: None,
            table,
            protocol: PROTOCOL,
        }
    }

    #[must_use]
    pub fn from(mut self, from: IpNet) -> Self {
        self.from = Some(from);
        self
    }

    #[must_use]
    pub fn to(mut self, to: IpNet) -> Self {
        self.to = Some(to);
        self
    }

    #[must_use]
    pub fn fwmark(mut self, value: u32, mask: u32) -> Self {
        self.fwmark = Some(FwMark { value, mask });
        self
    }

    #[must_use]
    pub fn iif(mut self, iif: LinkName) -> Self {
        self.iif = Some(iif);
        self
    }

    #[must_use]
    pub fn oif(mut self, oif: LinkName) -> Self {
        self.oif = Some(oif);
        self
    }

    /// As the kernel gives it back: a prefix of length 0 is none at all.
    pub(crate) fn normalise(&mut self) {
        let part = |net: IpNet| (net.prefix_len() > 0).then(|| net.trunc());
        self.from = self.from.and_then(part);
        self.to = self.to.and_then(part);
        if let Some(mark) = &mut self.fwmark {
            mark.value &= mark.mask;
        }
        self.fwmark = self.fwmark.filter(|mark| mark.mask != 0);
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rule {}:", self.family, self.priority)?;
        match self.from {
            Some(from) => write!(f, " from {from}")?,
            None => f.write_str(" from all")?,
        }
        if let Some(to) = self.to {
            write!(f, " to {to}")?;
        }
        if let Some(FwMark { value, mask }) = self.fwmark {
            write!(f, " fwmark {value:#x}/{mask:#x}")?;
        }
        if let Some(iif) = self.iif {
            write!(f, " iif {iif}")?;
        }
        if let Some(oif) = self.oif {
            write!(f, " oif {oif}")?;
        }
        write!(f, " lookup {}", self.table)
    }
}
