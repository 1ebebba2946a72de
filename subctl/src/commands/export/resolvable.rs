//! `--wait`: in which of the other clusters an exported service is resolvable, and when.

use std::time::{Duration, Instant};

use subm_api::names::{SERVICE_NAME, SOURCE_CLUSTER, SOURCE_NAMESPACE};
use subm_install::names::SETTINGS;

use crate::cli::KubeFlags;
use crate::cluster::{
    Cluster, Kind, PAUSE, condition, condition_reason, condition_words, kind, label, list_at,
    str_at,
};
use crate::commands::MEMBER;
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::status::Status;

/// A cluster in which the import is awaited.
struct Awaited {
    target: Target,
    imports: Kind,
    /// What is still missing there.
    missing: String,
}

pub(super) async fn wait(
    kube: &KubeFlags,
    own: &Target,
    status: &mut Status,
    export: (&Kind, &str, &str),
    deadline: Duration,
) -> Result<(), Error> {
    let start = Instant::now();
    let (_, namespace, name) = export;
    let id = member_id(&own.cluster).await?;
    let mut awaited = others(kube, own, status).await?;
    if awaited.is_empty() {
        status.warning("No other context leads to a member of a cluster set: nothing to wait for (see --contexts)");
        return Ok(());
    }
    status.start(format!(
        "Waiting until {namespace}/{name} is resolvable in the other clusters"
    ));
    loop {
        let pending = match agents_word(&own.cluster, export).await {
            Ok(pending) => pending,
            Err(error) => return Err(status.fail(error)),
        };
        let mut left = Vec::new();
        for mut cluster in awaited {
            match missing(&cluster, namespace, name, id.as_deref()).await {
                Ok(None) => status.success(format!(
                    "Resolvable in {:?} after {:.1} s",
                    cluster.target.context,
                    start.elapsed().as_secs_f64()
                )),
                Ok(Some(what)) => {
                    cluster.missing = what;
                    left.push(cluster);
                }
                Err(error) => {
                    cluster.missing = error.with_causes();
                    left.push(cluster);
                }
            }
        }
        awaited = left;
        // Names resolve a moment before the agent says so, and `explain` would not find all well.
        if awaited.is_empty() && pending.is_none() {
            status.end();
            return Ok(());
        }
        if start.elapsed() >= deadline {
            for cluster in &awaited {
                status.failure(format!(
                    "Not resolvable in {:?}: {}",
                    cluster.target.context, cluster.missing
                ));
            }
            if let Some(pending) = pending {
                status.failure(pending);
            }
            let error = Error::Timeout(format!(
                "{namespace}/{name} is not resolvable everywhere after {} s; `subctl explain export {name} -n {namespace}` says why",
                deadline.as_secs()
            ));
            return Err(status.fail(error));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// What the agent of the exporting cluster has not done yet; an error where it never will.
async fn agents_word(
    cluster: &Cluster,
    (kind, namespace, name): (&Kind, &str, &str),
) -> Result<Option<String>, Error> {
    let export = cluster.get(kind, Some(namespace), name).await?;
    let export = export.unwrap_or_default();
    // These do not go by themselves; a Service, or its address, may still come.
    let lasting = [
        "RestrictedNamespace",
        "InvalidServiceType",
        "InvalidExportedMetadata",
    ];
    if condition(&export, "Valid") == Some("False")
        && lasting.contains(&condition_reason(&export, "Valid"))
    {
        return Err(Error::Broken(format!(
            "ServiceExport {namespace}/{name} is not valid: {}; `subctl explain export {name} -n {namespace}` says what helps",
            condition_words(&export, "Valid")
        )));
    }
    Ok(match super::on_broker(&export) {
        Some((_, "True")) => None,
        Some((r#type, _)) => Some(format!(
            "ServiceExport {namespace}/{name}: {}",
            condition_words(&export, r#type)
        )),
        None => Some(format!(
            "ServiceExport {namespace}/{name}: no agent has looked at it"
        )),
    })
}

/// The members that other contexts lead to.
async fn others(
    kube: &KubeFlags,
    own: &Target,
    status: &mut Status,
) -> Result<Vec<Awaited>, Error> {
    let everywhere = KubeFlags {
        context: None,
        ..kube.clone()
    };
    let (targets, _) = contexts::all(&everywhere).await?;
    let mut awaited = Vec::new();
    for target in targets.into_iter().filter(|target| target.url != own.url) {
        match crate::commands::export::imports(&target.cluster).await {
            // A broker that is no member has imports, too, but no settings.
            Ok(Some(imports)) if member_id(&target.cluster).await.ok().flatten().is_some() => {
                awaited.push(Awaited {
                    target,
                    imports,
                    missing: "not looked yet".to_owned(),
                });
            }
            Ok(_) => {}
            Err(error) => {
                status.warning(format!(
                    "{:?} is left out: {}",
                    target.context,
                    error.with_causes()
                ));
            }
        }
    }
    Ok(awaited)
}

/// What the cluster joined as.
pub(in crate::commands) async fn member_id(cluster: &Cluster) -> Result<Option<String>, Error> {
    let settings = cluster.get(&kind::CONFIG_MAPS, MEMBER, SETTINGS).await?;
    if let Some(settings) = settings {
        return Ok(Some(str_at(&settings, "/data/clusterID").to_owned()));
    }
    // A member that Go subctl made.
    let submariners = cluster.list(&kind::SUBMARINERS, MEMBER, "").await?;
    let id = submariners
        .first()
        .map(|submariner| str_at(submariner, "/spec/clusterID").to_owned());
    Ok(id.filter(|id| !id.is_empty()))
}

/// What is missing until the service resolves there.
async fn missing(
    cluster: &Awaited,
    namespace: &str,
    name: &str,
    id: Option<&str>,
) -> Result<Option<String>, Error> {
    let api = &cluster.target.cluster;
    let Some(import) = api.get(&cluster.imports, Some(namespace), name).await? else {
        return Ok(Some(format!("no ServiceImport {namespace}/{name}")));
    };
    let Some(id) = id else {
        return Ok(None);
    };
    let listed = list_at(&import, "/status/clusters")
        .iter()
        .any(|entry| entry["cluster"] == id);
    if !listed {
        return Ok(Some(format!(
            "ServiceImport {namespace}/{name} does not list {id}"
        )));
    }
    let labels = format!("{SERVICE_NAME}={name},{SOURCE_CLUSTER}={id}");
    let slices = api.list(&kind::SLICES, Some(namespace), &labels).await?;
    let there = slices.iter().any(|slice| {
        let from = label(slice, SOURCE_NAMESPACE);
        from.is_empty() || from == namespace
    });
    Ok((!there).then(|| format!("no EndpointSlice of {id} for {namespace}/{name}")))
}
