//! A member's place on the broker: its id, its addresses, its account.

use serde_json::Value;
use subm_api::names::CLUSTER_UID;
use subm_install::broker::{InfoMap, Purpose, member_objects};
use subm_install::{BrokerInfo, ClusterId, Invitation};

use crate::broker::{Broker, decoded};
use crate::cli::Join;
use crate::cluster::{annotation, kind, str_at};
use crate::commands::deploy_broker;
use crate::error::Error;
use crate::status::Status;

/// What the broker says to a new member.
pub(super) struct Place {
    pub(super) clusterset_ip_enabled: bool,
    /// The global CIDR that the member gets, unless another member is faster.
    pub(super) global_cidr: Option<String>,
    globalnet: Option<InfoMap>,
    clusterset_ip: Option<InfoMap>,
}

/// Who joins.
pub(super) struct Joining<'a> {
    pub(super) id: &'a ClusterId,
    /// Of its kube-system.
    pub(super) cluster_uid: &'a str,
    /// It is a member under this id already, be it Go Submariner's.
    pub(super) was_member: bool,
}

/// The member's addresses.
pub(super) struct Given {
    pub(super) global_cidr: Option<String>,
    pub(super) clusterset_ip_cidr: Option<String>,
}

/// Reads only: whether there is a broker, the id is free, and the addresses that were asked for are.
pub(super) async fn find(
    status: &mut Status,
    broker: &Broker,
    flags: &Join,
    info: &BrokerInfo,
    joining: &Joining<'_>,
) -> Result<Place, Error> {
    let id = joining.id;
    if let Some(invitation) = &info.invitation {
        let place = invited(broker, flags, info, invitation).await?;
        check_record(broker, joining).await?;
        check_one_id(broker, joining).await?;
        return Ok(place);
    }
    if deploy_broker::find(&broker.cluster, Some(&broker.namespace))
        .await?
        .is_none()
    {
        return Err(Error::NotFound(format!(
            "the API server of {} has no broker in namespace {:?}; run `subctl deploy-broker` there",
            flags.broker_info.display(),
            broker.namespace
        )));
    }
    check_free(broker, joining).await?;
    check_one_id(broker, joining).await?;
    let globalnet = broker
        .info(Purpose::Globalnet)
        .await?
        .filter(|map| map.enabled);
    let clusterset_ip = broker.info(Purpose::ClustersetIp).await?;
    if flags.globalnet_cidr.is_some() && globalnet.is_none() {
        status
            .warning("Globalnet is not enabled on the Broker: ignoring the specified global CIDR");
    }
    let mut place = Place {
        global_cidr: None,
        clusterset_ip_enabled: clusterset_ip.as_ref().is_some_and(|map| map.enabled),
        globalnet: globalnet.filter(|_| flags.choices.takes_globalnet()),
        clusterset_ip,
    };
    // A trial on copies: what is refused is refused before anything is written.
    if let Some(mut map) = place.globalnet.clone() {
        place.global_cidr = global_cidr(&mut map, flags, id)?.map(|(cidr, _)| cidr);
    }
    if let Some(mut map) = place.clusterset_ip.clone() {
        clusterset_ip_cidr(&mut map, flags, id)?;
    }
    Ok(place)
}

async fn invited(
    broker: &Broker,
    flags: &Join,
    info: &BrokerInfo,
    invitation: &Invitation,
) -> Result<Place, Error> {
    let url = flags.broker_url.as_ref().unwrap_or(&info.broker_url);
    if invitation.expires <= jiff::Timestamp::now() {
        return Err(Error::Refused {
            doing: format!("the invitation {}", flags.broker_info.display()),
            message: format!(
                "it expired at {}; run `subctl deploy-broker --per-cluster {}` on the broker for a new one",
                invitation.expires, invitation.cluster_id
            ),
        });
    }
    // Whether the token is good.
    let imports = kind::IMPORTS.at("v1alpha1");
    let space = Some(&*broker.namespace);
    if let Err(error) = broker.cluster.list(&imports, space, "").await {
        return Err(match error {
            Error::Refused { message, .. } => Error::Refused {
                doing: format!("the invitation {}", flags.broker_info.display()),
                message: format!(
                    "{url} does not know its account any more, or not its token ({message}); run `subctl deploy-broker --per-cluster {}` \
                     on the broker for a new one",
                    invitation.cluster_id
                ),
            },
            error => error,
        });
    }
    Ok(Place {
        global_cidr: invitation
            .global_cidr
            .clone()
            .filter(|_| flags.choices.takes_globalnet()),
        clusterset_ip_enabled: invitation.clusterset_ip_enabled,
        globalnet: None,
        clusterset_ip: None,
    })
}

