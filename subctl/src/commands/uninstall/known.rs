//! Which brokers have something of a cluster: it says so itself, or, where it has lost that, they do, by the uid of its kube-system.

use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use subm_api::names::CLUSTER_UID;
use subm_install::ClusterId;
use tokio::time::timeout;

use super::departure;
use crate::broker::{Access, Broker};
use crate::cli::KubeFlags;
use crate::cluster::{annotation, cluster_uid, kind, namespace, str_at};
use crate::commands::deploy_broker;
use crate::contexts::{self, Target};
use crate::error::Error;

/// Another context's cluster has to answer within this.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// What a cluster is called on a broker.
pub(super) struct Place {
    pub(super) id: ClusterId,
    pub(super) way: Way,
}

/// How its broker is reached.
pub(super) enum Way {
    /// As the member, by the Secret with which it joined.
    Own,
    /// It is in the same cluster.
    Here(Broker),
    /// By another context of the kubeconfig.
    Context(String, Broker),
}

impl Place {
    /// The administrator's way, where there is one.
    pub(super) fn broker(&self) -> Option<&Broker> {
        match &self.way {
            Way::Own => None,
            Way::Here(broker) | Way::Context(_, broker) => Some(broker),
        }
    }

    pub(super) fn is_here(&self) -> bool {
        matches!(self.way, Way::Here(_))
    }
}

/// `id` is what the cluster says of itself, `here` the broker in it.
pub(super) async fn places(
    kube: &KubeFlags,
    own: &Target,
    id: Option<ClusterId>,
    here: Option<&Broker>,
) -> Result<Vec<Place>, Error> {
    if let Some(id) = &id
        && Access::of_member(&own.cluster).await?.is_some()
    {
        let way = match here {
            Some(here) if departure::is_members(&own.cluster, here, id).await? => {
                Way::Here(here.clone())
            }
            _ => Way::Own,
        };
        let id = id.clone();
        return Ok(vec![Place { id, way }]);
    }
    let uid = cluster_uid(&own.cluster).await?;
    let mut found = Vec::new();
    if let Some(here) = here {
        let way = || Way::Here(here.clone());
        found.extend(
            ids(here, &uid)
                .await?
                .into_iter()
                .map(|id| Place { id, way: way() }),
        );
    }
    found.extend(elsewhere(kube, own, &uid).await?);
    if found.is_empty() {
        found.extend(id.map(|id| Place { id, way: Way::Own }));
    }
    Ok(found)
}

/// On brokers that other contexts lead to. One that does not answer, or not to us, is none that we have access to.
async fn elsewhere(kube: &KubeFlags, own: &Target, uid: &str) -> Result<Vec<Place>, Error> {
    let everywhere = KubeFlags {
        context: None,
        ..kube.clone()
    };
    let (targets, _) = contexts::all(&everywhere).await?;
    let asked = targets.into_iter().filter(|target| target.url != own.url);
    let answers = asked.map(|target| async move {
        timeout(ANSWER_DEADLINE, on(&target, uid))
            .await
            .ok()?
            .ok()?
    });
    let answers = join_all(answers).await;
    Ok(answers
        .into_iter()
        .flatten()
        .flat_map(|(context, broker, ids)| {
            ids.into_iter().map(move |id| Place {
                id,
                way: Way::Context(context.clone(), broker.clone()),
            })
        })
        .collect())
}

async fn on(target: &Target, uid: &str) -> Result<Option<(String, Broker, Vec<ClusterId>)>, Error> {
    let Some(broker) = deploy_broker::find(&target.cluster, None).await? else {
        return Ok(None);
    };
    let broker = Broker {
        cluster: target.cluster.clone(),
        namespace: namespace(&broker).unwrap_or_default().to_owned(),
    };
    let ids = ids(&broker, uid).await?;
    Ok(Some((target.context.clone(), broker, ids)))
}

async fn ids(broker: &Broker, uid: &str) -> Result<Vec<ClusterId>, Error> {
    let space = Some(&*broker.namespace);
    let records = broker.cluster.list(&kind::CLUSTERS, space, "").await?;
    Ok(ids_of(&records, uid))
}

/// Clusters without the annotation are Go Submariner's, and nobody's that we know.
fn ids_of(records: &[Value], uid: &str) -> Vec<ClusterId> {
    let own = records
        .iter()
        .filter(|record| !uid.is_empty() && annotation(record, CLUSTER_UID) == uid);
    own.filter_map(|record| ClusterId::new(str_at(record, "/spec/cluster_id")).ok())
        .collect()
}

/// Where no broker was found that knows the cluster: one may nevertheless.
pub(super) async fn advice(own: &Target) -> Result<String, Error> {
    let uid = cluster_uid(&own.cluster).await?;
    Ok(format!(
        "Nothing here says on which broker this cluster is a member, if on any, and no context of the kubeconfig leads to one that knows \
         it. A broker that does has a Cluster with the annotation {CLUSTER_UID}: {uid}; run `subctl uninstall` once more with a kubeconfig \
         that leads there as well, or delete that Cluster there and what else carries its id"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cluster_is_known_by_its_uid_alone() {
        let record = |id: &str, uid: Option<&str>| {
            json!({
                "metadata": {"name": id, "annotations": uid.map(|uid| json!({CLUSTER_UID: uid}))},
                "spec": {"cluster_id": id},
            })
        };
        let records = [
            record("c1", Some("one")),
            record("c2", Some("two")),
            record("go", None),
            record("empty", Some("")),
            record("c2-before", Some("two")),
        ];
        let ids = |uid: &str| -> Vec<String> {
            let ids = ids_of(&records, uid);
            ids.iter().map(|id| id.as_str().to_owned()).collect()
        };
        assert_eq!(ids("two"), ["c2", "c2-before"]);
        assert!(ids("three").is_empty() && ids("").is_empty());
    }
}
