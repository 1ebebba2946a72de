//! EDNS(0) options that we read and write: NSID, cookies, extended errors, keepalive, padding.

use std::net::IpAddr;

use siphasher::sip::SipHasher24;
use std::hash::Hasher;

pub(crate) const NSID: u16 = 3;
pub(crate) const COOKIE: u16 = 10;
pub(crate) const KEEPALIVE: u16 = 11;
pub(crate) const PADDING: u16 = 12;
pub(crate) const EXTENDED_ERROR: u16 = 15;

/// Extended DNS errors (RFC 8914) with the text that goes with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExtendedError {
    pub(crate) code: u16,
    pub(crate) text: &'static str,
}

pub(crate) const NOT_READY: ExtendedError = ExtendedError {
    code: 14,
    text: "the first synchronisation is not complete",
};
pub(crate) const NOT_AUTHORITATIVE: ExtendedError = ExtendedError { code: 20, text: "" };
pub(crate) const PROHIBITED: ExtendedError = ExtendedError {
    code: 18,
    text: "zone transfer not allowed from this address",
};
pub(crate) const STALE_ANSWER: ExtendedError = ExtendedError {
    code: 3,
    text: "the cluster is not connected; last known endpoints",
};
pub(crate) const NO_REACHABLE_CLUSTER: ExtendedError = ExtendedError {
    code: 22,
    text: "no cluster with this service is connected",
};
pub(crate) const NO_HEALTHY_ENDPOINT: ExtendedError = ExtendedError {
    code: 22,
    text: "no connected cluster has a ready endpoint of this service",
};

/// Secret of RFC 9018 server cookies.
#[derive(Clone, Copy)]
pub struct CookieSecret([u8; 16]);

impl CookieSecret {
    pub fn new(secret: [u8; 16]) -> Self {
        Self(secret)
    }

    /// RFC 9018 section 4: version 1, reserved, timestamp, SipHash-2-4 over client cookie, those and
    /// the client's address.
    pub(crate) fn server_cookie(
        &self,
        client_cookie: [u8; 8],
        client: IpAddr,
        now: u32,
    ) -> [u8; 16] {
        let mut cookie = [0; 16];
        cookie[0] = 1;
        cookie[4..8].copy_from_slice(&now.to_be_bytes());
        let mut hasher = SipHasher24::new_with_key(&self.0);
        hasher.write(&client_cookie);
        hasher.write(&cookie[..8]);
        match client {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        cookie[8..].copy_from_slice(&hasher.finish().to_le_bytes());
        cookie
    }
}

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CookieSecret(..)")
    }
}
