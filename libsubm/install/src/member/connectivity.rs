//! What the connectivity component is told, and what its two programs have in common.

use std::fmt;
use std::num::NonZeroU16;

use base64::Engine as _;
use serde_json::{Value, json};

use super::{Settings, env};
use crate::Object;
use crate::names::{IPSEC_PSK, OPERATOR_NAMESPACE};

/// The choices of a member for its gateways.
#[derive(Clone, PartialEq, Eq)]
pub struct Connectivity {
    pub cable_driver: CableDriver,
    /// UDP port of cables.
    pub tunnel_port: NonZeroU16,
    /// What the others should think of our gateways while NAT discovery knows nothing.
    pub nat: bool,
    /// Our gateways wait for the others to connect.
    pub preferred_server: bool,
    pub force_udp_encaps: bool,
    /// No server outside is asked for public addresses.
    pub air_gapped: bool,
    /// A Service of type LoadBalancer stands before the gateways.
    pub load_balancer: bool,
    /// `None` where paths to the others are not checked.
    pub health_check: Option<HealthCheck>,
    /// The key that all gateways of the cluster set share; drivers that need none work without.
    pub psk: Option<Vec<u8>>,
    pub cable_debug: bool,
}

/// Without the key: settings are logged.
impl fmt::Debug for Connectivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connectivity")
            .field("cable_driver", &self.cable_driver)
            .field("tunnel_port", &self.tunnel_port)
            .field("has_psk", &self.psk.is_some())
            .finish_non_exhaustive()
    }
}

/// Those that there are; upstream's third, libreswan, is not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CableDriver {
    WireGuard,
    /// Does not encrypt.
    Vxlan,
}

impl CableDriver {
    /// As Endpoints and environments spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WireGuard => "wireguard",
            Self::Vxlan => "vxlan",
        }
    }

    /// Whether cables are made with the shared key.
    pub const fn needs_psk(self) -> bool {
        matches!(self, Self::WireGuard)
    }
}

impl fmt::Display for CableDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub interval_seconds: u64,
    /// More lost in a row than this, and the connection counts as broken.
    pub max_packet_loss: u64,
}

/// What environments of both programs say.
pub(super) struct SharedVariables<'a> {
    cluster: &'a str,
    /// Of pods, of Services, and global ones.
    networks: [String; 3],
    checks: Option<(String, String)>,
}

impl<'a> SharedVariables<'a> {
    pub(super) fn of(settings: &'a Settings, connectivity: &Connectivity) -> Self {
        let addresses = &settings.addresses;
        let networks = [&addresses.pods, &addresses.services, &addresses.global];
        let checks = connectivity.health_check.map(|check| {
            (
                check.interval_seconds.to_string(),
                check.max_packet_loss.to_string(),
            )
        });
        Self {
            cluster: settings.cluster_id.as_str(),
            networks: networks.map(|texts| texts.join(",")),
            checks,
        }
    }

    /// Whose node it is.
    pub(super) fn cluster(&self) -> [(&'static str, &str); 5] {
        let [pods, services, global] = &self.networks;
        [
            ("SUBMARINER_NAMESPACE", OPERATOR_NAMESPACE),
            ("SUBMARINER_CLUSTERID", self.cluster),
            ("SUBMARINER_CLUSTERCIDR", pods),
            ("SUBMARINER_SERVICECIDR", services),
            ("SUBMARINER_GLOBALCIDR", global),
        ]
    }

    /// How paths to the others are checked.
    pub(super) fn checks(&self) -> Vec<(&'static str, &str)> {
        let enabled = if self.checks.is_some() {
            "true"
        } else {
            "false"
        };
        let mut variables = vec![("SUBMARINER_HEALTHCHECKENABLED", enabled)];
        if let Some((interval, losses)) = &self.checks {
            variables.push(("SUBMARINER_HEALTHCHECKINTERVAL", interval));
            variables.push(("SUBMARINER_HEALTHCHECKMAXPACKETLOSSCOUNT", losses));
        }
        variables
    }
}

/// Where both programs remember what the kernel was like before; lasts as long as the kernel runs.
const STATE: &str = "/run/submariner";

/// The Secret with the shared key.
pub(super) fn psk_secret(connectivity: &Connectivity) -> Option<Object> {
    let psk = connectivity.psk.as_ref()?;
    Some(Object::ours(json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": IPSEC_PSK, "namespace": OPERATOR_NAMESPACE},
        "type": "Opaque",
        "data": {"psk": base64::prelude::BASE64_STANDARD.encode(psk)},
    })))
}

