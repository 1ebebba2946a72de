//! Kinds of failure and their exit codes (docs/subctl.md has the table).

use std::path::PathBuf;

use subm_install::BrokerInfoError;
use subm_kube::with_causes;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was asked for makes no sense, found before anything was written.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Kubeconfig(String),
    #[error("cannot reach the API server while {doing}: {message}")]
    Unreachable { doing: String, message: String },
    /// 401 or 403; the server's words name user, verb and resource.
    #[error("the API server refuses {doing}: {message}")]
    Refused { doing: String, message: String },
    #[error("{0}")]
    NotFound(String),
    /// Somebody or something else has it already.
    #[error("{0}")]
    Taken(String),
    #[error("{0}")]
    Timeout(String),
    #[error("{} {source}", path.display())]
    BrokerInfo {
        path: PathBuf,
        source: BrokerInfoError,
    },
    #[error("{} {what}: {source}", path.display())]
    File {
        path: PathBuf,
        what: &'static str,
        source: std::io::Error,
    },
    /// A question that nobody is there to answer.
    #[error("{0}")]
    NoAnswer(String),
    /// By a signal; what was begun has been taken back.
    #[error("interrupted; what was begun is removed")]
    Interrupted,
    /// By a signal in the middle of a change, which stays half done.
    #[error("interrupted; {0}")]
    Stopped(String),
    /// `explain` or `diagnose` found what is broken.
    #[error("{0}")]
    Broken(String),
    #[error("the API server answers {code} to {doing}: {message}")]
    Server {
        doing: String,
        code: u16,
        message: String,
    },
    /// Several clusters were asked, and some failed; each failure has been told.
    #[error("{failed} of {all} clusters failed")]
    Some { failed: usize, all: usize, code: u8 },
    /// As the one inside, which a status line has told.
    #[error("{0}")]
    Told(Box<Self>),
}

impl Error {
    /// What a command that looked at `all` clusters ends with: of several that failed, one failure's code.
    pub(crate) fn of_clusters(mut failures: Vec<Self>, all: usize) -> Result<(), Self> {
        match failures.pop() {
            None => Ok(()),
            Some(error) if all == 1 => Err(error),
            Some(error) => Err(Self::Some {
                failed: failures.len() + 1,
                all,
                code: error.code(),
            }),
        }
    }

    /// What a request failed with.
    pub fn of_request(doing: impl Into<String>, error: &kube::Error) -> Self {
        let doing = doing.into();
        match error {
            kube::Error::Api(status) => {
                let message = status.message.clone();
                match status.code {
                    401 | 403 => Self::Refused { doing, message },
                    404 => Self::NotFound(format!("{doing}: {message}")),
                    409 => Self::Taken(format!("{doing}: {message}")),
                    code => Self::Server {
                        doing,
                        code,
                        message,
                    },
                }
            }
            error => Self::Unreachable {
                doing,
                message: with_causes(error),
            },
        }
    }

    /// The process's exit code.
    pub fn code(&self) -> u8 {
        match self {
            Self::Server { .. } => 1,
            Self::Usage(_) => 2,
            Self::Kubeconfig(_) | Self::Unreachable { .. } => 3,
            Self::Refused { .. } => 4,
            Self::NotFound(_) => 5,
            Self::Taken(_) => 6,
            Self::Timeout(_) => 7,
            Self::BrokerInfo { .. } | Self::File { .. } => 8,
            Self::NoAnswer(_) => 9,
            Self::Broken(_) => 10,
            // As shells have it for SIGINT.
            Self::Interrupted | Self::Stopped(_) => 130,
            Self::Some { code, .. } => *code,
            Self::Told(error) => error.code(),
        }
    }

    /// A status line has said it.
    pub fn is_told(&self) -> bool {
        matches!(self, Self::Told(_) | Self::Some { .. })
    }

    /// In one line with what caused it.
    pub fn with_causes(&self) -> String {
        match self {
            // The variants below have their cause in their text, as it belongs into the sentence.
            Self::BrokerInfo { .. } | Self::File { .. } => self.to_string(),
            error => with_causes(error),
        }
    }
}
