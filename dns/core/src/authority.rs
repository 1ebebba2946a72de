//! What a listener is authoritative for, and how it answers: everything that comes from
//! configuration and not from objects.

use std::net::IpAddr;

use crate::edns::CookieSecret;
use crate::name::WireName;

/// TTL of records unless configured (Lighthouse and CoreDNS: 5 s, 0 to 3600).
pub const DEFAULT_TTL: u32 = 5;
pub const MAX_TTL: u32 = 3600;
/// Largest UDP reply unless configured: what crosses any path in one fragment (DNS flag day 2020).
pub const DEFAULT_UDP_LIMIT: u16 = 1232;

/// What happens to the endpoints of a cluster whose connection is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LostCluster {
    /// They leave the answers (Lighthouse).
    #[default]
    Drop,
    /// They stay.
    Keep,
    /// They come back only where an answer would otherwise be empty.
    KeepLastResort,
}

/// One zone of the cluster set. All zones show the same services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone {
    pub origin: WireName,
    /// Seconds.
    pub ttl: u32,
    /// Without `<cluster>.<service>...` names, which KEP-1645 reserves.
    pub strict: bool,
    pub lost_cluster: LostCluster,
    /// Names below these origins that do not exist here go to the next plugin.
    pub fallthrough: Vec<WireName>,
    /// Addresses of `ns.dns.<zone>`.
    pub name_server: Vec<IpAddr>,
}

impl Zone {
    pub fn new(origin: WireName) -> Self {
        Self {
            origin,
            ttl: DEFAULT_TTL,
            strict: false,
            lost_cluster: LostCluster::default(),
            fallthrough: Vec::new(),
            name_server: Vec::new(),
        }
    }
}

/// All that one listener needs to know besides the snapshot.
#[derive(Clone, Debug)]
pub struct Authority {
    /// Longest origin first, so that the first match is the longest.
    zones: Vec<Zone>,
    /// Labels of each zone's origin.
    zone_labels: Vec<usize>,
    /// RFC 5001 identifier.
    pub nsid: Option<Vec<u8>>,
    /// Largest UDP reply, whatever the client offers; 512 to 4096 octets.
    pub udp_limit: u16,
    /// Text of `version.bind. CH TXT`; hidden (REFUSED) unless set.
    pub version: Option<String>,
    /// Text of `id.server. CH TXT` and `hostname.bind.`.
    pub server_id: Option<String>,
    /// RFC 7873 server cookies are sent where set.
    pub cookies: Option<CookieSecret>,
    /// Idle limit told to clients that ask (RFC 7828), in units of 100 ms.
    pub keepalive: Option<u16>,
}

impl Authority {
    pub fn new(mut zones: Vec<Zone>) -> Self {
        zones.sort_by(|a, b| {
            let labels = |zone: &Zone| zone.origin.labels().count();
            labels(b)
                .cmp(&labels(a))
                .then_with(|| a.origin.cmp(&b.origin))
        });
        Self {
            zone_labels: zones
                .iter()
                .map(|zone| zone.origin.labels().count())
                .collect(),
            zones,
            nsid: None,
            udp_limit: DEFAULT_UDP_LIMIT,
            version: None,
            server_id: None,
            cookies: None,
            keepalive: None,
        }
    }

    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    pub(crate) fn zone_labels(&self) -> &[usize] {
        &self.zone_labels
    }
}
