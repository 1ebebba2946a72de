//! The gateway of a cluster: watches in, objects and cables out.
//!
//! ```text
//!   Endpoints, Clusters, Gateways, Nodes --+              +--> writes: own objects and copies, here and on the broker
//!   Endpoints, Clusters of the broker -----+--> Brain ----+--> cables: driver, links of the kernel, echo requests
//!   election, public address, the kernel --+     ^        +--> the Gateway object, the pod's labels
//!                                                |                           |
//!                                                +--- how the cables are ----+
//! ```

mod arguments;
mod brain;
mod cables;
mod driver;
mod pages;
mod pod;
mod public_ip;
mod uninstall;
mod writes;

use std::sync::Arc;

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::Client;
use subm_api::Whole;
use subm_api::submariner::{Cluster, Endpoint};
use subm_kube::election::{self, Election};
use subm_kube::{Event, Watch, Watched};
use subm_routing::{Kernel, Mark, Settings as KernelSettings, TakeOver};
use subm_tunnel::{health, vxlan, wireguard};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, interval, timeout};

pub use arguments::Arguments;
use arguments::Broker;
use brain::{Brain, Outputs};
use cables::{Seen, Wish};
use driver::Driver;
use pages::Shown;

use crate::gateway::Settings;
use crate::gateway::sync::{Objects, Step};
use crate::shell::pages::serve;
use crate::shell::server::Server;
use crate::shell::store::{Store, watch_of};
use crate::shell::{GATHER, at};

/// As Submariner's gateways call it: among them there is one leader.
const ELECTION: &str = "submariner-gateway-lock";
/// How often the node itself is looked at, and what failed is tried again.
const LOOK: Duration = Duration::from_secs(5);
/// The pod of an operator is killed a second after it was told to end.
const FAREWELL: Duration = Duration::from_millis(800);

/// Runs until the process is told to end. What is in the kernel stays, and traffic flows on.
pub async fn run(arguments: Arguments) -> Result<()> {
    let settings = Arguments::settings()?;
    let home = subm_kube::connect(arguments.kubeconfig.as_deref(), None).await?;
    let broker = arguments.broker().await?;
    let host = hostname::get()?.to_string_lossy().into_owned();
    if settings.uninstall {
        return uninstall::run(&arguments, &settings, home, broker, &host).await;
    }
    let timing = arguments.timing()?;
    let driver = driver::open(&arguments, &settings).await?;
    let kernels = (kernel(&arguments)?, kernel(&arguments)?);
    let mut tasks = JoinSet::new();
    let shown = Arc::new(Shown::default());
    serve(&mut tasks, settings.metrics_port, Arc::clone(&shown)).await?;
    let (leads_to, leads) = watch::channel(false);
    let (stop, mut stopped) = watch::channel(false);
    let identity = identity(&host);
    if let Some(pod) = arguments.pod_name.clone() {
        let node = arguments.node_name.clone().unwrap_or_else(|| host.clone());
        let (home, namespace) = (home.clone(), settings.namespace.clone());
        tasks.spawn(pod::label(home, namespace, (pod, node), leads.clone()));
    }
    let candidate = Election::new(
        home.clone(),
        &settings.namespace,
        ELECTION,
        &identity,
        timing,
    );
    let election = tokio::spawn(election::take_part(candidate, leads_to, async move {
        let _ = stopped.wait_for(|stop| *stop).await;
    }));
    tracing::info!(
        "gateway {host:?} of cluster {:?}, cables of {}{}",
        settings.cluster.as_str(),
        settings.driver,
        if broker.is_some() {
            ""
        } else {
            "; no broker is set (BROKER_K8S_APISERVER), so no other cluster will be known"
        }
    );
    let gateway = Gateway {
        arguments,
        settings,
        host,
        home,
        broker,
        shown,
    };
    let brain = gateway.start(&mut tasks, driver, kernels);
    Box::pin(gateway.serve(brain, leads)).await?;
    // Others may lead at once, and need not wonder about an object that nobody keeps.
    let _ = stop.send(true);
    let farewell = async {
        let (forgotten, resigned) = tokio::join!(gateway.forget(), election);
        if let Err(error) = forgotten {
            tracing::debug!("the Gateway object stays: {error}");
        }
        drop(resigned);
    };
    if timeout(FAREWELL, farewell).await.is_err() {
        tracing::debug!("the API server does not answer; others wait until our Lease expires");
    }
    Ok(())
}

/// One owner's view of the kernel.
fn kernel(arguments: &Arguments) -> Result<Kernel> {
    let settings = KernelSettings::new()
        .mark(Mark::default())
        .take_over(
            TakeOver::new()
                .link(vxlan::DEVICE)
                .link(wireguard::DEVICE)
                .table(vxlan::TABLE, vxlan::TABLE),
        )
        .memory(arguments.state_file("gateway")?);
    Ok(Kernel::open(settings)?)
}

