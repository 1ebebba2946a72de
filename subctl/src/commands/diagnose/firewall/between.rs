//! Between two clusters: from one gateway's node to the other's, both ways, and whether both know each other as they are.

use std::net::{IpAddr, SocketAddr};

use serde_json::Value;
use subm_api::names::{HA_ACTIVE, NATT_DISCOVERY_PORT, PUBLIC_KEY, UDP_PORT, USING_LOAD_BALANCER};
use subm_install::names::{CONNECTIVITY, IPSEC_PSK};

use super::{Passage, Sender, observe, passage, seen};
use crate::cli::{Diagnose, Firewall, KubeFlags, RemoteCluster};
use crate::cluster::{kind, list_at, str_at};
use crate::commands::MEMBER;
use crate::commands::diagnose::nodes::own_endpoint;
use crate::commands::diagnose::report::Report;
use crate::commands::diagnose::seen::Seen;
use crate::commands::diagnose::{first_broken, to_json};
use crate::commands::finding::Part;
use crate::commands::nettest::{self, Pods, Site, nodes};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::print_data;

const CABLE: u16 = 4500;
const NAT_DISCOVERY: u16 = 4490;

/// One of the two.
struct Side {
    target: Target,
    site: Site,
    seen: Seen,
    /// The node with the cables.
    gateway: String,
    psk: Option<String>,
}

pub(in crate::commands::diagnose) async fn run(
    kube: &KubeFlags,
    flags: &Diagnose,
    what: &Firewall,
    remote: &RemoteCluster,
) -> Result<(), Error> {
    let Some(other) = remote.kube(kube) else {
        return Err(Error::Usage(
            "this check needs a second cluster: name it with --remotecontext, or --remoteconfig"
                .to_owned(),
        ));
    };
    let here = Side::look(contexts::selected(kube).await?, flags).await?;
    let there = Side::look(contexts::selected(&other).await?, flags).await?;
    if here.seen.id() == there.seen.id() {
        return Err(Error::Usage(format!(
            "both contexts lead to cluster {:?}",
            here.seen.id()
        )));
    }
    let mut report = Report::new(!flags.output.is_data());
    let mut parts = Vec::new();
    let discovery = matches!(what, Firewall::NatDiscovery { .. });
    if !discovery {
        let mut part = Part::new("Checking that the gateways know each other as they are");
        know(&mut part, &here, &there);
        know(&mut part, &there, &here);
        secrets(&mut part, &here, &there);
        if part.findings.is_empty() {
            part.good("Cable drivers, keys and addresses are the same on both sides");
        }
        report.tell(&part)?;
        parts.push(part);
    }
    for (to, from) in [(&here, &there), (&there, &here)] {
        let title = title(discovery, to.seen.id());
        report.begin(&title);
        let part = nettest::with(flags.probes.limits(), async |pods| {
            pass(Part::new(title), discovery, to, from, pods).await
        })
        .await?;
        report.tell(&part)?;
        parts.push(part);
    }
    if flags.output.is_data() {
        print_data(
            &Value::Array(vec![to_json(&here.target, &parts)]),
            flags.output,
        )?;
    }
    first_broken(&parts).map_or(Ok(()), Err)
}

fn title(discovery: bool, cluster: &str) -> String {
    if discovery {
        format!(
            "Checking if nat-discovery port is opened on the gateway node of cluster {cluster:?}"
        )
    } else {
        format!("Checking if tunnels can be setup on the gateway node of cluster {cluster:?}")
    }
}

impl Side {
    async fn look(target: Target, flags: &Diagnose) -> Result<Self, Error> {
        let missing = |what: &str| Error::NotFound(format!("cluster {:?}: {what}", target.name));
        let seen = Seen::gather(&target.cluster).await?;
        let Some(seen) = seen.filter(|seen| seen.has(CONNECTIVITY)) else {
            return Err(missing(super::super::NO_CONNECTIVITY));
        };
        let gateway = nodes::gateway(&seen.pods).map(str::to_owned);
        let Some(gateway) = gateway.filter(|_| own_endpoint(&seen).is_some()) else {
            return Err(missing(
                "no gateway leads; `subctl diagnose connections` says why",
            ));
        };
        // Who may not read it is not told about it.
        let psk = target.cluster.get(&kind::SECRETS, MEMBER, IPSEC_PSK).await;
        let psk = psk.ok().flatten();
        let psk = psk.map(|secret| str_at(&secret, "/data/psk").to_owned());
        Ok(Self {
            site: Site::of(&target.cluster, &flags.probes).await?,
            target,
            gateway,
            psk: psk.filter(|psk| !psk.is_empty()),
            seen,
        })
    }
}

