//! What belongs to devices: addresses, neighbours, forwarding entries.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::links::Device;
use super::session::{Request, Session};
use crate::Error;
use crate::model::{Address, Forward, LinkKind, LinkName, MacAddr, Neighbour};

pub(crate) const NUD_PERMANENT: u16 = 0x80;

/// An address of any device.
pub(crate) struct Found {
    pub(crate) link: LinkName,
    pub(crate) net: IpNet,
    /// Not one of those that cannot be used (yet, or any more).
    pub(crate) usable: bool,
}

impl Session {
    /// The addresses of all devices.
    pub(crate) fn look_at_addresses(&mut self) -> Result<Vec<Found>, Error> {
        let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
        let messages = self.netlink.dump("addresses", &request)?;
        let found = messages.iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewAddress(message) => {
                found(message, self.links.name(message.header.index)?)
            }
            _ => None,
        });
        Ok(found.collect())
    }

    /// The permanent neighbours of a device.
    pub(crate) fn look_at_neighbours(&mut self, device: &Device) -> Result<Vec<Neighbour>, Error> {
        let mut request = NeighbourMessage::default();
        request
            .attributes
            .push(NeighbourAttribute::IfIndex(device.index));
        let request = RouteNetlinkMessage::GetNeighbour(request);
        let messages = self.netlink.dump("neighbours", &request)?;
        let permanent = messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message) if is_permanent(&message, device) => {
                let (address, mac, _) = parts(&message);
                Some(Neighbour::new(device.link.name, address?, mac?))
            }
            _ => None,
        });
        Ok(permanent.collect())
    }

    /// The permanent forwarding entries of a VXLAN device, but for the one that stands for its `remote`.
    pub(crate) fn look_at_forwards(&mut self, device: &Device) -> Result<Vec<Forward>, Error> {
        let LinkKind::Vxlan(vxlan) = &device.link.kind else {
            return Ok(Vec::new());
        };
        let mut request = NeighbourMessage::default();
        request.header.family = AddressFamily::Bridge;
        request.header.ifindex = device.index;
        let request = RouteNetlinkMessage::GetNeighbour(request);
        let messages = self.netlink.dump("forwarding entries", &request)?;
        let forwards = messages.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewNeighbour(message) if is_permanent(&message, device) => {
                let (remote, mac, port) = parts(&message);
                let mut forward = Forward::new(device.link.name, mac?, remote?);
                forward.port = port;
                let own = forward.mac == MacAddr::ZERO && Some(forward.remote) == vxlan.remote;
                (!own).then_some(forward)
            }
            _ => None,
        });
        Ok(forwards.collect())
    }

    pub(crate) fn address(&self, address: &Address, add: bool) -> Result<Request, Error> {
        let mut message = AddressMessage::default();
        message.header.index = self.links.index(address.link)?;
        message.header.prefix_len = address.net.prefix_len();
        message.header.family = family(&address.net.addr());
        message
            .attributes
            .push(AddressAttribute::Address(address.net.addr()));
        message
            .attributes
            .push(AddressAttribute::Local(address.net.addr()));
        if !add {
            return Ok((RouteNetlinkMessage::DelAddress(message), 0));
        }
        if address.net.addr().is_ipv6() {
            // We alone give addresses to our devices: nobody has to be asked whether it is taken.
            message
                .attributes
                .push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
        Ok((
            RouteNetlinkMessage::NewAddress(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        ))
    }

    pub(crate) fn neighbour(&self, neighbour: &Neighbour, add: bool) -> Result<Request, Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = family(&neighbour.address);
        message.header.ifindex = self.links.index(neighbour.link)?;
        message
            .attributes
            .push(NeighbourAttribute::Destination(match neighbour.address {
                IpAddr::V4(address) => NeighbourAddress::Inet(address),
                IpAddr::V6(address) => NeighbourAddress::Inet6(address),
            }));
        if !add {
            return Ok((RouteNetlinkMessage::DelNeighbour(message), 0));
        }
        message.header.state = NeighbourState::Permanent;
        message.header.kind = RouteType::Unicast;
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(
                neighbour.mac.0.to_vec(),
            ));
        Ok((
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | NLM_F_REPLACE,
        ))
    }

    pub(crate) fn forward(&self, forward: &Forward, add: bool) -> Result<Request, Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = self.links.index(forward.link)?;
        message.header.flags = NeighbourFlags::Own;
        message
            .attributes
            .push(NeighbourAttribute::LinkLayerAddress(forward.mac.0.to_vec()));
        message
            .attributes
            .push(NeighbourAttribute::Destination(match forward.remote {
                IpAddr::V4(address) => NeighbourAddress::Inet(address),
                IpAddr::V6(address) => NeighbourAddress::Inet6(address),
            }));
        message
            .attributes
            .extend(forward.port.map(NeighbourAttribute::Port));
        if !add {
            return Ok((RouteNetlinkMessage::DelNeighbour(message), 0));
        }
        message.header.state = NeighbourState::Permanent;
        let several = forward.mac == MacAddr::ZERO || forward.mac.is_multicast();
        let place = if several { NLM_F_APPEND } else { NLM_F_REPLACE };
        Ok((
            RouteNetlinkMessage::NewNeighbour(message),
            NLM_F_CREATE | place,
        ))
    }
}

pub(crate) fn family(address: &IpAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::Inet
    } else {
        AddressFamily::Inet6
    }
}

fn found(message: &AddressMessage, link: LinkName) -> Option<Found> {
    let mut local = None;
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(u32::from(message.header.flags.bits()));
    for attribute in &message.attributes {
        match attribute {
            // With a peer, `Address` is the peer's.
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => address = Some(*ip),
            AddressAttribute::Flags(more) => flags = *more,
            _ => {}
        }
    }
    let net = IpNet::new(local.or(address)?, message.header.prefix_len).ok()?;
    let unusable = AddressFlags::Tentative | AddressFlags::Dadfailed | AddressFlags::Deprecated;
    Some(Found {
        link,
        net,
        usable: !flags.intersects(unusable),
    })
}

fn is_permanent(message: &NeighbourMessage, device: &Device) -> bool {
    message.header.ifindex == device.index && u16::from(message.header.state) & NUD_PERMANENT != 0
}

fn parts(message: &NeighbourMessage) -> (Option<IpAddr>, Option<MacAddr>, Option<u16>) {
    let mut all = (None, None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(address) => all.0 = ip(address),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                all.1 = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            NeighbourAttribute::Port(port) => all.2 = Some(*port),
            _ => {}
        }
    }
    all
}

fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        // Of a forwarding entry: the family of the message is that of bridges.
        NeighbourAddress::Other(bytes) => <[u8; 4]>::try_from(bytes.as_slice())
            .map(IpAddr::from)
            .or_else(|_| <[u8; 16]>::try_from(bytes.as_slice()).map(IpAddr::from))
            .ok(),
        _ => None,
    }
}
