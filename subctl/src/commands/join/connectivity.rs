//! What the connectivity component needs of the command line, the broker's file and the other members.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;

use serde_json::Value;
use subm_install::broker::Addresses;
use subm_install::member::{self, HealthCheck};
use subm_install::overlap::{self, Claim};
use subm_install::{BrokerInfo, ClusterId, network};

use crate::broker::{Broker, decoded_bytes};
use crate::claims;
use crate::cli::{CableDriver, Connectivity};
use crate::cluster::{kind, str_at};
use crate::error::Error;
use crate::status::Status;

/// Upstream's, of cables.
const TUNNEL_PORT: NonZeroU16 = NonZeroU16::new(4500).unwrap();

/// The settings, or why they cannot be.
pub(super) fn settings(
    flags: &Connectivity,
    info: &BrokerInfo,
) -> Result<member::Connectivity, Error> {
    let cable_driver = match flags.cable_driver.unwrap_or(CableDriver::Wireguard) {
        CableDriver::Wireguard => member::CableDriver::WireGuard,
        CableDriver::Vxlan => member::CableDriver::Vxlan,
        CableDriver::Libreswan => {
            return Err(Error::Usage(
                "--cable-driver libreswan: this release makes no cables of IPsec yet; use wireguard, which encrypts too, or vxlan, which \
                 does not. All members of a cluster set use the same"
                    .to_owned(),
            ));
        }
    };
    let psk = decoded_bytes(&info.ipsec_psk["data"]["psk"]);
    if cable_driver.needs_psk() && psk.is_none() {
        return Err(Error::Usage(format!(
            "the broker's file has no key for cables of {cable_driver}: run `subctl deploy-broker` with --components \
             service-discovery,connectivity and join with its new file"
        )));
    }
    Ok(member::Connectivity {
        cable_driver,
        tunnel_port: flags.nattport.unwrap_or(TUNNEL_PORT),
        nat: flags.natt.unwrap_or(true),
        preferred_server: flags.preferred_server.unwrap_or(false),
        force_udp_encaps: flags.force_udp_encaps.unwrap_or(false),
        air_gapped: flags.air_gapped.unwrap_or(false),
        load_balancer: flags.load_balancer.unwrap_or(false),
        health_check: flags.health_check.unwrap_or(true).then_some(HealthCheck {
            interval_seconds: flags.health_check_interval.unwrap_or(1),
            max_packet_loss: flags.health_check_max_packet_loss_count.unwrap_or(5),
        }),
        psk,
        cable_debug: flags.ipsec_debug.unwrap_or(false),
    })
}

/// Cables are made between gateways of the same driver. A set can be moved to another one cluster after the other, so this is no refusal.
pub(super) async fn warn_of_drivers(
    status: &mut Status,
    broker: &Broker,
    id: &ClusterId,
    driver: member::CableDriver,
) -> Result<(), Error> {
    let space = Some(&*broker.namespace);
    let endpoints = broker.cluster.list(&kind::ENDPOINTS, space, "").await?;
    if let Some(words) = other_drivers(&endpoints, id, driver) {
        status.warning(words);
    }
    Ok(())
}

fn other_drivers(endpoints: &[Value], id: &ClusterId, own: member::CableDriver) -> Option<String> {
    let mut others: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for endpoint in endpoints {
        let (cluster, driver) = (
            str_at(endpoint, "/spec/cluster_id"),
            str_at(endpoint, "/spec/backend"),
        );
        if cluster != id.as_str() && driver != own.as_str() && !driver.is_empty() {
            others.entry(driver).or_default().insert(cluster);
        }
    }
    let clusters =
        |clusters: &BTreeSet<&str>| clusters.iter().copied().collect::<Vec<_>>().join(", ");
    let words: Vec<String> = others
        .iter()
        .map(|(driver, names)| format!("{driver} ({})", clusters(names)))
        .collect();
    let ours = [member::CableDriver::WireGuard, member::CableDriver::Vxlan];
    let theirs = others
        .keys()
        .find(|driver| ours.iter().any(|ours| ours.as_str() == **driver));
    let same = theirs.map(|driver| format!("`subctl join` here with --cable-driver {driver}, or "));
    (!words.is_empty()).then(|| {
        format!(
            "This cluster joins with cables of {own}, others have those of {}, and between different drivers no cable is made: run {}`subctl \
             join` in each of them with --cable-driver {own}",
            words.join(" and "),
            same.unwrap_or_default()
        )
    })
}

