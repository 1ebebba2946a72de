//! `diagnose kube-proxy-mode`: whether kube-proxy lets Services be reached from other clusters.

use serde_json::Value;

use super::seen::Seen;
use crate::commands::finding::Part;

pub(super) fn check(seen: &Seen) -> Vec<Part> {
    let mut part = Part::new("Checking Submariner support for the kube-proxy mode");
    match seen.kube_proxy.as_deref().map(mode) {
        Some(Some(mode)) if mode == "ipvs" => part.broken(
            "The cluster is deployed with kube-proxy ipvs mode which Submariner does not support",
            "Set mode: nftables, or iptables, in ConfigMap kube-system/kube-proxy and restart kube-proxy",
        ),
        Some(Some(mode)) => part.good(format!("The kube-proxy mode ({mode}) is supported")),
        Some(None) => part.doubtful(
            "ConfigMap kube-system/kube-proxy cannot be read as kube-proxy's configuration",
            "Make sure that its config.conf is YAML, and its mode not ipvs",
        ),
        // k3s and others have it in a program of theirs.
        None => part.doubtful(
            "There is no ConfigMap kube-system/kube-proxy: the mode was not checked",
            "Make sure that what does kube-proxy's work does not use ipvs",
        ),
    }
    vec![part]
}

/// None chosen is iptables.
fn mode(config: &str) -> Option<String> {
    let config: Value = serde_saphyr::from_str(config).ok()?;
    let mode = config.as_object()?.get("mode").and_then(Value::as_str);
    Some(match mode.unwrap_or_default() {
        "" => "iptables".to_owned(),
        mode => mode.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::finding::faults;

    #[test]
    fn ipvs_is_refused() {
        let ipvs =
            "The cluster is deployed with kube-proxy ipvs mode which Submariner does not support";
        let unread =
            "? ConfigMap kube-system/kube-proxy cannot be read as kube-proxy's configuration";
        for (config, want) in [
            (
                None,
                Some("? There is no ConfigMap kube-system/kube-proxy: the mode was not checked"),
            ),
            (Some("kind: KubeProxyConfiguration\nmode: iptables\n"), None),
            (Some("kind: KubeProxyConfiguration\nmode: nftables\n"), None),
            (Some("kind: KubeProxyConfiguration\nmode: \"\"\n"), None),
            (Some("kind: KubeProxyConfiguration\n"), None),
            (Some("mode: ipvs\nipvs:\n  scheduler: rr\n"), Some(ipvs)),
            (Some(""), Some(unread)),
            (Some("- x: ["), Some(unread)),
        ] {
            let seen = Seen {
                kube_proxy: config.map(str::to_owned),
                ..Seen::default()
            };
            let want: Vec<&str> = want.into_iter().collect();
            assert_eq!(faults(&check(&seen)), want, "{config:?}");
        }
    }
}
