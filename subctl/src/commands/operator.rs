//! Submariner's own operator, which keeps its own programs where ours are to be.

use subm_install::names::{GATEWAY, OPERATOR_NAMESPACE, ROUTE_AGENT, SETTINGS};

use crate::cluster::{Cluster, is_ours, kind};
use crate::error::Error;

const OPERATOR: &str = "submariner-operator";

/// Where we never joined, what there is of a cluster set is Submariner's own, and not ours to remove.
pub(super) async fn check_not_only_submariners(cluster: &Cluster) -> Result<(), Error> {
    let settings = cluster
        .get(&kind::CONFIG_MAPS, Some(OPERATOR_NAMESPACE), SETTINGS)
        .await?;
    if settings.is_some() {
        return Ok(());
    }
    let theirs = cluster
        .list(&kind::SUBMARINERS, Some(OPERATOR_NAMESPACE), "")
        .await?;
    if theirs.is_empty() {
        return Ok(());
    }
    Err(Error::Taken(format!(
        "this cluster is a member by Submariner's own programs (there is a Submariner object in {OPERATOR_NAMESPACE}), which this \
         subctl did not install: use the subctl that did"
    )))
}

/// A gateway or route agent that somebody else installed would be half ours and half theirs.
pub(super) async fn check_no_other_data_plane(cluster: &Cluster) -> Result<(), Error> {
    for name in [GATEWAY, ROUTE_AGENT] {
        let there = cluster
            .get(&kind::DAEMON_SETS, Some(OPERATOR_NAMESPACE), name)
            .await?;
        if there.is_some_and(|there| !is_ours(&there)) {
            return Err(Error::Taken(format!(
                "DaemonSet {OPERATOR_NAMESPACE}/{name} is Submariner's own: join with --components service-discovery, which leaves it, or \
                 remove that Submariner first with the subctl that installed it"
            )));
        }
    }
    Ok(())
}

/// An operator that runs would put back what we replace, or what we remove.
pub(super) async fn check_at_rest(cluster: &Cluster) -> Result<(), Error> {
    let there = cluster
        .get(&kind::DEPLOYMENTS, Some(OPERATOR_NAMESPACE), OPERATOR)
        .await?;
    let runs = there.is_some_and(|operator| {
        !is_ours(&operator) && operator["spec"]["replicas"].as_u64() != Some(0)
    });
    if !runs {
        return Ok(());
    }
    Err(Error::Taken(format!(
        "Submariner's own operator runs in this cluster and would put its programs back. Stop it first, with `kubectl -n \
         {OPERATOR_NAMESPACE} scale deployment {OPERATOR} --replicas=0`; docs/migration.md has all steps. To remove that Submariner, \
         use the subctl that installed it"
    )))
}