/// Refuses networks that another member has: they would be reached in one of both clusters only.
pub(super) async fn check_networks(
    status: &mut Status,
    broker: &Broker,
    id: &ClusterId,
    addresses: &Addresses,
    go_on: bool,
) -> Result<(), Error> {
    let Some(words) = shared(broker, id, addresses).await? else {
        return Ok(());
    };
    let message = refusal(&words);
    if go_on {
        status.warning(message);
        return Ok(());
    }
    Err(Error::Taken(
        message + " (--ignore-requirements goes on nevertheless)",
    ))
}

fn refusal(words: &str) -> String {
    format!(
        "this cluster's networks are another's too: {words}. Say with --clustercidr and --servicecidr what is its own; where both have \
         the same, one of them needs other networks (Globalnet, which would map them, is not in this version). For services alone join \
         with --components service-discovery"
    )
}

/// Without the connectivity component something else routes, or nothing does yet: names resolve all the same.
pub(super) async fn warn_of_networks(
    status: &mut Status,
    broker: &Broker,
    id: &ClusterId,
    addresses: &Addresses,
) -> Result<(), Error> {
    if let Some(words) = shared(broker, id, addresses).await? {
        status.warning(format!(
            "This cluster's networks are another's too: {words}. Names will resolve, but to addresses that lead each cluster to itself"
        ));
    }
    Ok(())
}

async fn shared(
    broker: &Broker,
    id: &ClusterId,
    addresses: &Addresses,
) -> Result<Option<String>, Error> {
    let space = Some(&*broker.namespace);
    let clusters = broker.cluster.list(&kind::CLUSTERS, space, "").await?;
    let endpoints = broker.cluster.list(&kind::ENDPOINTS, space, "").await?;
    let found = overlap::find(&claim(id, addresses), &claims::read(&clusters, &endpoints));
    let words: Vec<String> = found.iter().map(ToString::to_string).collect();
    Ok((!words.is_empty()).then(|| words.join("; ")))
}

fn claim(id: &ClusterId, addresses: &Addresses) -> Claim {
    let nets = |texts: &[String]| network::parse(&texts.join(",")).unwrap_or_default();
    Claim {
        cluster: id.to_string(),
        inside: [nets(&addresses.services), nets(&addresses.pods)].concat(),
        global: nets(&addresses.global),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nobody_is_sent_to_globalnet_which_is_not_there() {
        let words = refusal("10.8.0.0/16 overlaps with 10.8.0.0/16 of cluster \"c2\"");
        assert!(
            words.contains("one of them needs other networks"),
            "{words}"
        );
        assert!(
            words.contains("is not in this version") && !words.contains("deploy-broker"),
            "{words}"
        );
    }

    #[test]
    fn other_drivers_are_told_with_their_clusters_and_the_flag() {
        let endpoint =
            |id: &str, driver: &str| json!({"spec": {"cluster_id": id, "backend": driver}});
        let told = |endpoints: &[Value], own| {
            other_drivers(endpoints, &ClusterId::new("c1").unwrap(), own)
        };
        let (vxlan, wireguard) = (member::CableDriver::Vxlan, member::CableDriver::WireGuard);
        // Its own is what it had before.
        assert_eq!(told(&[endpoint("c1", "wireguard")], vxlan), None);
        assert_eq!(told(&[endpoint("c2", "vxlan")], vxlan), None);
        let words = told(
            &[
                endpoint("c2", "wireguard"),
                endpoint("c3", "wireguard"),
                endpoint("c4", "vxlan"),
            ],
            vxlan,
        );
        let words = words.unwrap();
        assert!(
            words.contains("cables of vxlan, others have those of wireguard (c2, c3), and")
                && words.contains("here with --cable-driver wireguard, or `subctl join` in each of them with --cable-driver vxlan"),
            "{words}"
        );
        // No advice to join with what is refused.
        let words = told(&[endpoint("go", "libreswan")], wireguard).unwrap();
        assert!(
            words.contains("libreswan (go)") && !words.contains("--cable-driver libreswan"),
            "{words}"
        );
    }
}
