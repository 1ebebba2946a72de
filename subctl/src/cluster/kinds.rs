//! Kinds of objects and their places in the API.

use std::borrow::Cow;
use std::fmt;

use kube::core::{ApiResource, GroupVersionKind};
use subm_install::Object;

/// A kind of object in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Empty for Kubernetes' core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    pub plural: Cow<'static, str>,
}

impl Kind {
    pub const fn new(group: &'static str, version: &'static str, plural: &'static str) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
        }
    }

    /// The kind of an object to apply.
    pub fn of(object: &Object) -> Self {
        let (group, version) = object
            .api_version()
            .split_once('/')
            .unwrap_or(("", object.api_version()));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, object.kind()));
        Self {
            group: resource.group.into(),
            version: resource.version.into(),
            plural: resource.plural.into(),
        }
    }

    /// The same in another version.
    #[must_use]
    pub fn at(&self, version: &str) -> Self {
        Self {
            version: version.to_owned().into(),
            ..self.clone()
        }
    }

    pub(super) fn path(&self, namespace: Option<&str>, name: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        if let Some(name) = name {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// For messages: `services ns/name`.
    pub(super) fn named(&self, namespace: Option<&str>, name: &str) -> String {
        namespace.map_or_else(
            || format!("{self} {name}"),
            |namespace| format!("{self} {namespace}/{name}"),
        )
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// The kinds that subctl reads.
pub mod kind {
    use super::Kind;

    pub const NAMESPACES: Kind = Kind::new("", "v1", "namespaces");
    pub const NODES: Kind = Kind::new("", "v1", "nodes");
    pub const PODS: Kind = Kind::new("", "v1", "pods");
    pub const SERVICES: Kind = Kind::new("", "v1", "services");
    pub const SECRETS: Kind = Kind::new("", "v1", "secrets");
    pub const CONFIG_MAPS: Kind = Kind::new("", "v1", "configmaps");
    pub const ACCOUNTS: Kind = Kind::new("", "v1", "serviceaccounts");
    pub const DEPLOYMENTS: Kind = Kind::new("apps", "v1", "deployments");
    pub const DAEMON_SETS: Kind = Kind::new("apps", "v1", "daemonsets");
    pub const BUDGETS: Kind = Kind::new("policy", "v1", "poddisruptionbudgets");
    pub const LEASES: Kind = Kind::new("coordination.k8s.io", "v1", "leases");
    pub const SLICES: Kind = Kind::new("discovery.k8s.io", "v1", "endpointslices");
    pub const ROLES: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "roles");
    pub const ROLE_BINDINGS: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "rolebindings");
    pub const CLUSTER_ROLES: Kind = Kind::new("rbac.authorization.k8s.io", "v1", "clusterroles");
    pub const CLUSTER_ROLE_BINDINGS: Kind =
        Kind::new("rbac.authorization.k8s.io", "v1", "clusterrolebindings");
    pub const POLICIES: Kind = Kind::new(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
    );
    pub const POLICY_BINDINGS: Kind = Kind::new(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
    );
    pub const DEFINITIONS: Kind =
        Kind::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    pub const SERVICE_CIDRS: Kind = Kind::new("networking.k8s.io", "v1", "servicecidrs");
    pub const SERVICE_CIDRS_BETA: Kind = Kind::new("networking.k8s.io", "v1beta1", "servicecidrs");
    pub const PROPERTIES: Kind = Kind::new("about.k8s.io", "v1beta1", "clusterproperties");
    pub const BROKERS: Kind = Kind::new("submariner.io", "v1alpha1", "brokers");
    /// Go Submariner's, read where it was there before us.
    pub const SUBMARINERS: Kind = Kind::new("submariner.io", "v1alpha1", "submariners");
    pub const CLUSTERS: Kind = Kind::new("submariner.io", "v1", "clusters");
    pub const ENDPOINTS: Kind = Kind::new("submariner.io", "v1", "endpoints");
    pub const GATEWAYS: Kind = Kind::new("submariner.io", "v1", "gateways");
    pub const ROUTE_AGENTS: Kind = Kind::new("submariner.io", "v1", "routeagents");
    pub const IP_POOLS: Kind = Kind::new("crd.projectcalico.org", "v1", "ippools");
    pub const OPENSHIFT_NETWORKS: Kind = Kind::new("config.openshift.io", "v1", "networks");
    pub const OPENSHIFT_DNS: Kind = Kind::new("operator.openshift.io", "v1", "dnses");
    /// In its version `at` a cluster serves it.
    pub const EXPORTS: Kind = Kind::new("multicluster.x-k8s.io", "v1beta1", "serviceexports");
    pub const IMPORTS: Kind = Kind::new("multicluster.x-k8s.io", "v1beta1", "serviceimports");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_of_what_is_installed_have_the_plurals_that_are_served() {
        let id = subm_install::ClusterId::new("c1").unwrap();
        let properties = subm_install::member::properties(&id, "set");
        assert_eq!(Kind::of(&properties[0]), kind::PROPERTIES);
        let [policy, binding] = subm_install::broker::admission_policy("b");
        assert_eq!(Kind::of(&policy), kind::POLICIES);
        assert_eq!(Kind::of(&binding), kind::POLICY_BINDINGS);
    }

    #[test]
    fn paths() {
        assert_eq!(
            kind::SERVICES.path(Some("a"), Some("b")),
            "/api/v1/namespaces/a/services/b"
        );
        assert_eq!(
            kind::IMPORTS.path(None, None),
            "/apis/multicluster.x-k8s.io/v1beta1/serviceimports"
        );
    }
}
