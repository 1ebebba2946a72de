//! What a member leaves behind that is not installed but written: on the broker, and as imports in its own namespaces.

use serde_json::{Value, json};
use subm_api::names::{
    CLUSTER_UID, DERIVED_SERVICE_MANAGER, EXPORT_CONDITIONS, LIGHTHOUSE_AGENT, MANAGED_BY,
    SOURCE_CLUSTER, TIMESTAMP_PREFIX, marks_lighthouses_import,
};
use subm_install::ClusterId;
use subm_install::broker::{Purpose, token_secret_name};
use subm_install::names::{BROKER_CLUSTER_ROLE, OPERATOR_NAMESPACE};

use crate::broker::{Access, Broker, account_of};
use crate::cluster::{
    Cluster, Kind, PAUSE, annotation, cluster_uid, kind, label, list_at, name, namespace, str_at,
};
use crate::commands::export::{exports, imports};
use crate::error::Error;
use crate::status::Status;

/// Whether the broker in this very cluster is the one that it is a member of: a cluster may host one set's broker and be a member
/// of another.
pub(super) async fn is_members(
    member: &Cluster,
    here: &Broker,
    id: &ClusterId,
) -> Result<bool, Error> {
    let Some(access) = Access::of_member(member).await? else {
        return Ok(false);
    };
    let account = here
        .cluster
        .get(&kind::ACCOUNTS, Some(&here.namespace), &id.account())
        .await?;
    let uid = account
        .as_ref()
        .map(|account| str_at(account, "/metadata/uid"));
    Ok(match account_of(&access.token) {
        Some(of) => uid == Some(of.as_str()),
        None => uid.is_some() && access.namespace == here.namespace,
    })
}

/// Takes the member's objects off the broker. With the member's own account where the broker is elsewhere; a broker that cannot
/// be reached does not hold up the rest: what it said is given back.
pub(super) async fn leave(
    status: &mut Status,
    member: &Cluster,
    here: Option<&Broker>,
    id: &ClusterId,
) -> Result<Option<Error>, Error> {
    let broker = if let Some(broker) = here {
        broker.clone()
    } else {
        let Some(access) = Access::of_member(member).await? else {
            let why = format!(
                "the Secret with which {id} joined is gone, so its objects stay on the broker: delete there what carries the id {id}"
            );
            status.warning(&why);
            return Ok(Some(Error::NotFound(why)));
        };
        match access.connect() {
            Ok(broker) => broker,
            Err(error) => return Ok(Some(stays(status, id, error))),
        }
    };
    if let Some(uid) = anothers(member, &broker, id).await? {
        status.warning(format!(
            "{id} on the broker is another cluster (its kube-system has the uid {uid}): what is there stays"
        ));
        return Ok(None);
    }
    match clean(&broker, id).await {
        Ok(()) => {}
        Err(error) => return Ok(Some(stays(status, id, error))),
    }
    if here.is_some() {
        if let Err(error) = account(&broker, id).await {
            return Ok(Some(stays(status, id, error)));
        }
    } else {
        status.note(format!(
            "The broker's administrator can now delete ServiceAccount {} there; this cluster's token is valid until then",
            id.account()
        ));
    }
    Ok(None)
}

/// The uid that the broker knows the member by, where that is not this cluster's: it was copied, with its Secrets.
async fn anothers(
    member: &Cluster,
    broker: &Broker,
    id: &ClusterId,
) -> Result<Option<String>, Error> {
    let space = Some(&*broker.namespace);
    let record = match broker
        .cluster
        .get(&kind::CLUSTERS, space, id.as_str())
        .await
    {
        Ok(record) => record.unwrap_or_default(),
        // Told when it is to be cleaned.
        Err(_) => return Ok(None),
    };
    let own = cluster_uid(member).await?;
    let there = annotation(&record, CLUSTER_UID);
    Ok((!there.is_empty() && there != own).then(|| there.to_owned()))
}

fn stays(status: &mut Status, id: &ClusterId, error: Error) -> Error {
    status.warning(format!(
        "What this cluster has there, or some of it, stays on the broker: {}. Once it can be reached, delete there what carries the id {id}",
        error.with_causes()
    ));
    error
}

/// What a member has on a broker.
#[derive(Default)]
struct Left {
    /// Its own.
    own: Vec<(Kind, String)>,
    /// Aggregates that name it, and maybe others.
    shared: Vec<(Kind, String)>,
}

