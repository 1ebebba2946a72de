//! What the callers of planners ask a kernel.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{RouteAttribute, RouteMessage};
use nix::errno::Errno;

use super::addresses::family;
use super::routes::{self, Select};
use super::session::Session;
use crate::Error;
use crate::model::{Family, LinkName, MAIN_TABLE, MacAddr, Route};

/// A device and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Interface {
    pub name: LinkName,
    pub mtu: u32,
    /// `None`: a device without hardware addresses, such as WireGuard's.
    pub mac: Option<MacAddr>,
    pub up: bool,
    pub loopback: bool,
    /// Those that can be used, in the kernel's order; link-local ones too.
    pub addresses: Vec<IpNet>,
}

/// Where the default route of a family leads.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DefaultRoute {
    pub link: LinkName,
    pub gateway: Option<IpAddr>,
    /// The address of this node there: the source of the route, or else the first global address of the device.
    pub address: Option<IpAddr>,
    /// Of the device, in bytes.
    pub mtu: u32,
}

/// How the kernel would send a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Path {
    pub link: LinkName,
    /// `None`: the destination is on the link, or this node itself.
    pub gateway: Option<IpAddr>,
    pub source: Option<IpAddr>,
    /// Of the device, in bytes.
    pub mtu: u32,
}

/// The first device with an address inside one of `nets`, and that address: how the device of a node's container network is
/// found by the CIDRs of pods.
pub fn interface_within<'a>(
    interfaces: &'a [Interface],
    nets: &[IpNet],
) -> Option<(&'a Interface, IpAddr)> {
    interfaces.iter().find_map(|interface| {
        let inside = |address: &IpAddr| nets.iter().any(|net| net.contains(address));
        let address = interface.addresses.iter().map(IpNet::addr).find(inside)?;
        Some((interface, address))
    })
}

impl Session {
    /// In the order of their indices: older ones first.
    pub(crate) fn interfaces(&mut self) -> Result<Vec<Interface>, Error> {
        self.look_at_links()?;
        let addresses = self.look_at_addresses()?;
        let mut devices: Vec<_> = self.links.iter().collect();
        devices.sort_by_key(|device| device.index);
        let interfaces = devices.into_iter().map(|device| Interface {
            name: device.link.name,
            mtu: device.link.mtu.unwrap_or_default(),
            mac: device.link.mac,
            up: device.link.up,
            loopback: device.loopback,
            addresses: addresses
                .iter()
                .filter(|found| found.link == device.link.name && found.usable)
                .map(|found| found.net)
                .collect(),
        });
        Ok(interfaces.collect())
    }

    pub(crate) fn default_route(&mut self, family: Family) -> Result<Option<DefaultRoute>, Error> {
        let interfaces = self.interfaces()?;
        let routes = self.look_at_routes(family, Select::Table(MAIN_TABLE))?;
        let best = routes
            .iter()
            .filter(|route| route.destination.prefix_len() == 0 && !route.hops().is_empty())
            .min_by_key(|route| route.metric);
        let Some((route, hop)) = best.and_then(|route| Some((route, route.hops().first()?))) else {
            return Ok(None);
        };
        let interface = interfaces
            .iter()
            .find(|interface| interface.name == hop.link);
        let first = interface.and_then(|interface| {
            let addresses = interface.addresses.iter().map(IpNet::addr);
            addresses
                .into_iter()
                .find(|address| Family::of(address) == family && is_global(address))
        });
        Ok(Some(DefaultRoute {
            link: hop.link,
            gateway: hop.gateway,
            address: route.source.or(first),
            mtu: interface.map(|interface| interface.mtu).unwrap_or_default(),
        }))
    }

    pub(crate) fn path_to(&mut self, destination: IpAddr) -> Result<Option<Path>, Error> {
        self.look_at_links()?;
        let mut request = RouteMessage::default();
        request.header.address_family = family(&destination);
        request.header.destination_prefix_length = if destination.is_ipv4() { 32 } else { 128 };
        request
            .attributes
            .push(RouteAttribute::Destination(destination.into()));
        let answer = match self.netlink.get(RouteNetlinkMessage::GetRoute(request)) {
            Ok(RouteNetlinkMessage::NewRoute(answer)) => answer,
            Ok(_) => return Ok(None),
            // No route, or one that says no: unreachable, prohibit, blackhole.
            Err(error)
                if matches!(
                    error.code(),
                    Some(Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EACCES | Errno::EINVAL)
                ) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some((link, gateway, source)) = routes::looked_up(&answer, &self.links) else {
            return Ok(None);
        };
        let mtu = self
            .links
            .get(link)
            .and_then(|device| device.link.mtu)
            .unwrap_or_default();
        Ok(Some(Path {
            link,
            gateway,
            source,
            mtu,
        }))
    }

    /// All routes of a table that lead somewhere, whoever made them.
    pub(crate) fn table(&mut self, family: Family, table: u32) -> Result<Vec<Route>, Error> {
        self.look_at_links()?;
        self.look_at_routes(family, Select::Table(table))
    }
}

fn is_global(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !address.is_loopback() && !address.is_link_local(),
        IpAddr::V6(address) => !address.is_loopback() && !address.is_unicast_link_local(),
    }
}
