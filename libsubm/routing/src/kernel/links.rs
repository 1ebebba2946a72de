//! Devices: as the kernel tells them, and how it is told of them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use netlink_packet_core::{DefaultNla, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo,
    LinkMessage,
};

use super::session::Session;
use crate::Error;
use crate::model::{Link, LinkKind, LinkName, MacAddr, Vxlan};
use crate::plan::replaces;

const IFLA_IFALIAS: u16 = 20;

/// The devices of the namespace, ours and others.
#[derive(Debug, Default)]
pub(crate) struct Links {
    by_name: BTreeMap<LinkName, Device>,
    by_index: BTreeMap<u32, LinkName>,
}

/// A device as observed.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) index: u32,
    pub(crate) link: Link,
    pub(crate) loopback: bool,
}

impl Links {
    pub(crate) fn get(&self, name: LinkName) -> Option<&Device> {
        self.by_name.get(&name)
    }

    pub(crate) fn index(&self, name: LinkName) -> Result<u32, Error> {
        self.get(name)
            .map(|device| device.index)
            .ok_or(Error::NoLink(name))
    }

    pub(crate) fn name(&self, index: u32) -> Option<LinkName> {
        self.by_index.get(&index).copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Device> {
        self.by_name.values()
    }

    fn insert(&mut self, device: Device) {
        self.by_index.insert(device.index, device.link.name);
        self.by_name.insert(device.link.name, device);
    }

    fn remove(&mut self, name: LinkName) {
        if let Some(device) = self.by_name.remove(&name) {
            self.by_index.remove(&device.index);
        }
    }
}

impl Session {
    /// Lists all devices.
    pub(crate) fn look_at_links(&mut self) -> Result<(), Error> {
        let mut request = LinkMessage::default();
        request
            .attributes
            .push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let request = RouteNetlinkMessage::GetLink(request);
        let messages: Vec<_> = self
            .netlink
            .dump("links", &request)?
            .into_iter()
            .filter_map(|message| match message {
                RouteNetlinkMessage::NewLink(link) => Some(link),
                _ => None,
            })
            .collect();
        let names = messages
            .iter()
            .filter_map(|link| Some((link.header.index, name_of(link)?)));
        let by_index = names.collect::<BTreeMap<_, _>>();
        self.links = Links::default();
        for message in &messages {
            if let Some(device) = device(message, &by_index) {
                self.links.insert(device);
            }
        }
        Ok(())
    }

