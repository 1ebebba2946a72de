//! Which clusters a kubeconfig leads to.

use std::collections::BTreeMap;
use std::time::Duration;

use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use subm_kube::with_causes;

use crate::cli::KubeFlags;
use crate::cluster::Cluster;
use crate::error::Error;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// API servers give up after a minute themselves, and say why; a busy one was seen to take half of it for one write.
const READ_TIMEOUT: Duration = Duration::from_secs(65);

/// A cluster as a kubeconfig has it.
#[derive(Clone)]
pub struct Target {
    pub context: String,
    /// The kubeconfig's name of the cluster.
    pub name: String,
    /// `https://host:port`.
    pub url: String,
    /// The context's namespace.
    pub namespace: Option<String>,
    pub cluster: Cluster,
}

/// The selected or else the current context; the pod's account where there is no kubeconfig.
pub async fn selected(flags: &KubeFlags) -> Result<Target, Error> {
    let file = match read(flags) {
        Ok(file) => file,
        Err(_) if flags.kubeconfig.is_none() && in_cluster() => return own_cluster(),
        Err(error) => return Err(error),
    };
    let context = match (&flags.context, &*flags.contexts) {
        (Some(context), _) | (None, [context]) => context.clone(),
        (None, _) => file
            .current_context
            .clone()
            .filter(|name| !name.is_empty())
            .ok_or_else(|| {
                Error::Kubeconfig(
                    "the kubeconfig has no current context; name one with --context".to_owned(),
                )
            })?,
    };
    target(&file, &context).await
}

/// The contexts that were selected, or else all, each cluster once. The second part says which were left out.
pub async fn all(flags: &KubeFlags) -> Result<(Vec<Target>, Vec<String>), Error> {
    if flags.context.is_some() {
        return Ok((vec![selected(flags).await?], Vec::new()));
    }
    let file = match read(flags) {
        Ok(file) => file,
        Err(_) if flags.kubeconfig.is_none() && in_cluster() => {
            return Ok((vec![own_cluster()?], Vec::new()));
        }
        Err(error) => return Err(error),
    };
    let chosen = !flags.contexts.is_empty();
    let (names, mut warnings) = if chosen {
        (flags.contexts.clone(), Vec::new())
    } else {
        one_per_cluster(&file)
    };
    if names.is_empty() {
        return Err(Error::Kubeconfig(
            "the kubeconfig has no context".to_owned(),
        ));
    }
    let mut targets = Vec::new();
    for name in names {
        match target(&file, &name).await {
            Ok(target) => targets.push(target),
            // Of all, the usable ones are meant.
            Err(error) if !chosen => warnings.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    if targets.is_empty() {
        return Err(Error::Kubeconfig(warnings.join("; ")));
    }
    Ok((targets, warnings))
}

/// Contexts that lead to different API servers. Of several to one, that of the user with most contexts.
fn one_per_cluster(file: &Kubeconfig) -> (Vec<String>, Vec<String>) {
    let mut of_user: BTreeMap<&str, usize> = BTreeMap::new();
    let contexts = file.contexts.iter().filter_map(|named| {
        let context = named.context.as_ref()?;
        Some((
            &*named.name,
            &*context.cluster,
            context.user.as_deref().unwrap_or_default(),
        ))
    });
    let contexts: Vec<_> = contexts.collect();
    for (_, _, user) in &contexts {
        *of_user.entry(user).or_default() += 1;
    }
    let mut kept: Vec<(&str, String, &str)> = Vec::new();
    let mut warnings = Vec::new();
    for (name, cluster, user) in contexts {
        let server = server(file, cluster).unwrap_or_else(|| cluster.to_owned());
        match kept.iter_mut().find(|(_, have, _)| *have == server) {
            Some(have) => {
                let (mut winner, mut loser) = (have.0, name);
                if of_user[user] > of_user[have.2] {
                    std::mem::swap(&mut winner, &mut loser);
                    *have = (name, server, user);
                }
                warnings.push(format!(
                    "Found multiple kube contexts for cluster {cluster:?}: using {winner:?}, not {loser:?}"
                ));
            }
            None => kept.push((name, server, user)),
        }
    }
    let names = kept
        .into_iter()
        .map(|(name, _, _)| name.to_owned())
        .collect();
    (names, warnings)
}

fn server(file: &Kubeconfig, cluster: &str) -> Option<String> {
    let named = file.clusters.iter().find(|named| named.name == cluster)?;
    named.cluster.as_ref()?.server.clone()
}

fn read(flags: &KubeFlags) -> Result<Kubeconfig, Error> {
    let Some(path) = &flags.kubeconfig else {
        return subm_kube::kubectls_kubeconfig().map_err(|error| {
            Error::Kubeconfig(format!("{} (--kubeconfig names one)", with_causes(&error)))
        });
    };
    Kubeconfig::read_from(path).map_err(|error| {
        Error::Kubeconfig(format!(
            "no usable kubeconfig {}: {}; name one with --kubeconfig",
            path.display(),
            fault(&error)
        ))
    })
}

/// Parsers quote the lines around a fault, and those may be tokens.
fn fault(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::ReadConfig(error, _) => error.to_string(),
        KubeconfigError::Parse(_) => "it is no kubeconfig in YAML".to_owned(),
        error => error.to_string(),
    }
}

async fn target(file: &Kubeconfig, context: &str) -> Result<Target, Error> {
    let known = || {
        let names: Vec<&str> = file.contexts.iter().map(|named| &*named.name).collect();
        names.join(", ")
    };
    let found = file.contexts.iter().find(|named| named.name == context);
    let Some(found) = found.and_then(|named| named.context.clone()) else {
        return Err(Error::Kubeconfig(format!(
            "the kubeconfig has no context {context:?}; it has {}",
            known()
        )));
    };
    let options = KubeConfigOptions {
        context: Some(context.to_owned()),
        ..KubeConfigOptions::default()
    };
    let failed = |message: String| {
        Error::Kubeconfig(format!("context {context:?} cannot be used: {message}"))
    };
    let config = Config::from_custom_kubeconfig(file.clone(), &options)
        .await
        .map_err(|error| failed(fault(&error)))?;
    let url = server(file, &found.cluster).unwrap_or_else(|| config.cluster_url.to_string());
    Ok(Target {
        context: context.to_owned(),
        name: found.cluster,
        url: url.trim_end_matches('/').to_owned(),
        namespace: found.namespace.filter(|name| !name.is_empty()),
        cluster: Cluster::new(client(config).map_err(|error| failed(error.to_string()))?),
    })
}

/// A client that gives up soon, with a person waiting.
pub fn client(mut config: Config) -> Result<Client, kube::Error> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    Client::try_from(config)
}

