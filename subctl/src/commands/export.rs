//! `export service`, `unexport service`.

mod resolvable;

pub(super) use resolvable::member_id;

use serde_json::{Value, json};
use subm_api::NamespaceRules;
use subm_api::names::{EXPORT_CONDITIONS, MCS_GROUP, USE_CLUSTERSET_IP};
use subm_install::names::{AGENT, OPERATOR_NAMESPACE};

use crate::cli::{ExportService, KubeFlags};
use crate::cluster::{
    Cluster, Kind, annotation, condition, condition_reason, kind, list_at, str_at,
};
use crate::commands::{MEMBER, wait};
use crate::contexts::{self, Target};
use crate::error::Error;
use crate::output::print;
use crate::status::Status;

pub(super) async fn export(kube: &KubeFlags, flags: &ExportService) -> Result<(), Error> {
    let target = contexts::selected(kube).await?;
    let namespace = namespace(kube, &target);
    let (cluster, name) = (&target.cluster, &*flags.name);
    let exports = exports(cluster).await?;
    let service = cluster.get(&kind::SERVICES, Some(&namespace), name).await?;
    let Some(service) = service else {
        return Err(Error::NotFound(format!(
            "Unable to find the Service {name:?} in namespace {namespace:?}"
        )));
    };
    if str_at(&service, "/spec/type") == "ExternalName" {
        return Err(Error::Usage(format!(
            "Service {namespace}/{name} is of type ExternalName, which names no endpoints that could be exported"
        )));
    }
    let mut export = json!({
        "apiVersion": format!("{MCS_GROUP}/{}", exports.version),
        "kind": "ServiceExport",
        "metadata": {"name": name, "namespace": namespace},
    });
    if let Some(on) = flags.use_clusterset_ip {
        export["metadata"]["annotations"] = json!({USE_CLUSTERSET_IP: on.to_string()});
    }
    if flags.dry_run {
        print("---\n")?;
        crate::output::print_data(&export, crate::output::Format::Yaml)?;
        return Ok(());
    }
    let mut status = Status::new();
    match cluster.get(&exports, Some(&namespace), name).await? {
        None => {
            cluster.create_value(&exports, &export).await?;
            status.success("Service exported successfully");
        }
        Some(mut there) => {
            let have = annotation(&there, USE_CLUSTERSET_IP).to_owned();
            match flags.use_clusterset_ip {
                Some(asked) if asked.to_string() != have => {
                    there["metadata"]["annotations"][USE_CLUSTERSET_IP] = json!(asked.to_string());
                    cluster.replace(&exports, "", &there).await?;
                    let words = if asked {
                        "asks for a clusterset IP"
                    } else {
                        "asks for no clusterset IP"
                    };
                    status.success(format!("Service already exported; now it {words}"));
                }
                _ => status.success("Service already exported"),
            }
        }
    }
    if flags.use_clusterset_ip == Some(true) && !is_by_service(cluster).await {
        status.warning(
            "Nothing in this release routes the addresses of the clusterset IP pool, and no connection to one succeeds until another \
             component does; members that `join` with --clusterset-ip-by-service take IPs of derived Services, which work",
        );
    }
    let now = cluster.get(&exports, Some(&namespace), name).await;
    let now = now.ok().flatten();
    if has_no_agent(cluster, now.as_slice()).await {
        status.warning(no_agent());
    }
    // Advice: who may not read the agent's settings can export all the same.
    let rules = namespace_rules(cluster).await.unwrap_or_default();
    if !rules.permit(&namespace) || Some(&*namespace) == MEMBER {
        status.warning(format!(
            "The agent of this cluster takes nothing from namespace {namespace:?}, and by default no cluster does: export from another \
             one, or let all members `join` again with --allow-namespaces {namespace}"
        ));
    }
    if flags.wait {
        let export = (&exports, &*namespace, name);
        resolvable::wait(kube, &target, &mut status, export, flags.timeout).await?;
    }
    Ok(())
}

/// As the agent here was told.
pub(super) async fn namespace_rules(cluster: &Cluster) -> Result<NamespaceRules, Error> {
    let agent = cluster.get(&kind::DEPLOYMENTS, MEMBER, AGENT).await?;
    let mut rules = NamespaceRules::default();
    for (name, value) in variables(&agent.unwrap_or_default()) {
        let names = value.split(',').map(|name| name.trim().to_owned());
        match &*name {
            NamespaceRules::DENY_VARIABLE => rules.deny = names.collect(),
            NamespaceRules::ALLOW_VARIABLE => rules.allow = names.collect(),
            _ => {}
        }
    }
    Ok(rules)
}

