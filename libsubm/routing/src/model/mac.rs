//! Hardware addresses.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// The 48-bit hardware address of a device.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MacAddr(pub [u8; 6]);

/// A text that is not six hexadecimal bytes with colons between them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a hardware address such as 0a:53:f0:1f:01:0b")]
pub struct InvalidMacAddr(String);

impl MacAddr {
    /// The address that stands for "every other" in the forwarding table of a VXLAN device.
    pub const ZERO: Self = Self([0; 6]);

    /// The hardware address of the tunnel device that has `vtep` as its address: always the same one.
    ///
    /// A device that is deleted and made anew with a random address is dead for its peers until their neighbour entries
    /// expire (seconds). With this one it answers at once, on whatever node and however often it is made.
    ///
    /// The result is unicast and locally administered (RFC 7042, section 2.1). For IPv4 it is `0a:53` and the four bytes of
    /// the address, so different addresses never share one; for IPv6 it is `0e` and 40 bits of a hash of the 16 bytes (FNV-1a
    /// and the finaliser of MurmurHash3, both of 64 bits). Both are fixed for good: peers may compute them.
    ///
    /// ```
    /// use subm_routing::MacAddr;
    ///
    /// let mac = MacAddr::for_vtep("241.31.1.11".parse()?);
    /// assert_eq!(mac.to_string(), "0a:53:f1:1f:01:0b");
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn for_vtep(vtep: IpAddr) -> Self {
        match vtep {
            IpAddr::V4(vtep) => {
                let [a, b, c, d] = vtep.octets();
                Self([0x0a, 0x53, a, b, c, d])
            }
            IpAddr::V6(vtep) => {
                let hash = vtep
                    .octets()
                    .iter()
                    .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
                        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
                    });
                let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
                let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
                let [_, _, mut mac @ ..] = (hash ^ (hash >> 33)).to_be_bytes();
                mac[0] = 0x0e;
                Self(mac)
            }
        }
    }

    /// Whether it stands for several receivers: then, as for [`MacAddr::ZERO`], a forwarding table has several entries.
    pub const fn is_multicast(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            write!(f, "{}{byte:02x}", if at == 0 { "" } else { ":" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for MacAddr {
    type Err = InvalidMacAddr;

    fn from_str(text: &str) -> Result<Self, InvalidMacAddr> {
        let wrong = || InvalidMacAddr(text.to_owned());
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().ok_or_else(wrong)?;
            if part.len() != 2 || !part.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return Err(wrong());
            }
            *byte = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let mac: MacAddr = "0A:53:f1:1f:01:0b".parse().unwrap();
        assert_eq!(mac.to_string(), "0a:53:f1:1f:01:0b");
        for bad in [
            "",
            "0a:53:f1:1f:01",
            "0a:53:f1:1f:01:0b:00",
            "0a:53:f1:1f:01:+b",
            "0a-53-f1-1f-01-0b",
        ] {
            assert!(bad.parse::<MacAddr>().is_err(), "{bad:?}");
        }
    }

    // Peers of other versions compute the same: these never change.
    #[test]
    fn the_address_of_a_vtep_is_fixed() {
        let of = |vtep: &str| MacAddr::for_vtep(vtep.parse().unwrap());
        assert_eq!(of("240.31.1.11").to_string(), "0a:53:f0:1f:01:0b");
        assert_eq!(of("fd00::1").to_string(), "0e:79:47:16:8b:d6");
        let many: std::collections::HashSet<_> = (0..=u16::MAX)
            .map(|last| of(&format!("fd00:5:6::{last:x}")))
            .collect();
        assert_eq!(many.len(), 1 << 16, "no two of a subnet share one");
        for vtep in ["240.0.0.0", "255.255.255.255", "::", "2001:db8::ffff"] {
            let first = of(vtep).0[0];
            assert_eq!(first & 0b11, 0b10, "unicast and locally administered");
        }
    }
}
