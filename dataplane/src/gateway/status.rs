//! A node's Gateway object: what of it is known, when it is written, and whose is deleted.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use subm_api::names::{CONNECTED, HA_ACTIVE, UPDATE_TIMESTAMP};
use subm_api::submariner::{Connection, EndpointSpec, Gateway, GatewayStatus, LatencyRtt};

use super::gateway_name;

/// All that a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// We hold the lease.
    pub active: bool,
    /// This gateway's; while it is not known, its [`outline`](super::endpoint::outline), since none would not be taken.
    pub endpoint: &'a EndpointSpec,
    /// One for each Endpoint that is believed, in any order.
    pub cables: &'a [Cable],
    /// What does not work, in sentences.
    pub problems: &'a [String],
    pub version: &'a str,
}

/// A cable as its driver and the health check of its path see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cable {
    /// The far end.
    pub endpoint: EndpointSpec,
    /// The driver's word.
    pub state: State,
    /// Its sentence; empty where there is nothing to say.
    pub message: String,
    /// The address that packets are sent to.
    pub using_ip: Option<IpAddr>,
    pub using_nat: bool,
    /// `None` where the path is not checked.
    pub health: Option<Health>,
}

/// What a driver says of a cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    Connected,
    Connecting,
    Error,
    None,
}

/// What the health check says of its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Health {
    pub path: Path,
    pub message: String,
    /// Where echo requests were sent to.
    pub target: IpAddr,
    pub rtt: Option<LatencyRtt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    Connected,
    Unknown,
    Error,
}

/// `status.haStatus` of a Gateway that waits for its turn.
pub const HA_PASSIVE: &str = "passive";
/// Annotation of our Gateways: for how many seconds after `update-timestamp` nobody need worry. Submariner's have none; for them it is 15.
pub const VALID_FOR: &str = "gateway.submariner.io/valid-for";

// How often a status without news is written.
//
// Submariner writes it every 5 s, and its active gateway deletes the object of any other that is older than 15 s. Nothing else
// asks for the age: DNS servers compare timestamps of two that are both active, and tell the age for an alert (docs/adr/0004);
// whether a gateway is alive is the lease's matter. So among ourselves a minute is enough. It is not rarer because round-trip
// times are no news on their own, and somebody who looks at them wants those of now. Beside a gateway of Submariner's, its
// rhythm holds, else it would delete us again and again.
const RENEWAL: Duration = Duration::from_secs(60);
const RENEWAL_BESIDE_OTHERS: Duration = Duration::from_secs(5);
/// Three renewals may be missed.
const VALID: Duration = Duration::from_secs(180);
const VALID_ELSEWHERE: Duration = Duration::from_secs(15);

/// The status as it is now.
pub fn status(known: &Known<'_>) -> GatewayStatus {
    let mut connections: Vec<Connection> = Vec::new();
    // Cables of a passive gateway carry nothing.
    if known.active {
        connections.extend(known.cables.iter().map(Cable::connection));
        // Always in the same order: another one would be news.
        connections.sort_by(|a, b| place(a).cmp(&place(b)));
    }
    GatewayStatus {
        ha_status: if known.active { HA_ACTIVE } else { HA_PASSIVE }.to_owned(),
        local_endpoint: Some(known.endpoint.clone()),
        connections: connections.into_iter().collect(),
        status_failure: known.problems.join("; "),
        version: known.version.to_owned(),
    }
}

fn place(connection: &Connection) -> (&str, &str) {
    (
        &connection.endpoint.cluster_id,
        &connection.endpoint.cable_name,
    )
}

impl Cable {
    /// | driver | path | result |
    /// |---|---|---|
    /// | connected | error | error, with the health check's message |
    /// | connected | unknown | connected, with the health check's message |
    /// | error | connected | connected: a packet that came back is the better witness |
    /// | anything else | | the driver's word |
    fn connection(&self) -> Connection {
        let mut endpoint = self.endpoint.clone();
        let path = self.health.as_ref();
        let (state, message) = match (self.state, path) {
            (State::Connected, Some(health)) => match health.path {
                Path::Error => (State::Error, health.message.as_str()),
                Path::Unknown => (State::Connected, health.message.as_str()),
                Path::Connected => (State::Connected, self.message.as_str()),
            },
            (State::Error, Some(health)) if health.path == Path::Connected => {
                (State::Connected, "")
            }
            (state, _) => (state, self.message.as_str()),
        };
        if let Some(health) = path {
            endpoint.health_check_ip = health.target.to_string();
        }
        Connection {
            status: state.as_str().to_owned(),
            status_message: message.to_owned(),
            endpoint,
            using_ip: self.using_ip.map(|ip| ip.to_string()).unwrap_or_default(),
            using_nat: self.using_nat,
            latency_rtt: path.and_then(|health| health.rtt.clone()),
        }
    }
}

