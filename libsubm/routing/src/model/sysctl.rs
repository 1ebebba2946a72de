//! Kernel parameters below `/proc/sys/net`.

use std::fmt;

use super::{Family, LinkName};

/// A kernel parameter and its value.
///
/// Parameters carry no mark: the backend remembers, in a file, what was there before, and puts it back when the parameter is
/// no longer desired.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Sysctl {
    pub key: SysctlKey,
    /// Without white space around it.
    pub value: String,
}

/// The place of a parameter below `/proc/sys/net`, such as `ipv4/conf/eth0/rp_filter`.
///
/// Slashes, because names of devices may have dots in them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SysctlKey {
    path: String,
    link: Option<LinkName>,
}

/// A path that does not lead to a parameter below `/proc/sys/net`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no kernel parameter of the network: a path such as ipv4/tcp_mtu_probing is needed"
)]
pub struct InvalidSysctl(String);

impl SysctlKey {
    /// A parameter of one device: `rp_filter`, `forwarding`, ...
    ///
    /// ```
    /// use subm_routing::{Family, LinkName, SysctlKey};
    ///
    /// let key = SysctlKey::of_link(Family::V4, LinkName::from_static("cni0"), "rp_filter")?;
    /// assert_eq!(key.path(), "ipv4/conf/cni0/rp_filter");
    /// # Ok::<(), subm_routing::InvalidSysctl>(())
    /// ```
    pub fn of_link(family: Family, link: LinkName, parameter: &str) -> Result<Self, InvalidSysctl> {
        let folder = match family {
            Family::V4 => "ipv4",
            Family::V6 => "ipv6",
        };
        let key = Self {
            path: format!("{folder}/conf/{link}/{parameter}"),
            link: Some(link),
        };
        if plain(parameter) {
            Ok(key)
        } else {
            Err(InvalidSysctl(key.path))
        }
    }

    /// Any other parameter.
    ///
    /// Beware of those that change others, such as `ipv4/ip_forward` and `ipv4/conf/all/forwarding`: only the value of the
    /// parameter itself can be put back.
    pub fn new(path: &str) -> Result<Self, InvalidSysctl> {
        let mut parts = path.split('/');
        let good = parts.next().is_some_and(plain) && parts.clone().count() > 0 && parts.all(plain);
        if !good {
            return Err(InvalidSysctl(path.to_owned()));
        }
        let mut parts = path.split('/');
        let link = match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("ipv4" | "ipv6"), Some("conf" | "neigh"), Some(link), Some(_))
                if !matches!(link, "all" | "default") =>
            {
                link.parse().ok()
            }
            _ => None,
        };
        Ok(Self {
            path: path.to_owned(),
            link,
        })
    }

    /// Below `/proc/sys/net`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The device to which it belongs.
    pub fn link(&self) -> Option<LinkName> {
        self.link
    }
}

fn plain(part: &str) -> bool {
    !matches!(part, "" | "." | "..")
        && part
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'/')
}

impl Sysctl {
    pub fn new(key: SysctlKey, value: impl fmt::Display) -> Self {
        Self {
            key,
            value: value.to_string().trim().to_owned(),
        }
    }

    /// Whether the source of packets that come through a device is checked against its routes: 0 no, 1 strict, 2 loose
    /// (RFC 3704). The kernel uses the greater one of the device's and of `all`. IPv4 has it only.
    pub fn rp_filter(link: LinkName, value: u8) -> Self {
        Self::new(known(Family::V4, link, "rp_filter"), value)
    }

    /// Whether packets that come through a device are sent on.
    pub fn forwarding(family: Family, link: LinkName, on: bool) -> Self {
        Self::new(known(family, link, "forwarding"), u8::from(on))
    }

    /// Whether hosts are told of shorter ways. `all` has to be off too for it to be off.
    pub fn send_redirects(link: LinkName, on: bool) -> Self {
        Self::new(known(Family::V4, link, "send_redirects"), u8::from(on))
    }
}

fn known(family: Family, link: LinkName, parameter: &'static str) -> SysctlKey {
    SysctlKey::of_link(family, link, parameter).expect("parameters of ours are plain words")
}

impl fmt::Display for SysctlKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sysctl net/{}", self.path)
    }
}

impl fmt::Display for Sysctl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.key, self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_the_network() {
        for bad in [
            "",
            "ipv4",
            "/ipv4/ip_forward",
            "ipv4/../../kernel/panic",
            "ipv4//x",
            "ipv4/x/",
            "ipv4/a b",
        ] {
            assert!(SysctlKey::new(bad).is_err(), "{bad:?}");
        }
        let link = LinkName::from_static("eth0.100");
        assert!(SysctlKey::of_link(Family::V4, link, "../all/rp_filter").is_err());
        let key = SysctlKey::of_link(Family::V6, link, "forwarding").unwrap();
        assert_eq!(key.path(), "ipv6/conf/eth0.100/forwarding");
        assert_eq!(SysctlKey::new(key.path()), Ok(key));
        assert_eq!(
            SysctlKey::new("ipv4/conf/all/rp_filter").unwrap().link(),
            None
        );
    }
}