/// The same cluster may join again; another may not take its id.
async fn check_free(broker: &Broker, joining: &Joining<'_>) -> Result<(), Error> {
    let id = joining.id;
    let namespace = Some(&*broker.namespace);
    let account = broker
        .cluster
        .get(&kind::ACCOUNTS, namespace, &id.account())
        .await?;
    let known = account
        .as_ref()
        .map(|account| annotation(account, CLUSTER_UID))
        .unwrap_or_default();
    if !known.is_empty() && known != joining.cluster_uid {
        return Err(taken(broker, id));
    }
    if known.is_empty() && account.is_some() {
        return check_record(broker, joining).await;
    }
    Ok(())
}

/// The Cluster object says which cluster has an id. One that does not say was made by Go Submariner: by this cluster's, if it is a
/// member under this id, else by somebody else's.
async fn check_record(broker: &Broker, joining: &Joining<'_>) -> Result<(), Error> {
    let id = joining.id;
    let record = broker
        .cluster
        .get(&kind::CLUSTERS, Some(&broker.namespace), id.as_str())
        .await?;
    let Some(record) = record else {
        return Ok(());
    };
    let uid = annotation(&record, CLUSTER_UID);
    if uid == joining.cluster_uid || uid.is_empty() && joining.was_member {
        return Ok(());
    }
    Err(taken(broker, id))
}

/// One cluster under two ids would import what it exports itself.
async fn check_one_id(broker: &Broker, joining: &Joining<'_>) -> Result<(), Error> {
    let space = Some(&*broker.namespace);
    let records = broker.cluster.list(&kind::CLUSTERS, space, "").await?;
    let Some(other) = other_id(&records, joining) else {
        return Ok(());
    };
    Err(Error::Taken(format!(
        "the broker knows this cluster (its kube-system has the uid {}) as {other:?} already: join with --clusterid {other}, or, if it \
         is to have another id, delete Cluster {other} in namespace {} of the broker first",
        joining.cluster_uid, broker.namespace
    )))
}

/// The other id under which the broker has the joining cluster.
fn other_id<'a>(records: &'a [Value], joining: &Joining<'_>) -> Option<&'a str> {
    let own = records.iter().filter(|record| {
        !joining.cluster_uid.is_empty() && annotation(record, CLUSTER_UID) == joining.cluster_uid
    });
    own.map(|record| str_at(record, "/spec/cluster_id"))
        .find(|id| *id != joining.id.as_str())
}

fn taken(broker: &Broker, id: &ClusterId) -> Error {
    Error::Taken(format!(
        "Detected an existing joined cluster with the same ID \"{id}\" on the broker. Cluster IDs must be unique across all \
         clusters: choose another with --clusterid, or, if that cluster is no more, delete ServiceAccount {} and Cluster {id} in \
         namespace {} of the broker",
        id.account(),
        broker.namespace
    ))
}

/// Takes the addresses, for good.
pub(super) async fn take(
    status: &mut Status,
    broker: &Broker,
    flags: &Join,
    info: &BrokerInfo,
    id: &ClusterId,
    place: Place,
) -> Result<Given, Error> {
    if let Some(invitation) = &info.invitation {
        return Ok(Given {
            global_cidr: invitation
                .global_cidr
                .clone()
                .filter(|_| flags.choices.takes_globalnet()),
            clusterset_ip_cidr: invitation.clusterset_ip_cidr.clone(),
        });
    }
    let mut given = Given {
        global_cidr: None,
        clusterset_ip_cidr: None,
    };
    if place.globalnet.is_some() {
        status.start("Assigning Globalnet IPs");
        let taken = broker
            .change_info(Purpose::Globalnet, |map| global_cidr(map, flags, id))
            .await?;
        if let Some((cidr, words)) = taken.flatten() {
            match words {
                Words::Good(words) => status.success(words),
                Words::Warning(words) => status.warning(words),
            }
            given.global_cidr = Some(cidr);
        }
        status.end();
    }
    if place.clusterset_ip.is_some() {
        let taken = broker
            .change_info(Purpose::ClustersetIp, |map| {
                clusterset_ip_cidr(map, flags, id)
            })
            .await?;
        given.clusterset_ip_cidr = taken.flatten();
    }
    Ok(given)
}

