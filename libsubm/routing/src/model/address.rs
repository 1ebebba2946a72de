//! Addresses, neighbours and entries of forwarding tables: what belongs to a device.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{LinkName, MacAddr};

/// An address of a device of ours.
///
/// IPv6 addresses are set without duplicate address detection, so they can be used at once. Link-local IPv6 addresses are
/// the kernel's affair: it makes them, and they are neither desired nor observed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Address {
    pub link: LinkName,
    /// The address, and the length of the prefix that is reached through the device.
    pub net: IpNet,
}

/// A permanent entry of the neighbour table (ARP, IPv6 neighbour discovery) of a device of ours. Entries that the kernel
/// learned are its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Neighbour {
    pub link: LinkName,
    pub address: IpAddr,
    pub mac: MacAddr,
}

/// A permanent entry of the forwarding table (FDB) of a VXLAN device of ours: frames for `mac` go to `remote`.
///
/// [`MacAddr::ZERO`] stands for every other address; it, and multicast addresses, may have several entries, and frames are
/// copied to each. Other addresses have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Forward {
    pub link: LinkName,
    pub mac: MacAddr,
    /// The address of the other tunnel end in the network below.
    pub remote: IpAddr,
    /// The UDP port there. `None`: that of the device.
    pub port: Option<u16>,
}

impl Address {
    pub fn new(link: LinkName, net: IpNet) -> Self {
        Self { link, net }
    }
}

impl Neighbour {
    pub fn new(link: LinkName, address: IpAddr, mac: MacAddr) -> Self {
        Self { link, address, mac }
    }
}

impl Forward {
    pub fn new(link: LinkName, mac: MacAddr, remote: IpAddr) -> Self {
        Self {
            link,
            mac,
            remote,
            port: None,
        }
    }

    /// Every frame without an entry of its own goes there too.
    pub fn flood(link: LinkName, remote: IpAddr) -> Self {
        Self::new(link, MacAddr::ZERO, remote)
    }

    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "address {} dev {}", self.net, self.link)
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "neighbour {} dev {} lladdr {}",
            self.address, self.link, self.mac
        )
    }
}

impl fmt::Display for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fdb {} dev {} dst {}", self.mac, self.link, self.remote)?;
        if let Some(port) = self.port {
            write!(f, " port {port}")?;
        }
        Ok(())
    }
}
