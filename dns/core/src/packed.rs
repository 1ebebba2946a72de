//! What is remembered of an object, in as few octets as it takes: there may be hundreds of thousands, and each is looked
//! at only when its service changes. Equal facts have equal octets; endpoints are read in place.

mod octets;

use std::cmp::Ordering;
use std::net::IpAddr;

use crate::facts::{
    ClusterId, Endpoint, Import, ImportForm, LocalSlice, ObjectKey, Port, Protocol, ServiceKey,
    ServiceType, Slice, SliceForm,
};
use crate::name::Label;
use crate::status::ClusterIndex;

use octets::{Reader, Writer};

/// Kinds of objects that speak of a service, in the order in which a service keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    Import,
    Slice,
    LocalSlice,
}

/// An object of a service. Without the service's own key, of which its name is mostly a part, it cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Object(Box<[u8]>);

/// Namespace and name of an object, read in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectName<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) name: &'a str,
}

impl<'a> From<&'a ObjectKey> for ObjectName<'a> {
    fn from(key: &'a ObjectKey) -> Self {
        Self {
            namespace: &key.namespace,
            name: &key.name,
        }
    }
}

impl From<ObjectName<'_>> for ObjectKey {
    fn from(name: ObjectName<'_>) -> Self {
        Self::new(name.namespace, name.name)
    }
}

impl std::fmt::Display for ObjectName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A slice, with its endpoints to be read in place.
#[derive(Clone, Debug)]
pub(crate) struct SliceView<'a> {
    pub(crate) object: ObjectName<'a>,
    /// `None` where the cluster has no number, hence cannot be served.
    pub(crate) cluster: Option<ClusterIndex>,
    pub(crate) form: SliceForm,
    pub(crate) publish_not_ready: bool,
    pub(crate) globalnet: bool,
    pub(crate) ports: Vec<Port>,
    pub(crate) endpoints: Endpoints<'a>,
}

/// Endpoints of a slice.
#[derive(Clone, Debug)]
pub(crate) struct Endpoints<'a> {
    rest: Reader<'a>,
    left: usize,
}

/// An endpoint with its addresses as RDATA. The pod is remembered only where there is no hostname to go before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EndpointView<'a> {
    pub(crate) a: &'a [[u8; 4]],
    pub(crate) aaaa: &'a [[u8; 16]],
    pub(crate) hostname: Option<&'a str>,
    pub(crate) pod: Option<&'a str>,
    pub(crate) ready: bool,
}

// How an object's key differs from its service's.
const SAME_KEY: u8 = 0;
const SAME_NAMESPACE: u8 = 1;
const OTHER_KEY: u8 = 2;

// Of a slice.
const FORM: u8 = 0b11;
const PUBLISH_NOT_READY: u8 = 1 << 2;
const GLOBALNET: u8 = 1 << 3;
const TRIGGERED: u8 = 1 << 4;
const NUMBERED: u8 = 1 << 5;

// Of an endpoint.
const READY: u8 = 1;
const HOSTNAME: u8 = 1 << 1;
const POD: u8 = 1 << 2;
const ONE_A: u8 = 1 << 3;
const ONE_AAAA: u8 = 1 << 4;

// Of a port.
const PROTOCOL: u8 = 0b11;
const NAMED: u8 = 1 << 2;

impl Object {
    pub(crate) fn import(service: &ServiceKey, key: &ObjectKey, import: &Import) -> Self {
        let mut out = Writer::default();
        write_key(&mut out, Kind::Import, service, key);
        out.u8(u8::from(import.kind == ServiceType::Headless));
        match &import.form {
            ImportForm::Aggregated => out.text(""),
            ImportForm::PerCluster(cluster) => out.text(cluster.as_str()),
        }
        write_addresses(&mut out, &import.ips);
        write_ports(&mut out, &import.ports);
        out.count(import.weights.len());
        for (cluster, weight) in &import.weights {
            out.text(cluster.as_str());
            out.u16(*weight);
        }
        Self(out.finish())
    }

    pub(crate) fn slice(
        service: &ServiceKey,
        key: &ObjectKey,
        slice: &Slice,
        cluster: Option<ClusterIndex>,
    ) -> Self {
        let mut out = Writer::default();
        write_key(&mut out, Kind::Slice, service, key);
        let form = match slice.form {
            SliceForm::ServiceIp => 0,
            SliceForm::Backends => 1,
            SliceForm::Legacy => 2,
        };
        out.u8(form
            | flag(PUBLISH_NOT_READY, slice.publish_not_ready)
            | flag(GLOBALNET, slice.globalnet)
            | flag(TRIGGERED, slice.triggered_at.is_some())
            | flag(NUMBERED, cluster.is_some()));
        match cluster {
            Some(cluster) => out.u16(cluster),
            // Not served, but another cluster's slice is another slice.
            None => out.text(slice.cluster.as_str()),
        }
        if let Some(time) = slice.triggered_at {
            out.u64(time);
        }
        write_ports(&mut out, &slice.ports);
        write_endpoints(&mut out, &slice.endpoints);
        Self(out.finish())
    }