fn in_cluster() -> bool {
    std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

fn own_cluster() -> Result<Target, Error> {
    let failed = |message: String| {
        Error::Kubeconfig(format!("the account of this pod cannot be used: {message}"))
    };
    let config = Config::incluster().map_err(|error| failed(error.to_string()))?;
    Ok(Target {
        context: "in-cluster".to_owned(),
        name: "in-cluster".to_owned(),
        url: config
            .cluster_url
            .to_string()
            .trim_end_matches('/')
            .to_owned(),
        namespace: Some(config.default_namespace.clone()),
        cluster: Cluster::new(client(config).map_err(|error| failed(error.to_string()))?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(contexts: &[(&str, &str, &str)]) -> Kubeconfig {
        let clusters: std::collections::BTreeSet<&str> =
            contexts.iter().map(|(_, cluster, _)| *cluster).collect();
        let text = serde_json::json!({
            "clusters": clusters.iter().map(|name| serde_json::json!({"name": name, "cluster": {"server": format!("https://{name}")}}))
                .collect::<Vec<_>>(),
            "contexts": contexts.iter().map(|(name, cluster, user)| {
                serde_json::json!({"name": name, "context": {"cluster": cluster, "user": user}})
            }).collect::<Vec<_>>(),
        });
        Kubeconfig::from_yaml(&text.to_string()).unwrap()
    }

    #[test]
    fn each_cluster_is_asked_once_as_the_user_with_most_contexts() {
        let file = file(&[("a", "c1", "x"), ("b", "c1", "admin"), ("c", "c2", "admin")]);
        let (names, warnings) = one_per_cluster(&file);
        assert_eq!(names, ["b", "c"]);
        assert_eq!(
            warnings,
            ["Found multiple kube contexts for cluster \"c1\": using \"b\", not \"a\""]
        );
    }
}
