//! Who asked an API server for what: its audit log as a set.
//!
//! With it a test shows that a role grants what a program uses, and nothing else:
//!
//! ```no_run
//! # async fn f(cluster: subm_test_support::Cluster) -> anyhow::Result<()> {
//! let audit = cluster.audit()?;
//! let granted = subm_test_support::rbac::granted(&cluster.client().await?, "submariner-operator", "agent").await?;
//! assert_eq!(audit.denied("submariner-operator", "agent"), [].into());
//! assert_eq!(subm_test_support::rbac::unused(&granted, &audit.allowed("submariner-operator", "agent")), [].into());
//! # Ok(()) }
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::rbac::Access;

pub(crate) const POLICY: &str = "audit-policy.json";
pub(crate) const LOG: &str = "audit.json";

/// The requests that an API server has answered, or begun to answer (a watch), so far.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    allowed: BTreeMap<String, BTreeSet<Access>>,
    denied: BTreeMap<String, BTreeSet<Access>>,
    writes: BTreeMap<(String, Access), usize>,
}

impl Audit {
    /// What a ServiceAccount asked for and was allowed to.
    pub fn allowed(&self, namespace: &str, account: &str) -> BTreeSet<Access> {
        of(&self.allowed, namespace, account)
    }

    /// What it asked for and no role allows.
    pub fn denied(&self, namespace: &str, account: &str) -> BTreeSet<Access> {
        of(&self.denied, namespace, account)
    }

    /// Users that asked for anything, by the API server's name for them.
    pub fn users(&self) -> BTreeSet<&str> {
        let users = self.allowed.keys().chain(self.denied.keys());
        users.map(String::as_str).collect()
    }

    /// How often each user wrote what so far.
    pub fn writes(&self) -> &BTreeMap<(String, Access), usize> {
        &self.writes
    }

    pub(crate) fn read(log: &Path) -> Result<Self> {
        let text = fs::read_to_string(log).with_context(|| {
            format!(
                "{}: is the cluster started with `audited()`?",
                log.display()
            )
        })?;
        let mut audit = Self::default();
        // The last line may still be written.
        for line in text.split_inclusive('\n').filter(|l| l.ends_with('\n')) {
            let event: Value = serde_json::from_str(line).context("audit log")?;
            audit.add(&event);
        }
        Ok(audit)
    }

    fn add(&mut self, event: &Value) {
        let decision = event["annotations"]["authorization.k8s.io/decision"].as_str();
        let users = match decision {
            Some("allow") => &mut self.allowed,
            Some("forbid") => &mut self.denied,
            // Not let in at all, or the end of a request whose beginning is listed.
            _ => return,
        };
        let user = event["user"]["username"].as_str().unwrap_or_default();
        let access = access(event);
        if !["get", "list", "watch"].contains(&access.verb.as_str()) {
            *self
                .writes
                .entry((user.to_owned(), access.clone()))
                .or_default() += 1;
        }
        users.entry(user.to_owned()).or_default().insert(access);
    }
}

fn of(
    users: &BTreeMap<String, BTreeSet<Access>>,
    namespace: &str,
    account: &str,
) -> BTreeSet<Access> {
    let user = format!("system:serviceaccount:{namespace}:{account}");
    users.get(&user).cloned().unwrap_or_default()
}

fn access(event: &Value) -> Access {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let verb = text(&event["verb"]);
    let object = &event["objectRef"];
    if object.is_null() {
        let uri = text(&event["requestURI"]);
        let path = uri.split('?').next().unwrap_or_default();
        return Access::url(&verb, path);
    }
    let resource = Access::resource(
        &verb,
        &text(&object["apiGroup"]),
        &text(&object["resource"]),
        object["subresource"].as_str(),
    );
    match object["namespace"].as_str() {
        // The API server's way of naming the object itself.
        Some(_) if object["resource"] == "namespaces" => resource,
        Some(namespace) => resource.within(namespace),
        None => resource,
    }
}

/// Who, what and the verdict; no bodies. The first stage knows no verdict yet.
pub(crate) fn write_policy(path: &Path) -> Result<()> {
    let policy = serde_json::json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    });
    fs::write(path, policy.to_string()).with_context(|| path.display().to_string())
}
