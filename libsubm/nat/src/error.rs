use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// What can go wrong with a packet filter.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a name for a table, chain, set or map.
    #[error(
        "{0:?} is not a name for nft: a letter, then letters, digits, '_', '-' and '.', at most 64 bytes"
    )]
    Name(String),

    /// Not the name of a network device.
    #[error(
        "{0:?} is not a name of a network device: 1 to 15 bytes without '/', ':', '*', quotes and spaces"
    )]
    Interface(String),

    /// A ruleset that no kernel could load; found before nft is asked.
    #[error("ruleset: {place}: {problem}")]
    Ruleset {
        /// Where: a chain and the number of a rule in it, or a set.
        place: String,
        /// What is wrong there.
        problem: String,
    },

    /// Two rulesets say different things about one name.
    #[error("rulesets cannot be merged: both declare {kind} {name}, but not alike")]
    Merge {
        /// "chain" or "set".
        kind: &'static str,
        /// Its name.
        name: crate::Name,
    },

    /// There is no such program, or it may not be run.
    #[error("{} cannot be run; is the package nftables installed?", program.display())]
    Program {
        /// As it was called.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The program is older than what this crate is tested with.
    #[error("{} is version {found}; at least {} is needed", program.display(), crate::Version::MINIMUM)]
    TooOld {
        /// As it was called.
        program: PathBuf,
        /// What it says of itself.
        found: crate::Version,
    },

    /// The program ran and refused. Nothing was changed: a transaction is loaded whole or not at all.
    #[error("{} {arguments} failed ({status}): {stderr}", program.display())]
    Refused {
        /// As it was called.
        program: PathBuf,
        /// With these arguments.
        arguments: String,
        /// Its exit status.
        status: ExitStatus,
        /// What it printed on standard error, at most 2,000 bytes.
        stderr: String,
    },

    /// The program did not end in time and was killed. Whether its transaction was loaded is for the next observation to see.
    #[error("{} {arguments} did not end within {limit:?} and was killed", program.display())]
    TimedOut {
        /// As it was called.
        program: PathBuf,
        /// With these arguments.
        arguments: String,
        /// How long it was given.
        limit: Duration,
    },

    /// The program could not be written to or read from.
    #[error("talking to {}", program.display())]
    Io {
        /// As it was called.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },

    /// The program printed something that is not its JSON.
    #[error("what nft printed is not its JSON")]
    Unreadable(#[source] serde_json::Error),

    /// The program printed JSON, or a version, of another shape.
    #[error("what nft printed has no {0}; is it really nft?")]
    Shape(&'static str),
}

impl Error {
    /// Whether the same call may succeed later, after another observation: nft was busy, killed, or the table had changed meanwhile.
    /// Mistakes in a ruleset and a missing or old program stay until somebody acts.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Refused { .. } | Self::TimedOut { .. } | Self::Io { .. }
        )
    }
}