/// Whether clusterset IPs are those of derived Services here.
async fn is_by_service(cluster: &Cluster) -> bool {
    let agent = cluster.get(&kind::DEPLOYMENTS, MEMBER, AGENT).await;
    let agent = agent.ok().flatten().unwrap_or_default();
    variables(&agent)
        .iter()
        .any(|(name, value)| name == "SUBMARINER_CLUSTERSET_IP_SOURCE" && value == "service")
}

fn variables(workload: &Value) -> Vec<(String, String)> {
    let containers = list_at(workload, "/spec/template/spec/containers");
    let variables = containers
        .iter()
        .flat_map(|container| list_at(container, "/env"));
    let text = |variable: &Value, pointer: &str| str_at(variable, pointer).to_owned();
    variables
        .map(|variable| (text(variable, "/name"), text(variable, "/value")))
        .collect()
}

pub(super) async fn unexport(kube: &KubeFlags, name: &str, dry_run: bool) -> Result<(), Error> {
    let target = contexts::selected(kube).await?;
    let namespace = namespace(kube, &target);
    let exports = exports(&target.cluster).await?;
    let not_exported = || {
        Error::NotFound(format!(
            "Service {namespace}/{name} was not previously exported"
        ))
    };
    if dry_run {
        let there = target.cluster.get(&exports, Some(&namespace), name).await?;
        there.ok_or_else(not_exported)?;
        print(&format!("serviceexports.{MCS_GROUP} {namespace}/{name}\n"))?;
        return Ok(());
    }
    if !target
        .cluster
        .delete(&exports, Some(&namespace), name)
        .await?
    {
        return Err(not_exported());
    }
    Status::new().success("Service successfully unexported");
    Ok(())
}

/// ServiceExports as the cluster serves them.
pub(super) async fn exports(cluster: &Cluster) -> Result<Kind, Error> {
    let version = cluster
        .served_version(MCS_GROUP, "serviceexports", &["v1beta1", "v1alpha1"])
        .await?;
    version.map(|version| kind::EXPORTS.at(version)).ok_or_else(|| {
        Error::NotFound("this cluster knows no ServiceExport: it is no member of a cluster set; run `subctl join`".to_owned())
    })
}

/// Type and status of the condition that tells whether an export is on the broker. Go Lighthouse up to 0.14 said so by another.
pub(super) fn on_broker(export: &Value) -> Option<(&'static str, &str)> {
    let types = ["Ready", "Synced"];
    types
        .into_iter()
        .find_map(|r#type| Some((r#type, condition(export, r#type)?)))
}

/// Whether what an export offers is in what the broker has, though another may win where they disagree. An export of another type
/// than the oldest one's never is; Go Lighthouse repeats the conflict's reason where our agent says `Failed`.
pub(super) fn takes_part(export: &Value) -> bool {
    const KEPT_OUT: &str = "TypeConflict";
    let conflicts = condition(export, "Conflict") == Some("True")
        && condition_reason(export, "Conflict").contains(KEPT_OUT);
    let failed = condition(export, "Ready") == Some("False")
        && ["Failed", KEPT_OUT].contains(&condition_reason(export, "Ready"));
    !(conflicts && failed)
}

/// Whether nobody has looked at any export: none has a condition of ours, and no agent is available.
pub(super) async fn has_no_agent(cluster: &Cluster, exports: &[Value]) -> bool {
    let looked_at = exports.iter().any(|export| {
        let conditions = list_at(export, "/status/conditions");
        conditions
            .iter()
            .any(|condition| EXPORT_CONDITIONS.contains(&str_at(condition, "/type")))
    });
    // Who may not look cannot tell.
    let agent = cluster.get(&kind::DEPLOYMENTS, MEMBER, AGENT).await;
    !looked_at
        && agent.is_ok_and(|agent| agent.is_none_or(|agent| wait::availability(&agent).0 == 0))
}

/// Said where [`has_no_agent`].
pub(super) fn no_agent() -> String {
    format!(
        "No agent runs in this cluster, and until one does nothing comes of exports: see `kubectl -n {OPERATOR_NAMESPACE} describe deployment \
         {AGENT}`, or run `subctl join` if there is none"
    )
}

/// ServiceImports as the cluster serves them; nothing where it does not.
pub(super) async fn imports(cluster: &Cluster) -> Result<Option<Kind>, Error> {
    let version = cluster
        .served_version(MCS_GROUP, "serviceimports", &["v1beta1", "v1alpha1"])
        .await?;
    Ok(version.map(|version| kind::IMPORTS.at(version)))
}

/// The one that was given, the context's, or `default`.
pub(super) fn namespace(kube: &KubeFlags, target: &Target) -> String {
    let chosen = kube.namespace.clone().or_else(|| target.namespace.clone());
    chosen.unwrap_or_else(|| "default".to_owned())
}