/// A program that makes a node's kernel as it should be.
pub(super) struct NodeProgram<'a> {
    pub(super) name: &'a str,
    pub(super) component: &'a str,
    pub(super) image: String,
    pub(super) variables: Vec<(&'a str, &'a str)>,
    pub(super) node_selector: Value,
    pub(super) max_unavailable: Value,
    pub(super) ports: Value,
    /// Paths of liveness and readiness, and their port.
    pub(super) probes: (&'static str, &'static str, u16),
    /// Names of Secrets, mounted where upstream mounts them.
    pub(super) secrets: Vec<&'a str>,
}

impl NodeProgram<'_> {
    pub(super) fn daemon_set(&self, settings: &Settings) -> Object {
        let Self {
            name, component, ..
        } = self;
        let mut variables = self.variables.clone();
        if settings.debug {
            variables.push(("LOG_LEVEL", "debug"));
        }
        let mut env = env(&variables, &settings.proxies);
        for (variable, field) in [
            ("NODE_NAME", "spec.nodeName"),
            ("POD_NAME", "metadata.name"),
        ] {
            env.push(json!({"name": variable, "valueFrom": {"fieldRef": {"fieldPath": field}}}));
        }
        let mut mounts = vec![json!({"name": "state", "mountPath": STATE})];
        let mut volumes = vec![json!({
            "name": "state",
            "hostPath": {"path": STATE, "type": "DirectoryOrCreate"},
        })];
        for secret in &self.secrets {
            mounts.push(json!({
                "name": secret,
                "mountPath": format!("/run/secrets/submariner.io/{secret}"),
                "readOnly": true,
            }));
            volumes.push(json!({"name": secret, "secret": {"secretName": secret}}));
        }
        let (live, ready, port) = self.probes;
        let probe = |path: &str| json!({"httpGet": {"path": path, "port": port}});
        let container = json!({
            "name": name,
            "image": self.image,
            "imagePullPolicy": settings.images.pull_policy(),
            "env": env,
            "ports": self.ports,
            "livenessProbe": probe(live),
            "readinessProbe": probe(ready),
            "resources": {"requests": {"cpu": "50m", "memory": "32Mi"}},
            // Capabilities would do for netlink and nft, but /proc/sys can be written to by privileged containers alone.
            "securityContext": {"privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true},
            "volumeMounts": mounts,
        });
        Object::ours(json!({
            "apiVersion": "apps/v1",
            "kind": "DaemonSet",
            "metadata": {"name": name, "namespace": OPERATOR_NAMESPACE, "labels": {"app": name, "component": component}},
            "spec": {
                "selector": {"matchLabels": {"app": name}},
                "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": self.max_unavailable}},
                "template": {
                    "metadata": {"labels": {"app": name}},
                    "spec": {
                        "serviceAccountName": name,
                        "hostNetwork": true,
                        // The broker may have a name that this cluster's DNS alone knows.
                        "dnsPolicy": "ClusterFirstWithHostNet",
                        "nodeSelector": self.node_selector,
                        "tolerations": [{"operator": "Exists"}],
                        "terminationGracePeriodSeconds": 10,
                        "containers": [container],
                        "volumes": volumes,
                    },
                },
            },
        }))
    }
}
