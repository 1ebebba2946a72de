//! What a TCP segment may hold on a path.

use crate::Family;

/// The largest TCP segment that fits an IP packet of `mtu` bytes: less 40 for IPv4, 60 for IPv6 (RFC 9293, 3.7.1: fixed headers
/// only; senders subtract their options).
///
/// `mtu` is that of the device or route *inside* the cable: what the cable itself needs is no longer in it. The result is between 88,
/// the least that Linux takes, and 65,535.
///
/// ```
/// use subm_nat::{Family, mss};
/// // VXLAN on Ethernet leaves 1450 bytes.
/// assert_eq!(mss(1450, Family::V4), 1410);
/// assert_eq!(mss(1450, Family::V6), 1390);
/// ```
pub fn mss(mtu: u32, family: Family) -> u16 {
    let headers = match family {
        Family::V4 => 20 + 20,
        Family::V6 => 40 + 20,
    };
    let bytes = mtu.saturating_sub(headers).max(88);
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Submariner subtracted VXLAN's 50 bytes from the device's MTU and took the rest for the MSS.
    #[test]
    fn d15_vxlan_mss_is_less_the_headers() {
        let device = 1500;
        let inside_vxlan = device - 50;
        assert_eq!(mss(inside_vxlan, Family::V4), 1410);
        assert_eq!(mss(inside_vxlan, Family::V6), 1390);
    }

    #[test]
    fn extremes() {
        assert_eq!(mss(0, Family::V4), 88);
        assert_eq!(mss(100, Family::V6), 88);
        assert_eq!(mss(u32::MAX, Family::V4), u16::MAX);
        assert_eq!(mss(65_535, Family::V4), 65_495);
    }
}
