//! Keys and certificates of a cluster: a CA, a serving certificate, the key that signs service account tokens.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

pub(crate) const CA: &str = "ca.crt";
pub(crate) const SERVING_CERT: &str = "serving.crt";
pub(crate) const SERVING_KEY: &str = "serving.key";
pub(crate) const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
/// Its public half: in the form that rcgen writes, the API server does not find it in the private key.
pub(crate) const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "service-account.pub";

/// Writes the files above into `dir` and gives the CA certificate (PEM).
///
/// The serving certificate holds for `addresses`, for 127.0.0.1 (where proxies listen) and for the API server's names.
pub(crate) fn create(dir: &Path, addresses: &[IpAddr]) -> Result<String> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "test-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;

    let names = ["localhost", "kubernetes.default.svc"].map(String::from);
    let local = IpAddr::from(Ipv4Addr::LOCALHOST);
    let addresses = addresses.iter().chain([&local]);
    let names: Vec<String> = names
        .into_iter()
        .chain(addresses.map(ToString::to_string))
        .collect();
    let mut params = CertificateParams::new(names)?;
    params
        .distinguished_name
        .push(DnType::CommonName, "kube-apiserver");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &ca)?;

    write(dir, CA, &ca.pem())?;
    write(dir, SERVING_CERT, &certificate.pem())?;
    write(dir, SERVING_KEY, &key.serialize_pem())?;
    let key = KeyPair::generate()?;
    write(dir, SERVICE_ACCOUNT_KEY, &key.serialize_pem())?;
    write(dir, SERVICE_ACCOUNT_PUBLIC_KEY, &key.public_key_pem())?;
    Ok(ca.pem())
}

fn write(dir: &Path, name: &str, text: &str) -> Result<()> {
    let path = dir.join(name);
    fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
}