struct Gateway {
    arguments: Arguments,
    settings: Settings,
    host: String,
    home: Client,
    broker: Option<Broker>,
    shown: Arc<Shown>,
}

impl Gateway {
    /// Starts what works beside the brain.
    fn start(
        &self,
        tasks: &mut JoinSet<()>,
        driver: Driver,
        (questions, kernel): (Kernel, Kernel),
    ) -> Brain {
        let (home_to, home) = watch::channel(Vec::<Step>::new());
        let namespace = &self.settings.namespace;
        tasks.spawn(writes::keep(
            self.home.clone(),
            namespace.clone(),
            "here",
            home,
        ));
        let broker_to = self.broker.as_ref().map(|broker| {
            let (to, steps) = watch::channel(Vec::new());
            tasks.spawn(writes::keep(
                broker.client.clone(),
                broker.namespace.clone(),
                "on the broker",
                steps,
            ));
            to
        });
        let (sources_to, sources) = watch::channel(None);
        let (address_to, public_ip) = watch::channel(public_ip::Known::default());
        tasks.spawn(public_ip::follow(
            self.home.clone(),
            namespace.clone(),
            sources,
            address_to,
        ));
        let (wish_to, wishes) = watch::channel(Wish::default());
        let (seen_to, seen) = watch::channel(Seen::default());
        let checks = self.settings.health_check;
        let checks =
            checks.map(|check| health::Settings::new(check.interval, check.max_packet_loss));
        let config = driver.published();
        match driver {
            Driver::Vxlan(driver) => {
                tasks.spawn(cables::keep(driver, kernel, checks, wishes, seen_to));
            }
            Driver::WireGuard(driver) => {
                tasks.spawn(cables::keep(*driver, kernel, checks, wishes, seen_to));
            }
        }
        let outputs = Outputs {
            home: home_to,
            broker: broker_to,
            sources: sources_to,
            wish: wish_to,
        };
        let server = self.server();
        Brain::new(self, config, questions, server, outputs, public_ip, seen)
    }

    /// Until a signal comes.
    async fn serve(&self, mut brain: Brain, mut leads: watch::Receiver<bool>) -> Result<()> {
        let home = &self.settings.namespace;
        let mut endpoints = watch_of(&self.home, home);
        let mut clusters = watch_of(&self.home, home);
        let mut gateways = watch_of(&self.home, home);
        let mut nodes = Watch::<Whole<Node>>::all(self.home.clone());
        let mut their_endpoints = self
            .broker
            .as_ref()
            .map(|b| watch_of(&b.client, &b.namespace));
        let mut their_clusters = self
            .broker
            .as_ref()
            .map(|b| watch_of(&b.client, &b.namespace));
        let (mut public_ip, mut seen) = (brain.public_ip.clone(), brain.seen.clone());
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut look = interval(LOOK);
        let mut plan_at = None;
        loop {
            let due = tokio::select! {
                () = at(plan_at) => {
                    plan_at = None;
                    brain.plan().await;
                    false
                }
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                event = endpoints.next() => brain.endpoints.take(event),
                event = clusters.next() => brain.clusters.take(event),
                event = gateways.next() => brain.gateways.take(event),
                event = nodes.next() => brain.nodes.take(event),
                event = next(&mut their_endpoints) => brain.their_endpoints.take(event),
                event = next(&mut their_clusters) => brain.their_clusters.take(event),
                Ok(()) = leads.changed() => {
                    brain.lead(*leads.borrow_and_update());
                    true
                }
                Ok(()) = public_ip.changed() => true,
                _ = look.tick() => true,
                Ok(()) = seen.changed() => false,
                Some(written) = brain.published() => {
                    brain.publish_ended(written);
                    false
                }
            };
            if due {
                plan_at.get_or_insert_with(|| Instant::now() + GATHER);
            } else {
                brain.publish();
            }
        }
    }

    fn server(&self) -> Server {
        Server {
            client: self.home.clone(),
            namespace: self.settings.namespace.clone(),
            manager: writes::MANAGER,
        }
    }

    /// This node's Gateway object.
    async fn forget(&self) -> kube::Result<()> {
        let server = self.server();
        let kind = subm_api::submariner::Gateway::KIND;
        match crate::gateway::gateway_name(&self.host) {
            Some(name) => server.delete(&kind, &name, None, None).await.map(drop),
            None => Ok(()),
        }
    }
}

/// As the leader's Lease has it.
fn identity(host: &str) -> String {
    format!("{host}-submariner-gateway")
}

async fn next<K: Watched>(watch: &mut Option<Watch<K>>) -> Event<K> {
    match watch {
        Some(watch) => watch.next().await,
        None => std::future::pending().await,
    }
}

/// What is known of a namespace, for the plan of what goes where.
fn objects(namespace: &str, endpoints: &Store<Endpoint>, clusters: &Store<Cluster>) -> Objects {
    Objects {
        namespace: namespace.to_owned(),
        clusters: clusters.by_name(),
        endpoints: endpoints.by_name(),
    }
}
