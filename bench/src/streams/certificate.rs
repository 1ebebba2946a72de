//! One certificate for all servers: ECDSA with P-256, self-signed.

use std::path::{Path, PathBuf};

use anyhow::Context;

/// PEM files.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub chain: PathBuf,
    pub key: PathBuf,
}

/// Makes `tls.crt` and `tls.key` for `localhost` in `folder`.
pub fn write(folder: &Path) -> anyhow::Result<Certificate> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let chain = rcgen::CertificateParams::new(vec!["localhost".into()])?.self_signed(&key)?;
    let files = Certificate {
        chain: folder.join("tls.crt"),
        key: folder.join("tls.key"),
    };
    for (path, text) in [
        (&files.chain, chain.pem()),
        (&files.key, key.serialize_pem()),
    ] {
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    Ok(files)
}
