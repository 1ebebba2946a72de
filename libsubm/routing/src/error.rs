//! What can go wrong between this crate and a kernel.

use std::io;
use std::path::PathBuf;

use crate::model::LinkName;

/// What went wrong, and what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The network namespace cannot be entered.
    #[error(
        "the network namespace cannot be entered; CAP_SYS_ADMIN is needed for another one than one's own"
    )]
    Namespace(#[source] io::Error),
    /// There is no way to talk to the kernel.
    #[error("cannot talk to the kernel's network (netlink)")]
    Socket(#[source] io::Error),
    /// The kernel refuses.
    #[error("the kernel refuses{}{}", remedy(.source), in_its_words(.said.as_deref()))]
    Refused {
        /// Its own words, if it has any.
        said: Option<String>,
        #[source]
        source: io::Error,
    },
    /// The objects changed each time while they were listed.
    #[error("the kernel's {0} change faster than they can be listed; it is worth trying again")]
    Torn(&'static str),
    /// A device is not there.
    #[error("there is no device {0} (yet)")]
    NoLink(LinkName),
    /// A device of that name belongs to somebody else.
    #[error(
        "a device {0} is there that is not ours: rename or remove it, or name it among those to be taken over"
    )]
    Foreign(LinkName),
    /// A kernel parameter cannot be read or written.
    #[error(
        "the kernel parameter /proc/sys/net/{path} cannot be accessed; is /proc/sys mounted writable, and does this kernel have it?"
    )]
    Sysctl {
        path: String,
        #[source]
        source: io::Error,
    },
    /// What kernel parameters were before cannot be written down, so they are not changed.
    #[error("what kernel parameters were before cannot be remembered in {}", .path.display())]
    Memory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The thread that talks to the kernel ended.
    #[error("the thread that talks to the kernel is gone; open the kernel anew")]
    Ended,
}

impl Error {
    pub(crate) fn refused(code: i32, said: Option<String>) -> Self {
        Self::Refused {
            said,
            source: io::Error::from_raw_os_error(code.saturating_abs()),
        }
    }

    /// The kernel's error number.
    pub(crate) fn code(&self) -> Option<nix::errno::Errno> {
        match self {
            Self::Refused { source, .. } => source.raw_os_error().map(nix::errno::Errno::from_raw),
            _ => None,
        }
    }
}

fn remedy(source: &io::Error) -> &'static str {
    use nix::errno::Errno;
    match source.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "; CAP_NET_ADMIN in the network namespace is needed",
        Some(Errno::EEXIST) => {
            "; something that is not ours is in its place: remove it, or name it to be taken over"
        }
        Some(Errno::EOPNOTSUPP) => "; this kernel lacks it (a module to load?)",
        Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH) => {
            "; no address or route leads to the gateway"
        }
        _ => "",
    }
}

fn in_its_words(said: Option<&str>) -> String {
    said.map_or_else(String::new, |words| format!(" (it says: {words})"))
}
