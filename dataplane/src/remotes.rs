//! Which Endpoints of other clusters are believed, and for which networks.
//!
//! A member of the cluster set is trusted with its own networks, nothing else. What it claims beside them would take traffic
//! from us, or from a third cluster: our own networks, our nodes, everything, another member's. The rest of its networks goes
//! on working.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use jiff::Timestamp;
use subm_api::names::{
    INTERFACE_NAME, MEMBER_SINCE, PUBLIC_KEY, UDP_PORT, USING_LOAD_BALANCER, is_label,
};
use subm_api::submariner::{Cluster, Endpoint};
use subm_tunnel::Claims;
use subm_tunnel::vxlan::VTEP_MAC;

/// What is ours, and so nobody else's to claim.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    pub cluster: String,
    /// Networks of this cluster's pods and Services.
    pub networks: Vec<IpNet>,
    /// Addresses of its nodes.
    pub nodes: BTreeSet<IpAddr>,
}

/// Since when each cluster is a member, as our copy of its Cluster object says. An Endpoint does not: with each fail-over there is a
/// younger one. Gateway and route agents look at the same copies, so that they believe the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seniority(BTreeMap<String, i64>);

impl Seniority {
    /// `clusters`: the copies in this cluster, which only its own gateways write. Of several objects for one cluster the oldest counts: a
    /// second one is not its own.
    pub fn of<'a>(clusters: impl IntoIterator<Item = &'a Cluster>) -> Self {
        let mut since: BTreeMap<String, i64> = BTreeMap::new();
        for cluster in clusters {
            let Some(created) = created(cluster) else {
                continue;
            };
            let oldest = since.entry(cluster.spec.cluster_id.clone());
            let oldest = oldest.or_insert(created);
            *oldest = created.min(*oldest);
        }
        Self(since)
    }

    /// Lowest first; those that are not known come last.
    fn rank(&self, cluster: &str) -> (bool, Option<i64>) {
        let since = self.0.get(cluster).copied();
        (since.is_none(), since)
    }
}

/// On the broker, if the copy tells, else here. In seconds since 1970.
fn created(cluster: &Cluster) -> Option<i64> {
    let annotations = cluster.metadata.annotations.as_ref();
    let told = annotations.and_then(|annotations| annotations.get(MEMBER_SINCE));
    let told = told.and_then(|text| text.parse::<Timestamp>().ok());
    let here = cluster.metadata.creation_timestamp.as_ref();
    told.or(here.map(|time| time.0)).map(Timestamp::as_second)
}

/// The gateway of another cluster, as far as it is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// Name of the Endpoint object.
    pub endpoint: String,
    pub cluster: String,
    pub cable: String,
    pub node: String,
    /// Networks that are reached by it.
    pub networks: BTreeSet<IpNet>,
    pub private_ip: IpAddr,
    pub public_ip: Option<IpAddr>,
    pub health_check_ip: Option<IpAddr>,
    /// Name of its cable driver.
    pub backend: String,
    /// UDP port of its tunnel.
    pub port: u16,
    /// WireGuard's, base64.
    pub public_key: Option<String>,
    /// What VXLAN's device has as its hardware address.
    pub vtep_mac: Option<String>,
    /// It thinks that its private address is not reached from elsewhere.
    pub nat_enabled: bool,
    /// Its public address is that of a load balancer.
    pub load_balancer: bool,
}

impl Remote {
    /// Where echo requests go. An answer from an address that is not reached by this gateway would witness for another path.
    pub fn target(&self) -> Option<IpAddr> {
        let target = self.health_check_ip?;
        let inside = self.networks.iter().any(|net| net.contains(&target));
        inside.then_some(target)
    }
}

