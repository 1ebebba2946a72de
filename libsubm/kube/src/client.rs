//! A client from what the environment offers.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use rustls_pki_types::pem::PemObject as _;

use crate::kubeconfig::kubectls_kubeconfig;

/// A server that does not even accept is given up sooner than kube's 30 s: the next attempt may
/// reach another one behind the same address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Longer than a watch is ever silent ([`crate::watch`] renews it every minute).
const READ_TIMEOUT: Duration = Duration::from_secs(90);

/// Why there is no client. None of these heals by waiting.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot use kubeconfig {}", path.display())]
    Kubeconfig {
        path: PathBuf,
        source: KubeconfigFault,
    },
    #[error(
        "no kubeconfig found where kubectl looks (KUBECONFIG, ~/.kube/config); name one, or run in a cluster"
    )]
    NoKubeconfig(#[source] KubeconfigFault),
    #[error("none of the files of KUBECONFIG exists: {0}; name one, or run in a cluster")]
    NoFile(String),
    #[error(
        "the kubeconfig has no context {0:?}; `kubectl config get-contexts` lists those that it has"
    )]
    NoContext(String),
    #[error("cannot use the service account of this pod; is its token mounted?")]
    InCluster(#[source] kube::config::InClusterError),
    #[error("cannot build a client from this configuration")]
    Client(#[source] kube::Error),
}

/// What is wrong with a kubeconfig, without what stands in it: parsers quote the lines around a fault, and those may be
/// tokens.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct KubeconfigFault(String);

impl From<&KubeconfigError> for KubeconfigFault {
    fn from(error: &KubeconfigError) -> Self {
        Self(match error {
            KubeconfigError::ReadConfig(error, _) => error.to_string(),
            KubeconfigError::Parse(error) => {
                let line = error.location().map(|at| at.line());
                let line = line.map_or_else(String::new, |line| format!(" (line {line})"));
                format!("it is no kubeconfig in YAML{line}")
            }
            error => error.to_string(),
        })
    }
}

/// A client of the API server that `kubeconfig` (and `context` in it) names. Without either: the pod's service account
/// where there is one, else the kubeconfig that kubectl would use. Nothing is sent yet.
pub async fn connect(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
) -> Result<Client, ConnectError> {
    let options = KubeConfigOptions {
        context: context.map(str::to_owned),
        ..Default::default()
    };
    let config = match kubeconfig {
        Some(path) => {
            let failed = |error: KubeconfigError| {
                no_context(&error, context).unwrap_or_else(|| ConnectError::Kubeconfig {
                    path: path.to_owned(),
                    source: (&error).into(),
                })
            };
            let file = Kubeconfig::read_from(path).map_err(failed)?;
            Config::from_custom_kubeconfig(file, &options)
                .await
                .map_err(failed)?
        }
        None if context.is_none() && in_cluster() => {
            Config::incluster().map_err(ConnectError::InCluster)?
        }
        None => Config::from_custom_kubeconfig(kubectls_kubeconfig()?, &options)
            .await
            .map_err(|error| {
                no_context(&error, context)
                    .unwrap_or_else(|| ConnectError::NoKubeconfig((&error).into()))
            })?,
    };
    with_timeouts(config)
}

/// The library calls any context that it looks for the current one, and where kubectl's files were read they are not missing.
fn no_context(error: &KubeconfigError, asked: Option<&str>) -> Option<ConnectError> {
    match (error, asked) {
        (KubeconfigError::LoadContext(_), Some(asked)) => {
            Some(ConnectError::NoContext(asked.to_owned()))
        }
        _ => None,
    }
}

/// A client of a configuration that was made otherwise, with the patience of [`connect`].
pub fn with_timeouts(mut config: Config) -> Result<Client, ConnectError> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    // Watches have their own backoff and say why they wait.
    config.default_retry = false;
    Client::try_from(config).map_err(ConnectError::Client)
}

/// DER of each certificate of a PEM text; `None` where there is none, or one cannot be read.
pub fn certificates(pem: &str) -> Option<Vec<Vec<u8>>> {
    let parsed: Result<Vec<_>, _> =
        rustls_pki_types::CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    let parsed = parsed.ok().filter(|parsed| !parsed.is_empty())?;
    Some(parsed.into_iter().map(|one| one.to_vec()).collect())
}

/// Kubernetes sets this in every container; an explicit KUBECONFIG goes before it.
fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && std::env::var_os("KUBECONFIG").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn secrets_of_a_broken_kubeconfig_stay_there() {
        let path = std::env::temp_dir().join(format!("subm-kubeconfig-{}", std::process::id()));
        let text = "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n    token: HUSHHUSH\n   broken: [\n";
        std::fs::write(&path, text).unwrap();
        let error = connect(Some(&path), None)
            .await
            .err()
            .expect("it is broken");
        std::fs::remove_file(&path).unwrap();
        let source = std::error::Error::source(&error)
            .expect("it has a cause")
            .to_string();
        assert!(
            source.starts_with("it is no kubeconfig in YAML (line "),
            "{source}"
        );
        assert!(
            !format!("{error} {error:?} {source}").contains("HUSH"),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn a_context_that_is_missing_is_named() {
        let path = std::env::temp_dir().join(format!("subm-contexts-{}", std::process::id()));
        std::fs::write(&path, "apiVersion: v1\nkind: Config\n").unwrap();
        let error = connect(Some(&path), Some("nope")).await.err();
        std::fs::remove_file(&path).unwrap();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("no context \"nope\""), "{message}");
    }

    #[tokio::test]
    async fn a_missing_kubeconfig_is_named() {
        let error = connect(Some(Path::new("/nowhere/kubeconfig")), None)
            .await
            .err();
        let message = error.map(|error| error.to_string()).unwrap_or_default();
        assert!(message.contains("/nowhere/kubeconfig"), "{message}");
    }
}
