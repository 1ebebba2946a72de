//! What roles grant, as a set that can be compared with what an [`crate::Audit`] shows to be used.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::Result;
use k8s_openapi::api::rbac::v1::{
    ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
};
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

/// One verb on one resource, in one namespace or everywhere. Names of single objects are left out.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Access {
    /// Such as `list`; in a rule also `*`.
    pub verb: String,
    /// `resource.group` as kubectl has it, with `/subresource`; or the path of a URL. `*` may stand for each part.
    pub resource: String,
    /// Nothing for objects without a namespace, and for all namespaces.
    pub namespace: Option<String>,
}

impl Access {
    /// Of a resource of a group (empty: the core group).
    pub fn resource(verb: &str, group: &str, resource: &str, subresource: Option<&str>) -> Self {
        let group = match group {
            "" => String::new(),
            group => format!(".{group}"),
        };
        let subresource = subresource.map_or_else(String::new, |sub| format!("/{sub}"));
        Self {
            verb: verb.to_owned(),
            resource: format!("{resource}{group}{subresource}"),
            namespace: None,
        }
    }

    /// Of a path such as `/version`.
    pub fn url(verb: &str, path: &str) -> Self {
        Self {
            verb: verb.to_owned(),
            resource: path.to_owned(),
            namespace: None,
        }
    }

    #[must_use]
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Whether whoever is granted this may do `other`.
    pub fn covers(&self, other: &Self) -> bool {
        let namespace = self.namespace.is_none() || self.namespace == other.namespace;
        namespace
            && (self.verb == "*" || self.verb == other.verb)
            && covers(&self.resource, &other.resource)
    }
}

fn covers(granted: &str, used: &str) -> bool {
    if granted.starts_with('/') || used.starts_with('/') {
        return match granted.strip_suffix('*') {
            Some(start) => used.starts_with(start),
            None => granted == used,
        };
    }
    let split = |text: &str| {
        let (head, sub) = text.split_once('/').unwrap_or((text, ""));
        let (resource, group) = head.split_once('.').unwrap_or((head, ""));
        [resource, group, sub].map(String::from)
    };
    let ([resource, group, sub], [used_resource, used_group, used_sub]) =
        (split(granted), split(used));
    let resources = resource == "*" && sub.is_empty()
        || (resource == "*" || resource == used_resource) && sub == used_sub;
    resources && (group == "*" || group == used_group)
}

/// As a person says it: `list endpointslices.discovery.k8s.io in team-a`.
impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        match &self.namespace {
            Some(namespace) => write!(f, " in {namespace}"),
            None => Ok(()),
        }
    }
}

/// What a role's rules grant in a namespace, or everywhere.
pub fn expand(rules: &[PolicyRule], namespace: Option<&str>) -> BTreeSet<Access> {
    let list = |list: &Option<Vec<String>>| list.clone().unwrap_or_default();
    let mut granted = BTreeSet::new();
    for rule in rules {
        for verb in &rule.verbs {
            for path in list(&rule.non_resource_urls) {
                granted.insert(Access::url(verb, &path));
            }
            for group in list(&rule.api_groups) {
                for resource in list(&rule.resources) {
                    let (resource, sub) = match resource.split_once('/') {
                        Some((resource, sub)) => (resource, Some(sub)),
                        None => (resource.as_str(), None),
                    };
                    let access = Access::resource(verb, &group, resource, sub);
                    granted.insert(match namespace {
                        Some(namespace) => access.within(namespace),
                        None => access,
                    });
                }
            }
        }
    }
    granted
}

/// What all roles that are bound to a ServiceAccount by name grant to it. What every account may do is not listed.
pub async fn granted(client: &Client, namespace: &str, account: &str) -> Result<BTreeSet<Access>> {
    let params = ListParams::default();
    let subject = |subjects: Option<Vec<Subject>>| {
        subjects.unwrap_or_default().iter().any(|subject| {
            subject.kind == "ServiceAccount"
                && subject.name == account
                && subject.namespace.as_deref() == Some(namespace)
        })
    };
    let mut granted = BTreeSet::new();
    for binding in Api::<RoleBinding>::all(client.clone())
        .list(&params)
        .await?
    {
        if subject(binding.subjects.clone()) {
            let within = binding.namespace().unwrap_or_default();
            let rules = rules(client, &binding.role_ref, &within).await?;
            granted.extend(expand(&rules, Some(&within)));
        }
    }
    for binding in Api::<ClusterRoleBinding>::all(client.clone())
        .list(&params)
        .await?
    {
        if subject(binding.subjects.clone()) {
            let rules = rules(client, &binding.role_ref, "").await?;
            granted.extend(expand(&rules, None));
        }
    }
    Ok(granted)
}

/// A role that is not there grants nothing.
async fn rules(client: &Client, role: &RoleRef, namespace: &str) -> Result<Vec<PolicyRule>> {
    let rules = if role.kind == "Role" {
        let api: Api<Role> = Api::namespaced(client.clone(), namespace);
        api.get_opt(&role.name).await?.and_then(|role| role.rules)
    } else {
        let api: Api<ClusterRole> = Api::all(client.clone());
        api.get_opt(&role.name).await?.and_then(|role| role.rules)
    };
    Ok(rules.unwrap_or_default())
}

/// What is granted and of no use so far.
pub fn unused(granted: &BTreeSet<Access>, used: &BTreeSet<Access>) -> BTreeSet<Access> {
    granted
        .iter()
        .filter(|grant| !used.iter().any(|used| grant.covers(used)))
        .cloned()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_expanded_and_stars_cover() {
        let rules: Vec<PolicyRule> = serde_json::from_value(serde_json::json!([
            {"apiGroups": ["", "apps"], "resources": ["pods", "deployments/scale"], "verbs": ["get"]},
            {"nonResourceURLs": ["/metrics/*"], "verbs": ["get"]},
        ]))
        .unwrap();
        let text: Vec<String> = expand(&rules, Some("a"))
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            text,
            [
                "get /metrics/*",
                "get deployments.apps/scale in a",
                "get deployments/scale in a",
                "get pods in a",
                "get pods.apps in a",
            ]
        );
        let pods = Access::resource("list", "", "pods", None).within("a");
        let grant = |group, resource, sub| Access::resource("*", group, resource, sub);
        assert!(grant("*", "*", None).covers(&pods));
        assert!(grant("", "pods", None).covers(&pods));
        assert!(!grant("", "pods", None).within("b").covers(&pods));
        assert!(!grant("", "pods", Some("log")).covers(&pods));
        assert!(!grant("apps", "pods", None).covers(&pods));
        assert!(!pods.covers(&Access::resource("list", "", "pods", None)));
        let used = [pods.clone()].into();
        let granted = [pods, grant("", "nodes", None)].into();
        assert_eq!(unused(&granted, &used), [grant("", "nodes", None)].into());
    }
}
