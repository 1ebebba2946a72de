//! Certificates: read and checked at the start, read again when the files change.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use subm_dns_core::respond::Transport;

use crate::config::TlsFiles;

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(
        "{path}: cannot be read; it must exist and be readable for the user that runs the server"
    )]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error(
        "{path}: no certificate in it; it must hold PEM blocks `BEGIN CERTIFICATE`, the server's own first"
    )]
    NoCertificate { path: PathBuf },
    #[error("{path}: no private key in it; it must hold one PEM block such as `BEGIN PRIVATE KEY`")]
    NoKey { path: PathBuf },
    #[error("{path}: not usable as PEM")]
    Pem {
        path: PathBuf,
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    #[error(
        "{certificate} and {key} do not belong together; the key must be the one that the certificate was made for"
    )]
    Mismatch { certificate: PathBuf, key: PathBuf },
    #[error("{certificate} with {key}: not usable")]
    Pair {
        certificate: PathBuf,
        key: PathBuf,
        #[source]
        source: rustls::Error,
    },
    #[error("{path}: not usable as an authority for client certificates")]
    ClientCa {
        path: PathBuf,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("no certificate is configured; `tls CERTIFICATE KEY` names one")]
    Missing,
}

/// The TLS configuration of one listener, the latest that was good.
pub(super) struct CertificateStore {
    transport: Transport,
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    /// Contents of the files when they were last looked at, good or not.
    seen: Mutex<Vec<Option<Vec<u8>>>>,
}

impl CertificateStore {
    pub(super) fn open(
        transport: Transport,
        files: Option<&TlsFiles>,
    ) -> Result<Arc<Self>, TlsError> {
        let files = files.ok_or(TlsError::Missing)?.clone();
        let seen = contents(&files);
        let current = ArcSwap::new(load(transport, &files)?);
        Ok(Arc::new(Self {
            transport,
            files,
            current,
            seen: Mutex::new(seen),
        }))
    }

    pub(super) fn files(&self) -> &TlsFiles {
        &self.files
    }

    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Looks whether the files have changed. The new configuration, if it is good; else the old one stays.
    pub(super) fn refresh(&self) -> Option<Arc<ServerConfig>> {
        let now = contents(&self.files);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == now {
            return None;
        }
        *seen = now;
        let certificate = self.files.certificate.display();
        match load(self.transport, &self.files) {
            Ok(config) => {
                tracing::info!(%certificate, "certificate reloaded");
                self.current.store(Arc::clone(&config));
                Some(config)
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::error!(%error, cause, "the changed certificate is not used; the old one stays");
                None
            }
        }
    }
}

fn contents(files: &TlsFiles) -> Vec<Option<Vec<u8>>> {
    let paths = [
        Some(&files.certificate),
        Some(&files.key),
        files.client_ca.as_ref(),
    ];
    paths.into_iter().map(|path| fs::read(path?).ok()).collect()
}

fn load(transport: Transport, files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(&files.certificate)?;
    let key = private_key(&files.key)?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions: &[_] = match transport {
        Transport::Quic => &[&rustls::version::TLS13],
        _ => rustls::ALL_VERSIONS,
    };
    let pair = |source| match source {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
        },
        source => TlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            source,
        },
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(pair)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let unusable = |source| TlsError::ClientCa {
                path: path.clone(),
                source,
            };
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots
                    .add(certificate)
                    .map_err(|error| unusable(Box::new(error)))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|error| unusable(Box::new(error)))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key).map_err(pair)?;
    // Every client may resume, however many there are, and nothing has to be remembered for it. The key of the tickets goes
    // with this configuration: a changed certificate or client authority makes them worthless.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(pair)?;
    config.alpn_protocols = match transport {
        Transport::Https => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
        Transport::Quic => vec![b"doq".to_vec()],
        _ => vec![b"dot".to_vec()],
    };
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(path)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.map_err(|source| TlsError::Pem {
        path: path.into(),
        source,
    })?;
    if chain.is_empty() {
        Err(TlsError::NoCertificate { path: path.into() })
    } else {
        Ok(chain)
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    use rustls_pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        Error::NoItemsFound => TlsError::NoKey { path: path.into() },
        source => TlsError::Pem {
            path: path.into(),
            source,
        },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read {
        path: path.into(),
        source,
    })
}
