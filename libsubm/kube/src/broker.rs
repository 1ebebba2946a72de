//! The way to the broker, as Submariner's operator tells it: a mounted Secret, else the environment.

use std::path::{Path, PathBuf};

use kube::config::AuthInfo;
use kube::{Client, Config};

use crate::ConnectError;

/// `BROKER_K8S_*` of the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrokerAccess {
    /// `host:port`, with or without a scheme.
    pub api_server: String,
    /// PEM, or PEM in base64 as the operator gives it.
    pub ca: Option<String>,
    pub token: Option<String>,
    /// A file with the token, read anew when it changes.
    pub token_file: Option<PathBuf>,
    pub insecure: bool,
}

/// Why the broker cannot even be tried.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    #[error("BROKER_K8S_APISERVER: {0:?} is no address of an API server (host:port)")]
    Address(String),
    #[error("the broker's CA is neither PEM nor PEM in base64")]
    Ca,
    #[error("there is no token for the broker: {} does not exist and BROKER_K8S_APISERVERTOKEN is not set", mounted.display())]
    NoToken { mounted: PathBuf },
    #[error(transparent)]
    Client(#[from] ConnectError),
}

/// Where the operator mounts Secrets.
const SECRETS: &str = "/run/secrets/submariner.io";

impl BrokerAccess {
    /// Prefers the mounted Secret `secret` to what the environment says of token and CA.
    pub fn with_secret(mut self, secret: Option<&str>) -> Result<Self, BrokerError> {
        let folder = Path::new(SECRETS).join(secret.unwrap_or_default());
        let token = folder.join("token");
        if secret.is_some() && token.exists() {
            self.token_file = Some(token.clone());
            if let Ok(ca) = std::fs::read_to_string(folder.join("ca.crt")) {
                self.ca = Some(ca);
            }
        }
        if self.token.is_none() && self.token_file.is_none() {
            return Err(BrokerError::NoToken { mounted: token });
        }
        Ok(self)
    }

    pub fn client(&self) -> Result<Client, BrokerError> {
        let address = || BrokerError::Address(self.api_server.clone());
        let with_scheme = if self.api_server.contains("://") {
            self.api_server.clone()
        } else {
            format!("https://{}", self.api_server)
        };
        let url: axum::http::Uri = with_scheme.parse().map_err(|_| address())?;
        if url.host().is_none_or(str::is_empty) {
            return Err(address());
        }
        let mut config = Config::new(url);
        config.accept_invalid_certs = self.insecure;
        config.root_cert = self.ca.as_deref().map(certificates).transpose()?;
        config.auth_info = AuthInfo {
            token: self.token.clone().map(Into::into),
            token_file: self
                .token_file
                .as_ref()
                .map(|path| path.display().to_string()),
            ..AuthInfo::default()
        };
        Ok(crate::with_timeouts(config)?)
    }
}

/// DER of each certificate.
fn certificates(text: &str) -> Result<Vec<Vec<u8>>, BrokerError> {
    if text.contains("-----BEGIN") {
        return crate::certificates(text).ok_or(BrokerError::Ca);
    }
    let text: String = text.split_whitespace().collect();
    let pem = data_encoding::BASE64.decode(text.as_bytes());
    let pem = pem.ok().and_then(|pem| String::from_utf8(pem).ok());
    pem.and_then(|pem| crate::certificates(&pem))
        .ok_or(BrokerError::Ca)
}
