//! Keys of WireGuard. Secrets are wiped when dropped and are never printed.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};
use x25519_dalek::StaticSecret;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// A gateway's public key. Its text is base64, as in `backend_config` and in `wg`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey([u8; 32]);

/// A gateway's private key.
///
/// The caller keeps it ([`PrivateKey::to_bytes`]) so that a gateway that starts again is still known to the others; or makes
/// a new one with every start, as Submariner does: then the others learn it from the Endpoint first.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct PrivateKey([u8; 32]);

/// The secret that all gateways of a cluster set share, mixed into every handshake.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct PresharedKey([u8; 32]);

/// What is no key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The text of a key.
    #[error("a key of WireGuard is 32 bytes in base64, 44 characters; this is something else")]
    Malformed,
    /// There is no shared secret, or it is empty. A key made of nothing is known to everybody.
    #[error(
        "the cluster set's pre-shared key is empty: give it as the secret that CE_IPSEC_PSKSECRET names, or in CE_IPSEC_PSK"
    )]
    EmptySecret,
}

impl PublicKey {
    /// From its 32 bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Its 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(|bytes| Self(*bytes))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64_STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

impl PrivateKey {
    /// A new one.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(&mut *bytes);
        Self::from_bytes(&bytes)
    }

    /// From 32 bytes of randomness, or from what [`PrivateKey::to_bytes`] gave. The bits that Curve25519 fixes are fixed.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut key = *bytes;
        key[0] &= 0b1111_1000;
        key[31] &= 0b0111_1111;
        key[31] |= 0b0100_0000;
        Self(key)
    }

    /// From base64, as `wg genkey` prints.
    pub fn from_text(text: &str) -> Result<Self, InvalidKey> {
        decode(text).map(|bytes| Self::from_bytes(&bytes))
    }

    /// To be kept in a secret place. The copy is wiped when dropped.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0)
    }

    /// The key that others know it by.
    pub fn public(&self) -> PublicKey {
        PublicKey(x25519_dalek::PublicKey::from(&self.secret()).to_bytes())
    }

    pub(crate) fn secret(&self) -> StaticSecret {
        StaticSecret::from(self.0)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PrivateKey(…)")
    }
}

impl PresharedKey {
    /// SHA-256 of the cluster set's secret as text, as Submariner makes it; an empty text is refused.
    pub fn from_text(text: &str) -> Result<Self, InvalidKey> {
        if text.is_empty() {
            return Err(InvalidKey::EmptySecret);
        }
        Ok(Self(Sha256::digest(text).into()))
    }

    /// From where a gateway can have it: the value of the mounted secret (`CE_IPSEC_PSKSECRET`, key `psk`), which goes first,
    /// or the text of `CE_IPSEC_PSK`. The text is the secret's value in base64, so both give the same key.
    ///
    /// Submariner's WireGuard driver knows only the second, and hashes nothing where that is empty.
    pub fn from_sources(secret: Option<&[u8]>, text: Option<&str>) -> Result<Self, InvalidKey> {
        match secret {
            Some([]) => Err(InvalidKey::EmptySecret),
            Some(secret) => Self::from_text(&Zeroizing::new(BASE64_STANDARD.encode(secret))),
            None => Self::from_text(text.unwrap_or_default()),
        }
    }

    pub(crate) const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for PresharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresharedKey(…)")
    }
}

fn decode(text: &str) -> Result<Zeroizing<[u8; 32]>, InvalidKey> {
    let bytes = Zeroizing::new(
        BASE64_STANDARD
            .decode(text.trim())
            .map_err(|_| InvalidKey::Malformed)?,
    );
    let mut key = Zeroizing::new([0; 32]);
    if bytes.len() != key.len() {
        return Err(InvalidKey::Malformed);
    }
    key.copy_from_slice(&bytes);
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_keys_are_those_of_wg() {
        // Made by `wg genkey`, and what `wg pubkey` says of it.
        let private =
            PrivateKey::from_text("wFbYnXy1mBfF+lU8gfU+Dj2ijsuRUuG1uFmtJwUiYkY=").unwrap();
        let public = private.public();
        assert_eq!(
            public.to_string(),
            "H3OcDlpYilTrE5Nf/u6+vbDZzgnft93CgbmgJgRr8gs="
        );
        assert_eq!(public.to_string().parse(), Ok(public));
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = PrivateKey::generate();
        assert_ne!(key.public(), PrivateKey::generate().public());
        assert_eq!(
            PrivateKey::from_bytes(&key.to_bytes()).public(),
            key.public()
        );
    }

    #[test]
    fn keys_of_another_length_are_refused() {
        for bad in [
            "",
            "AAAA",
            "not base64 at all",
            &BASE64_STANDARD.encode([0; 33]),
        ] {
            assert_eq!(bad.parse::<PublicKey>(), Err(InvalidKey::Malformed));
            assert!(PrivateKey::from_text(bad).is_err());
        }
    }

    #[test]
    fn secrets_are_not_printed() {
        let private = PrivateKey::generate();
        let shared = PresharedKey::from_text("a secret").unwrap();
        let printed = format!("{private:?} {shared:?}");
        assert_eq!(printed, "PrivateKey(…) PresharedKey(…)");
    }

    /// Defect 5: the hash of an empty text is the same for everybody.
    #[test]
    fn d5_an_empty_shared_secret_is_refused() {
        let refused = Err(InvalidKey::EmptySecret);
        assert_eq!(PresharedKey::from_text(""), refused);
        assert_eq!(PresharedKey::from_sources(None, None), refused);
        assert_eq!(PresharedKey::from_sources(None, Some("")), refused);
        // A secret that is there and empty is a mistake that the text must not hide.
        assert_eq!(PresharedKey::from_sources(Some(b""), Some("text")), refused);
    }

    /// Defect 5: the mounted secret is what counts.
    #[test]
    fn d5_the_mounted_secret_goes_first_and_gives_submariners_key() {
        let secret = b"\x00\x01\xfe binary";
        let text = BASE64_STANDARD.encode(secret);
        let expected = PresharedKey(Sha256::digest(&text).into());
        assert_eq!(
            PresharedKey::from_sources(Some(secret), Some("other")),
            Ok(expected.clone())
        );
        assert_eq!(PresharedKey::from_sources(None, Some(&text)), Ok(expected));
    }
}
