//! `export service`, `unexport service`.

mod resolvable;

pub(super) use resolvable::member_id;

use serde_json::{Value, json};
use subm_api::NamespaceRules;
use subm_api::names::{MCS_GROUP, USE_CLUSTERSET_IP};
use subm_install::names::AGENT;

use crate::cli::{ExportService, KubeFlags};
use crate::cluster::{Cluster, Kind, condition, kind, list_at, str_at};
use crate::commands::MEMBER;
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
            let asked = flags.use_clusterset_ip.map(|on| on.to_string());
            let have = crate::cluster::annotation(&there, USE_CLUSTERSET_IP).to_owned();
            if let Some(asked) = asked.filter(|asked| *asked != have) {
                there["metadata"]["annotations"][USE_CLUSTERSET_IP] = json!(asked);
                cluster.replace(&exports, "", &there).await?;
            }
            status.success("Service already exported");
        }
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
    let agent = agent.unwrap_or_default();
    let containers = list_at(&agent, "/spec/template/spec/containers");
    let variables = containers
        .iter()
        .flat_map(|container| list_at(container, "/env"));
    let mut rules = NamespaceRules::default();
    for variable in variables {
        let names = str_at(variable, "/value").split(',');
        let names = names.map(|name| name.trim().to_owned());
        match str_at(variable, "/name") {
            NamespaceRules::DENY_VARIABLE => rules.deny = names.collect(),
            NamespaceRules::ALLOW_VARIABLE => rules.allow = names.collect(),
            _ => {}
        }
    }
    Ok(rules)
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