    /// Looks at one device anew.
    fn look_at_link(&mut self, name: LinkName) -> Result<Option<Device>, Error> {
        let mut request = LinkMessage::default();
        request
            .attributes
            .push(LinkAttribute::IfName(name.to_string()));
        match self.netlink.get(RouteNetlinkMessage::GetLink(request)) {
            Ok(RouteNetlinkMessage::NewLink(message)) => {
                let found = device(&message, &self.links.by_index);
                self.links.remove(name);
                if let Some(device) = &found {
                    self.links.insert(device.clone());
                }
                Ok(found)
            }
            Ok(_) => Ok(None),
            Err(error) if error.code() == Some(nix::errno::Errno::ENODEV) => {
                self.links.remove(name);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// The devices that are ours.
    pub(crate) fn own_links(&self) -> impl Iterator<Item = &Device> {
        self.links.iter().filter(|device| self.owns(&device.link))
    }

    fn owns(&self, link: &Link) -> bool {
        link.alias.as_deref() == Some(self.settings.mark.alias())
            || self.settings.take_over.links.contains(&link.name)
    }

    pub(crate) fn create_link(&mut self, to: &Link) -> Result<(), Error> {
        if let Some(there) = self.look_at_link(to.name)? {
            return if self.may_adopt(&there.link, to) {
                self.set_link(&there, to)
            } else {
                Err(Error::Foreign(to.name))
            };
        }
        let Some((kind, data)) = self.info(&to.kind)? else {
            return Err(Error::NoLink(to.name));
        };
        let mut message = LinkMessage::default();
        message
            .attributes
            .push(LinkAttribute::IfName(to.name.to_string()));
        if let Some(mtu) = to.mtu {
            message.attributes.push(LinkAttribute::Mtu(mtu));
        }
        if let Some(mac) = to.mac {
            message
                .attributes
                .push(LinkAttribute::Address(mac.0.to_vec()));
        }
        let mut info = vec![LinkInfo::Kind(kind)];
        info.extend(data.map(LinkInfo::Data));
        message.attributes.push(LinkAttribute::LinkInfo(info));
        self.netlink.change(
            RouteNetlinkMessage::NewLink(message),
            NLM_F_CREATE | NLM_F_EXCL,
        )?;
        let made = self.look_at_link(to.name)?.ok_or(Error::NoLink(to.name))?;
        // The mark cannot be given at creation. A device that is left without it, because this process ends here, is known
        // by being down: see `may_adopt`.
        self.set_link(&made, to)
    }

    /// Whether a device without our mark may become ours: one that others make for us, the other end of a pair of ours, or one
    /// that is just what we make, not yet up, because we were interrupted.
    fn may_adopt(&self, there: &Link, to: &Link) -> bool {
        if self.owns(there) || to.kind == LinkKind::External {
            return true;
        }
        if there.alias.is_some() || replaces(there, to) {
            return false;
        }
        let pair = match to.kind {
            LinkKind::Veth { peer } => self
                .links
                .get(peer)
                .is_some_and(|peer| self.owns(&peer.link)),
            _ => false,
        };
        let same = |given: Option<MacAddr>| given.is_none() || there.mac == given;
        pair || (!there.up && same(to.mac) && (to.mtu.is_none() || there.mtu == to.mtu))
    }

    pub(crate) fn update_link(&mut self, to: &Link) -> Result<(), Error> {
        match self.look_at_link(to.name)? {
            Some(there) => self.set_link(&there, to),
            None => self.create_link(to),
        }
    }

    /// What can be changed of a device that is there; puts it up last.
    fn set_link(&mut self, there: &Device, to: &Link) -> Result<(), Error> {
        if let (LinkKind::Vxlan(from), LinkKind::Vxlan(to)) = (&there.link.kind, &to.kind)
            && from != to
        {
            let mut message = LinkMessage::default();
            message.header.index = there.index;
            message.attributes.push(LinkAttribute::LinkInfo(vec![
                LinkInfo::Kind(InfoKind::Vxlan),
                LinkInfo::Data(InfoData::Vxlan(changed(from, to))),
            ]));
            self.netlink
                .change(RouteNetlinkMessage::NewLink(message), 0)?;
        }
        // Otherwise the address that is removed takes others of its prefix along, when it was the first.
        let _ = self
            .proc
            .write(&format!("ipv4/conf/{}/promote_secondaries", to.name), "1");
        let mut message = LinkMessage::default();
        message.header.index = there.index;
        if to.mtu.is_some() && to.mtu != there.link.mtu {
            message.attributes.extend(to.mtu.map(LinkAttribute::Mtu));
        }
        if let Some(mac) = to.mac.filter(|mac| there.link.mac != Some(*mac)) {
            message
                .attributes
                .push(LinkAttribute::Address(mac.0.to_vec()));
        }
        if to.alias != there.link.alias {
            message
                .attributes
                .push(alias(to.alias.as_deref().unwrap_or_default()));
        }
        if to.up && !there.link.up {
            message.header.flags = LinkFlags::Up;
            message.header.change_mask = LinkFlags::Up;
        }
        if message.attributes.is_empty() && message.header.change_mask.is_empty() {
            return Ok(());
        }
        self.netlink
            .change(RouteNetlinkMessage::SetLink(message), 0)?;
        self.look_at_link(to.name).map(|_| ())
    }

    pub(crate) fn delete_link(&mut self, from: &Link) -> Result<(), Error> {
        let Some(there) = self.look_at_link(from.name)? else {
            return Ok(());
        };
        if !self.owns(&there.link) {
            return Ok(());
        }
        let mut message = LinkMessage::default();
        message.header.index = there.index;
        if there.link.kind == LinkKind::External {
            // Its maker removes it. We take our mark away.
            message.attributes.push(alias(""));
            return self
                .netlink
                .change(RouteNetlinkMessage::SetLink(message), 0);
        }
        let result = self
            .netlink
            .change(RouteNetlinkMessage::DelLink(message), 0);
        self.links.remove(from.name);
        result?;
        self.memory.forget_device(there.index)
    }

    /// Kind and particulars for making a device; `None` for one that others make.
    fn info(&self, kind: &LinkKind) -> Result<Option<(InfoKind, Option<InfoData>)>, Error> {
        Ok(match kind {
            LinkKind::Vxlan(vxlan) => {
                let mut data = vec![
                    InfoVxlan::Id(vxlan.id),
                    InfoVxlan::Port(vxlan.port),
                    InfoVxlan::Learning(vxlan.learning),
                ];
                data.extend(vxlan.local.map(local));
                data.extend(vxlan.remote.map(remote));
                if let Some(device) = vxlan.device {
                    data.push(InfoVxlan::Link(self.links.index(device)?));
                }
                Some((InfoKind::Vxlan, Some(InfoData::Vxlan(data))))
            }
            LinkKind::WireGuard => Some((InfoKind::Wireguard, None)),
            LinkKind::Dummy => Some((InfoKind::Dummy, None)),
            LinkKind::Veth { peer } => {
                let mut end = LinkMessage::default();
                end.attributes.push(LinkAttribute::IfName(peer.to_string()));
                Some((InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(end)))))
            }
            LinkKind::External => None,
        })
    }
}

/// Without the NUL at the end, so that an empty one is none.
fn alias(alias: &str) -> LinkAttribute {
    LinkAttribute::Other(DefaultNla::new(IFLA_IFALIAS, alias.as_bytes().to_vec()))
}

fn local(address: IpAddr) -> InfoVxlan {
    match address {
        IpAddr::V4(address) => InfoVxlan::Local(address),
        IpAddr::V6(address) => InfoVxlan::Local6(address),
    }
}

fn remote(address: IpAddr) -> InfoVxlan {
    match address {
        IpAddr::V4(address) => InfoVxlan::Group(address),
        IpAddr::V6(address) => InfoVxlan::Group6(address),
    }
}

/// What may be told of a VXLAN device that is there: the kernel refuses the rest even if it is the same.
fn changed(from: &Vxlan, to: &Vxlan) -> Vec<InfoVxlan> {
    let mut data = vec![InfoVxlan::Id(to.id)];
    if from.learning != to.learning {
        data.push(InfoVxlan::Learning(to.learning));
    }
    if from.local != to.local {
        data.extend(to.local.map(local));
    }
    if from.remote != to.remote {
        data.extend(to.remote.map(remote));
    }
    data
}

fn name_of(message: &LinkMessage) -> Option<LinkName> {
    message
        .attributes
        .iter()
        .find_map(|attribute| match attribute {
            // One that is no name for us is nothing that we made.
            LinkAttribute::IfName(name) => name.parse().ok(),
            _ => None,
        })
}

fn device(message: &LinkMessage, names: &BTreeMap<u32, LinkName>) -> Option<Device> {
    let mut link = Link::new(name_of(message)?, LinkKind::External);
    link.alias = None;
    link.up = message.header.flags.contains(LinkFlags::Up);
    let mut below = None;
    let mut elsewhere = false;
    let mut info: &[LinkInfo] = &[];
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => link.mtu = Some(*mtu),
            LinkAttribute::Address(bytes) => {
                link.mac = <[u8; 6]>::try_from(bytes.as_slice()).ok().map(MacAddr);
            }
            LinkAttribute::IfAlias(alias) if !alias.is_empty() => link.alias = Some(alias.clone()),
            LinkAttribute::Link(index) => below = names.get(index).copied(),
            LinkAttribute::LinkNetNsId(_) => elsewhere = true,
            LinkAttribute::LinkInfo(parts) => info = parts,
            _ => {}
        }
    }
    let kind = info.iter().find_map(|part| match part {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    let data = info.iter().find_map(|part| match part {
        LinkInfo::Data(InfoData::Vxlan(data)) => Some(data.as_slice()),
        _ => None,
    });
    link.kind = match kind {
        Some(InfoKind::Vxlan) => LinkKind::Vxlan(vxlan(data?, names)),
        Some(InfoKind::Wireguard) => LinkKind::WireGuard,
        Some(InfoKind::Dummy) => LinkKind::Dummy,
        Some(InfoKind::Veth) if !elsewhere => match below {
            Some(peer) => LinkKind::Veth { peer },
            None => LinkKind::External,
        },
        _ => LinkKind::External,
    };
    Some(Device {
        index: message.header.index,
        loopback: message.header.flags.contains(LinkFlags::Loopback),
        link,
    })
}

fn vxlan(data: &[InfoVxlan], names: &BTreeMap<u32, LinkName>) -> Vxlan {
    let mut vxlan = Vxlan::new(0, 0);
    for part in data {
        match part {
            InfoVxlan::Id(id) => vxlan.id = *id,
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Local(address) => vxlan.local = Some((*address).into()),
            InfoVxlan::Local6(address) => vxlan.local = Some((*address).into()),
            InfoVxlan::Group(address) => vxlan.remote = Some((*address).into()),
            InfoVxlan::Group6(address) => vxlan.remote = Some((*address).into()),
            InfoVxlan::Link(index) => vxlan.device = names.get(index).copied(),
            InfoVxlan::Learning(learning) => vxlan.learning = *learning,
            _ => {}
        }
    }
    // "Any" is how some kernels say "none".
    vxlan.local = vxlan.local.filter(|address| !address.is_unspecified());
    vxlan.remote = vxlan.remote.filter(|address| !address.is_unspecified());
    vxlan
}