/// Something that is not believed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Refusal {
    /// Name of the Endpoint object.
    pub endpoint: String,
    pub cluster: String,
    pub why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The whole Endpoint: a field cannot be what it is.
    Field { field: &'static str, value: String },
    /// A subnet that is none.
    NotANetwork(String),
    /// No cluster has so many subnets; those after the first [`MOST`] are left out.
    TooMany(usize),
    /// Loopback, link-local, multicast, the VTEPs' 240.0.0.0/4, or a part of everything that is larger than a cluster.
    Special(IpNet),
    /// It overlaps our own pods, Services or nodes.
    Ours(IpNet),
    /// It overlaps what another cluster claimed before.
    Taken { net: IpNet, by: String },
    /// So many more things are wrong with it.
    More(usize),
    /// A newer Endpoint of the same cluster counts.
    Superseded { by: String },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Endpoint {:?} of cluster {:?}: {}",
            self.endpoint, self.cluster, self.why
        )
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field { field, value } => write!(f, "it is ignored, its {field} is {value:?}"),
            Self::NotANetwork(text) => write!(f, "its subnet {text:?} is no CIDR"),
            Self::TooMany(count) => write!(
                f,
                "it has {count} subnets, of which {MOST} are looked at; let its cluster declare larger ones"
            ),
            Self::Special(net) => write!(f, "its subnet {net} is no network of a cluster"),
            Self::Ours(net) => write!(
                f,
                "its subnet {net} overlaps this cluster's pods, Services or nodes; one of both clusters needs other networks"
            ),
            Self::Taken { net, by } => write!(
                f,
                "its subnet {net} overlaps one of cluster {by:?}, which was first; one of both clusters needs other networks"
            ),
            Self::More(1) => f.write_str("one more of its subnets is refused"),
            Self::More(count) => write!(f, "{count} more of its subnets are refused"),
            Self::Superseded { by } => write!(f, "the newer {by:?} of the same cluster counts"),
        }
    }
}

/// An Endpoint, what it says, and what of it is nonsense.
type Judged<'a> = (&'a Endpoint, Remote, Vec<Why>);

/// Shorter prefixes are refused: no cluster has so many addresses, and half of everything is as good as all of it.
const SHORTEST: (u8, u8) = (6, 24);
/// So many subnets of an Endpoint are looked at: what another cluster writes must not cost us whatever it likes.
pub const MOST: usize = 256;
/// So many things that are wrong with an Endpoint are told one by one.
const TOLD: usize = 8;
/// So much of a value that is refused is told.
const LONGEST: usize = 64;
/// The tunnel's port where an Endpoint does not say.
const DEFAULT_PORT: u16 = 4500;

/// Judges the Endpoints of the other clusters. One for each cluster is believed: the youngest, since a gateway that takes over
/// publishes its own before that of the other is gone. Of clusters that claim the same the one that is a member for longer is right,
/// or, where that is not known, the one with the older Endpoint, so that a newcomer takes nothing from anybody; they come in that order.
pub fn judge(
    endpoints: &[Endpoint],
    seniority: &Seniority,
    ours: &Ours,
) -> (Vec<Remote>, Vec<Refusal>) {
    let mut refusals = Vec::new();
    let mut refuse = |endpoint: &Endpoint, why| {
        refusals.push(Refusal {
            endpoint: name(endpoint).to_owned(),
            cluster: endpoint.spec.cluster_id.clone(),
            why,
        });
    };
    let mut of_cluster: BTreeMap<&str, Vec<Judged<'_>>> = BTreeMap::new();
    let others = endpoints.iter();
    for endpoint in others.filter(|endpoint| endpoint.spec.cluster_id != ours.cluster) {
        match read(endpoint) {
            Ok((remote, odd)) => {
                let all = of_cluster.entry(&endpoint.spec.cluster_id).or_default();
                all.push((endpoint, remote, odd));
            }
            Err(why) => refuse(endpoint, why),
        }
    }
    let mut by_age = Vec::new();
    for mut all in of_cluster.into_values() {
        all.sort_by_key(|(endpoint, ..)| age(endpoint));
        let Some(youngest) = all.pop() else {
            continue;
        };
        for (endpoint, ..) in all {
            let by = name(youngest.0).to_owned();
            refuse(endpoint, Why::Superseded { by });
        }
        by_age.push(youngest);
    }
    by_age.sort_by_key(|(endpoint, remote, _)| (seniority.rank(&remote.cluster), age(endpoint)));
    let mut remotes: Vec<Remote> = Vec::new();
    let mut claims = Claims::default();
    for (endpoint, mut remote, odd) in by_age {
        let mut wrong = odd;
        remote.networks.retain(|net| {
            let why = claim(net, ours, &claims);
            let good = why.is_none();
            wrong.extend(why);
            good
        });
        let more = wrong.len().saturating_sub(TOLD);
        wrong.truncate(TOLD);
        wrong.extend((more > 0).then_some(Why::More(more)));
        for why in wrong {
            refuse(endpoint, why);
        }
        for net in &remote.networks {
            claims.take(*net, &endpoint.spec.cluster_id);
        }
        remotes.push(remote);
    }
    refusals.sort();
    (remotes, refusals)
}

