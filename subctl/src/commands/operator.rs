//! Submariner's own operator, which keeps its own programs where ours are to be.

use subm_install::names::OPERATOR_NAMESPACE;

use crate::cluster::{Cluster, is_ours, kind};
use crate::error::Error;

const OPERATOR: &str = "submariner-operator";

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
