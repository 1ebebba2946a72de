//! The DNS server of a cluster, as kubeadm installs it: CoreDNS in `kube-system`, behind the Service `kube-dns`.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Service, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::node::DNS_ADDRESS;
use crate::{Cluster, eventually};

const NAMESPACE: &str = "kube-system";

/// kubeadm's, but for `reload`: a change of the ConfigMap takes effect after a second or two, not after half a minute.
pub const COREFILE: &str = "\
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30
    loop
    reload 2s 1s
    loadbalance
}
";

impl Cluster {
    /// Applies the objects of the cluster DNS, with [`COREFILE`]. A [`crate::TestNode`] runs it; it answers when
    /// [`Cluster::wait_available`] of `kube-system` and `coredns` says so.
    pub async fn deploy_dns(&self) -> Result<()> {
        let client = self.client().await?;
        let labels = json!({"k8s-app": "kube-dns"});
        let account: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        apply(&account, "coredns", json!({})).await?;
        rbac(&client).await?;
        let maps: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);
        apply(&maps, "coredns", json!({"data": {"Corefile": COREFILE}})).await?;
        let address = self.service_address(DNS_ADDRESS)?;
        let port = |name: &str, protocol: &str, port: u16| json!({"name": name, "protocol": protocol, "port": port, "targetPort": port});
        let service = json!({
            "metadata": {"labels": {
                "k8s-app": "kube-dns",
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            }},
            "spec": {
                "selector": labels,
                "clusterIP": address,
                "ports": [
                    port("dns", "UDP", 53),
                    port("dns-tcp", "TCP", 53),
                    port("metrics", "TCP", 9153),
                ],
            },
        });
        let services: Api<Service> = Api::namespaced(client.clone(), NAMESPACE);
        apply(&services, "kube-dns", service).await?;
        let deployments: Api<Deployment> = Api::namespaced(client, NAMESPACE);
        let deployment = json!({
            "metadata": {"labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1}},
                "template": {"metadata": {"labels": labels}, "spec": pod()},
            },
        });
        apply(&deployments, "coredns", deployment).await
    }

    /// Waits until all replicas of a Deployment are of its present template, and available.
    pub async fn wait_available(
        &self,
        namespace: &str,
        name: &str,
        deadline: Duration,
    ) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.client().await?, namespace);
        eventually(deadline, || async {
            let deployment = deployments.get(name).await?;
            let wanted = deployment.spec.and_then(|spec| spec.replicas).unwrap_or(1);
            let status = deployment.status.context("no status yet")?;
            let current = status.observed_generation == deployment.metadata.generation;
            let counts = [
                status.replicas,
                status.updated_replicas,
                status.available_replicas,
            ];
            let all = counts.map(Option::unwrap_or_default) == [wanted; 3];
            ensure!(current && all, "{wanted} wanted: {status:?}");
            Ok(())
        })
        .await
        .with_context(|| format!("Deployment {namespace}/{name}"))
    }
}

async fn rbac(client: &Client) -> Result<()> {
    let list_watch = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]});
    let rules = json!({"rules": [
        list_watch("", &["endpoints", "services", "pods", "namespaces"]),
        list_watch("discovery.k8s.io", &["endpointslices"]),
    ]});
    let roles: Api<ClusterRole> = Api::all(client.clone());
    apply(&roles, "system:coredns", rules).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let binding = json!({
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "system:coredns",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "coredns", "namespace": NAMESPACE}],
    });
    apply(&bindings, "system:coredns", binding).await
}

fn pod() -> Value {
    let probe = |path: &str, port: u16| json!({"httpGet": {"path": path, "port": port}});
    let mut alive = probe("/health", 8080);
    alive["initialDelaySeconds"] = json!(60);
    alive["failureThreshold"] = json!(5);
    json!({
        "serviceAccountName": "coredns",
        "dnsPolicy": "Default",
        "priorityClassName": "system-cluster-critical",
        "containers": [{
            "name": "coredns",
            "image": "registry.k8s.io/coredns/coredns:v1.14.7",
            "args": ["-conf", "/etc/coredns/Corefile"],
            "volumeMounts": [
                {"name": "config-volume", "mountPath": "/etc/coredns", "readOnly": true},
            ],
            "ports": [
                {"containerPort": 53, "name": "dns", "protocol": "UDP"},
                {"containerPort": 53, "name": "dns-tcp", "protocol": "TCP"},
                {"containerPort": 9153, "name": "metrics", "protocol": "TCP"},
            ],
            "livenessProbe": alive,
            "readinessProbe": probe("/ready", 8181),
            "securityContext": {"readOnlyRootFilesystem": true},
        }],
        "volumes": [{
            "name": "config-volume",
            "configMap": {
                "name": "coredns",
                "items": [{"key": "Corefile", "path": "Corefile"}],
            },
        }],
    })
}

/// Makes the object as described, its name and kind added.
async fn apply<K>(api: &Api<K>, name: &str, mut object: Value) -> Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned + Serialize,
{
    object["apiVersion"] = json!(K::api_version(&()));
    object["kind"] = json!(K::kind(&()));
    object["metadata"]["name"] = json!(name);
    let params = PatchParams::apply("kubeadm").force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .with_context(|| format!("{} {name}", K::kind(&())))?;
    Ok(())
}
