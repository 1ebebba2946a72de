//! DNS names in wire form (RFC 1035 section 3.1): length-prefixed labels, at most 255 octets.

use std::fmt;
use std::sync::Arc;

/// The longest name in wire form, root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;
/// The longest label.
pub const MAX_LABEL: usize = 63;

/// One label, in lower case: 1 to 63 octets of letters, digits, `-` and `_`.
///
/// Kubernetes allows less (no `_`, no hyphen at an end); what it cannot hold is refused where it is
/// written, so here only what would make a name ambiguous is refused: dots, spaces, escapes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(Arc<str>);

impl Label {
    pub fn new(text: &str) -> Option<Self> {
        let valid = (1..=MAX_LABEL).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        valid.then(|| Self(lower_case(text)))
    }

    /// One that was checked before.
    pub(crate) fn known(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// Most names are in lower case already.
pub(crate) fn lower_case(text: &str) -> Arc<str> {
    if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        text.to_ascii_lowercase().into()
    } else {
        text.into()
    }
}

/// An absolute name in wire form and lower case, root label included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireName(Box<[u8]>);

impl WireName {
    pub fn root() -> Self {
        Self(Box::new([0]))
    }

    /// Parses `clusterset.local` or `clusterset.local.`; `.` is the root.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.strip_suffix('.').unwrap_or(text);
        let mut wire = Vec::with_capacity(text.len() + 2);
        if !text.is_empty() {
            for label in text.split('.') {
                if label.is_empty() {
                    return Err(NameError::EmptyLabel);
                }
                let label = Label::new(label).ok_or_else(|| NameError::Label(label.to_owned()))?;
                push_label(&mut wire, label.as_bytes());
            }
        }
        wire.push(0);
        if wire.len() > MAX_NAME {
            return Err(NameError::TooLong(wire.len()));
        }
        Ok(Self(wire.into()))
    }

    /// From bytes that are a valid name already; labels are lower-cased.
    pub fn from_wire(wire: &[u8]) -> Result<Self, NameError> {
        let mut at = 0;
        loop {
            let len = usize::from(*wire.get(at).ok_or(NameError::EmptyLabel)?);
            at += 1;
            if len == 0 {
                break;
            }
            if len > MAX_LABEL || at + len > wire.len() {
                return Err(NameError::EmptyLabel);
            }
            at += len;
        }
        if at > MAX_NAME || at != wire.len() {
            return Err(NameError::TooLong(wire.len()));
        }
        Ok(Self(wire.to_ascii_lowercase().into()))
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Length in octets, root label included.
    pub fn wire_len(&self) -> usize {
        self.0.len()
    }

    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Labels from the leftmost on, without the root.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> {
        labels(&self.0)
    }
}

/// Labels of a wire name or of a prefix of one; ends at the root label or at the end.
pub fn labels(mut wire: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (&len, rest) = wire.split_first()?;
        let len = usize::from(len);
        if len == 0 || rest.len() < len {
            return None;
        }
        let (label, rest) = rest.split_at(len);
        wire = rest;
        Some(label)
    })
}

/// Appends one label in wire form. The caller has checked its length.
pub fn push_label(wire: &mut impl Extend<u8>, label: &[u8]) {
    debug_assert!((1..=MAX_LABEL).contains(&label.len()));
    wire.extend([label.len() as u8]);
    wire.extend(label.iter().copied());
}

/// Writes a wire name as text, with RFC 1035 section 5.1 escapes; relative without a root label.
pub fn write_text(wire: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    if wire == [0] {
        return f.write_char('.');
    }
    for label in labels(wire) {
        for &byte in label {
            match byte {
                b'.' | b'\\' | b'"' | b';' | b'(' | b')' | b'@' | b'$' => {
                    write!(f, "\\{}", char::from(byte))?;
                }
                0x21..=0x7e => f.write_char(char::from(byte))?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
        f.write_char('.')?;
    }
    Ok(())
}

impl fmt::Display for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(&self.0, f)
    }
}

impl fmt::Debug for WireName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NameError {
    EmptyLabel,
    Label(String),
    TooLong(usize),
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyLabel => f.write_str("a label is empty"),
            Self::Label(label) => {
                write!(
                    f,
                    "{label:?} is not a DNS label: 1 to 63 letters, digits, '-' or '_'"
                )
            }
            Self::TooLong(len) => write!(f, "the name has {len} octets, at most {MAX_NAME} fit"),
        }
    }
}

impl std::error::Error for NameError {}