async fn left(broker: &Broker, id: &ClusterId) -> Result<Left, Error> {
    let (cluster, space) = (&broker.cluster, Some(&*broker.namespace));
    let mut left = Left::default();
    let labels = format!("{SOURCE_CLUSTER}={id}");
    for slice in cluster.list(&kind::SLICES, space, &labels).await? {
        left.own.push((kind::SLICES, name(&slice).to_owned()));
    }
    if let Some(imports) = imports(cluster).await? {
        for import in cluster.list(&imports, space, "").await? {
            let item = (imports.clone(), name(&import).to_owned());
            if label(&import, SOURCE_CLUSTER) == id.as_str() {
                left.own.push(item);
            } else if label(&import, SOURCE_CLUSTER).is_empty() && names_it(&import, id) {
                left.shared.push(item);
            }
        }
    }
    for kind in [kind::ENDPOINTS, kind::CLUSTERS] {
        for object in cluster.list(&kind, space, "").await? {
            if str_at(&object, "/spec/cluster_id") == id.as_str() {
                left.own.push((kind.clone(), name(&object).to_owned()));
            }
        }
    }
    let lease = cluster.get(&kind::LEASES, space, &id.account()).await?;
    left.own.extend(lease.map(|_| (kind::LEASES, id.account())));
    Ok(left)
}

/// Whether an aggregate has an entry or a time stamp of the member.
fn names_it(aggregate: &Value, id: &ClusterId) -> bool {
    let mut listed = list_at(aggregate, "/status/clusters").iter();
    let stamp = format!("{TIMESTAMP_PREFIX}{id}");
    listed.any(|entry| entry["cluster"] == id.as_str())
        || aggregate["metadata"]["annotations"].get(&stamp).is_some()
}

async fn clean(broker: &Broker, id: &ClusterId) -> Result<(), Error> {
    let (cluster, space) = (&broker.cluster, Some(&*broker.namespace));
    let left = left(broker, id).await?;
    for (kind, name) in &left.own {
        cluster.delete(kind, space, name).await?;
    }
    for (kind, name) in &left.shared {
        leave_aggregate(broker, kind, name, id).await?;
    }
    Ok(())
}

/// What [`leave`] would take off the broker, one line each.
pub(super) async fn lines(
    member: &Cluster,
    here: Option<&Broker>,
    id: &ClusterId,
) -> Result<Vec<String>, Error> {
    let broker = match here {
        Some(broker) => broker.clone(),
        None => match Access::of_member(member).await? {
            Some(access) => access.connect()?,
            None => return Ok(Vec::new()),
        },
    };
    if anothers(member, &broker, id).await?.is_some() {
        return Ok(Vec::new());
    }
    let left = left(&broker, id).await?;
    let place = &broker.namespace;
    let own = left.own.iter();
    let mut lines: Vec<String> = own
        .map(|(kind, name)| format!("broker: {kind} {place}/{name}"))
        .collect();
    let shared = left.shared.iter();
    lines.extend(shared.map(|(kind, name)| {
        format!("broker: {kind} {place}/{name} (the entry of {id}; all of it if no other cluster exports)")
    }));
    if here.is_some() {
        for (kind, name) in credentials(id) {
            lines.push(format!("broker: {kind} {place}/{name}"));
        }
    }
    Ok(lines)
}

/// The own entry and annotation go; with the last entry the object. Again if another exporter wrote meanwhile.
async fn leave_aggregate(
    broker: &Broker,
    imports: &Kind,
    import: &str,
    id: &ClusterId,
) -> Result<(), Error> {
    let (cluster, space) = (&broker.cluster, Some(&*broker.namespace));
    let stamp = format!("{TIMESTAMP_PREFIX}{id}");
    loop {
        let Some(mut object) = cluster.get(imports, space, import).await? else {
            return Ok(());
        };
        let listed = list_at(&object, "/status/clusters");
        let others: Vec<Value> = listed
            .iter()
            .filter(|entry| entry["cluster"] != id.as_str())
            .cloned()
            .collect();
        let in_status = others.len() != listed.len();
        let stamped = object["metadata"]["annotations"].get(&stamp).is_some();
        if !in_status && !stamped {
            return Ok(());
        }
        let annotations = object["metadata"]["annotations"].as_object();
        let other_stamps = annotations
            .into_iter()
            .flat_map(|annotations| annotations.keys())
            .any(|key| key.starts_with(TIMESTAMP_PREFIX) && *key != stamp);
        let done = if others.is_empty() && (in_status || !other_stamps) {
            cluster.delete(imports, space, import).await.map(drop)
        } else if in_status {
            object["status"]["clusters"] = json!(others);
            cluster.replace(imports, "status", &object).await.map(drop)
        } else {
            object["metadata"]["annotations"]
                .as_object_mut()
                .map(|annotations| annotations.remove(&stamp));
            cluster.replace(imports, "", &object).await.map(drop)
        };
        match done {
            Ok(()) => {}
            Err(Error::Taken(_)) => tokio::time::sleep(PAUSE).await,
            Err(error) => return Err(error),
        }
    }
}