impl State {
    /// As objects spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connected => CONNECTED,
            Self::Connecting => "connecting",
            Self::Error => "error",
            Self::None => "none",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The Gateway object to write, or `None` while what stands there is good enough. `gateways` are those of the namespace, our own
/// may be among them; `epoch` is the time since 1970. Other annotations stay, as Globalnet's.
///
/// `None` too where the node's name leaves nothing for a name; the API server would take no such object.
pub fn publish(
    namespace: &str,
    node: &str,
    wanted: &GatewayStatus,
    gateways: &[Gateway],
    epoch: Duration,
) -> Option<Gateway> {
    let name = gateway_name(node)?;
    let is_ours = |gateway: &&Gateway| gateway.metadata.name.as_deref() == Some(&name);
    let observed = gateways.iter().find(is_ours);
    let renewal = if gateways
        .iter()
        .any(|other| !is_ours(&other) && !has_rule(other))
    {
        RENEWAL_BESIDE_OTHERS
    } else {
        RENEWAL
    };
    let good = observed.is_some_and(|gateway| {
        has_rule(gateway)
            && gateway
                .status
                .as_ref()
                .is_some_and(|status| is_no_news(status, wanted))
            && written(gateway).is_some_and(|at| {
                // Of a clock that went back since, or was ahead: not to be believed.
                epoch.checked_sub(at).is_some_and(|age| age < renewal)
            })
    });
    if good {
        return None;
    }
    let mut gateway = Gateway {
        metadata: observed
            .map(|gateway| gateway.metadata.clone())
            .unwrap_or_default(),
        status: Some(wanted.clone()),
    };
    gateway.metadata.name = Some(name);
    gateway.metadata.namespace = Some(namespace.to_owned());
    let annotations = gateway.metadata.annotations.get_or_insert_default();
    annotations.insert(UPDATE_TIMESTAMP.to_owned(), epoch.as_secs().to_string());
    annotations.insert(VALID_FOR.to_owned(), VALID.as_secs().to_string());
    Some(gateway)
}

/// Whether a reader who does not look at round-trip times sees the same. That there are any is news.
fn is_no_news(old: &GatewayStatus, new: &GatewayStatus) -> bool {
    let without_times = |status: &GatewayStatus| {
        let connections = status.connections.iter().cloned().map(|mut connection| {
            connection.latency_rtt = connection.latency_rtt.map(|_| LatencyRtt::default());
            connection
        });
        let mut status = status.clone();
        status.connections = connections.collect();
        status
    };
    old.connections.bad.is_empty() && without_times(old) == without_times(new)
}

/// Since when the Gateways of others have not been written.
///
/// Judged by our own clock, since theirs may differ. It begins anew with this process, so what is left over from before stays a bit
/// longer; that harms nobody.
#[derive(Clone, Debug, Default)]
pub struct Freshness {
    seen: BTreeMap<String, Seen>,
}

#[derive(Clone, Debug)]
struct Seen {
    timestamp: Option<String>,
    at: Duration,
}

/// A Gateway to delete, if it is still as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    pub name: String,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
}

impl Freshness {
    /// Looks at the Gateways of the namespace, and tells those whose writer is gone. Only the active gateway has the say; a passive one
    /// looks, and deletes nothing. `now` is of a clock that is never set, such as the time since the process began.
    pub fn look(
        &mut self,
        node: &str,
        active: bool,
        gateways: &[Gateway],
        now: Duration,
    ) -> Vec<Stale> {
        let ours = gateway_name(node);
        let mut seen = BTreeMap::new();
        let mut stale = Vec::new();
        for gateway in gateways {
            let Some(name) = gateway
                .metadata
                .name
                .clone()
                .filter(|name| Some(name) != ours.as_ref())
            else {
                continue;
            };
            let timestamp = annotation(gateway, UPDATE_TIMESTAMP).map(ToOwned::to_owned);
            let before = self
                .seen
                .remove(&name)
                .filter(|seen| seen.timestamp == timestamp);
            let at = before.map_or(now, |seen| seen.at);
            if active && now.saturating_sub(at) >= patience(gateway) {
                stale.push(Stale {
                    name: name.clone(),
                    uid: gateway.metadata.uid.clone(),
                    resource_version: gateway.metadata.resource_version.clone(),
                });
            }
            seen.insert(name, Seen { timestamp, at });
        }
        self.seen = seen;
        stale
    }
}

/// How long a Gateway may stay as it is.
fn patience(gateway: &Gateway) -> Duration {
    let is_active = gateway
        .status
        .as_ref()
        .is_some_and(|status| status.ha_status == HA_ACTIVE);
    // It says that it is active, and we are: its writer has not noticed, or never will.
    if is_active || written(gateway).is_none() {
        return VALID_ELSEWHERE;
    }
    annotation(gateway, VALID_FOR)
        .and_then(|text| text.parse().ok())
        .map_or(VALID_ELSEWHERE, |seconds| {
            Duration::from_secs(seconds).clamp(VALID_ELSEWHERE, LONGEST)
        })
}

/// Whatever an object says of itself.
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether the writer of a Gateway knows that annotation, and so leaves us the time of ours.
fn has_rule(gateway: &Gateway) -> bool {
    annotation(gateway, VALID_FOR).is_some()
}

fn written(gateway: &Gateway) -> Option<Duration> {
    annotation(gateway, UPDATE_TIMESTAMP)?
        .parse()
        .ok()
        .map(Duration::from_secs)
}

fn annotation<'a>(gateway: &'a Gateway, key: &str) -> Option<&'a str> {
    gateway
        .metadata
        .annotations
        .as_ref()?
        .get(key)
        .map(String::as_str)
}

#[cfg(test)]
mod tests;
