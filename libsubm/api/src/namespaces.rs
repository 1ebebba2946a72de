//! Which namespaces take part in a cluster set: the agent keeps to it, and whoever exports wants to know beforehand.

/// Namespaces that neither export nor import. What another cluster exports must not appear where only this cluster's
/// administrators write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceRules {
    /// Names, or prefixes that end in `*`.
    pub deny: Vec<String>,
    /// Exceptions to it.
    pub allow: Vec<String>,
}

impl NamespaceRules {
    /// What is denied where nobody says otherwise.
    pub const DENIED: [&str; 4] = ["kube-*", "openshift", "openshift-*", "default"];
    /// Variable of the agent with [`deny`](Self::deny), comma-separated.
    pub const DENY_VARIABLE: &str = "SUBMARINER_IMPORT_NAMESPACE_DENY_LIST";
    /// Variable of the agent with [`allow`](Self::allow), comma-separated.
    pub const ALLOW_VARIABLE: &str = "SUBMARINER_IMPORT_NAMESPACE_ALLOW_LIST";

    /// Whether services of a namespace are exported and imported.
    pub fn permit(&self, namespace: &str) -> bool {
        let named = |patterns: &[String]| {
            patterns
                .iter()
                .any(|pattern| match pattern.strip_suffix('*') {
                    Some(prefix) => namespace.starts_with(prefix),
                    None => pattern == namespace,
                })
        };
        named(&self.allow) || !named(&self.deny)
    }
}

impl Default for NamespaceRules {
    fn default() -> Self {
        Self {
            deny: Self::DENIED.map(str::to_owned).to_vec(),
            allow: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_names_or_prefixes() {
        let mut rules = NamespaceRules::default();
        for denied in ["kube-system", "openshift", "openshift-dns", "default"] {
            assert!(!rules.permit(denied), "{denied}");
        }
        for permitted in ["shop", "kube", "openshifty", "my-default"] {
            assert!(rules.permit(permitted), "{permitted}");
        }
        rules.allow = vec!["openshift-storage".into(), "default".into()];
        assert!(rules.permit("openshift-storage") && rules.permit("default"));
        assert!(!rules.permit("openshift-dns"));
    }
}