    pub(crate) fn local_slice(service: &ServiceKey, key: &ObjectKey, slice: &LocalSlice) -> Self {
        let mut out = Writer::default();
        write_key(&mut out, Kind::LocalSlice, service, key);
        write_ports(&mut out, &slice.ports);
        write_endpoints(&mut out, &slice.endpoints);
        Self(out.finish())
    }

    pub(crate) fn kind(&self) -> Kind {
        match self.0[0] >> 2 {
            0 => Kind::Import,
            1 => Kind::Slice,
            _ => Kind::LocalSlice,
        }
    }

    pub(crate) fn name<'a>(&'a self, service: &'a ServiceKey) -> ObjectName<'a> {
        self.open(service).0
    }

    /// Order in a service: by kind, then by key.
    pub(crate) fn cmp_key(
        &self,
        service: &ServiceKey,
        kind: Kind,
        name: ObjectName<'_>,
    ) -> Ordering {
        self.kind()
            .cmp(&kind)
            .then_with(|| self.name(service).cmp(&name))
    }

    /// The import that this object is.
    pub(crate) fn read_import(&self, service: &ServiceKey) -> Import {
        let (_, mut rest) = self.open(service);
        let headless = rest.u8() != 0;
        let form = match rest.text() {
            "" => ImportForm::Aggregated,
            cluster => ImportForm::PerCluster(ClusterId::known(cluster)),
        };
        let ips = read_addresses(&mut rest);
        let ports = read_ports(&mut rest);
        let weights = rest.count();
        let weights = (0..weights).map(|_| (ClusterId::known(rest.text()), rest.u16()));
        Import {
            service: service.clone(),
            form,
            kind: if headless {
                ServiceType::Headless
            } else {
                ServiceType::ClusterSetIp
            },
            ips,
            ports,
            weights: weights.collect(),
        }
    }

    /// The slice that this object is. A local slice has only ports and endpoints.
    pub(crate) fn read_slice<'a>(&'a self, service: &'a ServiceKey) -> SliceView<'a> {
        let (object, mut rest) = self.open(service);
        let (flags, cluster) = match self.kind() {
            Kind::Slice => read_slice_head(&mut rest),
            Kind::Import | Kind::LocalSlice => (1, None),
        };
        let ports = read_ports(&mut rest);
        let left = rest.count();
        SliceView {
            object,
            cluster,
            form: match flags & FORM {
                0 => SliceForm::ServiceIp,
                1 => SliceForm::Backends,
                _ => SliceForm::Legacy,
            },
            publish_not_ready: flags & PUBLISH_NOT_READY != 0,
            globalnet: flags & GLOBALNET != 0,
            ports,
            endpoints: Endpoints { rest, left },
        }
    }

    /// The cluster of a slice whose addresses are global IPs of its backends.
    pub(crate) fn globalnet(&self, service: &ServiceKey) -> Option<ClusterIndex> {
        if self.kind() != Kind::Slice {
            return None;
        }
        let (flags, cluster) = read_slice_head(&mut self.open(service).1);
        cluster.filter(|_| flags & GLOBALNET != 0 && flags & FORM != 0)
    }

    fn open<'a>(&'a self, service: &'a ServiceKey) -> (ObjectName<'a>, Reader<'a>) {
        let mut rest = Reader::new(&self.0);
        let head = rest.u8() & 0b11;
        let namespace = if head == OTHER_KEY {
            rest.text()
        } else {
            service.namespace.as_str()
        };
        let name = if head == SAME_KEY {
            service.name.as_str()
        } else {
            rest.text()
        };
        (ObjectName { namespace, name }, rest)
    }
}

fn flag(bit: u8, set: bool) -> u8 {
    if set { bit } else { 0 }
}

fn write_key(out: &mut Writer, kind: Kind, service: &ServiceKey, key: &ObjectKey) {
    let form = match (
        *key.namespace == *service.namespace.as_str(),
        *key.name == *service.name.as_str(),
    ) {
        (true, true) => SAME_KEY,
        (true, false) => SAME_NAMESPACE,
        (false, _) => OTHER_KEY,
    };
    out.u8((kind as u8) << 2 | form);
    if form == OTHER_KEY {
        out.text(&key.namespace);
    }
    if form != SAME_KEY {
        out.text(&key.name);
    }
}

