//! Our custom resource definitions (`deploy/crds`), as a test installs them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt as _};

use crate::eventually;

/// Long enough for a busy machine; a quiet one needs 0.2 s.
const DEADLINE: Duration = Duration::from_mins(1);

/// All of `deploy/crds`, sorted by name.
pub fn ours() -> Result<Vec<CustomResourceDefinition>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/crds");
    let mut crds = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
        {
            let text = fs::read_to_string(&path)?;
            let crd: CustomResourceDefinition = serde_saphyr::from_str(&text)
                .with_context(|| format!("{} is no CRD", path.display()))?;
            crds.push(crd);
        }
    }
    ensure!(!crds.is_empty(), "no CRD in {}", dir.display());
    crds.sort_by_key(kube::ResourceExt::name_any);
    Ok(crds)
}

/// The definitions of `group` only.
pub fn of_group(group: &str, crds: Vec<CustomResourceDefinition>) -> Vec<CustomResourceDefinition> {
    crds.into_iter()
        .filter(|crd| crd.spec.group == group)
        .collect()
}

/// The MCS definitions as an old cluster has them: `version` alone, served and stored. Definitions without that version are
/// left out.
///
/// [`install`] of [`ours`] is the later upgrade.
pub fn only_version(
    version: &str,
    crds: Vec<CustomResourceDefinition>,
) -> Vec<CustomResourceDefinition> {
    of_group("multicluster.x-k8s.io", crds)
        .into_iter()
        .filter_map(|mut crd| {
            crd.spec.versions.retain(|have| have.name == version);
            crd.spec.versions.first_mut()?.storage = true;
            Some(crd)
        })
        .collect()
}

/// Applies the definitions and returns when all are established and every version of them can be listed.
///
/// The first create within two seconds of that is slow (2 s): the API server waits for its peers.
pub async fn install(client: &Client, crds: &[CustomResourceDefinition]) -> Result<()> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    let params = PatchParams::apply("subm-test").force();
    for crd in crds {
        api.patch(&crd.name_any(), &params, &Patch::Apply(crd))
            .await
            .with_context(|| format!("CRD {}", crd.name_any()))?;
    }
    for crd in crds {
        eventually(DEADLINE, || served(client, &api, crd))
            .await
            .with_context(|| format!("CRD {}", crd.name_any()))?;
    }
    Ok(())
}

async fn served(
    client: &Client,
    api: &Api<CustomResourceDefinition>,
    crd: &CustomResourceDefinition,
) -> Result<()> {
    let now = api.get(&crd.name_any()).await?;
    // Right after creation there is no status at all.
    let conditions = now.status.and_then(|status| status.conditions);
    let established = conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Established" && condition.status == "True");
    ensure!(established, "not established: {conditions:?}");
    for version in crd.spec.versions.iter().filter(|version| version.served) {
        let kind = GroupVersionKind::gvk(&crd.spec.group, &version.name, &crd.spec.names.kind);
        let resource = ApiResource::from_gvk_with_plural(&kind, &crd.spec.names.plural);
        Api::<DynamicObject>::all_with(client.clone(), &resource)
            .list(&ListParams::default().limit(1))
            .await
            .with_context(|| format!("{} cannot be listed", version.name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcs_versions_have_one_schema() {
        for crd in of_group("multicluster.x-k8s.io", ours().unwrap()) {
            let versions = &crd.spec.versions;
            let names: Vec<&str> = versions.iter().map(|v| v.name.as_str()).collect();
            assert_eq!(names, ["v1beta1", "v1alpha1"]);
            assert!(versions.iter().all(|version| version.served));
            assert!(versions[0].storage && !versions[1].storage);
            assert!(versions[0].schema.is_some());
            assert_eq!(versions[0].schema, versions[1].schema);
        }
    }

    #[test]
    fn one_version_is_the_stored_one() {
        let old = only_version("v1alpha1", ours().unwrap());
        let names: Vec<String> = old.iter().map(kube::ResourceExt::name_any).collect();
        assert_eq!(
            names,
            [
                "serviceexports.multicluster.x-k8s.io",
                "serviceimports.multicluster.x-k8s.io"
            ]
        );
        assert!(old.iter().all(|crd| crd.spec.versions.len() == 1));
        assert!(old.iter().all(|crd| crd.spec.versions[0].storage));
    }
}
