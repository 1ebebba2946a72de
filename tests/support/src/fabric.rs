//! What lies between clusters: a router that joins their LANs.
//!
//! ```text
//!   c1's LAN ──up0──┐            ┌──up0── c2's LAN
//!   172.20.8.0/24   ├── router ──┤        172.20.9.0/24
//!   broker's LAN ───┘            └─── …
//! ```
//!
//! The router knows the LANs and nothing of the pods behind them: it says "unreachable" of those. A LAN belongs to a real
//! [`crate::Cluster`] ([`Fabric::join`]), or to a [`Site`]: nodes and pods without any Kubernetes, ready in some
//! milliseconds.
//!
//! API servers are reached beside the fabric, by relays in each namespace: cutting a LAN's uplink does not cut its nodes
//! off from a broker. [`Lan::partition`] does.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Result, ensure};
use ipnet::Ipv4Net;

use crate::fault::{End, Link};
use crate::lan::{Lan, UPLINK, set_mac, without_dad};
use crate::netns::NetNs;
use crate::site::SiteBuilder;

#[cfg(doc)]
use crate::site::Site;

/// Not that of the other end: where they are equal, the kernel takes a second to see that the link is up.
const UPLINK_INDEX: u32 = 1000;

/// A router and the LANs that are joined to it. They stay joined when this is dropped.
#[derive(Debug)]
pub struct Fabric {
    router: Arc<NetNs>,
    joined: Mutex<Vec<Ipv4Net>>,
}

impl Fabric {
    pub fn new() -> Result<Self> {
        let router = NetNs::new()?;
        without_dad(&router, true)?;
        router.sysctl(&[
            ("ipv4/ip_forward", "1"),
            ("ipv6/conf/all/forwarding", "1"),
            // Nodes may remember who had the router's addresses before their LAN was joined.
            ("ipv4/conf/default/arp_notify", "1"),
            ("ipv6/conf/default/ndisc_notify", "1"),
            // A router that says at most so many times a second that there is no way would make tests wait.
            ("ipv4/icmp_ratelimit", "0"),
            ("ipv6/icmp/ratelimit", "0"),
        ])?;
        Ok(Self {
            router: Arc::new(router),
            joined: Mutex::default(),
        })
    }

    /// Joins a LAN: that of [`crate::Cluster::lan`]. Nodes that are on it already, and those to come, reach other LANs.
    pub fn join(&self, lan: &Arc<Lan>) -> Result<()> {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let ranges = lan.ranges();
        ensure!(
            !joined.contains(&ranges.lan),
            "the fabric has a LAN {} already: give the cluster another one",
            ranges.lan
        );
        ensure!(
            lan.uplink().is_err(),
            "the LAN {} is joined to a fabric already",
            ranges.lan
        );
        let number = joined.len() + 1;
        let (router, router6) = ranges.router();
        let v4 = lan.v4(format!("addr del {router}/24 dev lan0\n"));
        lan.netns().ip(&format!(
            "{v4}addr del {router6}/64 dev lan0\n\
             link add {UPLINK} index {UPLINK_INDEX} type veth peer name lan{number} netns {}\nlink set {UPLINK} master lan0 up",
            self.router.path()
        ))?;
        let number = u8::try_from(number)?;
        let device = format!("lan{number}");
        self.router.ip(&format!(
            "{}addr add {router}/24 dev lan{number}\naddr add {router6}/64 dev lan{number} nodad\n\
             link set lan{number} up",
            set_mac(&device, 0x13, number)
        ))?;
        lan.set_uplink(Link::new(lan.netns(), UPLINK, End::Own), &self.router);
        joined.push(ranges.lan);
        Ok(())
    }

    /// A cluster of nodes and pods without Kubernetes, joined.
    pub fn site(&self, name: &str) -> SiteBuilder<'_> {
        SiteBuilder::new(self, name)
    }

    /// The router's namespace: what clusters send each other passes here, on a device `lan1`, `lan2` … each.
    pub fn router(&self) -> &Arc<NetNs> {
        &self.router
    }

    /// How many LANs there are.
    pub(crate) fn len(&self) -> usize {
        self.joined
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .len()
    }
}
