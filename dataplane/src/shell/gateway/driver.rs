//! The cable driver that was chosen, with its secrets.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use subm_api::names::UDP_PORT;
use subm_tunnel::vxlan::Vxlan;
use subm_tunnel::wireguard::{self, WireGuard};
use subm_tunnel::{CableDriver as _, Local, PresharedKey, PrivateKey};

use super::arguments::Arguments;
use crate::gateway::Settings;
use crate::gateway::settings::{Driver as Name, Psk};

pub(super) enum Driver {
    Vxlan(Vxlan),
    WireGuard(Box<WireGuard>),
}

/// What a driver publishes of itself. The driver works in a task of its own, and this is to be known before.
pub(super) enum Published {
    Vxlan(Vxlan),
    /// Its key, which does not change; the port is the Endpoint's own.
    WireGuard(BTreeMap<String, String>),
}

impl Published {
    pub(super) fn config(&self, local: &Local) -> BTreeMap<String, String> {
        match self {
            Self::Vxlan(driver) => driver.backend_config(local),
            Self::WireGuard(config) => config.clone(),
        }
    }
}

impl Driver {
    pub(super) fn published(&self) -> Published {
        match self {
            Self::Vxlan(driver) => Published::Vxlan(driver.clone()),
            Self::WireGuard(driver) => {
                let mut config = driver.backend_config(&Local {
                    private_ip: Ipv4Addr::UNSPECIFIED.into(),
                    port: 0,
                    mtu: 0,
                    source: None,
                    source6: None,
                });
                config.remove(UDP_PORT);
                Published::WireGuard(config)
            }
        }
    }
}

/// This gateway's key, kept so that the others know it after a restart.
const KEY: &str = "gateway-wireguard.key";

pub(super) async fn open(arguments: &Arguments, settings: &Settings) -> Result<Driver> {
    match settings.driver {
        Name::Vxlan => Ok(Driver::Vxlan(Vxlan::new())),
        Name::WireGuard => {
            let shared = preshared(&arguments.secrets_folder, settings.psk.as_ref())?;
            let key = private(&arguments.state_file(KEY)?)?;
            let driver = WireGuard::open(wireguard::Settings::new(key, shared)).await?;
            Ok(Driver::WireGuard(Box::new(driver)))
        }
        Name::Libreswan => anyhow::bail!(
            "SUBMARINER_CABLEDRIVER: libreswan is not to be had here; use wireguard, or vxlan where nobody listens on the way"
        ),
    }
}

fn preshared(secrets: &Path, psk: Option<&Psk>) -> Result<PresharedKey> {
    let (secret, text) = match psk {
        Some(Psk::Mounted(name)) => {
            let path = secrets.join(name).join("psk");
            let secret = fs::read(&path).with_context(|| {
                let path = path.display();
                format!("CE_IPSEC_PSKSECRET: cannot read {path}; is the Secret {name} mounted?")
            })?;
            (Some(secret), None)
        }
        Some(Psk::Key(key)) => (None, Some(key.reveal())),
        None => (None, None),
    };
    Ok(PresharedKey::from_sources(secret.as_deref(), text)?)
}

fn private(path: &Path) -> Result<PrivateKey> {
    if let Ok(kept) = fs::read(path)
        && let Ok(bytes) = <&[u8; 32]>::try_from(kept.as_slice())
    {
        return Ok(PrivateKey::from_bytes(bytes));
    }
    let key = PrivateKey::generate();
    let mut options = fs::OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path);
    file.and_then(|mut file| file.write_all(&*key.to_bytes()))
        .with_context(|| format!("cannot keep this gateway's key in {}", path.display()))?;
    Ok(key)
}

/// Of an uninstallation.
pub(super) fn forget_key(arguments: &Arguments) -> Result<()> {
    let path = arguments.state_file(KEY)?;
    match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_kept_and_is_nobody_elses_to_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        let first = private(&path).expect("a key").public();
        assert_eq!(private(&path).expect("the key").public(), first);
        let mode = fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(&path, "torn").expect("written");
        assert_ne!(private(&path).expect("another").public(), first);
    }

    /// Defect 5.
    #[test]
    fn d5_the_mounted_secret_is_what_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let mounted = Psk::Mounted("submariner-ipsec-psk".to_owned());
        let missing = preshared(folder.path(), Some(&mounted)).expect_err("nothing is mounted");
        assert!(
            missing.to_string().contains("submariner-ipsec-psk"),
            "{missing}"
        );
        let place = folder.path().join("submariner-ipsec-psk");
        fs::create_dir(&place).expect("a folder");
        fs::write(place.join("psk"), "secret").expect("written");
        let expected = PresharedKey::from_sources(Some(b"secret"), None).expect("a key");
        assert!(preshared(folder.path(), Some(&mounted)).expect("a key") == expected);
        assert!(preshared(folder.path(), None).is_err(), "none at all");
    }

    /// The names that the drivers have for themselves are those of the settings.
    #[tokio::test]
    async fn drivers_are_called_alike() {
        assert_eq!(Vxlan::new().capabilities().name, Name::Vxlan.as_str());
        let shared = PresharedKey::from_text("secret").expect("a key");
        let settings = wireguard::Settings::new(PrivateKey::generate(), shared)
            .implementation(wireguard::Implementation::Userspace);
        let driver = WireGuard::open(settings)
            .await
            .expect("nothing is made yet");
        assert_eq!(driver.capabilities().name, Name::WireGuard.as_str());
    }
}