/// What is wrong with a claim, given those that were heard before.
fn claim(net: &IpNet, ours: &Ours, before: &Claims<'_>) -> Option<Why> {
    if is_special(net) {
        return Some(Why::Special(*net));
    }
    let own = ours.networks.iter().any(|own| overlap(own, net));
    if own || ours.nodes.iter().any(|node| net.contains(node)) {
        return Some(Why::Ours(*net));
    }
    Some(Why::Taken {
        net: *net,
        by: before.holder(*net)?.to_owned(),
    })
}

fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

fn is_special(net: &IpNet) -> bool {
    match net {
        IpNet::V4(v4) => {
            let special = [
                Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
                Ipv4Net::new_assert(Ipv4Addr::LOCALHOST, 8),
                Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
                Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
                Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
            ];
            // Globalnet's own default, 242.0.0.0/8, is of class E, too: the two /8 of the VTEPs are what must not be touched.
            let globalnet = Ipv4Net::new_assert(Ipv4Addr::new(242, 0, 0, 0), 8).contains(v4)
                || Ipv4Net::new_assert(Ipv4Addr::new(243, 0, 0, 0), 8).contains(v4);
            v4.prefix_len() < SHORTEST.0
                || !globalnet
                    && special
                        .iter()
                        .any(|special| special.contains(v4) || v4.contains(special))
        }
        IpNet::V6(v6) => {
            let address = v6.network();
            v6.prefix_len() < SHORTEST.1
                || address.is_loopback()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_unicast_link_local()
        }
    }
}

fn name(endpoint: &Endpoint) -> &str {
    endpoint.metadata.name.as_deref().unwrap_or_default()
}

/// Oldest first; the name decides between those of one second.
fn age(endpoint: &Endpoint) -> (Option<i64>, &str) {
    let created = endpoint.metadata.creation_timestamp.as_ref();
    (created.map(|time| time.0.as_second()), name(endpoint))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn read(endpoint: &Endpoint) -> Result<(Remote, Vec<Why>), Why> {
    let spec = &endpoint.spec;
    let wrong = |field, value: &str| Why::Field {
        field,
        value: shortened(value),
    };
    if !is_label(&spec.cluster_id) {
        return Err(wrong("cluster_id", &spec.cluster_id));
    }
    if spec.cable_name.is_empty() {
        return Err(wrong("cable_name", &spec.cable_name));
    }
    let gateway = |field, text: &str| {
        let address: IpAddr = text.parse().map_err(|_| wrong(field, text))?;
        let good = !address.is_loopback() && !address.is_unspecified() && !address.is_multicast();
        good.then_some(address).ok_or_else(|| wrong(field, text))
    };
    let optional = |field, text: &str| match text {
        "" => Ok(None),
        text => gateway(field, text).map(Some),
    };
    let config = |key: &str| spec.backend_config.get(key);
    let port = match config(UDP_PORT) {
        None => DEFAULT_PORT,
        Some(text) => {
            let port = text.parse::<u16>().ok().filter(|port| *port > 0);
            port.ok_or_else(|| wrong("backend_config udp-port", text))?
        }
    };
    // It becomes the name of a device in our routes.
    if let Some(device) = config(INTERFACE_NAME).filter(|device| device.len() > 15) {
        return Err(wrong("backend_config interface-name", device));
    }
    let mut odd = Vec::new();
    let mut networks = BTreeSet::new();
    let subnets = spec.subnets.iter().count();
    if subnets > MOST {
        odd.push(Why::TooMany(subnets));
    }
    for text in spec.subnets.iter().take(MOST) {
        match text.parse::<IpNet>() {
            Ok(net) => drop(networks.insert(net.trunc())),
            Err(_) => odd.push(Why::NotANetwork(shortened(text))),
        }
    }
    let remote = Remote {
        endpoint: name(endpoint).to_owned(),
        cluster: spec.cluster_id.clone(),
        cable: spec.cable_name.clone(),
        node: spec.hostname.clone(),
        networks,
        private_ip: gateway("private_ip", &spec.private_ip)?,
        public_ip: optional("public_ip", &spec.public_ip)?,
        health_check_ip: optional("healthCheckIP", &spec.health_check_ip)?,
        backend: spec.backend.clone(),
        port,
        public_key: config(PUBLIC_KEY).cloned(),
        vtep_mac: config(VTEP_MAC).cloned(),
        nat_enabled: spec.nat_enabled,
        load_balancer: config(USING_LOAD_BALANCER).is_some_and(|text| text == "true"),
    };
    Ok((remote, odd))
}

#[cfg(test)]
mod tests;