/// A member's token, rights and account.
fn credentials(id: &ClusterId) -> [(Kind, String); 3] {
    let account = id.account();
    [
        (kind::SECRETS, token_secret_name(&account)),
        (
            kind::ROLE_BINDINGS,
            format!("{account}-{BROKER_CLUSTER_ROLE}"),
        ),
        (kind::ACCOUNTS, account),
    ]
}

/// With the broker here we are its administrator: account, rights and addresses go as well.
async fn account(broker: &Broker, id: &ClusterId) -> Result<(), Error> {
    for (kind, name) in credentials(id) {
        let space = Some(&*broker.namespace);
        broker.cluster.delete(&kind, space, &name).await?;
    }
    for purpose in [Purpose::Globalnet, Purpose::ClustersetIp] {
        broker
            .change_info(purpose, |map| {
                if let Some(pool) = &mut map.pool {
                    pool.release(id.as_str());
                }
                Ok(())
            })
            .await?;
    }
    Ok(())
}

/// Imports, their slices and the Services that were derived for them, in the member.
pub(super) async fn imported(cluster: &Cluster) -> Result<Vec<(Kind, Value)>, Error> {
    let broker = crate::commands::deploy_broker::find(cluster, None).await?;
    let broker_namespace = broker
        .as_ref()
        .and_then(|broker| namespace(broker))
        .map(str::to_owned);
    let elsewhere = |object: &Value| namespace(object) != broker_namespace.as_deref();
    let mut found = Vec::new();
    let managed = format!("{MANAGED_BY} in ({LIGHTHOUSE_AGENT},{DERIVED_SERVICE_MANAGER})");
    let slices = cluster.list(&kind::SLICES, None, &managed).await?;
    let slices = slices.into_iter().filter(elsewhere);
    found.extend(slices.map(|slice| (kind::SLICES, slice)));
    if let Some(imports) = imports(cluster).await? {
        let all = cluster.list(&imports, None, "").await?;
        let ours = all
            .into_iter()
            .filter(|import| elsewhere(import) && is_lighthouses(import));
        found.extend(ours.map(|import| (imports.clone(), import)));
    }
    let derived = format!("{}={LIGHTHOUSE_AGENT}", subm_install::names::MANAGED_BY);
    let services = cluster.list(&kind::SERVICES, None, &derived).await?;
    found.extend(
        services
            .into_iter()
            .map(|service| (kind::SERVICES, service)),
    );
    Ok(found)
}

/// Deletes what was imported, and what the agent said on exports. How many objects went.
pub(super) async fn forget(cluster: &Cluster) -> Result<usize, Error> {
    let mut removed = 0;
    for (kind, object) in imported(cluster).await? {
        let deleted = cluster.delete(&kind, namespace(&object), name(&object));
        removed += usize::from(deleted.await?);
    }
    // Where the definition stays, exports do, as their users' own; that they are ready is not true any more.
    if let Ok(exports) = exports(cluster).await {
        for mut export in cluster.list(&exports, None, "").await? {
            let conditions = list_at(&export, "/status/conditions");
            let of_others: Vec<Value> = conditions
                .iter()
                .filter(|condition| !EXPORT_CONDITIONS.contains(&str_at(condition, "/type")))
                .cloned()
                .collect();
            if of_others.len() == conditions.len() {
                continue;
            }
            export["status"]["conditions"] = json!(of_others);
            match cluster.replace(&exports, "status", &export).await {
                Ok(_) | Err(Error::Taken(_) | Error::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

/// Other implementations of the Multi-Cluster Services API may live in the same cluster.
fn is_lighthouses(import: &Value) -> bool {
    let annotations = import["metadata"]["annotations"].as_object();
    let mut keys = annotations
        .into_iter()
        .flat_map(|annotations| annotations.keys());
    namespace(import) == Some(OPERATOR_NAMESPACE) || keys.any(|key| marks_lighthouses_import(key))
}
