//! A node's Gateway object: what of it is known, when it is written, and whose is deleted.

use std::collections::BTreeMap;
use std::time::Duration;

use subm_api::names::{HA_ACTIVE, UPDATE_TIMESTAMP, VALID_FOR};
use subm_api::submariner::{self, EndpointSpec, Gateway, GatewayStatus};
use subm_tunnel::Connection;

use super::gateway_name;
use crate::status::{
    RENEWAL, Stale, annotation, is_recent, latency, stamp, without_times, written,
};

/// All that a status is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// We hold the lease.
    pub active: bool,
    /// This gateway's; while it is not known, its [`outline`](super::endpoint::outline), since none would not be taken.
    pub endpoint: &'a EndpointSpec,
    /// The far end of each cable and how it is, in any order.
    pub cables: &'a [(EndpointSpec, Connection)],
    /// What does not work, in sentences.
    pub problems: &'a [String],
    pub version: &'a str,
}

/// `status.haStatus` of a Gateway that waits for its turn.
pub const HA_PASSIVE: &str = "passive";

// How often a status without news is written.
//
// Submariner writes it every 5 s, and its active gateway deletes the object of any other that is older than 15 s. Nothing else
// asks for the age: DNS servers compare timestamps of two that are both active, and tell the age for an alert (docs/adr/0004);
// whether a gateway is alive is the lease's matter. So among ourselves a minute is enough. It is not rarer because round-trip
// times are no news on their own, and somebody who looks at them wants those of now. Beside a gateway of Submariner's, its
// rhythm holds, else it would delete us again and again.
const RENEWAL_BESIDE_OTHERS: Duration = Duration::from_secs(5);
/// Three renewals may be missed.
const VALID: Duration = Duration::from_secs(180);
const VALID_ELSEWHERE: Duration = Duration::from_secs(15);

/// The status as it is now.
pub fn status(known: &Known<'_>) -> GatewayStatus {
    let mut connections = Vec::new();
    // Cables of a passive gateway carry nothing.
    if known.active {
        connections.extend(known.cables.iter().map(connection));
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

fn place(connection: &submariner::Connection) -> (&str, &str) {
    (
        &connection.endpoint.cluster_id,
        &connection.endpoint.cable_name,
    )
}

fn connection((endpoint, cable): &(EndpointSpec, Connection)) -> submariner::Connection {
    submariner::Connection {
        status: cable.status.to_string(),
        status_message: cable.message.clone(),
        endpoint: endpoint.clone(),
        using_ip: cable.using.to_string(),
        using_nat: cable.nat,
        latency_rtt: cable.rtt.map(latency),
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
            && is_recent(&gateway.metadata, epoch, renewal)
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
    stamp(&mut gateway.metadata, epoch);
    let annotations = gateway.metadata.annotations.get_or_insert_default();
    annotations.insert(VALID_FOR.to_owned(), VALID.as_secs().to_string());
    Some(gateway)
}

/// Whether a reader who does not look at round-trip times sees the same. That there are any is news.
fn is_no_news(old: &GatewayStatus, new: &GatewayStatus) -> bool {
    let plain = |status: &GatewayStatus| {
        let connections = status.connections.iter().cloned().map(|mut connection| {
            without_times(&mut connection.latency_rtt);
            // One that counts the time, as WireGuard's do.
            if connection.status_message.ends_with(" seconds") {
                let counts = |c: char| c.is_ascii_digit() || c == '.';
                connection.status_message.retain(|c| !counts(c));
            }
            connection
        });
        let mut status = status.clone();
        status.connections = connections.collect();
        status
    };
    old.connections.bad.is_empty() && plain(old) == plain(new)
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
            let timestamp = annotation(&gateway.metadata, UPDATE_TIMESTAMP).map(ToOwned::to_owned);
            let before = self
                .seen
                .remove(&name)
                .filter(|seen| seen.timestamp == timestamp);
            let at = before.map_or(now, |seen| seen.at);
            if active && now.saturating_sub(at) >= patience(gateway) {
                stale.extend(Stale::of(&gateway.metadata));
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
    if is_active || written(&gateway.metadata).is_none() {
        return VALID_ELSEWHERE;
    }
    annotation(&gateway.metadata, VALID_FOR)
        .and_then(|text| text.parse().ok())
        .map_or(VALID_ELSEWHERE, |seconds| {
            Duration::from_secs(seconds).clamp(VALID_ELSEWHERE, LONGEST)
        })
}

/// Whatever an object says of itself.
const LONGEST: Duration = Duration::from_secs(3600);

/// Whether the writer of a Gateway knows that annotation, and so leaves us the time of ours.
fn has_rule(gateway: &Gateway) -> bool {
    annotation(&gateway.metadata, VALID_FOR).is_some()
}

#[cfg(test)]
mod tests;
