//! Names that nft and the kernel accept.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The name of a table, chain, set or map: a letter, then letters, digits, `_`, `-` and `.`, at most 64 bytes.
///
/// nft itself takes 255 bytes and more signs; these can be written without quotes everywhere.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Cow<'static, str>);

/// The name of a network device: 1 to 15 bytes, printable, without `/`, space, `"` and `*` (which nft reads as "any that begins so").
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interface(Cow<'static, str>);

impl Name {
    /// A name that stands in the source.
    ///
    /// # Panics
    /// If it is not a name; in a `const` that is an error of compilation.
    pub const fn literal(name: &'static str) -> Self {
        assert!(is_name(name.as_bytes()), "not a name for nft");
        Self(Cow::Borrowed(name))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Interface {
    /// A name that stands in the source.
    ///
    /// # Panics
    /// If it is not a device's name; in a `const` that is an error of compilation.
    pub const fn literal(name: &'static str) -> Self {
        assert!(is_interface(name.as_bytes()), "not a name of a device");
        Self(Cow::Borrowed(name))
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if is_name(name.as_bytes()) {
            Ok(Self(Cow::Owned(name.to_owned())))
        } else {
            Err(Error::Name(name.to_owned()))
        }
    }
}

impl FromStr for Interface {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        if is_interface(name.as_bytes()) {
            Ok(Self(Cow::Owned(name.to_owned())))
        } else {
            Err(Error::Interface(name.to_owned()))
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

const fn is_name(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 64 || !name[0].is_ascii_alphabetic() {
        return false;
    }
    let mut at = 1;
    while at < name.len() {
        if !(name[at].is_ascii_alphanumeric() || matches!(name[at], b'_' | b'-' | b'.')) {
            return false;
        }
        at += 1;
    }
    true
}

const fn is_interface(name: &[u8]) -> bool {
    if name.is_empty() || name.len() > 15 || matches!(name, b"." | b"..") {
        return false;
    }
    let mut at = 0;
    while at < name.len() {
        if !name[at].is_ascii_graphic() || matches!(name[at], b'/' | b'"' | b'*' | b':' | b'\\') {
            return false;
        }
        at += 1;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["remote4", "no-masquerade", "A_b.c"] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "4remote",
            "-a",
            "a b",
            "a\"",
            "ä",
            "@a",
            &"a".repeat(65),
        ] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn interfaces() {
        for good in ["vx-submariner", "eth0.100", "0"] {
            assert_eq!(good.parse::<Interface>().unwrap().as_str(), good);
        }
        for bad in ["", "..", "eth*", "a/b", "a b", "0123456789abcdef", "a\"b"] {
            assert!(bad.parse::<Interface>().is_err(), "{bad:?}");
        }
    }
}
