//! What can be wrong with a Corefile or a flag: each text names the place and the remedy.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use subm_dns_core::authority::MAX_TTL;
use subm_dns_core::name::NameError;

/// A line of a Corefile or of a file that it imports.
#[derive(Clone, PartialEq, Eq)]
pub struct Place {
    pub file: Arc<Path>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// A problem at a place: `Corefile:3: plugin/lighthouse: unknown property 'x'; …`.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {}{problem}", plugin.map_or_else(String::new, |name| format!("plugin/{name}: ")))]
pub struct Error {
    pub place: Place,
    /// The directive whose stanza is wrong.
    pub plugin: Option<&'static str>,
    pub problem: Problem,
}

/// What is wrong, whatever the place.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    #[error("a quoted text does not end; add the closing '\"'")]
    OpenQuote,
    #[error(
        "unexpected '{0}'; braces stand after a space, '{{' at the end of a line, '}}' on a line of its own"
    )]
    Brace(&'static str),
    #[error("a block that starts here does not end; add '}}'")]
    OpenBlock,
    #[error("another zone is expected after the comma; add it or take the comma away")]
    DanglingComma,
    #[error("snippet '{name}' is there already, at {first}; rename one of them")]
    SnippetTwice { name: String, first: Place },
    #[error("import takes one argument; write import SNIPPET or import FILE")]
    ImportArguments,
    #[error("cannot import {}: {reason}; name a snippet that stands above or a file that can be read", path.display())]
    Import {
        path: PathBuf,
        reason: std::io::Error,
    },
    #[error(
        "import pattern '{0}' has more than one wildcard or has one in a folder's name; use one '*' in the file's name"
    )]
    ImportPattern(String),
    #[error(
        "imports expand to more than {0} words; look for a snippet or file that imports itself"
    )]
    ImportLoop(usize),
    #[error("no server block; write for example clusterset.local:53 {{ … }}")]
    Empty,
    #[error("Unknown directive '{name}'; {remedy}")]
    UnknownDirective { name: String, remedy: String },
    #[error("'{name}' is not supported yet; {remedy}")]
    NotSupported { name: String, remedy: &'static str },
    #[error(
        "this plugin can only be used once per server block, and stands at {first} already; keep one"
    )]
    Twice { first: Place },
    #[error("unknown property '{name}'; known are: {known}")]
    UnknownProperty { name: String, known: &'static str },
    #[error("Wrong argument count or unexpected line ending after '{name}'; write: {usage}")]
    Arguments { name: String, usage: &'static str },
    #[error("ttl must be in range [0, {MAX_TTL}]: {0}; the default is 5")]
    TtlRange(i64),
    #[error("error parsing TTL: '{0}' is not a number; write seconds, for example ttl 5")]
    TtlNumber(String),
    #[error("'{zone}' is not a zone: {reason}; write for example clusterset.local")]
    Zone { zone: String, reason: NameError },
    #[error("port '{0}' is not a number from 1 to 65535; write for example clusterset.local:53")]
    Port(String),
    #[error("transport '{0}://' is not supported; use dns://, tls://, https:// or quic://")]
    Transport(String),
    #[error(
        "zone {zone} is not within the zones of this server block, so no query would reach it; add it to the block's zones"
    )]
    OutsideBlock { zone: String },
    #[error(
        "zone {zone} is not a multicluster zone and this server does not serve cluster.local yet; leave it to the cluster's CoreDNS; zones of the cluster set need: multicluster ZONE"
    )]
    NotMulticluster { zone: String },
    #[error(
        "zone {zone} is listed as multicluster but not among the plugin's zones; add it to them"
    )]
    MulticlusterOutside { zone: String },
    #[error("nothing in this server block answers queries; add: lighthouse")]
    NothingServed,
    #[error(
        "cannot serve {what} - it is already defined at {first}; keep one of the server blocks, or bind them to different addresses"
    )]
    ZoneTwice { what: String, first: Place },
    #[error(
        "'{value}' differs from what {first} says, and there is one {what} for {scope}; make them the same"
    )]
    Conflict {
        what: &'static str,
        value: String,
        scope: &'static str,
        first: Place,
    },
    #[error("not a valid IP address or interface name: '{0}'; interfaces here: {1}")]
    Bind(String, String),
    #[error("all addresses are taken away by except; leave one")]
    BindNothing,
    #[error("'{0}' is not an address to listen on; write ADDR:PORT or :PORT, for example :9153")]
    ListenAddress(String),
    #[error("'{0}' is not a duration; write for example 30s or 1m30s")]
    Duration(String),
    #[error("{what} must be {want}: {value}")]
    Range {
        what: &'static str,
        want: &'static str,
        value: String,
    },
    #[error("'{value}' is not {want}")]
    Value { value: String, want: &'static str },
    #[error("{} does not exist; {remedy}", path.display())]
    Missing { path: PathBuf, remedy: &'static str },
    #[error(
        "{transport}:// needs a certificate; add: tls CERT KEY (flags: --tls-cert and --tls-key)"
    )]
    NoCertificate { transport: &'static str },
    #[error("{addr} is given twice; leave one out")]
    ListenTwice { addr: std::net::SocketAddr },
    #[error("'to' is required; add: to ADDR")]
    TransferTo,
    #[error("log for {name} only is not supported; name the zone {zone} or leave the name out")]
    LogScope { name: String, zone: String },
}

impl Problem {
    /// The problem of a syntax element at `place`.
    pub(crate) fn at(self, place: &Place) -> Error {
        Error {
            place: place.clone(),
            plugin: None,
            problem: self,
        }
    }
}
