//! Environment and arguments of a container, as its manifest describes them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Container, EnvVarSource, ObjectFieldSelector, Pod};
use kube::ResourceExt as _;

use super::objects::Objects;

/// What a manifest may ask for.
pub(super) struct Facts<'a> {
    pub(super) pod: &'a Pod,
    /// First that of the first family; there is always one.
    pub(super) pod_ips: Vec<IpAddr>,
    pub(super) node_ips: Vec<IpAddr>,
    pub(super) host_name: &'a str,
    /// The Service `kubernetes`.
    pub(super) api_server: IpAddr,
    pub(super) objects: &'a Objects,
}

impl Facts<'_> {
    /// The whole environment: nothing of the test's own is inherited.
    pub(super) fn environment(&self, container: &Container) -> Result<BTreeMap<String, String>> {
        let api = self.api_server.to_string();
        let mut all: BTreeMap<String, String> = [
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", "/root"),
            ("HOSTNAME", self.host_name),
            ("KUBERNETES_SERVICE_HOST", &api),
            ("KUBERNETES_SERVICE_PORT", "443"),
            ("KUBERNETES_SERVICE_PORT_HTTPS", "443"),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        for from in container.env_from.iter().flatten() {
            let prefix = from.prefix.clone().unwrap_or_default();
            let found = if let Some(map) = &from.config_map_ref {
                self.objects.config_map(self.pod, &map.name, map.optional)?
            } else if let Some(secret) = &from.secret_ref {
                self.objects
                    .secret(self.pod, &secret.name, secret.optional)?
            } else {
                None
            };
            for (key, value) in found.unwrap_or_default() {
                all.insert(format!("{prefix}{key}"), text(&value));
            }
        }
        for variable in container.env.iter().flatten() {
            let value = match (&variable.value, &variable.value_from) {
                (_, Some(from)) => self
                    .referenced(from)
                    .with_context(|| format!("env {}", variable.name))?,
                (value, None) => Some(expand(value.as_deref().unwrap_or(""), &all)),
            };
            if let Some(value) = value {
                all.insert(variable.name.clone(), value);
            }
        }
        Ok(all)
    }

    /// Nothing for an optional reference to what is not there.
    fn referenced(&self, from: &EnvVarSource) -> Result<Option<String>> {
        let of =
            |data: Option<BTreeMap<String, Vec<u8>>>, key: &str, optional: Option<bool>| match data
                .and_then(|data| data.get(key).map(|value| text(value)))
            {
                None if optional != Some(true) => bail!("there is no key {key}"),
                found => Ok(found),
            };
        if let Some(field) = &from.field_ref {
            return self.field(field).map(Some);
        }
        if let Some(map) = &from.config_map_key_ref {
            let data = self.objects.config_map(self.pod, &map.name, map.optional)?;
            return of(data, &map.key, map.optional);
        }
        if let Some(secret) = &from.secret_key_ref {
            let data = self
                .objects
                .secret(self.pod, &secret.name, secret.optional)?;
            return of(data, &secret.key, secret.optional);
        }
        if from.resource_field_ref.is_some() {
            // Nothing is limited here.
            return Ok(Some("0".to_owned()));
        }
        bail!("a source that test nodes do not know");
    }

    /// A field of the pod, as the downward API names it.
    pub(super) fn field(&self, field: &ObjectFieldSelector) -> Result<String> {
        let pod = self.pod;
        let spec = pod.spec.as_ref();
        let keyed = |kind: &str| {
            let rest = field.field_path.strip_prefix(kind)?;
            rest.strip_prefix("['")?.strip_suffix("']")
        };
        if let Some(key) = keyed("metadata.labels") {
            return Ok(pod.labels().get(key).cloned().unwrap_or_default());
        }
        if let Some(key) = keyed("metadata.annotations") {
            return Ok(pod.annotations().get(key).cloned().unwrap_or_default());
        }
        let lines = |map: &BTreeMap<String, String>| {
            let lines: Vec<String> = map.iter().map(|(k, v)| format!("{k}={v:?}")).collect();
            lines.join("\n")
        };
        Ok(match field.field_path.as_str() {
            "metadata.name" => pod.name_any(),
            "metadata.namespace" => pod.namespace().unwrap_or_default(),
            "metadata.uid" => pod.uid().unwrap_or_default(),
            "metadata.labels" => lines(pod.labels()),
            "metadata.annotations" => lines(pod.annotations()),
            "spec.nodeName" => spec.and_then(|s| s.node_name.clone()).unwrap_or_default(),
            "spec.serviceAccountName" => spec
                .and_then(|s| s.service_account_name.clone())
                .unwrap_or_default(),
            "status.podIP" => list(&self.pod_ips[..1]),
            "status.podIPs" => list(&self.pod_ips),
            "status.hostIP" => list(&self.node_ips[..1]),
            "status.hostIPs" => list(&self.node_ips),
            other => bail!("a pod has no field {other}"),
        })
    }
}

fn list(ips: &[IpAddr]) -> String {
    let ips: Vec<String> = ips.iter().map(IpAddr::to_string).collect();
    ips.join(",")
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

/// Replaces `$(NAME)` of known names; `$$` stands for `$`.
pub(super) fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out += before;
        if let Some(after) = after.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let named = after
            .strip_prefix('(')
            .and_then(|after| after.split_once(')'));
        let known = named.and_then(|(name, after)| Some((variables.get(name)?, after)));
        if let Some((value, after)) = known {
            out += value;
            rest = after;
        } else {
            out.push('$');
            rest = after;
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_variables_are_expanded() {
        let variables = [("A".to_owned(), "1".to_owned())].into();
        for (text, want) in [
            ("--a=$(A)$(A)", "--a=11"),
            ("$(B) $A $", "$(B) $A $"),
            ("$$(A)", "$(A)"),
        ] {
            assert_eq!(expand(text, &variables), want);
        }
    }
}
