//! Names of network devices.

use std::fmt;
use std::str::FromStr;

/// What the kernel accepts, without the closing NUL (`IFNAMSIZ` - 1).
const LONGEST: usize = 15;

/// The name of a network device: 1 to 15 bytes, without `/`, `:`, `%`, white space and control characters, and neither `.` nor `..`.
///
/// It is as small as a pointer and a half, and `Copy`: ten thousand routes name their device without an allocation.
///
/// ```
/// use subm_routing::LinkName;
///
/// const INTRA: LinkName = LinkName::from_static("vx-submariner");
/// assert_eq!(INTRA.as_str(), "vx-submariner");
/// assert_eq!("vx-submariner".parse(), Ok(INTRA));
/// assert!("a name with spaces".parse::<LinkName>().is_err());
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkName {
    // Zeroes at the end: the order is that of the text.
    bytes: [u8; LONGEST],
}

/// A text that the kernel does not take as the name of a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a network device: 1 to 15 characters of ASCII without '/', ':', '%' and spaces are needed"
)]
pub struct InvalidLinkName(String);

impl LinkName {
    /// The name of a constant; what is wrong with it is said when it is compiled.
    ///
    /// # Panics
    /// If it cannot be a name.
    pub const fn from_static(name: &'static str) -> Self {
        match Self::checked(name) {
            Some(name) => name,
            None => panic!("this cannot name a network device"),
        }
    }

    pub const fn as_str(&self) -> &str {
        let mut length = 0;
        while length < LONGEST && self.bytes[length] != 0 {
            length += 1;
        }
        let (text, _) = self.bytes.split_at(length);
        match str::from_utf8(text) {
            Ok(text) => text,
            // `checked` lets ASCII through only.
            Err(_) => "",
        }
    }

    const fn checked(name: &str) -> Option<Self> {
        let text = name.as_bytes();
        if text.is_empty() || text.len() > LONGEST {
            return None;
        }
        let mut bytes = [0; LONGEST];
        let mut at = 0;
        let mut dots = 0;
        while at < text.len() {
            let byte = text[at];
            if !byte.is_ascii_graphic() || matches!(byte, b'/' | b':' | b'%') {
                return None;
            }
            if byte == b'.' {
                dots += 1;
            }
            bytes[at] = byte;
            at += 1;
        }
        if dots == text.len() && dots <= 2 {
            return None;
        }
        Some(Self { bytes })
    }
}

impl FromStr for LinkName {
    type Err = InvalidLinkName;

    fn from_str(name: &str) -> Result<Self, InvalidLinkName> {
        Self::checked(name).ok_or_else(|| InvalidLinkName(name.to_owned()))
    }
}

impl TryFrom<&str> for LinkName {
    type Error = InvalidLinkName;

    fn try_from(name: &str) -> Result<Self, InvalidLinkName> {
        name.parse()
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_kernel_takes() {
        for good in [
            "a",
            "eth0",
            "veth0123456789a",
            "eth0.100",
            "...",
            "lo",
            "vxlan-tunnel",
        ] {
            let name: LinkName = good.parse().unwrap();
            assert_eq!(name.as_str(), good);
            assert_eq!(
                format!("{name:?} {name:>16}"),
                format!("{good:?} {good:>16}")
            );
        }
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a:b",
            "a%d",
            "sixteen-chars-ab",
            "n\u{e9}",
            "a\n",
        ] {
            assert!(bad.parse::<LinkName>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn orders_like_text() {
        let mut names = ["eth1", "eth0", "a", "eth", "eth00"];
        let mut parsed = names.map(LinkName::from_static);
        names.sort_unstable();
        parsed.sort_unstable();
        assert_eq!(parsed.map(|name| name.to_string()), names);
    }
}
