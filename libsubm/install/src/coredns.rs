//! The cluster's own DNS, pointed at ours for the domains of the cluster set.
//!
//! Each variant is a pure function on what is there now, and gives the same bytes when nothing is to change: whoever applies it
//! compares and does not write. (Go Submariner adds a newline at each turn, and so writes for ever.)

use serde_json::{Value, json};

/// Where DNS of the cluster set goes: this Service answers, for these domains.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// `clusterset.local` first, then custom domains.
    pub domains: Vec<String>,
    pub server: std::net::IpAddr,
}

/// Which of a cluster's ways to configure its DNS is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A section of the key `Corefile` of a ConfigMap: kube-system/coredns; MicroShift has openshift-dns/dns-default.
    Corefile { namespace: String, name: String },
    /// The key [`CUSTOM_KEY`] of a ConfigMap that the cluster's Corefile imports (AKS, k3s).
    Custom { namespace: String, name: String },
    /// DNS.operator.openshift.io/default.
    OpenShift,
}

/// What was found in a cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// kube-system/coredns.
    pub coredns: bool,
    /// DNS.operator.openshift.io/default.
    pub openshift: bool,
    /// openshift-dns/dns-default.
    pub microshift: bool,
}

/// Key of a custom ConfigMap.
pub const CUSTOM_KEY: &str = "lighthouse.server";
/// Key of a Corefile.
pub const COREFILE_KEY: &str = "Corefile";
const START: &str = "#lighthouse-start AUTO-GENERATED SECTION. DO NOT EDIT";
const END: &str = "#lighthouse-end";
const START_MARK: &str = "lighthouse-start";
const END_MARK: &str = "lighthouse-end";
const DEFAULT_PORT: u16 = 53;
/// Name of our entries in OpenShift's DNS.
const OPENSHIFT_NAME: &str = "lighthouse";

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorefileError {
    #[error(
        "the Corefile has a line with {START_MARK} and none with {END_MARK} behind it; remove what is left of the section by hand"
    )]
    Unterminated,
}

/// Upstream's order: a custom ConfigMap if the user names one, CoreDNS, OpenShift, MicroShift.
pub fn choose(custom: Option<(&str, &str)>, found: &Found) -> Option<Place> {
    if let Some((namespace, name)) = custom {
        return Some(Place::Custom {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        });
    }
    let corefile = |namespace: &str, name: &str| Place::Corefile {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    if found.coredns {
        Some(corefile("kube-system", "coredns"))
    } else if found.openshift {
        Some(Place::OpenShift)
    } else if found.microshift {
        Some(corefile("openshift-dns", "dns-default"))
    } else {
        None
    }
}

/// `--coredns-custom-configmap [NAMESPACE/]NAME`.
pub fn parse_custom(text: &str) -> Option<(&str, &str)> {
    let (namespace, name) = text.split_once('/').unwrap_or(("kube-system", text));
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then_some((namespace, name))
}

/// The Corefile with our section in front; one that was there before is replaced.
pub fn with_section(corefile: &str, forward: &Forward) -> Result<String, CorefileError> {
    let rest = without_section(corefile)?;
    let port = port(&rest);
    let mut text = format!("{START}\n");
    for domain in &forward.domains {
        text.push_str(&format!(
            "{domain}:{port} {{\n    forward . {}\n}}\n",
            forward.server
        ));
    }
    text.push_str(END);
    text.push('\n');
    text.push_str(&rest);
    Ok(text)
}

/// The Corefile without our section, every other byte as it was.
pub fn without_section(corefile: &str) -> Result<String, CorefileError> {
    let mut rest = String::with_capacity(corefile.len());
    let mut inside = false;
    for line in corefile.split_inclusive('\n') {
        if inside {
            inside = !line.contains(END_MARK);
        } else if line.contains(START_MARK) {
            inside = true;
        } else {
            rest.push_str(line);
        }
    }
    if inside {
        return Err(CorefileError::Unterminated);
    }
    Ok(rest)
}

/// The port of the root zone's first block, `.:PORT {`: MicroK8s and OpenShift have 5353.
fn port(corefile: &str) -> u16 {
    corefile
        .match_indices(".:")
        .find_map(|(at, mark)| {
            let rest = &corefile[at + mark.len()..];
            let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (number, rest) = rest.split_at(digits);
            rest.trim_start().starts_with('{').then_some(number)
        })
        .and_then(|number| number.parse().ok())
        .unwrap_or(DEFAULT_PORT)
}

/// The value of [`CUSTOM_KEY`].
pub fn custom_section(forward: &Forward) -> String {
    let mut text = String::new();
    for domain in &forward.domains {
        text.push_str(&format!(
            "{domain}:{DEFAULT_PORT} {{\n    forward . {}\n}}\n",
            forward.server
        ));
    }
    text
}

/// OpenShift's `spec.servers` with ours (or, with `None`, without them); others keep their place.
pub fn openshift_servers(servers: &[Value], forward: Option<&Forward>) -> Vec<Value> {
    let mut kept: Vec<Value> = servers
        .iter()
        .filter(|server| server["name"] != OPENSHIFT_NAME)
        .cloned()
        .collect();
    for domain in forward.iter().flat_map(|forward| &forward.domains) {
        let upstream = forward.map(|forward| forward.server.to_string());
        kept.push(json!({
            "name": OPENSHIFT_NAME,
            "zones": [domain],
            "forwardPlugin": {"upstreams": [upstream]},
        }));
    }
    let had: Vec<&Value> = servers
        .iter()
        .filter(|server| server["name"] == OPENSHIFT_NAME)
        .collect();
    let has: Vec<&Value> = kept
        .iter()
        .filter(|server| server["name"] == OPENSHIFT_NAME)
        .collect();
    // OpenShift fills in defaults; what says the same stays as it is.
    let same = had.len() == has.len()
        && had.iter().zip(&has).all(|(had, has)| {
            had["zones"] == has["zones"]
                && had["forwardPlugin"]["upstreams"] == has["forwardPlugin"]["upstreams"]
        });
    if same { servers.to_vec() } else { kept }
}

#[cfg(test)]
mod tests;