enum Words {
    Good(String),
    Warning(String),
}

fn global_cidr(
    map: &mut InfoMap,
    flags: &Join,
    id: &ClusterId,
) -> Result<Option<(String, Words)>, Error> {
    let Some(pool) = map.pool.as_mut() else {
        return Ok(None);
    };
    let taken = |error: subm_install::cidr::CidrError| {
        Error::Taken(format!("invalid Globalnet configuration: {error}"))
    };
    let (cidr, words) = match (pool.of(id.as_str()), flags.globalnet_cidr) {
        (Some(have), Some(asked)) if have != asked => (
            have,
            Words::Warning(format!(
                "A pre-configured global CIDR {have} was detected - not using the specified CIDR {asked}"
            )),
        ),
        (Some(have), _) => (
            have,
            Words::Good(format!("Using pre-configured global CIDR {have}")),
        ),
        (None, Some(asked)) => {
            pool.reserve(id.as_str(), asked).map_err(taken)?;
            (
                asked,
                Words::Good(format!("Using specified global CIDR {asked}")),
            )
        }
        (None, None) => {
            let cidr = pool
                .allocate(id.as_str(), flags.globalnet_cluster_size)
                .map_err(taken)?;
            (cidr, Words::Good(format!("Allocated global CIDR {cidr}")))
        }
    };
    Ok(Some((cidr.to_string(), words)))
}

fn clusterset_ip_cidr(
    map: &mut InfoMap,
    flags: &Join,
    id: &ClusterId,
) -> Result<Option<String>, Error> {
    let Some(pool) = map.pool.as_mut() else {
        return Ok(None);
    };
    let taken = |error: subm_install::cidr::CidrError| {
        Error::Taken(format!("invalid ClustersetIP configuration: {error}"))
    };
    let cidr = match (pool.of(id.as_str()), flags.clusterset_ip_cidr) {
        (have, Some(asked)) if have != Some(asked) => {
            pool.reserve(id.as_str(), asked).map_err(taken)?;
            asked
        }
        (Some(have), _) => have,
        (None, _) => pool.allocate(id.as_str(), None).map_err(taken)?,
    };
    Ok(Some(cidr.to_string()))
}

/// The member's token. Invited members have theirs.
pub(super) async fn account(
    broker: &Broker,
    info: &BrokerInfo,
    id: &ClusterId,
    cluster_uid: &str,
) -> Result<String, Error> {
    if info.invitation.is_some() {
        return Ok(info.token().unwrap_or_default());
    }
    for object in member_objects(&broker.namespace, id, Some(cluster_uid)) {
        // Brokers of Go subctl give the admin no right to patch, but to update.
        let created = broker.cluster.create(&object).await?;
        if !created && object.kind() == "ServiceAccount" {
            mark(broker, id, cluster_uid).await?;
        }
    }
    let secret = broker.filled_token(&id.account()).await?;
    decoded(&secret["data"]["token"])
        .ok_or_else(|| Error::NotFound(format!("Secret of {} has no token", id.account())))
}

/// Says which cluster an account that was there already (by invitation, or by another release) is of.
async fn mark(broker: &Broker, id: &ClusterId, cluster_uid: &str) -> Result<(), Error> {
    let account = broker
        .cluster
        .get(&kind::ACCOUNTS, Some(&broker.namespace), &id.account())
        .await?;
    let Some(mut account) =
        account.filter(|account| annotation(account, CLUSTER_UID) != cluster_uid)
    else {
        return Ok(());
    };
    account["metadata"]["annotations"][CLUSTER_UID] = Value::from(cluster_uid);
    broker
        .cluster
        .replace(&kind::ACCOUNTS, "", &account)
        .await?;
    Ok(())
}