fn read_slice_head(rest: &mut Reader<'_>) -> (u8, Option<ClusterIndex>) {
    let flags = rest.u8();
    let cluster = if flags & NUMBERED == 0 {
        rest.text();
        None
    } else {
        Some(rest.u16())
    };
    if flags & TRIGGERED != 0 {
        rest.u64();
    }
    (flags, cluster)
}

fn write_addresses(out: &mut Writer, ips: &[IpAddr]) {
    for v6 in [false, true] {
        let of_family = ips.iter().filter(|ip| ip.is_ipv6() == v6);
        out.count(of_family.clone().count());
        for ip in of_family {
            match ip {
                IpAddr::V4(ip) => out.octets(&ip.octets()),
                IpAddr::V6(ip) => out.octets(&ip.octets()),
            }
        }
    }
}

fn read_addresses(rest: &mut Reader<'_>) -> Vec<IpAddr> {
    let count = rest.count();
    let mut ips: Vec<IpAddr> = rest
        .arrays::<4>(count)
        .iter()
        .map(|ip| (*ip).into())
        .collect();
    let count = rest.count();
    ips.extend(rest.arrays::<16>(count).iter().map(|ip| IpAddr::from(*ip)));
    ips
}

fn write_ports(out: &mut Writer, ports: &[Port]) {
    out.count(ports.len());
    for port in ports {
        let protocol = match port.protocol {
            Protocol::Tcp => 0,
            Protocol::Udp => 1,
            Protocol::Sctp => 2,
        };
        out.u8(protocol | flag(NAMED, port.name.is_some()));
        out.u16(port.number);
        if let Some(name) = &port.name {
            out.text(name.as_str());
        }
    }
}

fn read_ports(rest: &mut Reader<'_>) -> Vec<Port> {
    let count = rest.count();
    let port = |_| {
        let flags = rest.u8();
        Port {
            protocol: match flags & PROTOCOL {
                0 => Protocol::Tcp,
                1 => Protocol::Udp,
                _ => Protocol::Sctp,
            },
            number: rest.u16(),
            name: (flags & NAMED != 0).then(|| Label::known(rest.text())),
        }
    };
    (0..count).map(port).collect()
}

fn write_endpoints(out: &mut Writer, endpoints: &[Endpoint]) {
    out.count(endpoints.len());
    for endpoint in endpoints {
        let one = match &*endpoint.addresses {
            [IpAddr::V4(_)] => ONE_A,
            [IpAddr::V6(_)] => ONE_AAAA,
            _ => 0,
        };
        let pod = endpoint
            .pod
            .as_ref()
            .filter(|_| endpoint.hostname.is_none());
        out.u8(one
            | flag(READY, endpoint.ready)
            | flag(HOSTNAME, endpoint.hostname.is_some())
            | flag(POD, pod.is_some()));
        match &*endpoint.addresses {
            [IpAddr::V4(ip)] => out.octets(&ip.octets()),
            [IpAddr::V6(ip)] => out.octets(&ip.octets()),
            more => write_addresses(out, more),
        }
        for label in endpoint.hostname.iter().chain(pod) {
            out.text(label.as_str());
        }
    }
}

impl<'a> Iterator for Endpoints<'a> {
    type Item = EndpointView<'a>;

    fn next(&mut self) -> Option<EndpointView<'a>> {
        self.left = self.left.checked_sub(1)?;
        let rest = &mut self.rest;
        let flags = rest.u8();
        let (a, aaaa): (&[[u8; 4]], &[[u8; 16]]) = if flags & ONE_A != 0 {
            (rest.arrays(1), &[])
        } else if flags & ONE_AAAA != 0 {
            (&[], rest.arrays(1))
        } else {
            let count = rest.count();
            let a = rest.arrays(count);
            let count = rest.count();
            (a, rest.arrays(count))
        };
        Some(EndpointView {
            a,
            aaaa,
            hostname: (flags & HOSTNAME != 0).then(|| rest.text()),
            pod: (flags & POD != 0).then(|| rest.text()),
            ready: flags & READY != 0,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Endpoints<'_> {}

impl EndpointView<'_> {
    /// How many addresses it has.
    pub(crate) fn len(&self) -> usize {
        self.a.len() + self.aaaa.len()
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let a = self.a.iter().map(|ip| IpAddr::from(*ip));
        a.chain(self.aaaa.iter().map(|ip| IpAddr::from(*ip)))
    }
}

#[cfg(test)]
mod tests;
