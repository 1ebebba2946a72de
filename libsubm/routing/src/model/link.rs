//! Devices.

use std::fmt;
use std::net::IpAddr;

use super::{LinkName, MacAddr};
use crate::mark::ALIAS;

/// A network device, which is up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Link {
    pub name: LinkName,
    pub kind: LinkKind,
    /// In bytes. `None`: whatever the kernel chooses.
    pub mtu: Option<u32>,
    /// `None`: whatever the kernel chooses, a random one for most kinds. See [`MacAddr::for_vtep`] for why not to leave it.
    pub mac: Option<MacAddr>,
    /// The mark of who owns it. The backend sets it to its own.
    pub alias: Option<String>,
    /// Whether it is up. Desired links are; an observed one may be down.
    pub up: bool,
}

/// What kind of device, with what cannot be said of other kinds.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LinkKind {
    /// Ethernet over UDP (RFC 7348).
    Vxlan(Vxlan),
    /// The kernel's WireGuard. Key, port and peers are not the business of this crate.
    WireGuard,
    /// One end of a pair of devices in one network namespace. The other end comes and goes with it; to have that one up and
    /// with addresses, say it as a link too, with this one as its peer.
    Veth { peer: LinkName },
    /// A device that drops what it is given: a place for addresses.
    Dummy,
    /// A device that somebody else makes and removes, such as the TUN device of a userspace WireGuard. It is marked,
    /// configured and put up once it is there, and left to its maker when it is no longer desired.
    External,
}

/// A VXLAN device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Vxlan {
    /// The VXLAN network identifier, below 2^24.
    pub id: u32,
    /// The UDP port of both sides.
    pub port: u16,
    /// The source address of what it sends. `None`: by route.
    pub local: Option<IpAddr>,
    /// Where frames go that no entry of the forwarding table covers: an address, or a multicast group.
    pub remote: Option<IpAddr>,
    /// The device below. Needed for a multicast group and for link-local addresses only.
    pub device: Option<LinkName>,
    /// Whether the forwarding table learns from the frames that come in. Off by default: then all entries are ours, and a
    /// peer cannot make us send another's frames to it.
    pub learning: bool,
}

impl Link {
    pub fn new(name: LinkName, kind: LinkKind) -> Self {
        Self {
            name,
            kind,
            mtu: None,
            mac: None,
            alias: Some(ALIAS.to_owned()),
            up: true,
        }
    }

    pub fn vxlan(name: LinkName, vxlan: Vxlan) -> Self {
        Self::new(name, LinkKind::Vxlan(vxlan))
    }

    pub fn wireguard(name: LinkName) -> Self {
        Self::new(name, LinkKind::WireGuard)
    }

    pub fn veth(name: LinkName, peer: LinkName) -> Self {
        Self::new(name, LinkKind::Veth { peer })
    }

    pub fn dummy(name: LinkName) -> Self {
        Self::new(name, LinkKind::Dummy)
    }

    pub fn external(name: LinkName) -> Self {
        Self::new(name, LinkKind::External)
    }

    #[must_use]
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = Some(mtu);
        self
    }

    #[must_use]
    pub fn mac(mut self, mac: MacAddr) -> Self {
        self.mac = Some(mac);
        self
    }
}

impl Vxlan {
    pub fn new(id: u32, port: u16) -> Self {
        Self {
            id,
            port,
            local: None,
            remote: None,
            device: None,
            learning: false,
        }
    }

    #[must_use]
    pub fn local(mut self, local: IpAddr) -> Self {
        self.local = Some(local);
        self
    }

    #[must_use]
    pub fn remote(mut self, remote: IpAddr) -> Self {
        self.remote = Some(remote);
        self
    }

    #[must_use]
    pub fn device(mut self, device: LinkName) -> Self {
        self.device = Some(device);
        self
    }

    #[must_use]
    pub fn learning(mut self, learning: bool) -> Self {
        self.learning = learning;
        self
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {} {}", self.name, self.kind)?;
        if let Some(mtu) = self.mtu {
            write!(f, " mtu {mtu}")?;
        }
        if let Some(mac) = self.mac {
            write!(f, " address {mac}")?;
        }
        if !self.up {
            f.write_str(" down")?;
        }
        Ok(())
    }
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vxlan(vxlan) => vxlan.fmt(f),
            Self::WireGuard => f.write_str("wireguard"),
            Self::Veth { peer } => write!(f, "veth peer {peer}"),
            Self::Dummy => f.write_str("dummy"),
            Self::External => f.write_str("made elsewhere"),
        }
    }
}

impl fmt::Display for Vxlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vxlan id {}", self.id)?;
        if let Some(local) = self.local {
            write!(f, " local {local}")?;
        }
        if let Some(remote) = self.remote {
            write!(f, " remote {remote}")?;
        }
        if let Some(device) = self.device {
            write!(f, " dev {device}")?;
        }
        write!(f, " dstport {}", self.port)?;
        if self.learning {
            f.write_str(" learning")?;
        }
        Ok(())
    }
}
