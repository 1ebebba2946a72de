//! What a member shows: all that the checks look at, gathered once.

use serde_json::Value;
use subm_install::names::SETTINGS;
use subm_install::network::Services;

use crate::broker::Access;
use crate::cluster::{Cluster, kind, str_at};
use crate::commands::MEMBER;
use crate::error::Error;

#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Data of the ConfigMap that says what the cluster joined as.
    pub(super) settings: Value,
    pub(super) nodes: Vec<Value>,
    pub(super) daemon_sets: Vec<Value>,
    pub(super) deployments: Vec<Value>,
    pub(super) pods: Vec<Value>,
    pub(super) gateways: Vec<Value>,
    pub(super) route_agents: Vec<Value>,
    /// In the cluster itself.
    pub(super) endpoints: Vec<Value>,
    pub(super) broker: OnBroker,
    pub(super) plugin: String,
    /// Where Services have their addresses.
    pub(super) services: Services,
    /// Calico's.
    pub(super) ip_pools: Vec<Value>,
    /// `config.conf` of ConfigMap kube-system/kube-proxy.
    pub(super) kube_proxy: Option<String>,
    /// Seconds since the epoch.
    pub(super) now: i64,
}

/// What the broker has of all members, or why that is not known.
#[derive(Clone, Debug, Default)]
pub(super) struct OnBroker {
    pub(super) clusters: Vec<Value>,
    pub(super) endpoints: Vec<Value>,
    pub(super) trouble: Option<String>,
}

impl Seen {
    /// `None` where nothing is installed.
    pub(super) async fn gather(cluster: &Cluster) -> Result<Option<Self>, Error> {
        let settings = cluster.get(&kind::CONFIG_MAPS, MEMBER, SETTINGS).await?;
        let Some(settings) = settings else {
            return Ok(None);
        };
        let list = async |kind, namespace| cluster.list(kind, namespace, "").await;
        let kube_proxy = cluster
            .get(&kind::CONFIG_MAPS, Some("kube-system"), "kube-proxy")
            .await?;
        let plugin = crate::facts::network(cluster).await.plugin.to_string();
        Ok(Some(Self {
            settings: settings["data"].clone(),
            nodes: list(&kind::NODES, None).await?,
            daemon_sets: list(&kind::DAEMON_SETS, MEMBER).await?,
            deployments: list(&kind::DEPLOYMENTS, MEMBER).await?,
            pods: list(&kind::PODS, MEMBER).await?,
            gateways: list(&kind::GATEWAYS, MEMBER).await?,
            route_agents: list(&kind::ROUTE_AGENTS, MEMBER).await?,
            endpoints: list(&kind::ENDPOINTS, MEMBER).await?,
            broker: match on_broker(cluster).await {
                Ok(seen) => seen,
                Err(error) => OnBroker {
                    trouble: Some(error.with_causes()),
                    ..OnBroker::default()
                },
            },
            plugin,
            services: crate::facts::services(cluster).await,
            ip_pools: list(&kind::IP_POOLS, None).await?,
            kube_proxy: kube_proxy.map(|map| str_at(&map, "/data/config.conf").to_owned()),
            now: jiff::Timestamp::now().as_second(),
        }))
    }

    /// What the cluster joined as.
    pub(super) fn setting(&self, key: &str) -> &str {
        self.settings[key].as_str().unwrap_or_default()
    }

    pub(super) fn has(&self, component: &str) -> bool {
        self.setting("components")
            .split(',')
            .any(|have| have == component)
    }

    /// The cluster's id.
    pub(super) fn id(&self) -> &str {
        self.setting("clusterID")
    }
}

/// With the account of the member: what its programs may not, it may not either.
async fn on_broker(cluster: &Cluster) -> Result<OnBroker, Error> {
    let Some(access) = Access::of_member(cluster).await? else {
        return Err(Error::NotFound(
            "the Secret with which it joined is gone".to_owned(),
        ));
    };
    let broker = access.connect()?;
    let space = Some(&*broker.namespace);
    Ok(OnBroker {
        clusters: broker.cluster.list(&kind::CLUSTERS, space, "").await?,
        endpoints: broker.cluster.list(&kind::ENDPOINTS, space, "").await?,
        trouble: None,
    })
}