/// What one has of the other's Endpoint is what the other has made.
fn know(part: &mut Part, one: &Side, other: &Side) {
    if let Some(spec) = own_endpoint(&other.seen).map(|endpoint| &endpoint["spec"]) {
        knows(part, &one.seen, other.seen.id(), spec);
    }
}

fn knows(part: &mut Part, one: &Seen, other: &str, made: &Value) {
    let mut copies = one.endpoints.iter().map(|endpoint| &endpoint["spec"]);
    let copy = copies.find(|spec| {
        str_at(spec, "/cluster_id") == other
            && str_at(spec, "/cable_name") == str_at(made, "/cable_name")
    });
    let id = one.id();
    let remedy = format!(
        "The gateways exchange it by the broker: `subctl diagnose connections` and the gateway's log in cluster {id:?} and in cluster {other:?} say who does not reach it"
    );
    let Some(copy) = copy else {
        part.broken(
            format!("Cluster {id:?} does not know the gateway of cluster {other:?}"),
            remedy,
        );
        return;
    };
    for (what, pointer) in [
        ("public key", format!("/backend_config/{PUBLIC_KEY}")),
        ("cable driver", "/backend".to_owned()),
        ("private address", "/private_ip".to_owned()),
        ("public address", "/public_ip".to_owned()),
        ("port", format!("/backend_config/{UDP_PORT}")),
    ] {
        let (have, want) = (str_at(copy, &pointer), str_at(made, &pointer));
        if have != want {
            part.broken(
                format!(
                    "Cluster {id:?} has another {what} of cluster {other:?} ({have:?}) than that has itself ({want:?})"
                ),
                remedy.clone(),
            );
        }
    }
}

/// The key that the cluster set shares.
fn secrets(part: &mut Part, here: &Side, there: &Side) {
    if let (Some(ours), Some(theirs)) = (&here.psk, &there.psk)
        && ours != theirs
    {
        part.broken(
            format!(
                "Clusters {:?} and {:?} have different pre-shared keys (Secret {IPSEC_PSK}): no cable between them is established",
                here.seen.id(),
                there.seen.id()
            ),
            "Let both join with the same broker-info.subm; a gateway takes a new key when it restarts",
        );
    }
}

/// Whether what one gateway's node sends to the other's arrives.
async fn pass(
    mut part: Part,
    discovery: bool,
    to: &Side,
    from: &Side,
    pods: &Pods,
) -> Result<Part, Error> {
    let made = own_endpoint(&to.seen).map(|endpoint| &endpoint["spec"]);
    let made = made.unwrap_or(&Value::Null);
    let Some(address) = address(made, &from.seen) else {
        part.unknown(
            format!(
                "The Endpoint of cluster {:?} has no address that can be used",
                to.seen.id()
            ),
            "Look at it with `subctl show endpoints`",
        );
        return Ok(part);
    };
    let address = SocketAddr::new(address, port(made, discovery));
    let sender = Sender {
        site: &from.site,
        node: &from.gateway,
        to: address,
    };
    let ports = address.port().to_string();
    let observed = observe(pods, (&to.site, &to.gateway), &ports, 2, &[sender]).await;
    match observed {
        Ok((arrived, troubles)) => {
            let passage = passage(&arrived, address.port(), 0);
            seen(&mut part, pods, &to.gateway, &arrived);
            let trouble = troubles.into_iter().next().flatten();
            let used = made["backend_config"].get(NATT_DISCOVERY_PORT).is_some();
            let way = Between {
                to: to.seen.id(),
                from: from.seen.id(),
                address,
            };
            if discovery {
                way.judge_discovery(&mut part, passage, trouble, used);
            } else {
                way.judge(&mut part, passage, trouble);
            }
        }
        Err(error) => part.unknown(
            format!("It could not be tried: {}", error.with_causes()),
            nettest::remedy(&error),
        ),
    }
    Ok(part)
}

