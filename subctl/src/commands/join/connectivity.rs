//! What the connectivity component needs of the command line, the broker's file and the other members.

use subm_install::broker::Addresses;
use subm_install::member::{self, HealthCheck};
use subm_install::overlap::{self, Claim};
use subm_install::{BrokerInfo, ClusterId, network};

use crate::broker::{Broker, decoded_bytes};
use crate::claims;
use crate::cli::{CableDriver, Connectivity};
use crate::cluster::kind;
use crate::error::Error;
use crate::status::Status;

/// The settings, or why they cannot be.
pub(super) fn settings(
    flags: &Connectivity,
    info: &BrokerInfo,
) -> Result<member::Connectivity, Error> {
    let cable_driver = match flags.cable_driver {
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
        tunnel_port: flags.nattport,
        nat: flags.natt,
        preferred_server: flags.preferred_server,
        force_udp_encaps: flags.force_udp_encaps,
        air_gapped: flags.air_gapped,
        load_balancer: flags.load_balancer,
        health_check: flags.health_check.then_some(HealthCheck {
            interval_seconds: flags.health_check_interval,
            max_packet_loss: flags.health_check_max_packet_loss_count,
        }),
        psk,
        cable_debug: flags.ipsec_debug,
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
    let message = format!(
        "this cluster's networks are another's too: {words}. Say with --clustercidr and --servicecidr what is its own, or use Globalnet \
         (`subctl deploy-broker --globalnet`); for services alone join with --components service-discovery",
    );
    if go_on {
        status.warning(message);
        return Ok(());
    }
    Err(Error::Taken(
        message + " (--ignore-requirements goes on nevertheless)",
    ))
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
