//! What can go wrong between a driver and its device.

use std::io;

use subm_routing::LinkName;

use crate::key::InvalidKey;

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A key.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The kernel has no WireGuard.
    #[error(
        "this kernel has no WireGuard: load the module wireguard, or use the userspace implementation"
    )]
    NoKernelWireGuard,
    /// This program has no WireGuard of its own.
    #[error(
        "this kernel has no WireGuard, and this program was built without its own (feature \"userspace\"): load the module wireguard"
    )]
    NoUserspaceWireGuard,
    /// Netlink does not work.
    #[error("cannot talk to the kernel about WireGuard (generic netlink)")]
    Netlink(#[source] io::Error),
    /// A message from the kernel that cannot be read.
    #[error("the kernel's answer about WireGuard is not understood: {0}")]
    Answer(String),
    /// The kernel does not do it.
    #[error("the kernel refuses to configure WireGuard's device {device}{}", hint(.source))]
    Refused {
        /// Which device.
        device: LinkName,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The TUN device.
    #[error(
        "the TUN device {device} cannot be made: /dev/net/tun and CAP_NET_ADMIN are needed, and no device of that name"
    )]
    Tun {
        /// Which device.
        device: LinkName,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// The UDP port, most likely.
    #[error(
        "WireGuard cannot listen on UDP port {port}: does another program, or an old tunnel, use it?"
    )]
    Listen {
        /// Which port.
        port: u16,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// WireGuard in userspace has ended.
    #[error("WireGuard's device {device} is not there: it was removed, or not prepared yet")]
    Gone {
        /// Which device.
        device: LinkName,
    },
}

impl Error {
    /// Whether it is worth trying again without a change of configuration.
    pub fn is_retryable(&self) -> bool {
        !matches!(
            self,
            Self::Key(_) | Self::NoKernelWireGuard | Self::NoUserspaceWireGuard
        )
    }
}

fn hint(source: &io::Error) -> &'static str {
    match source.raw_os_error() {
        // ENODEV
        Some(19) => ": there is no such device (yet)",
        // EOPNOTSUPP
        Some(95) => ": the device of that name is not one of WireGuard",
        // EPERM
        Some(1) => ": CAP_NET_ADMIN is needed",
        _ => "",
    }
}