fn port(made: &Value, discovery: bool) -> u16 {
    let (key, default) = if discovery {
        (NATT_DISCOVERY_PORT, NAT_DISCOVERY)
    } else {
        (UDP_PORT, CABLE)
    };
    let said = made["backend_config"][key].as_str();
    said.and_then(|port| port.parse().ok()).unwrap_or(default)
}

/// Where the sender's gateway sends to: what it says that it uses, or else what it would.
fn address(made: &Value, sender: &Seen) -> Option<IpAddr> {
    let active = sender
        .gateways
        .iter()
        .find(|gateway| str_at(gateway, "/status/haStatus") == HA_ACTIVE);
    let connections = active.map(|gateway| list_at(gateway, "/status/connections"));
    let using = connections.into_iter().flatten().find_map(|connection| {
        let same = str_at(connection, "/endpoint/cable_name") == str_at(made, "/cable_name");
        let using = str_at(connection, "/usingIP").parse().ok();
        using.filter(|_| same)
    });
    let translated =
        made["nat_enabled"] == true || made["backend_config"][USING_LOAD_BALANCER] == "true";
    let at = |pointer| str_at(made, pointer).parse().ok();
    // Whose public address nobody found out is reached by the other one, if at all.
    let public = at("/public_ip").filter(|_| translated);
    using.or(public).or_else(|| at("/private_ip"))
}

/// From where to where.
struct Between<'a> {
    to: &'a str,
    from: &'a str,
    address: SocketAddr,
}

impl Between<'_> {
    fn judge(&self, part: &mut Part, passage: Passage, trouble: Option<String>) {
        let (to, from) = (self.to, self.from);
        match passage {
            Passage::Whole => part.good(format!(
                "Tunnels can be established on the gateway node of cluster {to:?}"
            )),
            Passage::Cut(length) => part.doubtful(
                format!(
                    "Large packets from the gateway node of cluster {from:?} arrive at that of cluster {to:?} in pieces of {length} bytes: the MTU of the way is smaller than that of the node's device"
                ),
                "Pieces are slow, and many firewalls drop them: give the gateway nodes' devices the MTU of the way between the clusters, and restart gateways and route agents",
            ),
            Passage::SmallOnly => part.broken(
                format!(
                    "Large packets from the gateway node of cluster {from:?} do not arrive at that of cluster {to:?}, small ones do: the MTU of the way is smaller than that of the node's device, and nobody says so"
                ),
                "Give the gateway nodes' devices the MTU of the way between the clusters, and restart gateways and route agents; or let ICMP \"fragmentation needed\" pass",
            ),
            Passage::Nothing => {
                self.nothing(part, "Tunnels cannot be established on", trouble);
            }
        }
    }

    fn nothing(&self, part: &mut Part, what: &str, trouble: Option<String>) {
        let (to, from, address) = (self.to, self.from, self.address);
        match trouble {
            Some(why) => part.broken(
                format!(
                    "The gateway node of cluster {from:?} cannot send to {} of cluster {to:?}: {why}",
                    address.ip()
                ),
                "Give it a route there, or the other gateway an address that is reached (gateway.submariner.io/public-ip)",
            ),
            None => part.broken(
                format!(
                    "{what} the gateway node of cluster {to:?}: UDP from the gateway node of cluster {from:?} to {} port {} does not arrive",
                    address.ip(),
                    address.port()
                ),
                format!(
                    "Let UDP port {} pass to {}: security groups, firewalls and translators between the clusters",
                    address.port(),
                    address.ip()
                ),
            ),
        }
    }

    /// A gateway that publishes no such port does not use it.
    fn judge_discovery(
        &self,
        part: &mut Part,
        passage: Passage,
        trouble: Option<String>,
        used: bool,
    ) {
        let (to, address) = (self.to, self.address);
        match passage {
            Passage::Nothing if used => {
                self.nothing(part, "NAT discovery does not reach", trouble);
            }
            Passage::Nothing => part.doubtful(
                format!(
                    "nat-discovery port {} is not reached in the cluster {to:?}",
                    address.port()
                ),
                "Its gateway does not use NAT discovery, so nothing is missing: open the port before you install one that does",
            ),
            _ => part.good(format!(
                "nat-discovery port is allowed in the cluster {to:?}{}",
                if used {
                    ""
                } else {
                    " (its gateway does not use it)"
                }
            )),
        }
    }
}

#[cfg(test)]
mod tests;
