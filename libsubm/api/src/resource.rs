//! Group, kind and plural of an object, with the version left open.

use kube::core::ApiResource;

/// An API object's group, kind and plural, and the versions that we can read, preferred first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceKind {
    /// Empty for Kubernetes' core group.
    pub group: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub versions: &'static [&'static str],
    /// Defined by a CRD: it may be absent, or served in other versions, now or later.
    pub custom: bool,
}

impl ResourceKind {
    /// The resource at one of its versions.
    pub fn at(&self, version: &str) -> ApiResource {
        let api_version = if self.group.is_empty() {
            version.to_owned()
        } else {
            format!("{}/{version}", self.group)
        };
        ApiResource {
            group: self.group.to_owned(),
            version: version.to_owned(),
            api_version,
            kind: self.kind.to_owned(),
            plural: self.plural.to_owned(),
        }
    }
}

/// `serviceimports.multicluster.x-k8s.io`, as RBAC rules and error messages of an API server name it.
impl std::fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.plural)?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// Implements [`kube::Resource`] with run-time version, and names the kind as `Type::KIND`.
macro_rules! resource {
    ($type:ty, group: $group:expr, plural: $plural:literal, versions: $versions:expr, custom: $custom:literal) => {
        impl $type {
            pub const KIND: $crate::ResourceKind = $crate::ResourceKind {
                group: $group,
                kind: stringify!($type),
                plural: $plural,
                versions: &$versions,
                custom: $custom,
            };
        }

        impl $crate::Kind for $type {
            const KIND: $crate::ResourceKind = Self::KIND;
        }

        impl kube::Resource for $type {
            type DynamicType = kube::core::ApiResource;
            type Scope = kube::core::DynamicResourceScope;

            fn kind(at: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                at.kind.as_str().into()
            }

            fn group(at: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                at.group.as_str().into()
            }

            fn version(at: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                at.version.as_str().into()
            }

            fn api_version(at: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                at.api_version.as_str().into()
            }

            fn plural(at: &Self::DynamicType) -> std::borrow::Cow<'_, str> {
                at.plural.as_str().into()
            }

            fn meta(&self) -> &kube::core::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut kube::core::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;
