//! Nothing of this gateway's shall be left: not in the kernel, not here, not on the broker.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};
use subm_api::submariner::{Cluster, ClusterSpec, Endpoint, Gateway};
use subm_reconcile::converge;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::arguments::{Arguments, Broker};
use super::writes::MANAGER;
use super::{ELECTION, driver, identity, kernel, objects};
use crate::gateway::sync::{self, Objects, Place, Plan};
use crate::gateway::{Settings, gateway_name};
use crate::shell::server::Server;
use crate::shell::store::{Store, watch_of};

/// API servers that cannot be reached end an uninstallation after this long.
const DEADLINE: Duration = Duration::from_secs(30);
/// Looks at the kernel until nothing is left.
const ROUNDS: u32 = 5;

pub(super) async fn run(
    arguments: &Arguments,
    settings: &Settings,
    home: Client,
    broker: Option<Broker>,
    host: &str,
) -> Result<()> {
    // Devices go first: no traffic is sent into what the others are about to forget, and it needs nobody.
    converge(&mut kernel(arguments)?, &BTreeMap::new(), ROUNDS)
        .await
        .context("not all is removed from this node's kernel")?;
    driver::forget_key(arguments)?;
    let servers = Servers {
        home: Server {
            client: home.clone(),
            namespace: settings.namespace.clone(),
            manager: MANAGER,
        },
        broker: broker.map(|broker| Server {
            client: broker.client,
            namespace: broker.namespace,
            manager: MANAGER,
        }),
    };
    servers.remove(settings).await?;
    if let Some(name) = gateway_name(host) {
        servers
            .home
            .delete(&Gateway::KIND, &name, None, None)
            .await
            .context("the Gateway object stays")?;
    }
    resign(home, &settings.namespace, host)
        .await
        .context("the Lease stays")?;
    tracing::info!("nothing is left of this gateway");
    Ok(())
}

struct Servers {
    home: Server,
    broker: Option<Server>,
}

impl Servers {
    /// Endpoints and Clusters: ours on the broker, and all of ours and their copies here.
    async fn remove(&self, settings: &Settings) -> Result<()> {
        let until = Instant::now() + DEADLINE;
        let mut here = Reader::new(&self.home);
        let mut there = self.broker.as_ref().map(Reader::new);
        let (_never, newer) = watch::channel(Vec::new());
        loop {
            let reading = async {
                here.read().await;
                if let Some(there) = &mut there {
                    there.read().await;
                }
            };
            // What has been read is worth to be removed, even if the rest cannot be reached.
            let late = tokio::time::timeout_at(until, reading).await.is_err();
            let (objects, broker) = (here.objects(), there.as_ref().and_then(Reader::objects));
            let plan = objects.map_or_else(Plan::default, |home| {
                sync::plan(&sync::View {
                    us: &settings.cluster,
                    home: &home,
                    broker: broker.as_ref(),
                    cluster: &ClusterSpec::default(),
                    endpoint: None,
                    uninstalling: true,
                })
            });
            let whole = here.is_known() && there.as_ref().is_none_or(Reader::is_known);
            if plan.steps.is_empty() && whole {
                return Ok(());
            }
            let mut troubles = BTreeSet::new();
            if let Some(broker) = &self.broker {
                let steps = plan.at(Place::Broker);
                troubles.extend(broker.carry_out(&steps, &newer, "on the broker").await);
            }
            let steps = plan.at(Place::Home);
            troubles.extend(self.home.carry_out(&steps, &newer, "here").await);
            if late || Instant::now() > until {
                let what = if !here.is_known() {
                    "this cluster cannot be read".to_owned()
                } else if !whole {
                    "the broker cannot be read, so this cluster's Endpoint and Cluster stay there; delete them, or try again".to_owned()
                } else {
                    troubles.into_iter().collect::<Vec<_>>().join("; ")
                };
                anyhow::bail!(
                    "not all could be removed within {} s: {what}",
                    DEADLINE.as_secs()
                );
            }
            // Until the removals are heard of.
            sleep(Duration::from_millis(50)).await;
            here.forget();
            if let Some(there) = &mut there {
                there.forget();
            }
        }
    }
}

/// Reads both kinds of a namespace, once at a time.
struct Reader<'a> {
    server: &'a Server,
    endpoints: Store<Endpoint>,
    clusters: Store<Cluster>,
}

impl<'a> Reader<'a> {
    fn new(server: &'a Server) -> Self {
        Self {
            server,
            endpoints: Store::new("Endpoints"),
            clusters: Store::new("Clusters"),
        }
    }

    fn forget(&mut self) {
        *self = Self::new(self.server);
    }

    async fn read(&mut self) {
        let Server {
            client, namespace, ..
        } = self.server;
        let mut endpoints = watch_of(client, namespace);
        let mut clusters = watch_of(client, namespace);
        while !self.is_known() {
            tokio::select! {
                event = endpoints.next(), if !self.endpoints.is_known() => drop(self.endpoints.take(event)),
                event = clusters.next(), if !self.clusters.is_known() => drop(self.clusters.take(event)),
            }
        }
    }

    fn is_known(&self) -> bool {
        self.endpoints.is_known() && self.clusters.is_known()
    }

    fn objects(&self) -> Option<Objects> {
        let namespace = &self.server.namespace;
        self.is_known()
            .then(|| objects(namespace, &self.endpoints, &self.clusters))
    }
}

/// The Lease, if it is this gateway's.
async fn resign(client: Client, namespace: &str, host: &str) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(client, namespace);
    let Some(lease) = leases.get_opt(ELECTION).await? else {
        return Ok(());
    };
    let holder = lease.spec.and_then(|spec| spec.holder_identity);
    if holder != Some(identity(host)) {
        return Ok(());
    }
    let parameters = DeleteParams::default().preconditions(Preconditions {
        uid: lease.metadata.uid,
        resource_version: lease.metadata.resource_version,
    });
    match leases.delete(ELECTION, &parameters).await {
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        result => Ok(result.map(drop)?),
    }
}
